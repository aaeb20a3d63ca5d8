#include "core/registry/copy_internal.h"

#include "core/base/str.h"
#include "core/registry/registry_internal.h"

#include <errno.h>

enum job_state {
    JOB_IDLE, /* nobody wants it */
    JOB_QUEUED,
    JOB_RUNNING,
    JOB_DONE,
    JOB_FAILED
};

/* One blob for one target repository, whoever wants it there. */
struct job {
    struct job *next;
    struct image *by;    /* whose endpoints are used: images live as long as the engine */
    struct image *owner; /* who is told of the bytes; guarded by watch_lock; NULL: gave up */
    struct slot *from, *to;
    struct descriptor blob;
    enum job_state state;
    enum blob_way way;
    size_t wanted;
    int64_t reported; /* guarded by watch_lock */
    struct err *err;  /* JOB_FAILED; in the engine's arena */
};

/* --- with the engine's lock held ----------------------------------------------------------------
 */

static struct slot *slot_of(struct engine *e, const struct endpoint *at)
{
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    void **place = strset_at(&e->slots, &e->arena, place_host(at, &scratch));
    struct slot *s = *place;
    if (s)
        return s;
    s = *place = arena_alloc(&e->arena, sizeof *s);
    const struct registry_host *h =
        at->registry ? registry_find(at->registry, at->host, at->access.anonymous) : NULL;
    s->limit = h && h->conf->transfers ? h->conf->transfers : LIMIT_HOST_TRANSFERS;
    return s;
}

/* Both hosts of a copy have to have room; one host is counted once. */
static bool has_room(const struct job *j)
{
    return j->from->busy < j->from->limit && j->to->busy < j->to->limit;
}

static void occupy(const struct job *j)
{
    j->from->busy++;
    if (j->to != j->from)
        j->to->busy++;
}

static void leave(const struct job *j)
{
    j->from->busy--;
    if (j->to != j->from)
        j->to->busy--;
}

static void unqueue(struct engine *e, struct job **at)
{
    struct job *j = *at;
    *at = j->next;
    if (e->last == &j->next)
        e->last = at;
    j->next = NULL;
    e->queued--;
}

/* The first job that may begin, taken off the queue; NULL: none. */
static struct job *pick(struct engine *e)
{
    bool stop = image_stopped(e->images, NULL) < 0;
    for (struct job **at = &e->first; *at; at = &(*at)->next) {
        struct job *j = *at;
        if (!stop && !has_room(j))
            continue;
        unqueue(e, at);
        return j;
    }
    return NULL;
}

static void *pool_main(void *arg);

static void fail(struct engine *e, struct job *j, const struct err *err)
{
    j->state = JOB_FAILED;
    j->err = arena_memdup(&e->arena, err, sizeof *err);
    (void)pthread_cond_broadcast(&e->done);
}

static void enqueue(struct engine *e, struct job *j, struct image *by)
{
    j->by = by;
    j->from = slot_of(e, &by->from);
    j->to = slot_of(e, &by->to);
    j->state = JOB_QUEUED;
    j->next = NULL;
    (void)pthread_mutex_lock(&e->watch_lock);
    j->owner = by;
    j->reported = 0;
    (void)pthread_mutex_unlock(&e->watch_lock);
    *e->last = j;
    e->last = &j->next;
    e->queued++;
    if (e->idle < e->queued && e->threads_n < LIMIT_COPY_THREADS) {
        int rc = pthread_create(&e->threads[e->threads_n], NULL, pool_main, e);
        e->threads_n += rc == 0;
        if (rc != 0 && e->threads_n == 0) {
            struct err err = ERR_INIT;
            (void)err_errno(&err, ERR_TEMP, rc, "cannot start a thread");
            for (struct job **at = &e->first; *at;)
                if (*at == j)
                    unqueue(e, at);
                else
                    at = &(*at)->next;
            fail(e, j, &err);
        }
    }
    (void)pthread_cond_signal(&e->work);
}

/* An image does not want it any more. */
static void drop(struct engine *e, struct image *im, struct job *j)
{
    j->wanted--;
    (void)pthread_mutex_lock(&e->watch_lock);
    if (j->owner == im)
        j->owner = NULL;
    (void)pthread_mutex_unlock(&e->watch_lock);
    if (j->wanted || j->state != JOB_QUEUED)
        return;
    for (struct job **at = &e->first; *at; at = &(*at)->next)
        if (*at == j) {
            unqueue(e, at);
            break;
        }
    j->state = JOB_IDLE;
}

/* --- moving -------------------------------------------------------------------------------------
 */

static void report(struct job *j, int64_t bytes)
{
    struct engine *e = j->by->e;
    const struct copy_watch *watch = e->opts->watch;
    (void)pthread_mutex_lock(&e->watch_lock);
    j->reported += bytes;
    if (bytes && watch && watch->moved && j->owner)
        watch->moved(watch->user, j->owner->c, bytes);
    (void)pthread_mutex_unlock(&e->watch_lock);
}

static void on_moved(void *user, int64_t bytes)
{
    report(user, bytes);
}

static int64_t reported(struct job *j)
{
    struct engine *e = j->by->e;
    (void)pthread_mutex_lock(&e->watch_lock);
    int64_t bytes = j->reported;
    (void)pthread_mutex_unlock(&e->watch_lock);
    return bytes;
}

/* What would come of it. */
static int look_at_blob(const struct job *j, enum blob_way *way, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    bool there = false;
    if (blob_exists(&j->by->to, &j->blob, &a, &there, err) < 0)
        return -1;
    *way = there ? BLOB_THERE : j->by->same_host ? BLOB_MOUNTED : BLOB_MOVED;
    return 0;
}

static void run(struct engine *e, struct job *j)
{
    struct err err = ERR_INIT;
    enum blob_way way = BLOB_THERE;
    const struct image *by = j->by;
    const struct blob_progress progress = {on_moved, j};
    int rc = image_stopped(by, &err);
    j->state = JOB_RUNNING;
    occupy(j);
    bool mount = by->same_host && !j->to->no_mounts;
    (void)pthread_mutex_unlock(&e->lock);
    if (rc == 0)
        rc = by->c->dry_run ? look_at_blob(j, &way, &err)
                            : blob_copy(&by->from, &by->to, &j->blob, mount, &progress, &way, &err);
    int64_t rest = (rc == 0 && way == BLOB_MOVED ? j->blob.size : 0) - reported(j);
    if (!by->c->dry_run)
        report(j, rest);
    (void)pthread_mutex_lock(&e->lock);
    leave(j);
    if (rc == 0 && mount && way == BLOB_MOVED)
        j->to->no_mounts = true;
    j->way = way;
    if (rc == 0)
        j->state = JOB_DONE;
    else
        fail(e, j, &err);
    (void)pthread_cond_broadcast(&e->done);
    (void)pthread_cond_broadcast(&e->work);
}

static void *pool_main(void *arg)
{
    struct engine *e = arg;
    (void)pthread_mutex_lock(&e->lock);
    while (!e->closing) {
        struct job *j = pick(e);
        if (j) {
            run(e, j);
            continue;
        }
        e->idle++;
        (void)pthread_cond_wait(&e->work, &e->lock);
        e->idle--;
    }
    (void)pthread_mutex_unlock(&e->lock);
    return NULL;
}

void pool_end(struct engine *e)
{
    (void)pthread_mutex_lock(&e->lock);
    e->closing = true;
    (void)pthread_cond_broadcast(&e->work);
    (void)pthread_mutex_unlock(&e->lock);
    for (size_t i = 0; i < e->threads_n; i++)
        (void)pthread_join(e->threads[i], NULL);
}

/* --- asking and waiting -------------------------------------------------------------------------
 */

static void tell_plan(const struct image *im)
{
    const struct copy_watch *watch = im->e->opts->watch;
    if (!watch || !watch->planned)
        return;
    (void)pthread_mutex_lock(&im->e->watch_lock);
    watch->planned(watch->user, im->c, im->plan_bytes, im->plan_blobs);
    (void)pthread_mutex_unlock(&im->e->watch_lock);
}

void pool_want(struct image *im, const struct descriptor *blob, struct arena *a,
               struct tickets *tickets)
{
    struct engine *e = im->e;
    struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
    const char *key = arena_printf(&scratch, "%s %lld", blob->digest, (long long)blob->size);
    struct ticket *t = list_push(a, tickets);
    t->first = strset_add(&im->blobs, &im->arena, key);
    if (t->first) {
        im->c->blobs++;
        im->c->bytes_total += blob->size;
        im->plan_blobs++;
        im->plan_bytes += blob->size;
    }
    key = arena_printf(&scratch, "%s %s%s", place_key(&im->to, &scratch), key,
                       im->c->dry_run ? " dry" : "");
    (void)pthread_mutex_lock(&e->lock);
    void **place = strset_at(&e->jobs, &e->arena, key);
    if (!*place) {
        struct job *fresh = *place = arena_alloc(&e->arena, sizeof *fresh);
        fresh->blob = (struct descriptor){.media_type = arena_strdup(&e->arena, blob->media_type),
                                          .digest = arena_strdup(&e->arena, blob->digest),
                                          .size = blob->size};
    }
    t->job = *place;
    t->job->wanted++;
    if (t->job->state == JOB_IDLE)
        enqueue(e, t->job, im);
    (void)pthread_mutex_unlock(&e->lock);
}

/* Another image's source failed it; ours may have it. */
static bool worth_a_try(const struct image *im, const struct ticket *t)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    return !t->retried && image_stopped(im, NULL) == 0 &&
           !str_eq(place_key(&im->from, &a), place_key(&t->job->by->from, &a));
}

/* Looks at what came of the tickets; returns how many are open. With the lock held. */
static size_t look_over(struct image *im, struct tickets *tickets, bool leave_it, struct job **bad)
{
    struct engine *e = im->e;
    size_t open = 0;
    list_each (struct ticket, t, tickets) {
        struct job *j = t->job;
        if (t->settled)
            continue;
        if (j->state == JOB_FAILED && !leave_it && worth_a_try(im, t)) {
            t->retried = true;
            enqueue(e, j, im);
        }
        if (j->state == JOB_FAILED && !*bad)
            *bad = j;
        if (j->state == JOB_QUEUED && (*bad || leave_it)) {
            drop(e, im, j);
            t->settled = true;
        } else if (j->state == JOB_QUEUED || j->state == JOB_RUNNING) {
            open++;
        } else {
            (void)pthread_mutex_lock(&e->watch_lock);
            if (!j->owner && j->state == JOB_DONE)
                j->owner = im;
            t->mine = j->state == JOB_DONE && j->owner == im;
            (void)pthread_mutex_unlock(&e->watch_lock);
            /* Who takes it up when it failed wants it alone. */
            j->wanted--;
            t->settled = true;
        }
    }
    return open;
}

/* Counts what came of a blob. */
static void count(struct image *im, const struct ticket *t)
{
    const struct job *j = t->job;
    if (!t->first || j->state != JOB_DONE)
        return;
    if (t->mine && j->way == BLOB_MOVED) {
        im->c->blobs_moved++;
        im->c->bytes_moved += j->blob.size;
        return;
    }
    if (t->mine && j->way == BLOB_MOUNTED)
        im->c->blobs_mounted++;
    im->plan_blobs--;
    im->plan_bytes -= j->blob.size;
}

/* Waits for what is under way; returns the first that failed. */
static const struct job *settle(struct image *im, struct tickets *tickets, bool leave_it)
{
    struct engine *e = im->e;
    struct job *bad = NULL;
    (void)pthread_mutex_lock(&e->lock);
    for (;;) {
        const struct job *before = bad;
        size_t open = look_over(im, tickets, leave_it, &bad);
        if (open == 0)
            break;
        if (bad == before)
            (void)pthread_cond_wait(&e->done, &e->lock);
    }
    list_each (const struct ticket, t, tickets)
        count(im, t);
    (void)pthread_mutex_unlock(&e->lock);
    return bad;
}

int pool_wait(struct image *im, struct tickets *tickets, struct err *err)
{
    if (tickets->n == 0)
        return 0;
    tell_plan(im);
    const struct job *bad = settle(im, tickets, false);
    tell_plan(im);
    if (!bad)
        return 0;
    /* Another image may be trying it anew. */
    (void)pthread_mutex_lock(&im->e->lock);
    *err = *bad->err;
    (void)pthread_mutex_unlock(&im->e->lock);
    return -1;
}

void pool_leave(struct image *im, struct tickets *tickets)
{
    (void)settle(im, tickets, true);
}
