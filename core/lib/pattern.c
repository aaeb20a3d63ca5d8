#include "core/lib/pattern.h"

#include "core/base/limits.h"
#include "core/base/str.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define PATTERN_HEAP_KIB 16384 /* what one match may use */

struct pattern {
    char *text;
    pcre2_code *regex; /* NULL: a glob */
    pcre2_match_context *limits;
};

/* The settings are only read by a match, so that one context serves all threads. */
static pcre2_match_context *match_limits(const pcre2_code *regex)
{
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    size_t size = 0;
    if (!limits || pcre2_pattern_info(regex, PCRE2_INFO_SIZE, &size) || !size)
        abort();
    /* Between two steps that PCRE2 counts it may run through all of the code. */
    size_t steps = LIMIT_PATTERN_WORK / size;
    (void)pcre2_set_match_limit(
        limits, (uint32_t)(steps < LIMIT_PATTERN_MATCH ? steps : LIMIT_PATTERN_MATCH));
    (void)pcre2_set_depth_limit(limits, LIMIT_PATTERN_DEPTH);
    (void)pcre2_set_heap_limit(limits, PATTERN_HEAP_KIB);
    return limits;
}

static int compile_regex(struct pattern *p, struct err *err)
{
    const uint32_t options = PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOLLAR_ENDONLY |
                             PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C;
    int code;
    PCRE2_SIZE offset;
    p->regex =
        pcre2_compile((PCRE2_SPTR)p->text, PCRE2_ZERO_TERMINATED, options, &code, &offset, NULL);
    if (!p->regex) {
        PCRE2_UCHAR why[128] = "";
        (void)pcre2_get_error_message(code, why, sizeof why);
        return err_set(err, ERR_CONFIG, 0, "'%.200s' is no regular expression: %s at character %zu",
                       p->text, (const char *)why, (size_t)offset + 1);
    }
    p->limits = match_limits(p->regex);
    return 0;
}

struct pattern *pattern_compile(const char *text, struct err *err)
{
    if (str_empty(text)) {
        (void)err_set(err, ERR_CONFIG, 0, "an empty pattern matches nothing");
        return NULL;
    }
    if (strlen(text) > LIMIT_PATTERN) {
        (void)err_set(err, ERR_CONFIG, 0, "a pattern of %zu bytes is too long (at most %d)",
                      strlen(text), LIMIT_PATTERN);
        return NULL;
    }
    if (*text == '!') {
        (void)err_set(err, ERR_CONFIG, 0,
                      "'%.200s': a pattern cannot be negated with '!'; list what is wanted", text);
        return NULL;
    }
    struct pattern *p = xcalloc(1, sizeof *p);
    p->text = xstrdup(text);
    if (*text == '^' && compile_regex(p, err) < 0) {
        pattern_free(p);
        return NULL;
    }
    return p;
}

void pattern_free(struct pattern *p)
{
    if (!p)
        return;
    pcre2_code_free(p->regex);
    pcre2_match_context_free(p->limits);
    free(p->text);
    free(p);
}

bool pattern_match(const struct pattern *p, const char *subject)
{
    if (!subject)
        return false;
    if (!p->regex)
        return str_glob(p->text, subject);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    if (!data)
        abort();
    int rc = pcre2_match(p->regex, (PCRE2_SPTR)subject, strlen(subject), 0, 0, data, p->limits);
    pcre2_match_data_free(data);
    return rc >= 0;
}

const char *pattern_text(const struct pattern *p)
{
    return p->text;
}

const char *pattern_literal_prefix(const struct pattern *p, struct arena *a)
{
    return p->regex ? "" : arena_strndup(a, p->text, strcspn(p->text, "*?"));
}
