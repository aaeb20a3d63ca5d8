#include "core/registry/pace.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/base/strset.h"
#include "core/os/clock.h"
#include "core/os/random.h"

#include <errno.h>

enum {
    DELAY_FIRST_MS = 200,
    DELAY_MOST_MS = 30000,
    TROUBLES_CALM = 3,      /* as many in a row are nobody's concern */
    TROUBLE_MOST_MS = 1000, /* that a host is left alone for unasked */
    WARNINGS_KEPT = 500,
    WARNING_SHOWN = 500
};

/* Where the pace of a host is kept: one for both of its entries. */
static struct registry_host *shared(struct registry *r, struct registry_host *h)
{
    return &r->hosts[(size_t)(h - r->hosts) & ~(size_t)1];
}

int64_t pace_quiet_ms(struct registry *r, struct registry_host *h)
{
    registry_lock(r);
    int64_t left = shared(r, h)->quiet_until - clock_monotonic_ms();
    registry_unlock(r);
    return left > 0 ? left : 0;
}

int pace_refused(const struct registry_host *h, int64_t ms, struct err *err)
{
    char when[32];
    str_rfc3339((clock_now_ms() + ms) / 1000, when);
    (void)err_set(err, ERR_TEMP, 0, "registry %s asked to be left alone until %s, for %lld s more",
                  h->conf->host, when, (long long)(ms + 999) / 1000);
    if (err)
        err->retry_after = (ms + 999) / 1000;
    return -1;
}

bool pace_sleep(struct registry *r, int64_t ms)
{
    int64_t end = clock_monotonic_ms() + ms;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns = now.tv_nsec + ms % 1000 * 1000000;
    const struct timespec until = {.tv_sec = now.tv_sec + ms / 1000 + ns / 1000000000,
                                   .tv_nsec = ns % 1000000000};
    registry_lock(r);
    while (!r->stopping && clock_monotonic_ms() < end)
        if (pthread_cond_timedwait(&r->stopped, &r->lock, &until) == ETIMEDOUT)
            break;
    bool slept = !r->stopping;
    registry_unlock(r);
    return slept;
}

bool pace_is_stranger(struct registry *r, struct registry_host *h, const struct err *err)
{
    if (err->code != ECONNREFUSED && err->code != EHOSTUNREACH)
        return false;
    registry_lock(r);
    bool heard = shared(r, h)->heard;
    registry_unlock(r);
    return !heard;
}

bool pace_is_trouble(const struct http_call *call)
{
    static const int passing[] = {408, 429, 500, 502, 503, 504};
    if (call->failed)
        return call->err.kind == ERR_TEMP;
    for (size_t i = 0; i < ARRAY_LEN(passing); i++)
        if (call->resp.status == passing[i])
            return true;
    return false;
}

int64_t pace_delay_ms(int tries)
{
    int64_t delay = DELAY_FIRST_MS;
    for (int i = 1; i < tries && delay < DELAY_MOST_MS; i++)
        delay *= 2;
    if (delay > DELAY_MOST_MS)
        delay = DELAY_MOST_MS;
    return delay / 2 + random_below(delay / 2 + 1);
}

bool pace_parse_rate(const char *text, int64_t *number, int64_t *window_s)
{
    char digits[20];
    size_t len = strspn(text, "0123456789");
    if (len == 0 || len >= sizeof digits)
        return false;
    (void)snprintf(digits, sizeof digits, "%.*s", (int)len, text);
    if (!str_to_i64(digits, number))
        return false;
    for (const char *p = text + len; *p == ';' || *p == ' '; p += strcspn(p, ";")) {
        p += strspn(p, "; ");
        size_t n = str_starts(p, "w=") ? strspn(p + 2, "0123456789") : 0;
        if (n == 0 || n >= sizeof digits)
            continue;
        (void)snprintf(digits, sizeof digits, "%.*s", (int)n, p + 2);
        (void)str_to_i64(digits, window_s);
    }
    return true;
}

static const char *rate_header(const struct http_headers *h, const char *name)
{
    char standard[64];
    (void)snprintf(standard, sizeof standard, "X-%s", name);
    const char *value = http_header(h, name);
    return value ? value : http_header(h, standard);
}

static void note_rate(struct registry_host *h, const struct http_headers *headers)
{
    const char *limit = rate_header(headers, "RateLimit-Limit");
    const char *remaining = rate_header(headers, "RateLimit-Remaining");
    int64_t number, window_s = 0;
    if (limit && pace_parse_rate(limit, &number, &window_s))
        h->rate.limit = number;
    if (remaining && pace_parse_rate(remaining, &number, &window_s))
        h->rate.remaining = number;
    if (!limit && !remaining)
        return;
    if (window_s)
        h->rate.window_s = window_s;
    h->rate.seen_ms = clock_now_ms();
}

/* Notes the text; false when it was there, or too many were. */
static bool is_new_warning(struct registry *r, const char *host, const char *text)
{
    char *both CLEANUP(cleanup_free) = xasprintf("%s %s", host, text);
    uint64_t hash = strset_hash(both);
    for (size_t i = 0; i < r->warnings_n; i++)
        if (r->warnings[i] == hash)
            return false;
    if (r->warnings_n == WARNINGS_KEPT)
        return false;
    if (!r->warnings)
        r->warnings = xcalloc(WARNINGS_KEPT, sizeof *r->warnings);
    r->warnings[r->warnings_n++] = hash;
    return true;
}

/* Distribution-spec 1.1, "Warnings": 299 - "text". Shown once, never acted on. */
static void note_warnings(struct registry *r, const struct registry_host *h,
                          const struct http_headers *headers)
{
    for (size_t i = 0; i < headers->n; i++) {
        const char *text = str_after(headers->at[i].value, "299 - ");
        if (!str_caseeq(headers->at[i].name, "Warning") || !text || strlen(text) > KIB(4))
            continue;
        char shown[WARNING_SHOWN];
        (void)snprintf(shown, sizeof shown, "%s", text);
        registry_lock(r);
        bool is_new = is_new_warning(r, h->conf->host, text);
        registry_unlock(r);
        if (is_new)
            log_warn("the registry warns", "registry", h->conf->host, "text", shown, NULL);
    }
}

/* How long an answer keeps the host quiet. Call with the lock held. */
static int64_t quiet_for(struct registry_host *h, const struct http_call *call, int64_t now)
{
    int64_t asked_ms = http_retry_after(&call->resp, clock_now_ms() / 1000) * 1000;
    /* Those that were under way together are one trouble. */
    if (h->quiet_until <= now)
        h->troubles++;
    if (!call->failed && asked_ms > 0)
        return asked_ms;
    int64_t delay = pace_delay_ms(h->troubles);
    if (!call->failed && call->resp.status == 429)
        return delay;
    if (h->troubles < TROUBLES_CALM)
        return 0;
    return delay < TROUBLE_MOST_MS ? delay : TROUBLE_MOST_MS;
}

void pace_note(struct registry *r, struct registry_host *h, const struct http_call *call)
{
    registry_lock(r);
    struct registry_host *pace = shared(r, h);
    int64_t now = clock_monotonic_ms();
    note_rate(h, &call->resp.headers);
    if (pace_is_trouble(call)) {
        int64_t until = now + quiet_for(pace, call, now);
        if (until > pace->quiet_until)
            pace->quiet_until = until;
    } else if (!call->failed) {
        pace->troubles = 0;
    }
    pace->heard = pace->heard || !call->failed;
    registry_unlock(r);
    note_warnings(r, h, &call->resp.headers);
}

struct registry_rate registry_rate(struct registry *r, const char *host, bool anonymous)
{
    struct registry_host *h = registry_find(r, host, anonymous);
    if (!h)
        return (struct registry_rate){.limit = -1, .remaining = -1};
    registry_lock(r);
    struct registry_rate rate = h->rate;
    registry_unlock(r);
    return rate;
}
