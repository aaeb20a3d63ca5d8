#include "cgi/command/job_log.h"

#include "core/base/limits.h"
#include "core/base/strbuf.h"

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

void job_log_show(void *user, const char *text, size_t len)
{
    struct job_log *log = user;
    struct strbuf safe CLEANUP_STRBUF = STRBUF_INIT(LIMIT_BUILD_LOG);
    if (log->quiet || !len)
        return;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        /* U+0080 to U+009F, which terminals obey like an escape. */
        bool pair = c == 0xc2 && i + 1 < len && ((unsigned char)text[i + 1] & 0xe0) == 0x80;
        if (c == '\r')
            (void)strbuf_addch(&safe, i + 1 < len && text[i + 1] == '\n' ? ' ' : '\n');
        else if (pair || (is_control(c) && c != '\n' && c != '\t'))
            (void)strbuf_addch(&safe, '?');
        else
            (void)strbuf_addch(&safe, text[i]);
        i += pair;
    }
    (void)fwrite(safe.buf, 1, safe.len, log->out);
    (void)fflush(log->out);
    log->shown = true;
    log->open = safe.len && safe.buf[safe.len - 1] != '\n';
}

void job_log_end(struct job_log *log)
{
    if (log->open)
        (void)fputc('\n', log->out);
    log->open = false;
}
