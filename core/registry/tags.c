#include "core/registry/registry.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/base/strset.h"
#include "core/domain/imageref.h"
#include "core/domain/link.h"
#include "core/lib/json.h"
#include "core/registry/redirect.h"
#include "core/registry/registry_internal.h"

/* ECR refuses more, and nobody gives more. */
enum { PAGE = 1000 };

struct listing {
    struct registry *r;
    struct arena *a;   /* of what is found */
    struct arena page; /* of one page: a list may have very many */
    struct exchange x;
    struct strset seen;
    struct str_list *tags;
    size_t on_page;   /* of the last page: all that it held */
    size_t fresh;     /* of the last page: those that were not there before */
    const char *last; /* of the last page */
    size_t bytes;     /* of all pages */
    bool whole;       /* the registry does not know `n` */
};

static int add_tag(struct listing *l, const char *tag, struct err *err)
{
    if (strset_find(&l->seen, tag))
        return 0;
    if (l->tags->n == LIMIT_TAG_LIST)
        return err_set(err, ERR_PERM, 0, "%s/%s has more than %d tags", l->x.host->conf->host,
                       l->x.name, LIMIT_TAG_LIST);
    *list_push(l->a, l->tags) = strset_add(&l->seen, l->a, tag);
    l->fresh++;
    return 0;
}

/* What is no legal tag could not be asked for anyway. */
static int take_page(struct listing *l, struct err *err)
{
    struct err why = ERR_INIT;
    struct js *doc CLEANUP_JS =
        js_parse_within(l->x.resp.body, l->x.resp.body_len, LIMIT_TAG_VALUES, &why);
    const struct js *tags = js_get(doc, "tags");
    l->on_page = l->fresh = 0;
    bool is_list =
        tags ? !js_is_object(tags) && !js_text(tags, "", &l->page) : js_str(doc, "name") != NULL;
    if (!is_list)
        return err_set(err, ERR_PERM, 0,
                       "%s answered the question for the tags of %s with no list%s%s",
                       l->x.host->conf->host, l->x.name, doc ? "" : ": ", why.text);
    const char *last = NULL;
    l->on_page = js_len(tags);
    for (size_t i = 0; i < l->on_page; i++) {
        const char *tag = js_str(js_at(tags, i), "");
        if (!tag || !imageref_tag_ok(tag))
            continue;
        if (add_tag(l, tag, err) < 0)
            return -1;
        last = tag;
    }
    l->last = arena_strdup(&l->page, last);
    return 0;
}

/* Asks for the page in x; *absent also when the registry knows no such repository. */
static int ask(struct listing *l, bool *absent, struct err *err)
{
    const char *what = arena_printf(&l->page, "the tags of %s", l->x.name), *moved = NULL;
    exchange_all(l->r, &l->page, &l->x, 1);
    if (l->x.failed) {
        *err = l->x.err;
        return err_wrap(err, "%s/%s", l->x.host->conf->host, l->x.name);
    }
    if (redirect_follow(l->r, &l->page, &l->x, what, &moved, err) < 0)
        return -1;
    if (moved)
        l->x.url = moved;
    *absent =
        l->x.resp.status == 404 && (exchange_says_unknown(&l->x) || !exchange_has_errors(&l->x));
    if (*absent)
        return 0;
    if (l->x.resp.status != 200)
        return exchange_refused(&l->x, "list the tags of", l->x.name, err);
    l->bytes += l->x.resp.body_len;
    if (l->bytes > LIMIT_TAG_PAGES_BYTES)
        return err_set(err, ERR_PERM, 0, "%s/%s: the list of tags has more than %zu bytes",
                       l->x.host->conf->host, l->x.name, LIMIT_TAG_PAGES_BYTES);
    return take_page(l, err);
}

/* Some answer a bare 404 to `n`, which they do not know. */
static int first_page(struct listing *l, bool *absent, struct err *err)
{
    l->x.path = arena_printf(&l->page, "tags/list?n=%d", PAGE);
    if (ask(l, absent, err) < 0)
        return -1;
    if (!*absent || exchange_says_unknown(&l->x))
        return 0;
    l->whole = true;
    l->x.url = NULL;
    l->x.path = "tags/list";
    return ask(l, absent, err);
}

/* Where the present page was asked for. */
static const char *here(struct listing *l)
{
    return l->x.url ? l->x.url
                    : arena_printf(&l->page, "%s/v2/%s/%s", registry_base(l->x.host, &l->page),
                                   l->x.name, l->x.path);
}

/* The address or the path of the next page, as text of its own; NULL: there is none. *path: it is a
 * path. */
static char *next_page(const struct listing *l, const char *here, bool *path)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *url;
    *path = false;
    if (l->fresh == 0)
        return NULL;
    if (link_next(&l->x.resp.headers, &url, &a)) {
        url = http_join(&a, here, url);
        return url ? xstrdup(url) : NULL;
    }
    /* A full page without a link may be cut short. */
    *path = true;
    return l->whole || l->on_page != PAGE ? NULL
                                          : xasprintf("tags/list?n=%d&last=%s", PAGE, l->last);
}

/* Points x at the next page, and forgets this one. False: there is none. */
static bool turn(struct listing *l)
{
    bool is_path;
    char *next CLEANUP(cleanup_free) = next_page(l, here(l), &is_path);
    arena_release(&l->page);
    l->x.url = next && !is_path ? arena_strdup(&l->page, next) : NULL;
    l->x.path = next && is_path ? arena_strdup(&l->page, next) : NULL;
    return next != NULL;
}

static int all_pages(struct listing *l, bool *absent, struct err *err)
{
    if (first_page(l, absent, err) < 0)
        return -1;
    for (int page = 1; !*absent && turn(l); page++) {
        bool gone = false;
        if (page == LIMIT_TAG_PAGES)
            return err_set(err, ERR_PERM, 0, "%s/%s: the list of tags has more than %d pages",
                           l->x.host->conf->host, l->x.name, LIMIT_TAG_PAGES);
        if (ask(l, &gone, err) < 0)
            return -1;
        if (gone)
            return exchange_refused(&l->x, "list the tags of", l->x.name, err);
    }
    return 0;
}

int registry_tags(struct registry *r, struct arena *a, const char *host, const char *name,
                  const struct registry_access *access, struct str_list *tags, bool *absent,
                  struct err *err)
{
    struct err own = ERR_INIT;
    struct listing l = {.r = r,
                        .a = a,
                        .x = {.host = registry_find(r, host, access->anonymous),
                              .name = name,
                              .access = *access,
                              .method = "GET",
                              .accept = "application/json",
                              .max_body = LIMIT_TAG_PAGE},
                        .tags = tags};
    if (!err)
        err = &own;
    *tags = (struct str_list){0};
    *absent = false;
    if (!l.x.host)
        return err_set(err, ERR_CONFIG, 0, "%s/%s: this registry is not configured", host, name);
    if (!imageref_name_ok(name))
        return err_set(err, ERR_BUG, 0, "a request for tags without a legal name");
    int rc = all_pages(&l, absent, err);
    arena_release(&l.page);
    return rc;
}
