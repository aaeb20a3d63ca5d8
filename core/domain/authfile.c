#include "core/domain/authfile.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/crypt.h"
#include "core/lib/json.h"

/* One member of auths. A fault says why it cannot be used, never what it holds. */
struct entry {
    const char *key;
    const char *plain; /* the key without scheme, API path and end slash; Hub names are docker.io */
    const char *fault;
    enum authfile_kind kind; /* AUTHFILE_NONE: it holds nothing */
    const char *username;
    const char *password;
    const char *token;
};

struct helper {
    const char *key;
    const char *plain;
    const char *name; /* NULL: malformed, or none */
    bool none;        /* "": no helper for this host, whatever credsStore says */
};

struct authfile {
    LIST(struct entry) entries;
    LIST(struct helper) helpers;
    bool has_store;
    const char *store; /* NULL with has_store: malformed */
};

#define HUB_KEY "https://index.docker.io/v1/"

bool authfile_helper_ok(const char *name)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    return !str_empty(name) && *name != '-' && *name != '.' && strlen(name) <= 64 &&
           name[strspn(name, letters)] == '\0';
}

/* Docker Hub has one name here, whatever people call it. */
static bool is_hub(const char *host)
{
    return str_eq(host, "docker.io") || str_eq(host, "index.docker.io") ||
           str_eq(host, "registry-1.docker.io") || str_eq(host, "registry.hub.docker.com");
}

/* "https://Host:5000/v2/" and "host:5000" mean the same; a path that is no API's stays. */
static const char *plain_key(const char *key, struct arena *a)
{
    const char *rest = str_after(key, "https://");
    if (!rest)
        rest = str_after(key, "http://");
    char *plain = arena_strdup(a, rest ? rest : key);
    size_t len = strlen(plain);
    while (len && plain[len - 1] == '/')
        plain[--len] = '\0';
    if (str_ends(plain, "/v1") || str_ends(plain, "/v2"))
        plain[len - 3] = '\0';
    for (char *p = plain; *p && *p != '/'; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return is_hub(plain) ? "docker.io" : plain;
}

/* Fills user and password from base64 of "user:password"; returns what is wrong with it. */
static const char *read_auth(const char *auth, struct arena *a, struct entry *out)
{
    size_t len;
    char *text = (char *)crypt_unbase64(a, auth, &len);
    if (!text)
        return "its \"auth\" is no base64";
    /* Some old clients padded the password with NUL bytes. */
    while (len && text[len - 1] == '\0')
        len--;
    if (memchr(text, '\0', len))
        return "its \"auth\" holds NUL bytes";
    char *colon = strchr(text, ':');
    if (!colon)
        return "its \"auth\" holds no colon between a user and a password";
    *colon = '\0';
    out->username = text;
    out->password = colon + 1;
    return NULL;
}

/* A member that must be a text; *wrong is set when it is something else. */
static const char *text_of(const struct js *v, const char *name, bool *wrong)
{
    const char *text = js_str(v, name);
    if (!text && js_get(v, name) && !js_is_null(js_get(v, name)))
        *wrong = true;
    return str_empty(text) ? NULL : text;
}

/* A header line is made of these: no control bytes. */
static bool clean(const char *s)
{
    for (; s && *s; s++)
        if (str_control(s))
            return false;
    return true;
}

static const char *read_entry(const struct js *v, struct arena *a, struct entry *out)
{
    bool wrong = false;
    if (js_is_null(v))
        return NULL;
    if (!js_is_object(v))
        return "it is no object";
    const char *auth = text_of(v, "auth", &wrong), *user = text_of(v, "username", &wrong);
    const char *password = text_of(v, "password", &wrong);
    const char *identity = text_of(v, "identitytoken", &wrong);
    const char *registry = text_of(v, "registrytoken", &wrong);
    if (wrong)
        return "one of its members is no text";
    out->username = arena_strdup(a, user);
    out->password = arena_strdup(a, password);
    const char *fault = auth ? read_auth(auth, a, out) : NULL;
    if (!clean(out->username) || !clean(out->password) || !clean(identity) || !clean(registry))
        return "it holds control characters";
    if (registry || identity) {
        out->kind = registry ? AUTHFILE_REGISTRY_TOKEN : AUTHFILE_IDENTITY_TOKEN;
        out->token = arena_strdup(a, registry ? registry : identity);
        return NULL;
    }
    if (fault)
        return fault;
    if (!out->username && !out->password)
        return NULL;
    if (str_empty(out->username) || !out->password)
        return "it has a user or a password, but not both";
    out->kind = AUTHFILE_BASIC;
    if (str_eq(out->username, "<token>")) {
        if (!*out->password)
            return "its token is empty";
        out->kind = AUTHFILE_IDENTITY_TOKEN;
        out->token = out->password;
    }
    return NULL;
}

static int no_object(const char *name, struct err *err)
{
    return err_set(err, ERR_CONFIG, 0, "its \"%s\" is no object", name);
}

static int read_entries(const struct js *doc, struct arena *a, struct authfile *f, struct err *err)
{
    const struct js *auths = js_get(doc, "auths");
    if (!auths || js_is_null(auths))
        return 0;
    if (!js_is_object(auths))
        return no_object("auths", err);
    struct str_list keys = {0};
    (void)js_keys(auths, a, &keys);
    for (size_t i = 0; i < keys.n; i++) {
        struct entry *e = list_push(a, &f->entries);
        e->key = arena_strdup(a, keys.at[i]);
        e->plain = plain_key(e->key, a);
        e->fault = read_entry(js_member(auths, keys.at[i]), a, e);
    }
    return 0;
}

static int read_helpers(const struct js *doc, struct arena *a, struct authfile *f, struct err *err)
{
    const struct js *helpers = js_get(doc, "credHelpers");
    if (helpers && !js_is_null(helpers) && !js_is_object(helpers))
        return no_object("credHelpers", err);
    struct str_list keys = {0};
    (void)js_keys(helpers, a, &keys);
    for (size_t i = 0; i < keys.n; i++) {
        struct helper *h = list_push(a, &f->helpers);
        const char *name = js_member_str(helpers, keys.at[i]);
        h->key = arena_strdup(a, keys.at[i]);
        h->plain = plain_key(h->key, a);
        h->none = name && !*name;
        h->name = authfile_helper_ok(name) ? arena_strdup(a, name) : NULL;
    }
    const char *store = js_str(doc, "credsStore");
    const struct js *value = js_get(doc, "credsStore");
    f->has_store = value && !js_is_null(value) && (!store || *store);
    f->store = authfile_helper_ok(store) ? arena_strdup(a, store) : NULL;
    return 0;
}

int authfile_parse(const void *bytes, size_t len, struct arena *a, const struct authfile **out,
                   struct err *err)
{
    if (len > LIMIT_AUTH_FILE)
        return err_set(err, ERR_CONFIG, 0, "it has %zu bytes; at most %zu are read", len,
                       LIMIT_AUTH_FILE);
    struct err why = ERR_INIT;
    struct js *doc CLEANUP_JS = js_parse(bytes, len, &why);
    /* The parser quotes what it stumbled over, which may be a part of a secret. */
    if (!doc) {
        why.text[strcspn(why.text, ":")] = '\0';
        return err_set(err, ERR_CONFIG, 0, "it is no valid JSON: %s", why.text);
    }
    if (!js_is_object(doc))
        return err_set(err, ERR_CONFIG, 0, "it is no JSON object");
    struct authfile *f = arena_alloc(a, sizeof *f);
    if (read_entries(doc, a, f, err) < 0 || read_helpers(doc, a, f, err) < 0)
        return -1;
    *out = f;
    return 0;
}

/* A key of strangers' making in a message: cut, and without control bytes. */
static const char *shown(const char *text, char out[100])
{
    size_t i = 0;
    for (; i < 96 && text[i]; i++)
        out[i] = text[i] > ' ' && text[i] < 127 ? text[i] : '?';
    (void)snprintf(out + i, 100 - i, "%s", text[i] ? "..." : "");
    return out;
}

static bool is_absent(const struct entry *e)
{
    return !e->fault && e->kind == AUTHFILE_NONE;
}

static int take_entry(const struct entry *e, struct authfile_hit *out, struct err *err)
{
    char show[100];
    if (e->fault)
        return err_set(err, ERR_CONFIG, 0, "the entry of \"%s\" under auths is malformed: %s",
                       shown(e->key, show), e->fault);
    *out = (struct authfile_hit){.kind = e->kind, .key = e->key};
    if (e->kind == AUTHFILE_BASIC) {
        out->username = e->username;
        out->password = e->password;
    } else {
        out->token = e->token;
    }
    return 0;
}

static const struct entry *entry_by_key(const struct authfile *f, const char *key)
{
    list_each (struct entry, e, &f->entries)
        if (str_eq(e->key, key) && !is_absent(e))
            return e;
    return NULL;
}

/* The most specific entry: "host/a/b", "host/a", "host", then the host in other words. */
static const struct entry *best_entry(const struct authfile *f, const char *host, const char *name)
{
    char path[2 * LIMIT_NAME + 2];
    const struct entry *e = NULL;
    int len = snprintf(path, sizeof path, "%s%s%s", host, name ? "/" : "", name ? name : "");
    size_t shortest = strlen(host);
    for (size_t end = (size_t)len; !e && (size_t)len < sizeof path; end--) {
        if (path[end] == '/' || path[end] == '\0') {
            path[end] = '\0';
            e = entry_by_key(f, path);
        }
        if (end <= shortest)
            break;
    }
    if (!e && str_eq(host, "docker.io"))
        e = entry_by_key(f, HUB_KEY);
    if (e)
        return e;
    list_each (struct entry, other, &f->entries)
        if (str_eq(other->plain, host) && !is_absent(other))
            return other;
    return NULL;
}

static const struct helper *best_helper(const struct authfile *f, const char *host)
{
    const char *const keys[] = {host, str_eq(host, "docker.io") ? HUB_KEY : host};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        list_each (struct helper, h, &f->helpers)
            if (str_eq(h->key, keys[i]))
                return h;
    list_each (struct helper, h, &f->helpers)
        if (str_eq(h->plain, host))
            return h;
    return NULL;
}

static int bad_helper(const char *where, struct err *err)
{
    return err_set(err, ERR_CONFIG, 0,
                   "%s names no credential helper: X of docker-credential-X is wanted, of letters, "
                   "digits and . _ -",
                   where);
}

int authfile_find(const struct authfile *f, const char *host, const char *name,
                  struct authfile_hit *out, struct err *err)
{
    char show[100], where[140];
    host = is_hub(host) ? "docker.io" : host;
    const struct helper *h = best_helper(f, host);
    if (h && !h->none) {
        (void)snprintf(where, sizeof where, "credHelpers of \"%s\"", shown(h->key, show));
        if (!h->name)
            return bad_helper(where, err);
        *out = (struct authfile_hit){
            .kind = AUTHFILE_HELPER, .key = h->key, .helper = h->name, .server = h->key};
        return 0;
    }
    const struct entry *e = best_entry(f, host, name);
    if (e)
        return take_entry(e, out, err);
    if (!f->has_store || h) {
        *out = (struct authfile_hit){.kind = AUTHFILE_NONE};
        return 0;
    }
    if (!f->store)
        return bad_helper("credsStore", err);
    *out = (struct authfile_hit){
        .kind = AUTHFILE_HELPER,
        .key = "credsStore",
        .helper = f->store,
        .server = str_eq(host, "docker.io") ? HUB_KEY : host,
    };
    return 0;
}

static bool says_not_found(const void *bytes, size_t len)
{
    static const char text[] = "credentials not found in native keychain";
    return memmem(bytes, len, text, sizeof text - 1) != NULL;
}

int authfile_helper_answer(const void *bytes, size_t len, struct arena *a, struct authfile_hit *out,
                           struct err *err)
{
    if (len > LIMIT_HELPER_OUTPUT)
        return err_set(err, ERR_CONFIG, 0,
                       "the credential helper's answer is longer than %zu bytes",
                       LIMIT_HELPER_OUTPUT);
    struct js *doc CLEANUP_JS = len ? js_parse(bytes, len, NULL) : NULL;
    if (!doc && len && says_not_found(bytes, len)) {
        *out = (struct authfile_hit){.kind = AUTHFILE_NONE};
        return 0;
    }
    if (!js_is_object(doc))
        return err_set(err, ERR_CONFIG, 0, "the credential helper's answer is no JSON object");
    const char *user = js_str(doc, "Username"), *secret = js_str(doc, "Secret");
    if (!user || str_empty(secret))
        return err_set(err, ERR_CONFIG, 0, "the credential helper's answer has no %s",
                       user ? "Secret" : "Username");
    if (!clean(user) || !clean(secret))
        return err_set(err, ERR_CONFIG, 0,
                       "the credential helper's answer holds control characters");
    if (str_eq(user, "<token>")) {
        *out = (struct authfile_hit){.kind = AUTHFILE_IDENTITY_TOKEN,
                                     .token = arena_strdup(a, secret)};
        return 0;
    }
    if (!*user)
        return err_set(err, ERR_CONFIG, 0, "the credential helper's answer has no Username");
    *out = (struct authfile_hit){.kind = AUTHFILE_BASIC,
                                 .username = arena_strdup(a, user),
                                 .password = arena_strdup(a, secret)};
    return 0;
}
