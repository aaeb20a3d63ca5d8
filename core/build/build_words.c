#include "core/build/build_argv.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#include <strings.h>

#define WORDS 300 /* bytes of one telling line */

/* Needles that have to be there, all in one line; the first row that fits is taken. */
struct meaning {
    const char *needles[2];
    enum err_kind kind;
    const char *advice;
};

#define PULLING "initializing source docker://"
#define SUBIDS                                                                                     \
    "the builder is not root and has no subordinate ids, so RUN steps and most base images "       \
    "cannot "                                                                                      \
    "work: give its user a line each in /etc/subuid and /etc/subgid, and install the package "     \
    "uidmap"
#define EMULATE                                                                                    \
    "the step ran a program for another processor: install the packages qemu-user-static and "     \
    "binfmt-support on the builder's machine"
#define FOREIGN                                                                                    \
    "the step ran a program for another processor than this machine's: name the platforms under "  \
    "arch, and look at the FROM lines"
#define BUILDX                                                                                     \
    "docker lacks its plugin buildx on the builder's machine (docker's own package: "              \
    "docker-buildx-plugin)"
#define UNREACHED "the base image's registry could not be asked"
#define FORBIDDEN                                                                                  \
    "the base image is not for the builder to read: the operator's build_pull names the "          \
    "credentials for FROM lines"
#define ABSENT "the base image is not there: look at the FROM lines"

static const struct meaning meanings[] = {
    {{"setting supplemental groups list", "not permitted"}, ERR_CONFIG, SUBIDS},
    {{"insufficient UIDs or GIDs available"}, ERR_CONFIG, SUBIDS},
    {{"no subuid ranges found"}, ERR_CONFIG, SUBIDS},
    {{"newuidmap", "denied"}, ERR_CONFIG, SUBIDS},
    {{"newuidmap", "not found"}, ERR_CONFIG, SUBIDS},
    {{"user: unknown userid"},
     ERR_CONFIG,
     "the builder's user has no line in /etc/passwd, which the tool needs"},
    {{"unknown command: docker buildx"}, ERR_CONFIG, BUILDX},
    {{"buildx", "is not a docker command"}, ERR_CONFIG, BUILDX},
    {{"exporter is not supported for the docker driver"},
     ERR_CONFIG,
     "docker writes layouts only with a buildx builder of the driver docker-container, or with the "
     "containerd image store: `docker buildx create --use` as the builder's user"},
    {{"onnect to the Docker daemon"},
     ERR_CONFIG,
     "docker's daemon does not run on the builder's machine, or not for the builder's user"},
    {{"exec format error"}, ERR_CONFIG, EMULATE},
    {{"sealing memfd copy", "busy"},
     ERR_TEMP,
     "buildah could not start a copy of itself, as happens on a machine with much to do"},
    {{"no space left on device"}, ERR_TEMP, "the builder's disk is full"},
    {{"is blocked in"},
     ERR_PERM,
     "a FROM line names an image that this list builds, but not for this platform"},
    {{"gave HTTP response to HTTPS client"},
     ERR_CONFIG,
     "the base image's registry speaks plain http: the operator says so with plain_http"},
    {{"x509:"},
     ERR_CONFIG,
     "the base image's registry shows a certificate that the builder's machine does not trust"},
    {{PULLING, "unauthorized"}, ERR_PERM, FORBIDDEN},
    {{PULLING, "authentication required"}, ERR_PERM, FORBIDDEN},
    {{PULLING, "denied"}, ERR_PERM, FORBIDDEN},
    {{PULLING, "manifest unknown"}, ERR_PERM, ABSENT},
    {{PULLING, "not found"}, ERR_PERM, ABSENT},
    {{PULLING, "name unknown"}, ERR_PERM, ABSENT},
    {{PULLING, "no image found in manifest list"},
     ERR_PERM,
     "the base image does not exist for this platform"},
    {{PULLING, "toomanyrequests"}, ERR_TEMP, "the base image's registry asks for patience"},
    {{PULLING}, ERR_TEMP, UNREACHED},
    {{"reading blob sha256:"}, ERR_TEMP, UNREACHED},
    {{"/bin/sh", "no such file"},
     ERR_PERM,
     "the image has no shell: RUN [\"program\", \"argument\"] needs none"},
    {{"/bin/sh", "not found in $PATH"},
     ERR_PERM,
     "the image has no shell: RUN [\"program\", \"argument\"] needs none"},
    {{"cgroups in hybrid mode"}, ERR_CONFIG, "this machine needs isolation: chroot"},
    {{"did not get container create message"}, ERR_CONFIG, "this machine needs isolation: chroot"},
    {{"cannot clone: Operation not permitted"},
     ERR_CONFIG,
     "new user namespaces are forbidden here: look at the builder's unit and "
     "kernel.unprivileged_userns_clone"},
    {{"unknown command: docker buildx"}, ERR_CONFIG, "install docker's plugin buildx"},
    {{"OCI exporter is not supported"},
     ERR_CONFIG,
     "buildx needs a builder of the docker-container driver: docker buildx create --use"},
    {{"connect to the Docker daemon"}, ERR_CONFIG, "docker needs its daemon"},
};

/* strcasestr within one line. */
static bool holds(const char *line, size_t len, const char *needle)
{
    size_t want = strlen(needle);
    for (size_t i = 0; i + want <= len; i++)
        if (strncasecmp(line + i, needle, want) == 0)
            return true;
    return false;
}

static bool fits(const struct meaning *m, const char *line, size_t len)
{
    return holds(line, len, m->needles[0]) && (!m->needles[1] || holds(line, len, m->needles[1]));
}

const char *build_advice(const char *log_tail, const char *platform, enum err_kind *kind)
{
    enum err_kind ignored = ERR_PERM;
    kind = kind ? kind : &ignored;
    *kind = ERR_PERM;
    for (size_t i = 0; i < ARRAY_LEN(meanings); i++) {
        for (const char *line = log_tail; *line;) {
            size_t len = strcspn(line, "\n");
            if (fits(&meanings[i], line, len)) {
                *kind = meanings[i].kind;
                bool emulates = str_eq(meanings[i].advice, EMULATE);
                return emulates && !platform ? FOREIGN : meanings[i].advice;
            }
            line += len + (line[len] == '\n');
        }
    }
    return NULL;
}

static bool blank(const char *s, size_t len)
{
    return strspn(s, " \t\r") >= len;
}

static const char *one_line(struct arena *a, const char *s, size_t len)
{
    return str_printable(a, arena_strndup(a, s, len < WORDS ? len : WORDS));
}

/* What the tools put between a step's own last line and theirs. */
static bool is_noise(const char *line)
{
    return str_starts(line, "subprocess exited with status") || str_starts(line, "time=\"");
}

const char *build_last_words(const char *log_tail, struct arena *a)
{
    const char *last = NULL, *before = NULL, *complaint = NULL, *cause = NULL;
    for (const char *line = log_tail; *line;) {
        size_t len = strcspn(line, "\r\n");
        if (!blank(line, len)) {
            before = last && is_noise(last) ? before : last;
            last = line;
            if (strncasecmp(line, "error", 5) == 0) {
                complaint = line;
                cause = before;
            }
        }
        line += len + (line[len] != '\0');
    }
    if (!last)
        return "";
    if (!complaint)
        return one_line(a, last, strcspn(last, "\r\n"));
    size_t len = strcspn(complaint, "\r\n");
    const char *text = one_line(a, complaint, len);
    /* Then the tool only says which step failed, and the step itself said why. */
    if (cause && holds(complaint, len, "exit status"))
        return arena_printf(a, "%s; %s", one_line(a, cause, strcspn(cause, "\r\n")), text);
    return text;
}

/* The next instruction's first letter, NULL at the end. Comment lines and blanks are passed. */
static const char *instruction(const char *p, const char *end)
{
    while (p < end) {
        while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
            p++;
        if (p == end || *p != '#')
            break;
        while (p < end && *p != '\n')
            p++;
    }
    return p < end ? p : NULL;
}

static const char *next_line(const char *p, const char *end)
{
    const char *newline = memchr(p, '\n', (size_t)(end - p));
    return newline ? newline + 1 : end;
}

/* Behind the instruction, its continued lines and the comments among those. */
static const char *behind(const char *p, const char *end, char escape)
{
    for (;;) {
        const char *next = next_line(p, end);
        const char *last = next;
        while (last > p && strchr(" \t\r\n", last[-1]))
            last--;
        bool continued = last > p && last[-1] == escape;
        p = next;
        if (p == end || !continued)
            return p;
        while (p < end && p[strspn(p, " \t")] == '#')
            p = next_line(p, end);
    }
}

bool build_has_healthcheck(const char *containerfile, size_t len)
{
    static const char keyword[] = "HEALTHCHECK";
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *p = arena_strndup(&a, containerfile, len); /* a NUL for the scans */
    const char *end = p + strlen(p);
    /* A directive in the very first lines may change the escape character. */
    const char *directive = strcasestr(p, "escape=`");
    char escape = directive && directive < next_line(next_line(p, end), end) ? '`' : '\\';
    while ((p = instruction(p, end))) {
        size_t word = sizeof keyword - 1;
        if (strncasecmp(p, keyword, word) == 0 && strchr(" \t\r\n\\`", p[word]))
            return strncasecmp(p + word + strspn(p + word, " \t"), "NONE", 4) != 0;
        p = behind(p, end, escape);
    }
    return false;
}
