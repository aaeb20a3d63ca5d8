#include "core/registry/registry.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/manifest.h"
#include "core/lib/crypt.h"
#include "core/os/clock.h"
#include "core/os/random.h"
#include "core/registry/registry_internal.h"

/* Registries where isolating a tag is known to end with the placeholder left behind: they refuse
 * to delete what a tag still shows. */
static const struct {
    const char *host;
    const char *type;
    const char *why;
} no_isolation[] = {
    {"docker.io", "dockerhub", "Docker Hub deletes tags by its own API only"},
};

struct removal {
    struct registry *r;
    struct arena *a;
    struct registry_host *host;
    const char *name;
    const char *tag;
    const char *expected;
};

/* What became of one step. */
enum step {
    STEP_FAILED, /* could not ask: err is set */
    STEP_DONE,
    STEP_GONE,
    STEP_REFUSED /* definitely not this way; where a step says so, err is set */
};

static bool is_success(int status)
{
    return status == 200 || status == 202 || status == 204;
}

static const char *what_tag(const struct removal *rm)
{
    return arena_printf(rm->a, "%s:%s", rm->name, rm->tag);
}

static int ask(struct removal *rm, enum registry_verb verb, const char *ref, struct registry_op *op,
               struct err *err)
{
    *op = (struct registry_op){
        .verb = verb, .host = rm->host->conf->host, .name = rm->name, .ref = ref};
    if (registry_all(rm->r, rm->a, op, 1) == 0)
        return 0;
    *err = op->err;
    return -1;
}

static int request(struct removal *rm, const char *method, const char *ref, struct exchange *x,
                   struct err *err)
{
    x->host = rm->host;
    x->name = rm->name;
    x->method = method;
    x->path = arena_printf(rm->a, "manifests/%s", ref);
    x->max_body = LIMIT_ERROR_BODY;
    exchange_all(rm->r, rm->a, x, 1);
    if (!x->failed)
        return 0;
    *err = x->err;
    return err_wrap(err, "%s/%s", rm->host->conf->host, what_tag(rm));
}

/* --- what is remembered -------------------------------------------------------------------------
 */

static enum registry_answer tag_delete_known(struct removal *rm)
{
    registry_lock(rm->r);
    enum registry_answer known = rm->host->tag_delete;
    registry_unlock(rm->r);
    return known;
}

static void set_tag_delete(struct removal *rm, enum registry_answer answer)
{
    registry_lock(rm->r);
    rm->host->tag_delete = answer;
    registry_unlock(rm->r);
}

static enum registry_answer right_known(struct removal *rm, struct err *err)
{
    registry_lock(rm->r);
    struct registry_repo *repo = registry_repo(rm->host, rm->name);
    if (repo->may_delete == ANSWER_NO && clock_monotonic_ms() >= repo->no_until)
        repo->may_delete = ANSWER_UNKNOWN;
    enum registry_answer known = repo->may_delete;
    if (known == ANSWER_NO)
        (void)err_set(err, ERR_PERM, 0, "%s", repo->why_not);
    registry_unlock(rm->r);
    return known;
}

static void set_right(struct removal *rm, enum registry_answer answer, const struct err *why)
{
    registry_lock(rm->r);
    struct registry_repo *repo = registry_repo(rm->host, rm->name);
    repo->may_delete = answer;
    repo->no_until = clock_monotonic_ms() + (int64_t)LIMIT_NO_DELETE_S * 1000;
    if (why)
        (void)snprintf(repo->why_not, sizeof repo->why_not, "%.*s", (int)sizeof repo->why_not - 1,
                       why->text);
    registry_unlock(rm->r);
}

/* --- the OCI way: delete the tag itself ----------------------------------------------------------
 */

/* An answer that a host never contradicted before is not believed without a look at the tag. */
static enum step confirm_untied(struct removal *rm, enum step when_absent, struct err *err)
{
    struct registry_op op;
    if (ask(rm, REGISTRY_HEAD, rm->tag, &op, err) < 0)
        return STEP_FAILED;
    if (op.absent && when_absent == STEP_DONE)
        set_tag_delete(rm, ANSWER_YES);
    if (!op.absent)
        set_tag_delete(rm, ANSWER_NO);
    return op.absent ? when_absent : STEP_REFUSED;
}

static enum step untie(struct removal *rm, struct err *err)
{
    enum registry_answer known = tag_delete_known(rm);
    struct exchange x = {0};
    if (known == ANSWER_NO)
        return STEP_REFUSED;
    if (request(rm, "DELETE", rm->tag, &x, err) < 0)
        return STEP_FAILED;
    int status = x.resp.status;
    if (is_success(status))
        return known == ANSWER_YES ? STEP_DONE : confirm_untied(rm, STEP_DONE, err);
    if (status == 404)
        return known == ANSWER_YES ? STEP_GONE : confirm_untied(rm, STEP_GONE, err);
    if (http_status_kind(status) == ERR_TEMP) {
        (void)exchange_refused(&x, "delete", what_tag(rm), err);
        return STEP_FAILED;
    }
    if (known == ANSWER_UNKNOWN &&
        (status == 400 || status == 403 || status == 405 || status == 501))
        set_tag_delete(rm, ANSWER_NO);
    return STEP_REFUSED;
}

/* --- the isolating way ---------------------------------------------------------------------------
 */

static const char *vendor_forbids(const struct removal *rm)
{
    const struct registry_conf *conf = rm->host->conf;
    for (size_t i = 0; i < ARRAY_LEN(no_isolation); i++)
        if (str_caseeq(conf->host, no_isolation[i].host) ||
            str_eq(conf->type, no_isolation[i].type))
            return no_isolation[i].why;
    return NULL;
}

/* Proves the right to delete on a digest that nothing has. Only a 404 that says so in words
 * counts: a server without deletion may answer a bare 404 to everything. */
static enum step prove_right(struct removal *rm, struct err *err)
{
    struct exchange x = {0};
    char random[65];
    random_hex(random, 32);
    if (request(rm, "DELETE", arena_printf(rm->a, "sha256:%s", random), &x, err) < 0)
        return STEP_FAILED;
    if (x.resp.status == 404 && exchange_says_unknown(&x))
        return STEP_DONE;
    (void)exchange_refused(&x, "prove the right to delete in", rm->name, err);
    if (x.resp.status == 405)
        (void)err_set(err, ERR_PERM, 405,
                      "%s deletes nothing in %s (405): turn deletion on there "
                      "(docker-registry: storage.delete.enabled) to have staged tags removed",
                      rm->host->conf->host, rm->name);
    if (is_success(x.resp.status))
        (void)err_set(err, ERR_PERM, x.resp.status,
                      "%s says that it deleted from %s what was never there", rm->host->conf->host,
                      rm->name);
    if (err->kind == ERR_TEMP)
        return STEP_FAILED;
    set_right(rm, ANSWER_NO, err);
    return STEP_REFUSED;
}

/* Puts the tag back to what it showed, unless somebody else has moved it meanwhile. */
static int restore(struct removal *rm, const char *placeholder, struct err *err)
{
    struct registry_op op;
    if (ask(rm, REGISTRY_HEAD, rm->tag, &op, err) < 0)
        return -1;
    if (op.absent || !str_eq(op.digest, placeholder))
        return 0;
    if (ask(rm, REGISTRY_GET, rm->expected, &op, err) < 0)
        return -1;
    if (op.absent)
        return err_set(err, ERR_TEMP, 404, "the registry no longer has %s", rm->expected);
    op.verb = REGISTRY_PUT;
    op.ref = rm->tag;
    if (registry_all(rm->r, rm->a, &op, 1) == 0)
        return 0;
    *err = op.err;
    return -1;
}

static enum step left_behind(struct removal *rm, struct err *err)
{
    err->kind = ERR_TEMP;
    (void)err_wrap(err, "left a placeholder at %s/%s, to be removed later", rm->host->conf->host,
                   what_tag(rm));
    return STEP_FAILED;
}

/* The right seemed to be there and is not: nothing may stay changed. */
static enum step take_back(struct removal *rm, const char *placeholder, struct err *err)
{
    struct err why = *err;
    set_right(rm, ANSWER_NO, &why);
    if (restore(rm, placeholder, err) < 0)
        return left_behind(rm, err);
    *err = why;
    return STEP_REFUSED;
}

/* Deletes a digest of our own making, which the tag shows. */
static enum step delete_placeholder(struct removal *rm, const char *digest, struct err *err)
{
    struct exchange x = {0};
    bool first = right_known(rm, err) != ANSWER_YES;
    if (request(rm, "DELETE", digest, &x, err) < 0)
        return left_behind(rm, err);
    if (!is_success(x.resp.status) && x.resp.status != 404) {
        (void)exchange_refused(&x, "delete the placeholder of", what_tag(rm), err);
        return err->kind == ERR_TEMP ? left_behind(rm, err) : take_back(rm, digest, err);
    }
    if (first || x.resp.status == 404) {
        struct registry_op op;
        if (ask(rm, REGISTRY_HEAD, rm->tag, &op, err) < 0)
            return left_behind(rm, err);
        if (!op.absent && str_eq(op.digest, digest)) {
            (void)err_set(err, ERR_PERM, x.resp.status, "%s still shows %s after its deletion",
                          rm->host->conf->host, what_tag(rm));
            return take_back(rm, digest, err);
        }
    }
    set_right(rm, ANSWER_YES, NULL);
    return STEP_DONE;
}

/* Overwrites the tag with the placeholder and makes sure that it is what was stored. */
static enum step put_placeholder(struct removal *rm, const char **digest, struct err *err)
{
    char nonce[33], text[CRYPT_DIGEST_TEXT];
    random_hex(nonce, 16);
    struct exchange x = {.content_type = MANIFEST_OCI_INDEX,
                         .body = manifest_empty_index(nonce, rm->a)};
    x.body_len = strlen(x.body);
    crypt_digest(x.body, x.body_len, text);
    *digest = arena_strdup(rm->a, text);
    if (request(rm, "PUT", rm->tag, &x, err) < 0)
        return STEP_FAILED;
    if (x.resp.status < 200 || x.resp.status > 204) {
        (void)exchange_refused(&x, "isolate", what_tag(rm), err);
        if (err->kind == ERR_TEMP)
            return STEP_FAILED;
        set_right(rm, ANSWER_NO, err);
        return STEP_REFUSED;
    }
    const char *told = http_header(&x.resp.headers, "Docker-Content-Digest");
    if (str_eq(told, text))
        return STEP_DONE;
    struct registry_op op;
    if (ask(rm, REGISTRY_HEAD, rm->tag, &op, err) < 0)
        return left_behind(rm, err);
    bool ours = !op.absent && str_eq(op.digest, text);
    if (ours && !str_starts(told, "sha256:"))
        return STEP_DONE;
    (void)err_set(err, ERR_PERM, 0, "%s stored other bytes than were sent at %s",
                  rm->host->conf->host, what_tag(rm));
    if (ours || (!op.absent && str_eq(op.digest, told)))
        return take_back(rm, op.digest, err);
    return STEP_REFUSED;
}

static enum step isolate(struct removal *rm, struct err *err)
{
    const char *why = vendor_forbids(rm), *digest;
    if (why) {
        (void)err_set(err, ERR_PERM, 0, "%s", why);
        return STEP_REFUSED;
    }
    enum registry_answer right = right_known(rm, err);
    if (right == ANSWER_NO)
        return STEP_REFUSED;
    enum step step = right == ANSWER_YES ? STEP_DONE : prove_right(rm, err);
    if (step == STEP_DONE)
        step = put_placeholder(rm, &digest, err);
    return step == STEP_DONE ? delete_placeholder(rm, digest, err) : step;
}

/* --- the whole -----------------------------------------------------------------------------------
 */

enum sight { SIGHT_FAILED, SIGHT_EXPECTED, SIGHT_GONE, SIGHT_OTHER, SIGHT_PLACEHOLDER };

/* What the tag shows now; the digest when it is a placeholder that an earlier removal left. */
static enum sight look(struct removal *rm, const char **placeholder, struct err *err)
{
    struct registry_op op;
    if (ask(rm, REGISTRY_HEAD, rm->tag, &op, err) < 0)
        return SIGHT_FAILED;
    if (op.absent)
        return SIGHT_GONE;
    if (str_eq(op.digest, rm->expected))
        return SIGHT_EXPECTED;
    if (!str_eq(op.media_type, MANIFEST_OCI_INDEX))
        return SIGHT_OTHER;
    if (ask(rm, REGISTRY_GET, rm->tag, &op, err) < 0)
        return SIGHT_FAILED;
    if (op.absent)
        return SIGHT_GONE;
    *placeholder = op.digest;
    return manifest_is_placeholder(op.bytes, op.len) ? SIGHT_PLACEHOLDER : SIGHT_OTHER;
}

static int check_kept(struct removal *rm, const char *kept, const char *kept_digest,
                      struct err *err)
{
    struct registry_op op;
    if (!kept)
        return 0;
    if (ask(rm, REGISTRY_HEAD, kept, &op, err) < 0)
        return err_wrap(err, "reading %s again after %s was removed", kept, rm->tag);
    if (!op.absent && str_eq(op.digest, kept_digest))
        return 0;
    return err_set(err, ERR_BUG, 0, "after the removal of %s/%s the tag %s shows %s instead of %s",
                   rm->host->conf->host, what_tag(rm), kept, op.absent ? "nothing" : op.digest,
                   kept_digest);
}

static int settle(struct removal *rm, enum step step, const char *kept, const char *kept_digest,
                  enum registry_removal *out, struct err *err)
{
    if (step == STEP_FAILED)
        return -1;
    *out = step == STEP_DONE ? REMOVAL_DONE : step == STEP_GONE ? REMOVAL_GONE : REMOVAL_NO_WAY;
    return step == STEP_DONE ? check_kept(rm, kept, kept_digest, err) : 0;
}

int registry_remove_tag(struct registry *r, struct arena *a, const char *host, const char *name,
                        const char *tag, const char *expected, bool fresh, const char *kept,
                        const char *kept_digest, enum registry_removal *out, struct err *err)
{
    struct err own = ERR_INIT;
    struct removal rm = {.r = r,
                         .a = a,
                         .host = registry_find(r, host),
                         .name = name,
                         .tag = tag,
                         .expected = expected};
    if (!err)
        err = &own;
    if (!rm.host)
        return err_set(err, ERR_CONFIG, 0, "%s/%s: this registry is not configured", host, name);
    if (!imageref_name_ok(name) || !imageref_tag_ok(tag) || !imageref_digest_ok(expected) ||
        (kept && (!imageref_tag_ok(kept) || str_eq(kept, tag) || str_empty(kept_digest))))
        return err_set(err, ERR_BUG, 0, "a removal without a legal name");
    const char *placeholder = NULL;
    enum sight sight = fresh ? SIGHT_EXPECTED : look(&rm, &placeholder, err);
    if (sight == SIGHT_FAILED)
        return -1;
    if (sight == SIGHT_PLACEHOLDER && str_eq(placeholder, kept_digest))
        sight = SIGHT_OTHER;
    if (sight == SIGHT_GONE || sight == SIGHT_OTHER) {
        *out = sight == SIGHT_GONE ? REMOVAL_GONE : REMOVAL_CHANGED;
        return 0;
    }
    enum step step;
    if (sight == SIGHT_PLACEHOLDER) {
        step = delete_placeholder(&rm, placeholder, err);
    } else {
        step = untie(&rm, err);
        if (step == STEP_REFUSED)
            step = isolate(&rm, err);
    }
    return settle(&rm, step, kept, kept_digest, out, err);
}

int registry_untag(struct registry *r, struct arena *a, const char *host, const char *name,
                   const char *tag, enum registry_removal *out, struct err *err)
{
    struct err own = ERR_INIT;
    struct removal rm = {.r = r, .a = a, .host = registry_find(r, host), .name = name, .tag = tag};
    if (!err)
        err = &own;
    if (!rm.host)
        return err_set(err, ERR_CONFIG, 0, "%s/%s: this registry is not configured", host, name);
    if (!imageref_name_ok(name) || !imageref_tag_ok(tag))
        return err_set(err, ERR_BUG, 0, "a removal without a legal name");
    enum step step = untie(&rm, err);
    if (step == STEP_REFUSED)
        (void)err_set(err, ERR_PERM, 0, "%s does not delete single tags", host);
    return settle(&rm, step, NULL, NULL, out, err);
}
