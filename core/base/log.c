#include "core/base/log.h"

#include "core/base/mem.h"
#include "core/base/str.h"
#include "core/base/strbuf.h"

#include <pthread.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

/* The log is the one place with state of its own: a level, a role and the secrets to hide. */
enum {
    LOG_SECRETS_MAX = 4096,
    LOG_SECRET_SHORTEST = 4,
    LOG_BASE64_SHORTEST = 6,
    LOG_LINE_MAX = 8192
};

static struct {
    pthread_rwlock_t lock;
    enum log_level level;
    const char *role;
    char *secrets[LOG_SECRETS_MAX]; /* the longest first */
    size_t n;
} logger = {.lock = PTHREAD_RWLOCK_INITIALIZER, .level = LOG_LEVEL_INFO};

void log_set_level(enum log_level level)
{
    logger.level = level;
}

void log_set_role(const char *role)
{
    logger.role = role;
}

static void secret_add(const char *form)
{
    if (strlen(form) < LOG_SECRET_SHORTEST)
        return;
    for (size_t i = 0; i < logger.n; i++)
        if (str_eq(logger.secrets[i], form))
            return;
    if (logger.n == LOG_SECRETS_MAX)
        return;
    /* Longest first: a secret that begins with another one must not leave its rest behind. */
    size_t at = logger.n++;
    for (; at && strlen(logger.secrets[at - 1]) < strlen(form); at--)
        logger.secrets[at] = logger.secrets[at - 1];
    logger.secrets[at] = xstrdup(form);
}

/* The base64 digits that a secret alone decides when `before` other bytes (0 to 2, modulo 3) stand
 * in front of it, so that it is found inside longer encodings like "user:password". */
static void secret_base64(const char *s, size_t before, struct strbuf *out)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const size_t first_bit[] = {0, 4, 2};
    size_t bits = strlen(s) * 8;
    for (size_t i = first_bit[before]; i + 6 <= bits; i += 6) {
        unsigned two = (unsigned)(unsigned char)s[i / 8] << 8;
        if (i / 8 + 1 < bits / 8)
            two |= (unsigned char)s[i / 8 + 1];
        (void)strbuf_addch(out, set[two >> (10 - i % 8) & 63]);
    }
}

void log_secret(const char *secret)
{
    if (str_empty(secret) || strlen(secret) < LOG_SECRET_SHORTEST)
        return;
    struct strbuf form CLEANUP_STRBUF = STRBUF_INIT(65536);
    (void)pthread_rwlock_wrlock(&logger.lock);
    secret_add(secret);
    for (size_t before = 0; before < 3; before++) {
        secret_base64(secret, before, &form);
        if (form.len >= LOG_BASE64_SHORTEST)
            secret_add(form.buf);
        strbuf_reset(&form);
    }
    str_urlencode(&form, secret, false);
    secret_add(form.buf);
    (void)pthread_rwlock_unlock(&logger.lock);
}

bool log_redact(char *text)
{
    bool found = false;
    (void)pthread_rwlock_rdlock(&logger.lock);
    for (size_t i = 0; i < logger.n; i++) {
        size_t len = strlen(logger.secrets[i]);
        for (char *p = text; (p = strstr(p, logger.secrets[i]));) {
            memcpy(p, "***", 3);
            memmove(p + 3, p + len, strlen(p + len) + 1);
            p += 3;
            found = true;
        }
    }
    (void)pthread_rwlock_unlock(&logger.lock);
    return found;
}

static bool needs_quotes(const char *s)
{
    if (!*s)
        return true;
    for (; *s; s++)
        if (*s == ' ' || *s == '"' || *s == '=' || str_control(s))
            return true;
    return false;
}

static void add_value(struct strbuf *line, const char *value)
{
    /* Before the escapes, which would hide a secret with quotes in it, and before a cut. */
    char *clean CLEANUP(cleanup_free) = xstrdup(value ? value : "-");
    (void)log_redact(clean);
    value = clean;
    if (!needs_quotes(value)) {
        (void)strbuf_addstr(line, value);
        return;
    }
    (void)strbuf_addch(line, '"');
    for (; *value; value++) {
        size_t control = str_control(value);
        if (*value == '"' || *value == '\\')
            (void)strbuf_addf(line, "\\%c", *value);
        else if (*value == '\n')
            (void)strbuf_addstr(line, "\\n");
        else if (!control)
            (void)strbuf_addch(line, *value);
        for (size_t i = 0; i < control && *value != '\n'; i++)
            (void)strbuf_addf(line, "\\x%02x", (unsigned char)value[i]);
        value += control ? control - 1 : 0;
    }
    (void)strbuf_addch(line, '"');
}

static void add_head(struct strbuf *line, enum log_level level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    char stamp[32];
    str_rfc3339(now.tv_sec, stamp);
    stamp[strlen(stamp) - 1] = '\0'; /* the Z goes behind the milliseconds */
    (void)strbuf_addf(line, "time=%s.%03ldZ level=%s", stamp, now.tv_nsec / 1000000, names[level]);
    if (logger.role)
        (void)strbuf_addf(line, " role=%s", logger.role);
}

void log_at(enum log_level level, const char *msg, ...)
{
    if (level > logger.level)
        return;
    struct strbuf line CLEANUP_STRBUF = STRBUF_INIT(LOG_LINE_MAX);
    add_head(&line, level);
    (void)strbuf_addstr(&line, " msg=");
    add_value(&line, msg);
    va_list ap;
    va_start(ap, msg);
    for (const char *key; (key = va_arg(ap, const char *));) {
        const char *value = va_arg(ap, const char *);
        (void)strbuf_addf(&line, " %s=", key);
        add_value(&line, value);
    }
    va_end(ap);
    if (log_redact(line.buf))
        line.len = strlen(line.buf);
    line.full = false;
    line.max++;
    (void)strbuf_addch(&line, '\n');
    (void)!write(STDERR_FILENO, line.buf, line.len);
}
