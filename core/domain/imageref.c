#include "core/domain/imageref.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#include <arpa/inet.h>

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* The decimal port behind a host's colon. */
static bool port_ok(const char *s)
{
    uint64_t port;
    return *s != '0' && str_to_u64(s, &port) && port <= 65535;
}

/* "[2001:db8::1]" with an optional port behind it. */
static bool ipv6_host_ok(const char *s)
{
    char address[INET6_ADDRSTRLEN];
    size_t len = strcspn(s + 1, "]");
    struct in6_addr parsed;
    if (len >= sizeof address || s[1 + len] != ']')
        return false;
    memcpy(address, s + 1, len);
    address[len] = '\0';
    const char *rest = s + len + 2;
    return inet_pton(AF_INET6, address, &parsed) == 1 &&
           (*rest == '\0' || (*rest == ':' && port_ok(rest + 1)));
}

bool imageref_host_ok(const char *s)
{
    if (str_empty(s) || strlen(s) > LIMIT_NAME)
        return false;
    if (*s == '[')
        return ipv6_host_ok(s);
    for (;;) {
        size_t len = 0;
        while (is_lower_alnum(s[len]) || s[len] == '-')
            len++;
        if (len == 0 || len > 63 || s[0] == '-' || s[len - 1] == '-')
            return false;
        s += len;
        if (*s == '\0')
            return true;
        if (*s == ':')
            return port_ok(s + 1);
        if (*s++ != '.')
            return false;
    }
}

/* The length of one separator within a path component: `.`, `_`, `__` or any number of `-`. */
static size_t separator_len(const char *s)
{
    if (*s == '.')
        return 1;
    if (*s == '_')
        return s[1] == '_' ? 2 : 1;
    return strspn(s, "-");
}

bool imageref_name_ok(const char *s)
{
    if (str_empty(s) || strlen(s) > LIMIT_NAME)
        return false;
    for (;;) {
        if (!is_lower_alnum(*s))
            return false;
        while (is_lower_alnum(*s))
            s++;
        if (*s == '\0')
            return true;
        size_t len = *s == '/' ? 1 : separator_len(s);
        if (len == 0)
            return false;
        s += len;
    }
}

bool imageref_tag_ok(const char *s)
{
    if (str_empty(s) || !(is_alnum(*s) || *s == '_'))
        return false;
    size_t len = 0;
    while (is_alnum(s[len]) || s[len] == '_' || s[len] == '.' || s[len] == '-')
        len++;
    return len <= LIMIT_TAG && s[len] == '\0';
}

bool imageref_digest_ok(const char *s)
{
    const char *hex = str_after(s, "sha256:");
    if (hex)
        return str_is_hex(hex, 64);
    hex = str_after(s, "sha512:");
    return hex && str_is_hex(hex, 128);
}

bool imageref_is_change_tag(const char *tag)
{
    const char *digits = str_after(tag, "change_");
    if (!digits)
        return false;
    size_t len = strspn(digits, "0123456789");
    return len > 0 && digits[len] == '_' && digits[len + 1] != '\0';
}

/* Text from strangers goes into messages cut short and without control bytes. */
static const char *shown(const char *text, char out[80])
{
    size_t i = 0;
    for (; i < 76 && text[i]; i++)
        out[i] = text[i] > ' ' && text[i] < 127 ? text[i] : '?';
    (void)snprintf(out + i, 80 - i, "%s", text[i] ? "..." : "");
    return out;
}

static char *lower_case(struct arena *a, const char *s, size_t len)
{
    char *out = arena_strndup(a, s, len);
    for (char *p = out; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return out;
}

/* Docker Hub has one name here, whatever people call it. */
static const char *canonical_host(const char *host)
{
    static const char *const hub[] = {"index.docker.io", "registry-1.docker.io",
                                      "registry.hub.docker.com"};
    for (size_t i = 0; i < ARRAY_LEN(hub); i++)
        if (str_eq(host, hub[i]))
            return "docker.io";
    return host;
}

/* Docker's rule: the first part is a host when no path component could be meant. */
static bool looks_like_host(const char *s, size_t len, const char *default_host)
{
    if (memchr(s, '.', len) || memchr(s, ':', len) || (len == 9 && memcmp(s, "localhost", 9) == 0))
        return true;
    return default_host && strlen(default_host) == len && memcmp(s, default_host, len) == 0;
}

/* Takes "@digest" and ":tag" off the end of rest, which is changed in place. */
static int split_suffixes(char *rest, struct imageref *out, const char *text, struct err *err)
{
    char show[80];
    char *at = strchr(rest, '@');
    if (at) {
        *at = '\0';
        out->digest = at + 1;
        if (!imageref_digest_ok(out->digest))
            return err_set(err, ERR_CONFIG, 0,
                           "image \"%s\": the digest behind '@' must be sha256: and 64 lower-case "
                           "hex digits",
                           shown(text, show));
    }
    char *slash = strrchr(rest, '/');
    char *colon = strchr(slash ? slash : rest, ':');
    if (colon) {
        *colon = '\0';
        out->tag = colon + 1;
        if (!imageref_tag_ok(out->tag))
            return err_set(err, ERR_CONFIG, 0,
                           "image \"%s\": the tag must be 1 to %d of A-Z a-z 0-9 _ . - and not "
                           "begin with . or -",
                           shown(text, show), LIMIT_TAG);
    }
    return 0;
}

int imageref_parse(const char *text, const char *default_host, struct arena *a,
                   struct imageref *out, struct err *err)
{
    char show[80];
    struct imageref ref = {0};
    if (str_empty(text))
        return err_set(err, ERR_CONFIG, 0, "the name of an image is empty");
    if (strlen(text) > LIMIT_NAME + LIMIT_TAG + 160)
        return err_set(err, ERR_CONFIG, 0, "image \"%s\": the name is too long", shown(text, show));
    const char *slash = strchr(text, '/');
    const char *rest = text;
    if (slash && looks_like_host(text, (size_t)(slash - text), default_host)) {
        ref.host = lower_case(a, text, (size_t)(slash - text));
        rest = slash + 1;
    } else if (default_host) {
        ref.host = lower_case(a, default_host, strlen(default_host));
    } else {
        return err_set(err, ERR_CONFIG, 0,
                       "image \"%s\": it must begin with the registry's host, as in "
                       "registry.example.org/team/app",
                       shown(text, show));
    }
    if (!imageref_host_ok(ref.host))
        return err_set(err, ERR_CONFIG, 0, "image \"%s\": \"%.80s\" is no host name of a registry",
                       shown(text, show), shown(ref.host, (char[80]){0}));
    ref.host = canonical_host(ref.host);
    char *name = arena_strdup(a, rest);
    if (split_suffixes(name, &ref, text, err) < 0)
        return -1;
    ref.name = name;
    if (str_eq(ref.host, "docker.io") && *name && !strchr(name, '/'))
        ref.name = arena_printf(a, "library/%s", name);
    if (strlen(ref.host) + 1 + strlen(ref.name) > LIMIT_NAME)
        return err_set(err, ERR_CONFIG, 0,
                       "image \"%s\": host and repository together exceed %d "
                       "bytes",
                       shown(text, show), LIMIT_NAME);
    if (!imageref_name_ok(ref.name))
        return err_set(err, ERR_CONFIG, 0,
                       "image \"%s\": the repository must be of a-z 0-9, with single . _ - between "
                       "them and / between its parts",
                       shown(text, show));
    *out = ref;
    return 0;
}

const char *imageref_repository(const struct imageref *r, struct arena *a)
{
    return arena_printf(a, "%s/%s", r->host, r->name);
}

/* Is this a scheme of other tools, and no image of that name? */
static bool has_scheme(const char *text, const char *default_host)
{
    static const char *const schemes[] = {
        "docker-daemon:",
        "docker-archive:",
        "containers-storage:",
        "oci-archive:",
        "dir:",
        "ostree:",
        "tarball:",
        "sif:",
        "atomic:",
        "http:",
        "https:",
        "file:",
        "docker:",
    };
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        const char *rest = str_after(text, schemes[i]);
        if (!rest)
            continue;
        /* "docker:5000/app" is a host with a port, "dir:latest" with a default host an image. */
        bool port = *rest >= '0' && *rest <= '9' && strchr(rest, '/');
        bool tag = default_host && !strpbrk(rest, "/:");
        return !port && !tag;
    }
    return strstr(text, "://") != NULL;
}

/* A name as it stands behind a layout's path: a tag, or runs of letters and digits with one
 * separator between them. */
static bool layout_name_ok(const char *s)
{
    if (imageref_tag_ok(s))
        return true;
    for (;;) {
        if (!is_alnum(*s))
            return false;
        while (is_alnum(*s))
            s++;
        if (*s == '\0')
            return true;
        if (!strchr("-._+", *s))
            return false;
        s++;
    }
}

static int parse_layout(const char *text, const char *rest, struct arena *a,
                        struct imageref_place *out, struct err *err)
{
    char show[80];
    if (strstr(rest, "@sha256:") || strstr(rest, "@sha512:"))
        return err_set(err, ERR_CONFIG, 0,
                       "\"%s\": an image of an OCI layout has a name behind a colon, no digest",
                       shown(text, show));
    if (strlen(rest) > LIMIT_LAYOUT_PATH)
        return err_set(err, ERR_CONFIG, 0, "\"%s\": the path is too long", shown(text, show));
    for (const char *p = rest; *p; p++)
        if (str_control(p))
            return err_set(err, ERR_CONFIG, 0, "\"%s\": the path holds control characters",
                           shown(text, show));
    const char *colon = strrchr(rest, ':');
    bool named = colon && strlen(colon + 1) <= LIMIT_NAME && layout_name_ok(colon + 1);
    size_t len = named ? (size_t)(colon - rest) : strlen(rest);
    if (colon && colon[1] == '\0')
        return err_set(err, ERR_CONFIG, 0, "\"%s\": the name behind the colon is missing",
                       shown(text, show));
    if (len == 0)
        return err_set(err, ERR_CONFIG, 0, "\"%s\": the path of the OCI layout is missing",
                       shown(text, show));
    *out = (struct imageref_place){
        .kind = IMAGEREF_LAYOUT,
        .path = arena_strndup(a, rest, len),
        .ref_name = named ? arena_strdup(a, colon + 1) : NULL,
    };
    return 0;
}

int imageref_parse_transport(const char *text, const char *default_host, struct arena *a,
                             struct imageref_place *out, struct err *err)
{
    char show[80];
    struct imageref_place place = {.kind = IMAGEREF_REGISTRY};
    if (str_empty(text))
        return err_set(err, ERR_CONFIG, 0, "the name of an image is empty");
    const char *rest = str_after(text, "oci:");
    if (rest)
        return parse_layout(text, rest, a, out, err);
    rest = str_after(text, "docker://");
    if (!rest && has_scheme(text, default_host))
        return err_set(err, ERR_CONFIG, 0,
                       "\"%s\": what is known is docker://HOST/NAME:TAG, HOST/NAME:TAG and "
                       "oci:PATH[:NAME]",
                       shown(text, show));
    if (imageref_parse(rest ? rest : text, default_host, a, &place.ref, err) < 0)
        return -1;
    *out = place;
    return 0;
}

const char *imageref_fallback_tag(const char *digest, struct arena *a)
{
    if (!digest || !imageref_digest_ok(digest))
        return NULL;
    return arena_printf(a, "%.6s-%.64s", digest, digest + 7);
}

const char *imageref_cosign_tag(const char *digest, const char *suffix, struct arena *a)
{
    if (!digest || !imageref_digest_ok(digest))
        return NULL;
    const char *tag = arena_printf(a, "%.6s-%s.%s", digest, digest + 7, suffix);
    return imageref_tag_ok(tag) ? tag : NULL;
}
