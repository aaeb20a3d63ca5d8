#include "core/base/err.h"

#include <errno.h>
#include <stdarg.h>

static void err_fill(struct err *e, enum err_kind kind, int code, const char *fmt, va_list ap)
{
    e->kind = kind;
    e->code = code;
    e->retry_after = 0;
    (void)vsnprintf(e->text, sizeof e->text, fmt, ap);
}

int err_set(struct err *e, enum err_kind kind, int code, const char *fmt, ...)
{
    if (!e)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    err_fill(e, kind, code, fmt, ap);
    va_end(ap);
    return -1;
}

static bool errno_is_temporary(int errnum)
{
    static const int temporary[] = {
        ENOSPC,  EDQUOT,       EAGAIN,     EINTR,      ENOMEM,       EMFILE,      ENFILE,
        EIO,     ETIMEDOUT,    ECONNRESET, EPIPE,      ECONNREFUSED, ENETUNREACH, EBUSY,
        ENOBUFS, EHOSTUNREACH, ESTALE,     EADDRINUSE, ECONNABORTED,
    };
    for (size_t i = 0; i < ARRAY_LEN(temporary); i++)
        if (temporary[i] == errnum)
            return true;
    return false;
}

int err_errno(struct err *e, enum err_kind kind, int errnum, const char *fmt, ...)
{
    if (!e)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    err_fill(e, errno_is_temporary(errnum) ? ERR_TEMP : kind, errnum, fmt, ap);
    va_end(ap);
    size_t len = strlen(e->text);
    char detail[128];
    (void)snprintf(e->text + len, sizeof e->text - len, ": %s",
                   strerror_r(errnum, detail, sizeof detail));
    return -1;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
    if (!e)
        return -1;
    char inner[sizeof e->text];
    memcpy(inner, e->text, sizeof inner);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    size_t len = strlen(e->text);
    (void)snprintf(e->text + len, sizeof e->text - len, ": %s", inner);
    return -1;
}

const char *err_kind_name(enum err_kind kind)
{
    static const char *const names[ERR__MAX] = {
        [ERR_NONE] = "none",   [ERR_TEMP] = "temporary",       [ERR_PERM] = "permanent",
        [ERR_INPUT] = "input", [ERR_CONFIG] = "configuration", [ERR_BUG] = "bug",
    };
    return (unsigned)kind < ERR__MAX ? names[kind] : "unknown";
}
