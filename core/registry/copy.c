#include "core/registry/copy.h"

#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/os/clock.h"
#include "core/registry/copy_internal.h"

#include <errno.h>
#include <stdarg.h>

/* What one copy knows about its tags. */
struct tag {
    bool shows_root; /* before or after it was written */
    bool written;
};

int image_stopped(const struct image *im, struct err *err)
{
    const atomic_bool *stop = im->e->opts->stop;
    if (stop && atomic_load(stop))
        return err_set(err, ERR_TEMP, ECANCELED, "stopped before it was done");
    if (clock_monotonic_ms() >= im->e->until)
        return err_set(err, ERR_TEMP, ETIMEDOUT, "the time was over before it was done");
    return 0;
}

/* What was cut off by the end of the time failed for that reason, whatever it says. */
static void tell_time(const struct engine *e, struct err *err)
{
    if (clock_monotonic_ms() < e->until || err->kind != ERR_TEMP || err->code == ECANCELED)
        return;
    (void)err_wrap(err, "not done within the time limit; the next run goes on");
    err->code = ETIMEDOUT;
}

void image_note(struct image *im, const char *fmt, ...)
{
    char line[1000];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (!str_in(line, &im->notes) && im->notes.n < LIMIT_DIAGS)
        *list_push(&im->arena, &im->notes) = arena_strdup(&im->arena, line);
}

int image_refused(const struct image *im, const struct registry_op *ops, size_t n, struct err *err)
{
    if (place_failed(ops, n, err) == 0)
        return 0;
    if (err->code != 400 && err->code != 404)
        return -1;
    if (im->left_out)
        return err_wrap(err, "this registry takes no index with missing children; copy all "
                             "platforms");
    if (im->stays)
        return err_wrap(err, "this registry takes no manifest whose layers stay elsewhere");
    return -1;
}

/* --- looking: is there anything to do? ----------------------------------------------------------
 */

static int absent_source(struct image *im, const struct registry_op *op, struct err *err)
{
    im->c->absent = true;
    /* A layout says which names there are. */
    if (op->err.kind != ERR_NONE) {
        *err = op->err;
        err->code = ENOENT;
        return -1;
    }
    return err_set(err, ERR_PERM, ENOENT, "%s is not there",
                   place_what(&im->from, im->c->from_ref, &im->arena));
}

static int moved(const struct image *im, const char *now, const char *before, struct arena *a,
                 struct err *err)
{
    return err_set(err, ERR_TEMP, ESTALE, "%s shows %s and not %s: it has been moved",
                   place_what(&im->from, im->c->from_ref, a), now, before);
}

/* The digest of the source; asked for unless the reference itself says it. */
static int look_at_source(struct image *im, const char **digest, struct err *err)
{
    struct copy *c = im->c;
    if (c->from_ref && imageref_digest_ok(c->from_ref)) {
        *digest = c->from_ref;
    } else {
        struct registry_op op = {.verb = REGISTRY_HEAD, .ref = c->from_ref};
        if (place_all(&im->from, &im->arena, &op, 1))
            return place_failed(&op, 1, err);
        if (op.absent)
            return absent_source(im, &op, err);
        *digest = op.digest;
        c->media_type = op.media_type;
    }
    if (c->expected && !str_eq(c->expected, *digest))
        return moved(im, *digest, c->expected, &im->arena, err);
    return 0;
}

/* What the target's tags show. *one: the digest that all show, NULL: there is none. */
static int look_at_tags(struct image *im, struct registry_op *ops, const char **one,
                        struct err *err)
{
    const struct str_list *tags = &im->c->to_tags;
    *one = NULL;
    for (size_t i = 0; i < tags->n; i++)
        ops[i] = (struct registry_op){.verb = REGISTRY_HEAD, .ref = tags->at[i]};
    if (place_all(&im->to, &im->arena, ops, tags->n))
        return place_failed(ops, tags->n, err);
    bool all = tags->n > 0, none = true;
    for (size_t i = 0; i < tags->n; i++) {
        none = none && ops[i].absent;
        all = all && !ops[i].absent && str_eq(ops[i].digest, ops[0].digest);
    }
    /* In a repository of the same registry that has nothing of it, what is there costs less to
     * mount again than to ask for. */
    if (im->same_host && none)
        im->ask_first = false;
    if (all)
        *one = ops[0].digest;
    return 0;
}

/* The first requests. *known: the source's digest, NULL: not asked yet. */
static int look(struct image *im, struct registry_op *ops, const char **known, struct err *err)
{
    struct copy *c = im->c;
    const char *one;
    *known = NULL;
    if (look_at_tags(im, ops, &one, err) < 0)
        return -1;
    if ((one || c->to_tags.n == 0) && look_at_source(im, known, err) < 0)
        return -1;
    if (c->to_tags.n == 0) {
        struct registry_op op = {.verb = REGISTRY_HEAD, .ref = *known};
        if (place_all(&im->to, &im->arena, &op, 1))
            return place_failed(&op, 1, err);
        im->root_there = !op.absent;
        one = op.absent ? NULL : *known;
    }
    c->same = one && str_eq(one, *known) && c->platforms.n == 0;
    if (c->same)
        c->digest = *known;
    return 0;
}

/* --- the root -----------------------------------------------------------------------------------
 */

static int fetch_root(struct image *im, const char *known, struct manifest *m, struct err *err)
{
    struct copy *c = im->c;
    struct registry_op *op = &im->root;
    const char *expected = known ? known : c->expected;
    /* The same bytes, nearer. */
    const struct endpoint *at = c->same && !im->to.registry ? &im->to : &im->from;
    *op = (struct registry_op){.verb = REGISTRY_GET, .ref = known ? known : c->from_ref};
    if (known)
        op->media_type = c->media_type;
    if (place_all(at, &im->arena, op, 1))
        return place_failed(op, 1, err);
    if (op->absent)
        return absent_source(im, op, err);
    if (expected && !str_eq(op->digest, expected))
        return moved(im, op->digest, expected, &im->arena, err);
    c->digest = op->digest;
    c->media_type = op->media_type;
    return walk_parse(at, op, -1, &im->arena, m, err);
}

int image_put_root(struct image *im, struct err *err)
{
    struct registry_op op = im->root;
    if (im->root_there || im->same_repo)
        return 0;
    op.verb = REGISTRY_PUT;
    op.ref = op.digest;
    if (!im->c->dry_run && place_all(&im->to, &im->arena, &op, 1))
        return image_refused(im, &op, 1, err);
    im->root_there = true;
    im->c->manifests_put++;
    return 0;
}

/* An image of which the target has the manifest has its blobs too. Of an index the children are
 * asked for, each: some registries hold indexes of which children are missing. */
static int ask_for_root(struct image *im, const struct manifest *m, struct err *err)
{
    if (m->is_index || im->root_there || !im->ask_first)
        return 0;
    struct registry_op op = {
        .verb = REGISTRY_HEAD, .ref = im->root.digest, .media_type = im->root.media_type};
    if (place_all(&im->to, &im->arena, &op, 1))
        return place_failed(&op, 1, err);
    im->root_there = !op.absent;
    return 0;
}

/* Everything that the tags need. */
static int bring_all(struct image *im, const struct manifest *m, struct err *err)
{
    struct str_list digests = {0};
    struct walk w = {
        .im = im, .platforms = &im->c->platforms, .digests = &digests, .ask_first = im->ask_first};
    const char *what = place_what(&im->from, im->c->from_ref, &im->arena);
    *list_push(&im->arena, &digests) = im->root.digest;
    if (im->same_repo)
        return 0;
    if (walk_check_platform(im, m, what, err) < 0 || ask_for_root(im, m, err) < 0)
        return -1;
    if (im->c->same && !im->look_below)
        walk_digests(&w, m);
    else if ((m->is_index || !im->root_there) && walk_below(&w, m, what, err) < 0)
        return -1;
    if (im->c->manifests_put || im->c->blobs_moved)
        im->c->same = false;
    if (im->c->same && !im->c->companions_of_same)
        return 0;
    return im->c->no_companions ? 0 : companions_copy(im, &digests, err);
}

/* --- tags ---------------------------------------------------------------------------------------
 */

static int put_tags(struct image *im, struct tag *tags, struct err *err)
{
    const struct str_list *names = &im->c->to_tags;
    struct registry_op *ops = arena_alloc(&im->arena, (names->n + 1) * sizeof *ops);
    size_t n = 0;
    for (size_t i = 0; i < names->n; i++)
        if (!tags[i].shows_root) {
            tags[i].written = true;
            ops[n] = im->root;
            ops[n].verb = REGISTRY_PUT;
            ops[n++].ref = names->at[i];
        }
    /* Without a tag a layout's image would be nobody's root. */
    if (names->n == 0 && (!im->root_there || !im->to.registry)) {
        ops[n] = im->root;
        ops[n].verb = REGISTRY_PUT;
        ops[n].ref = im->to.registry ? im->root.digest : NULL;
        n++;
    }
    im->c->manifests_put += n;
    if (im->c->dry_run || n == 0 || place_all(&im->to, &im->arena, ops, n) == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        im->c->manifests_put -= ops[i].failed;
    return image_refused(im, ops, n, err);
}

/* One look at those written tags that have not been seen yet; returns how many are left. */
static size_t read_back(struct image *im, struct tag *tags, struct arena *a, struct err *err)
{
    const struct str_list *names = &im->c->to_tags;
    struct registry_op *ops = arena_alloc(a, names->n * sizeof *ops);
    struct tag **of = arena_alloc(a, names->n * sizeof(struct tag *));
    size_t n = 0, left = 0;
    for (size_t i = 0; i < names->n; i++)
        if (tags[i].written && !tags[i].shows_root) {
            of[n] = &tags[i];
            ops[n++] = (struct registry_op){.verb = REGISTRY_HEAD, .ref = names->at[i]};
        }
    (void)place_all(&im->to, a, ops, n);
    for (size_t i = 0; i < n; i++) {
        of[i]->shows_root =
            !ops[i].failed && !ops[i].absent && str_eq(ops[i].digest, im->root.digest);
        if (of[i]->shows_root)
            continue;
        left++;
        if (ops[i].failed)
            *err = ops[i].err;
        else
            (void)err_set(err, ERR_TEMP, 0,
                          "%s was written and shows %s, not %s: the registry lags behind, or "
                          "somebody else wrote it",
                          place_what(&im->to, ops[i].ref, a),
                          ops[i].absent ? "nothing" : ops[i].digest, im->root.digest);
    }
    return left;
}

/* An immutable tag may not be pushed again, not even by one whose first answer was lost. */
static bool shows_anyway(struct image *im, struct tag *tags, const struct err *refused)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err ignored = ERR_INIT;
    return im->c->to_tags.n && refused->kind == ERR_PERM && read_back(im, tags, &a, &ignored) == 0;
}

static int flip(struct image *im, struct tag *tags, struct err *err)
{
    if (image_stopped(im, err) < 0)
        return -1;
    if (put_tags(im, tags, err) < 0)
        return shows_anyway(im, tags, err) ? 0 : -1;
    if (im->c->dry_run)
        return 0;
    for (int i = 0;; i++) {
        struct arena a CLEANUP(arena_release) = ARENA_INIT;
        if (read_back(im, tags, &a, err) == 0)
            return 0;
        if (i + 1 == LIMIT_READBACK_TRIES)
            return -1;
        clock_sleep_ms((int64_t)LIMIT_READBACK_PAUSE_MS << i);
    }
}

/* --- one copy -----------------------------------------------------------------------------------
 */

/* Looking is cheap and bounded by the threads; what moves bytes waits for its turn. */
static void take_place(struct image *im)
{
    struct engine *e = im->e;
    size_t limit = e->opts->images ? e->opts->images : LIMIT_COPY_IMAGES;
    (void)pthread_mutex_lock(&e->lock);
    while (e->working >= limit)
        (void)pthread_cond_wait(&e->done, &e->lock);
    e->working++;
    (void)pthread_mutex_unlock(&e->lock);
    im->holds_place = true;
}

static int check(const struct image *im, struct err *err)
{
    const struct copy *c = im->c;
    if ((!c->from.registry && !c->from.layout) || (!c->to.registry && !c->to.layout))
        return err_set(err, ERR_BUG, 0, "a copy without a source or without a target");
    if (c->from.registry && !c->from_ref)
        return err_set(err, ERR_BUG, 0, "a copy of no tag and no digest");
    return image_stopped(im, err);
}

static void prepare(struct image *im)
{
    struct copy *c = im->c;
    im->from = c->from;
    im->to = c->to;
    im->from.access.until = im->to.access.until = im->e->until;
    im->from.access.patient = im->to.access.patient = true;
    im->same_host = c->from.registry && c->from.registry == c->to.registry &&
                    str_caseeq(c->from.host, c->to.host);
    im->same_repo = im->same_host && str_eq(c->from.name, c->to.name);
    im->ask_first = true;
    /* One token for both repositories, which mounts need. */
    if (im->same_host && !im->same_repo)
        im->to.access.with = c->from.name;
    if (im->same_repo && im->from.access.anonymous == im->to.access.anonymous)
        im->from.access = im->to.access;
    else
        im->from.access.read_only = true;
    c->failed = c->absent = c->same = false;
    c->err = (struct err)ERR_INIT;
    c->digest = c->media_type = NULL;
    c->bytes_total = c->bytes_moved = 0;
    c->blobs = c->blobs_moved = c->blobs_mounted = c->manifests_put = c->companions = 0;
    c->notes = (struct str_list){0};
}

static int copy_one(struct image *im, struct err *err)
{
    struct copy *c = im->c;
    size_t n = c->to_tags.n;
    struct manifest m = {0};
    const char *known;
    if (check(im, err) < 0)
        return -1;
    struct registry_op *ops = arena_alloc(&im->arena, n * sizeof *ops);
    struct tag *tags = arena_alloc(&im->arena, (n + 1) * sizeof *tags);
    if (look(im, ops, &known, err) < 0)
        return -1;
    bool sparse = c->check_below_same || !im->to.registry;
    im->look_below = sparse && (!c->media_type || walk_is_index(c->media_type));
    if (c->same && !im->look_below && (c->no_companions || !c->companions_of_same))
        return 0;
    take_place(im);
    if (fetch_root(im, known, &m, err) < 0)
        return -1;
    im->look_below = sparse && m.is_index;
    bool all = n > 0;
    for (size_t i = 0; i < n; i++) {
        tags[i].shows_root = !ops[i].absent && str_eq(ops[i].digest, im->root.digest);
        im->root_there = im->root_there || tags[i].shows_root;
        all = all && tags[i].shows_root;
    }
    if (bring_all(im, &m, err) < 0 || flip(im, tags, err) < 0)
        return -1;
    c->same = c->same || (all && c->manifests_put == 0);
    return 0;
}

static void end(struct image *im)
{
    struct engine *e = im->e;
    struct copy *c = im->c;
    const struct copy_watch *watch = e->opts->watch;
    (void)pthread_mutex_lock(&e->lock);
    e->working -= im->holds_place;
    (void)pthread_cond_broadcast(&e->done);
    (void)pthread_mutex_unlock(&e->lock);
    (void)pthread_mutex_lock(&e->watch_lock);
    c->digest = arena_strdup(e->out, c->digest);
    c->media_type = arena_strdup(e->out, c->media_type);
    for (size_t i = 0; i < im->notes.n; i++)
        *list_push(e->out, &c->notes) = arena_strdup(e->out, im->notes.at[i]);
    if (watch && watch->ended)
        watch->ended(watch->user, c);
    (void)pthread_mutex_unlock(&e->watch_lock);
    arena_release(&im->arena);
}

/* --- many copies --------------------------------------------------------------------------------
 */

static void *images_main(void *arg)
{
    struct engine *e = arg;
    for (;;) {
        (void)pthread_mutex_lock(&e->lock);
        struct image *im = e->next < e->n ? &e->images[e->next++] : NULL;
        (void)pthread_mutex_unlock(&e->lock);
        if (!im)
            return NULL;
        im->c->failed = copy_one(im, &im->c->err) < 0;
        if (im->c->failed) {
            tell_time(e, &im->c->err);
            im->c->same = false;
        }
        end(im);
    }
}

static void engine_init(struct engine *e, struct arena *a, struct copy *copies, size_t n,
                        const struct copy_opts *opts)
{
    *e = (struct engine){.opts = opts, .until = opts->until, .n = n, .out = a};
    if (!e->until)
        e->until = clock_monotonic_ms() + LIMIT_COPY_S * INT64_C(1000);
    e->images = xcalloc(n, sizeof *e->images);
    e->last = &e->first;
    (void)pthread_mutex_init(&e->lock, NULL);
    (void)pthread_mutex_init(&e->watch_lock, NULL);
    (void)pthread_cond_init(&e->work, NULL);
    (void)pthread_cond_init(&e->done, NULL);
    for (size_t i = 0; i < SUBJECT_LOCKS; i++)
        (void)pthread_mutex_init(&e->subjects[i], NULL);
    for (size_t i = 0; i < n; i++) {
        e->images[i] = (struct image){.e = e, .c = &copies[i]};
        prepare(&e->images[i]);
    }
}

static void engine_release(struct engine *e)
{
    pool_end(e);
    for (struct source *s = e->source_list; s; s = s->next) {
        arena_release(&s->arena);
        (void)pthread_mutex_destroy(&s->lock);
    }
    for (size_t i = 0; i < SUBJECT_LOCKS; i++)
        (void)pthread_mutex_destroy(&e->subjects[i]);
    (void)pthread_cond_destroy(&e->work);
    (void)pthread_cond_destroy(&e->done);
    (void)pthread_mutex_destroy(&e->lock);
    (void)pthread_mutex_destroy(&e->watch_lock);
    arena_release(&e->arena);
    free(e->images);
}

size_t copy_all(struct arena *a, struct copy *copies, size_t n, const struct copy_opts *opts)
{
    static const struct copy_opts usual = {0};
    struct engine e;
    pthread_t threads[LIMIT_COPY_LOOKS];
    size_t started = 0, failed = 0;
    engine_init(&e, a, copies, n, opts ? opts : &usual);
    /* This thread works too, so that none that cannot be started is missed. */
    while (started + 1 < n && started < LIMIT_COPY_LOOKS - 1 &&
           pthread_create(&threads[started], NULL, images_main, &e) == 0)
        started++;
    (void)images_main(&e);
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL);
    engine_release(&e);
    for (size_t i = 0; i < n; i++)
        failed += copies[i].failed;
    return failed;
}
