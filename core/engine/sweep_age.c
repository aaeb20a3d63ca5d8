/* How old is a staged tag? Our own record, else the registry's interface, else the image tells: the
 * last part of sweeping.h. */
#include "core/engine/sweeping.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/manifest.h"
#include "core/lib/json.h"
#include "core/os/clock.h"
#include "core/registry/blob.h"
#include "core/registry/vendor.h"

/* 2013-01-01: there were no images before; reproducible builds say 0001, 1970 or 1980. */
#define FIRST_IMAGE_S INT64_C(1356998400)

static void set_age(struct leftover *l, int64_t since_s, const char *how)
{
    int64_t age = clock_now_ms() / 1000 - since_s;
    l->c.age = SWEEP_AGE_KNOWN;
    l->c.age_s = age > 0 ? age : 0;
    l->c.age_of = how;
}

/* ---- when it was built ----------------------------------------------------------------------- */

/* One look at an image: the newest time that was found, 0 while there is none. */
struct building {
    const struct sweeping *s;
    struct endpoint at;
    struct arena *a;
    int64_t newest;
    size_t looks;
};

static int read_config(struct building *b, const struct descriptor *config, struct err *err)
{
    const void *bytes;
    size_t len;
    int64_t created = 0;
    if (!config->digest || config->size > (int64_t)LIMIT_MANIFEST)
        return 0;
    if (blob_read(&b->at, config->digest, LIMIT_MANIFEST, b->a, &bytes, &len, err) < 0)
        return -1;
    struct js *v CLEANUP_JS = js_parse(bytes, len, NULL);
    const char *text = v ? js_str(v, "created") : NULL;
    if (text && str_from_rfc3339(text, &created) && created >= FIRST_IMAGE_S && created > b->newest)
        b->newest = created;
    return 0;
}

static int read_image(struct building *b, const char *digest, int depth, struct err *err)
{
    struct manifest m;
    struct registry_op op = {.verb = REGISTRY_GET,
                             .host = b->s->host,
                             .name = b->s->name,
                             .ref = digest,
                             .access = b->at.access};
    if (++b->looks > LIMIT_SWEEP_CHILDREN)
        return err_set(err, ERR_PERM, 0, "its index lists more than %d images",
                       LIMIT_SWEEP_CHILDREN);
    if (registry_all(b->s->e->registry, b->a, &op, 1)) {
        *err = op.err;
        return -1;
    }
    if (op.absent) /* a child that was left out */
        return 0;
    if (manifest_parse(op.bytes, op.len, op.media_type, b->a, &m, err) < 0)
        return -1;
    if (!m.is_index)
        return read_config(b, &m.config, err);
    if (depth == LIMIT_DEPTH_INDEX)
        return err_set(err, ERR_PERM, 0, "its indexes are too deep");
    list_each (const struct descriptor, child, &m.children)
        if (read_image(b, child->digest, depth + 1, err) < 0)
            return -1;
    return 0;
}

static void age_by_image(struct sweeping *s, struct leftover *l)
{
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct building b = {.s = s,
                         .a = &scratch,
                         .at = {.registry = s->e->registry,
                                .host = s->host,
                                .name = s->name,
                                .access = sweeping_access(s)}};
    if (read_image(&b, l->digest, 0, &err) < 0) {
        l->c.age = err.kind == ERR_TEMP ? SWEEP_AGE_TROUBLE : SWEEP_AGE_UNKNOWN;
        l->c.age_trouble = arena_strdup(s->here, err.text);
    } else if (b.newest) {
        set_age(l, b.newest, "built");
    } else {
        l->c.age = SWEEP_AGE_UNKNOWN;
        l->c.age_trouble = "neither a record, nor the registry, nor the image tells";
    }
}

/* ---- when it was pushed ---------------------------------------------------------------------- */

static bool wants_age(const struct leftover *l)
{
    return !l->skip && !l->settled && l->c.age == SWEEP_AGE_UNASKED;
}

static void take_push_time(struct sweeping *s, const struct vendor_tag *told)
{
    if (told->pushed_ms <= 0 || !str_starts(told->tag, "change_"))
        return;
    list_each (struct leftover, l, &s->list)
        if (wants_age(l) && str_eq(l->tag, told->tag)) {
            set_age(l, told->pushed_ms / 1000, "pushed");
            return;
        }
}

/* What the interface refuses is as if there were none: the image tells. */
static void ages_by_registry(struct sweeping *s, const struct str_list *wanted)
{
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct vendor_tags told = {0};
    bool tells = false;
    if (vendor_tag_times(s->e->registry, &scratch, s->host, s->name, wanted, &told, &tells, &err) ==
        0) {
        for (size_t i = 0; tells && i < told.n; i++)
            take_push_time(s, &told.at[i]);
        return;
    }
    if (err.kind != ERR_TEMP)
        return;
    const char *why = arena_strdup(s->here, err.text);
    list_each (struct leftover, l, &s->list)
        if (wants_age(l)) {
            l->c.age = SWEEP_AGE_TROUBLE;
            l->c.age_trouble = why;
        }
}

void sweeping_ages(struct sweeping *s)
{
    struct str_list wanted = {0};
    list_each (struct leftover, l, &s->list) {
        if (!wants_age(l))
            continue;
        if (l->record)
            set_age(l, l->record->recorded_at / 1000, "recorded");
        else
            *list_push(s->here, &wanted) = l->tag;
    }
    if (wanted.n)
        ages_by_registry(s, &wanted);
    list_each (struct leftover, l, &s->list)
        if (wants_age(l) && !sweeping_stopped(s))
            age_by_image(s, l);
}
