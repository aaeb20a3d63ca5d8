#include "core/registry/credentials.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/domain/authfile.h"
#include "core/lib/crypt.h"
#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/os/proc.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>

/* Helpers do not say how long their answers are good, and the shortest known is an hour. */
enum { ANSWER_GOOD_MS = 300000, NOTHING_GOOD_MS = 60000, FAILURE_GOOD_MS = 5000 };

struct source {
    const char *path;
    const struct authfile *file;
};

/* What a helper said, or the token that replaced one, by origin. */
struct answer {
    struct answer *next;
    char *origin;
    struct authfile_hit hit; /* its texts are the arena's */
    struct arena arena;
    struct err err; /* kind not ERR_NONE: it failed */
    int64_t until;  /* clock_monotonic_ms */
    bool replaced;  /* hit.token is a refresh token that a token service gave */
};

struct credentials {
    struct arena arena;
    struct {
        struct source *at;
        size_t n;
        size_t cap;
    } sources;
    pthread_mutex_t lock; /* guards the answers */
    struct answer *answers;
};

static void wipe_text(const char *s)
{
    if (s)
        crypt_wipe((char *)(uintptr_t)s, strlen(s));
}

static void answer_clear(struct answer *one)
{
    wipe_text(one->hit.password);
    wipe_text(one->hit.token);
    arena_release(&one->arena);
    one->hit = (struct authfile_hit){0};
    one->err = (struct err)ERR_INIT;
}

struct credentials *credentials_new(void)
{
    struct credentials *c = xcalloc(1, sizeof *c);
    (void)pthread_mutex_init(&c->lock, NULL);
    return c;
}

void credentials_free(struct credentials *c)
{
    if (!c)
        return;
    for (struct answer *next; c->answers; c->answers = next) {
        next = c->answers->next;
        answer_clear(c->answers);
        free(c->answers->origin);
        free(c->answers);
    }
    (void)pthread_mutex_destroy(&c->lock);
    arena_release(&c->arena);
    free(c);
}

/* Returns 1, 0 when it is not there, -1. */
static int add_file(struct credentials *c, const char *path, struct err *err)
{
    struct strbuf text CLEANUP(crypt_wipe_buffer) = STRBUF_INIT(LIMIT_AUTH_FILE);
    struct stat st;
    const struct authfile *file;
    if (fs_read_file(path, &text, err) < 0)
        return err && err->code == ENOENT ? 0 : -1;
    if (authfile_parse(text.buf, text.len, &c->arena, &file, err) < 0)
        return err_wrap(err, "%s", path);
    if (stat(path, &st) == 0 && (st.st_mode & 0007))
        log_warn("credentials are open to everybody: chmod o-rwx the file", "file", path, NULL);
    *list_push(&c->arena, &c->sources) = (struct source){arena_strdup(&c->arena, path), file};
    return 1;
}

struct credentials *credentials_from_file(const char *path, struct err *err)
{
    struct credentials *c = credentials_new();
    struct err own = ERR_INIT;
    int rc = add_file(c, path, err ? err : &own);
    if (rc > 0)
        return c;
    if (rc == 0)
        (void)err_set(err, ERR_CONFIG, ENOENT, "the file of credentials %s is not there", path);
    credentials_free(c);
    return NULL;
}

struct credentials *credentials_of_user(const char *(*getenv_fn)(const char *name), struct err *err)
{
    static const struct {
        const char *variable, *rest;
        const char *unless; /* variable that makes this place another */
    } places[] = {
        {"REGISTRY_AUTH_FILE", "", NULL},
        {"XDG_RUNTIME_DIR", "/containers/auth.json", NULL},
        {"XDG_CONFIG_HOME", "/containers/auth.json", NULL},
        {"HOME", "/.config/containers/auth.json", "XDG_CONFIG_HOME"},
        {"DOCKER_CONFIG", "/config.json", NULL},
        {"HOME", "/.docker/config.json", "DOCKER_CONFIG"},
    };
    struct credentials *c = credentials_new();
    struct err own = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        const char *value = getenv_fn(places[i].variable);
        if (str_empty(value) || (places[i].unless && !str_empty(getenv_fn(places[i].unless))))
            continue;
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        if (add_file(c, arena_printf(&a, "%s%s", value, places[i].rest), err ? err : &own) < 0) {
            credentials_free(c);
            return NULL;
        }
    }
    if (err)
        *err = (struct err)ERR_INIT;
    return c;
}

/* --- helpers -------------------------------------------------------------------------------------
 */

/* Call with the lock held. */
static struct answer *answer_of(struct credentials *c, const char *origin, bool replaced)
{
    for (struct answer *one = c->answers; one; one = one->next)
        if (str_eq(one->origin, origin) && one->replaced == replaced)
            return one;
    return NULL;
}

static struct answer *answer_make(struct credentials *c, const char *origin, bool replaced)
{
    struct answer *one = answer_of(c, origin, replaced);
    if (one) {
        answer_clear(one);
        return one;
    }
    one = xcalloc(1, sizeof *one);
    one->origin = xstrdup(origin);
    one->replaced = replaced;
    one->next = c->answers;
    c->answers = one;
    return one;
}

static void copy_hit(struct authfile_hit *to, const struct authfile_hit *from, struct arena *a)
{
    to->kind = from->kind;
    to->username = arena_strdup(a, from->username);
    to->password = arena_strdup(a, from->password);
    to->token = arena_strdup(a, from->token);
}

static void hide_hit(const struct authfile_hit *hit)
{
    log_secret(hit->password);
    log_secret(hit->token);
}

static const char *variable(struct arena *a, const char *name)
{
    const char *value = getenv(name);
    return value ? arena_printf(a, "%s=%s", name, value) : NULL;
}

/* What it printed may hold a secret even when it failed, so it is never shown. */
static int run_helper(const char *helper, const char *server, struct arena *a,
                      struct authfile_hit *out, struct err *err)
{
    const char *program = arena_printf(a, "docker-credential-%s", helper);
    const char *argv[] = {program, "get", NULL};
    const char *env[3] = {0};
    size_t n = 0;
    if (!authfile_helper_ok(helper))
        return err_set(err, ERR_CONFIG, 0,
                       "the name of a credential helper is letters, digits and . _ -, not '%.80s'",
                       helper);
    if ((env[n] = variable(a, "PATH")))
        n++;
    env[n] = variable(a, "HOME");
    const struct proc_opts opts = {.argv = argv,
                                   .env = env,
                                   .input = server,
                                   .input_len = strlen(server),
                                   .timeout_ms = LIMIT_HELPER_MS};
    struct proc_result result CLEANUP(proc_result_release) = {0};
    proc_result_init(&result, LIMIT_HELPER_OUTPUT);
    int rc = proc_run(&opts, &result, err);
    if (rc == 0)
        rc = authfile_helper_answer(result.out.buf, result.out.len, a, out, err);
    bool none = rc == 0 && out->kind == AUTHFILE_NONE;
    if (result.out.cap)
        crypt_wipe(result.out.buf, result.out.cap);
    if (rc == 0 && result.status != 0 && !none)
        return err_set(err, ERR_PERM, result.status, "%s ended with status %d when asked for %s",
                       program, result.status, server);
    if (rc == 0)
        return 0;
    if (err && err->kind == ERR_CONFIG && result.status)
        return err_set(err, ERR_PERM, result.status, "%s ended with status %d when asked for %s",
                       program, result.status, server);
    return err_wrap(err, "%s, asked for %s", program, server);
}

static int64_t good_for_ms(const struct authfile_hit *hit, bool failed)
{
    if (failed)
        return FAILURE_GOOD_MS;
    return hit->kind == AUTHFILE_NONE ? NOTHING_GOOD_MS : ANSWER_GOOD_MS;
}

static int ask_helper(struct credentials *c, const char *helper, const char *server,
                      struct arena *a, const char **origin, struct authfile_hit *out,
                      struct err *err)
{
    struct err own = ERR_INIT;
    *origin = arena_printf(a, "docker-credential-%s for %s", helper, server);
    (void)pthread_mutex_lock(&c->lock);
    struct answer *known = answer_of(c, *origin, false);
    bool good = known && clock_monotonic_ms() < known->until;
    if (good) {
        copy_hit(out, &known->hit, a);
        own = known->err;
    }
    (void)pthread_mutex_unlock(&c->lock);
    if (!good) {
        bool failed = run_helper(helper, server, a, out, &own) < 0;
        if (failed)
            *out = (struct authfile_hit){0};
        hide_hit(out);
        (void)pthread_mutex_lock(&c->lock);
        known = answer_make(c, *origin, false);
        copy_hit(&known->hit, out, &known->arena);
        known->err = own;
        known->until = clock_monotonic_ms() + good_for_ms(out, failed);
        (void)pthread_mutex_unlock(&c->lock);
    }
    if (own.kind == ERR_NONE)
        return 0;
    if (err)
        *err = own;
    return -1;
}

/* --- looking -------------------------------------------------------------------------------------
 */

/* The first file that has something; *origin says which, and what of it. */
static int find_in_files(struct credentials *c, const char *host, const char *name, struct arena *a,
                         struct authfile_hit *hit, const char **origin, struct err *err)
{
    list_each (const struct source, s, &c->sources) {
        *hit = (struct authfile_hit){0};
        if (authfile_find(s->file, host, name, hit, err) < 0)
            return err_wrap(err, "%s", s->path);
        *origin = arena_printf(a, "%s: %s", s->path, hit->key ? hit->key : host);
        if (hit->kind == AUTHFILE_HELPER &&
            ask_helper(c, hit->helper, hit->server, a, origin, hit, err) < 0)
            return err_wrap(err, "%s", s->path);
        if (hit->kind != AUTHFILE_NONE)
            return 0;
    }
    *hit = (struct authfile_hit){0};
    return 0;
}

static void to_credential(struct credentials *c, const struct authfile_hit *hit, const char *origin,
                          struct arena *a, struct credential *out)
{
    if (hit->kind == AUTHFILE_NONE)
        return;
    hide_hit(hit);
    out->origin = origin;
    out->username = arena_strdup(a, hit->username);
    if (hit->kind == AUTHFILE_BASIC)
        out->password = arena_strdup(a, hit->password);
    if (hit->kind == AUTHFILE_REGISTRY_TOKEN)
        out->registry_token = arena_strdup(a, hit->token);
    if (hit->kind != AUTHFILE_IDENTITY_TOKEN)
        return;
    const char *replaced = credentials_replaced(c, origin, a);
    out->identity_token = replaced ? replaced : arena_strdup(a, hit->token);
}

int credentials_find(struct credentials *c, const char *helper, const char *host, const char *name,
                     struct arena *a, struct credential *out, struct err *err)
{
    struct authfile_hit hit = {0};
    const char *origin = NULL;
    /* The key under which docker's own login leaves it. */
    const char *server = str_eq(host, "docker.io") ? "https://index.docker.io/v1/" : host;
    *out = (struct credential){0};
    if (helper && ask_helper(c, helper, server, a, &origin, &hit, err) < 0)
        return -1;
    if (hit.kind == AUTHFILE_NONE && find_in_files(c, host, name, a, &hit, &origin, err) < 0)
        return -1;
    to_credential(c, &hit, origin, a, out);
    return 0;
}

void credentials_replace(struct credentials *c, const char *origin, const char *identity_token)
{
    (void)pthread_mutex_lock(&c->lock);
    struct answer *one = answer_make(c, origin, true);
    one->hit.token = arena_strdup(&one->arena, identity_token);
    (void)pthread_mutex_unlock(&c->lock);
}

const char *credentials_replaced(struct credentials *c, const char *origin, struct arena *a)
{
    (void)pthread_mutex_lock(&c->lock);
    const struct answer *one = answer_of(c, origin, true);
    const char *token = one ? arena_strdup(a, one->hit.token) : NULL;
    (void)pthread_mutex_unlock(&c->lock);
    return token;
}

void credentials_forget(struct credentials *c, const char *origin)
{
    (void)pthread_mutex_lock(&c->lock);
    struct answer *one = answer_of(c, origin, false);
    if (one)
        one->until = 0;
    one = answer_of(c, origin, true);
    if (one)
        answer_clear(one);
    (void)pthread_mutex_unlock(&c->lock);
}
