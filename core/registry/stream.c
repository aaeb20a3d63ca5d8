#include "core/registry/stream.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/registry/download.h"
#include "core/registry/flow.h"
#include "core/registry/pace.h"
#include "core/registry/upload.h"

#include <errno.h>

/* A download that moved so much since it broke the last time has its tries anew. */
#define WORTH_A_TRY ((int64_t)LIMIT_RING)

/* An attempt, or a download, that took so long and moved nothing is tried but once more. */
enum { SLOW_MS = LIMIT_STALL_MS / 3, TRIES_SLOW = 2 };

/* What is tried again after a failed attempt, and how. */
enum again { AGAIN_NOT, AGAIN_LATER, AGAIN_NOW };

/* One attempt at one blob. */
struct stream {
    const struct endpoint *from, *to;
    const struct descriptor *blob;
    struct registry *r; /* of one end; both share the HTTP client */
    struct arena arena;
    struct flow *flow;
    struct download down;
    struct upload up;
    int breaks;    /* of the download, since it moved, */
    int slow;      /* and those of them that took long */
    int64_t until; /* clock_monotonic_ms: patience with the download ends */
    int64_t began; /* clock_monotonic_ms: the present flight of it */
    int64_t broke_at;
    bool spent;     /* its tries are used up */
    bool cut;       /* the download broke, and nobody has asked for the rest yet */
    size_t chunk;   /* of each PATCH; 0: one PUT */
    bool signed_in; /* for the upload */
    bool all_sent;  /* and no answer that says what came of it */
    enum again again;
};

/* --- keeping the download alive ------------------------------------------------------------------
 */

/* Until when a broken download, or a failed attempt, may be tried again. */
static int64_t patience(const struct stream *s)
{
    int64_t until = registry_until(&s->from->access, clock_monotonic_ms() + LIMIT_PATIENCE_MS);
    return s->to ? registry_until(&s->to->access, until) : until;
}

/* The download stopped before the end. Waits and asks for the rest, unless the upload ends
 * meanwhile (then there is no new flight). */
static int resume(struct stream *s, struct err *err)
{
    int64_t received = flow_expect(s->flow);
    struct http_flight *up = s->up.flight;
    struct err broken = *err;
    if (received - s->broke_at >= WORTH_A_TRY) {
        s->breaks = s->slow = 0;
        s->until = patience(s);
    }
    s->slow +=
        received - s->broke_at < (int64_t)KIB(16) && clock_monotonic_ms() - s->began >= SLOW_MS;
    s->broke_at = received;
    for (;;) {
        if (++s->breaks >= LIMIT_TRIES || s->slow >= TRIES_SLOW ||
            clock_monotonic_ms() + pace_quiet_ms(s->down.r, s->down.host) >= s->until) {
            *err = broken;
            s->spent = true;
            return err_wrap(err, "the download was cut off %d times", s->breaks);
        }
        int64_t pause = pace_delay_ms(s->breaks);
        if (up && http_wait(s->r->http, &up, 1, pause) == 0) {
            s->cut = true;
            return 0;
        }
        if (!up && !pace_sleep(s->r, pause)) {
            *err = broken;
            return -1;
        }
        s->began = clock_monotonic_ms();
        if (download_start(&s->down, err) == 0)
            return 0;
        if (err->kind != ERR_TEMP)
            return -1;
        broken = *err;
    }
}

/* The flight of the download has ended. */
static int download_step(struct stream *s, struct err *err)
{
    int64_t before = s->broke_at;
    switch (download_ended(&s->down, err)) {
    case DOWNLOAD_GOES_ON:
        return 0;
    case DOWNLOAD_FAILED:
        return err->kind == ERR_TEMP && !flow_failed(s->flow, err) ? resume(s, err) : -1;
    case DOWNLOAD_ENDED:
        break;
    }
    if (flow_whole(s->flow))
        return 0;
    /* A clean end that comes too early may be a cut connection whose length nobody knew: worth
     * another look as long as something more comes each time. */
    if (flow_expect(s->flow) == before)
        return flow_check_end(s->flow, err);
    (void)err_set(err, ERR_TEMP, 0, "%s: the answer ended too early", s->from->host);
    return resume(s, err);
}

/* Until the upload has ended, or without one until everything is there. */
static int pump(struct stream *s, struct err *err)
{
    /* It broke when the last chunk had all that it wanted; this one wants more. */
    if (s->cut) {
        s->cut = false;
        (void)err_set(err, ERR_TEMP, 0, "%s: the connection was lost", s->from->host);
        if (resume(s, err) < 0)
            return -1;
    }
    while (s->up.flight || !flow_whole(s->flow)) {
        struct http_flight *flights[] = {s->up.flight, s->down.flight};
        size_t i = http_wait(s->r->http, flights, ARRAY_LEN(flights), -1);
        if (i == 0)
            return 0;
        if (i != 1)
            return err_set(err, ERR_BUG, 0, "a blob without a flight");
        if (download_step(s, err) < 0)
            return -1;
    }
    return 0;
}

/* --- what an upload's answer means ---------------------------------------------------------------
 */

static int later(struct stream *s)
{
    s->again = AGAIN_LATER;
    return -1;
}

/* The transfer could not go on. What a download could not get in all its tries, a further attempt
 * at the blob would not get either. */
static int broken_off(struct stream *s, const struct err *err)
{
    s->again = err->kind == ERR_TEMP && !s->spent ? AGAIN_LATER : AGAIN_NOT;
    return -1;
}

/* There was no answer: because of the flow, or of the network. */
static int no_answer(struct stream *s, struct err *err)
{
    if (flow_failed(s->flow, err) || err->kind != ERR_TEMP)
        return -1;
    s->all_sent = flow_sent(s->flow) == s->blob->size;
    return later(s);
}

/* No success: is it worth another attempt? */
static int not_taken(struct stream *s, int status, struct err *err)
{
    (void)upload_refused(&s->up, err);
    if (status == 401 && !s->signed_in) {
        s->signed_in = true;
        if (exchange_sign_in(s->r, &s->arena, &s->up.x))
            s->again = AGAIN_NOW;
        return -1;
    }
    /* The session was there a moment ago: the registry lost it. */
    if (status == 404)
        err->kind = ERR_TEMP;
    s->all_sent = flow_sent(s->flow) == s->blob->size;
    return err->kind == ERR_TEMP ? later(s) : -1;
}

/* A success that is not the usual one is believed once the blob is there. */
static int check_there(struct stream *s, int status, struct err *err)
{
    bool there = false;
    if (status == 201 && flow_whole(s->flow))
        return 0;
    if (blob_exists(s->to, s->blob, &s->arena, &there, err) < 0)
        return err->kind == ERR_TEMP ? later(s) : -1;
    if (there)
        return 0;
    (void)err_set(err, ERR_TEMP, status, "%s answered %d to the upload of %s, which is not there",
                  s->to->host, status, s->blob->digest);
    return later(s);
}

static bool is_success(int status)
{
    return status >= 200 && status < 300;
}

/* --- one PUT -------------------------------------------------------------------------------------
 */

static int by_put(struct stream *s, struct err *err)
{
    int status;
    if (upload_fly_whole(&s->up, s->flow, s->blob->size, err) < 0)
        return err->kind == ERR_TEMP ? later(s) : -1;
    if (pump(s, err) < 0) {
        return broken_off(s, err);
    }
    if (upload_landed(&s->up, &status, err) < 0)
        return no_answer(s, err);
    if (is_success(status))
        return check_there(s, status, err);
    if (status != 413 && status != 416)
        return not_taken(s, status, err);
    s->chunk = s->up.min_chunk > LIMIT_CHUNK_KEPT ? s->up.min_chunk : LIMIT_CHUNK_KEPT;
    if (s->up.max_chunk && s->up.max_chunk < s->chunk)
        s->chunk = s->up.max_chunk;
    s->again = AGAIN_NOW;
    return upload_refused(&s->up, err);
}

/* --- PATCH by PATCH ------------------------------------------------------------------------------
 */

/* The chunk from `at` did not arrive, or the registry says that it is out of place: goes on where
 * the registry stands, when what it lacks is still at hand. */
static int realign(struct stream *s, int64_t *at, struct err *err)
{
    struct err why = *err;
    int64_t next;
    if (upload_where(&s->up, &next, err) < 0) {
        *err = why;
        return later(s);
    }
    /* Some count the bytes where others name the last one. */
    if (next == flow_sent(s->flow) + 1)
        next--;
    if (!flow_rewind(s->flow, next)) {
        (void)err_set(err, ERR_TEMP, 0, "%s lost a part of the upload of %s", s->to->host,
                      s->blob->digest);
        return later(s);
    }
    *at = next;
    return 0;
}

/* A smaller chunk may pass where this one did not. */
static int smaller(struct stream *s, struct err *err)
{
    if (s->chunk / 4 >= LIMIT_CHUNK_LEAST && s->chunk / 4 >= s->up.min_chunk) {
        s->chunk /= 4;
        s->again = AGAIN_NOW;
    }
    return upload_refused(&s->up, err);
}

static int patch(struct stream *s, int64_t *at, struct err *err)
{
    int status;
    int64_t len = s->blob->size - *at;
    if (len > (int64_t)s->chunk)
        len = (int64_t)s->chunk;
    if (upload_fly_chunk(&s->up, s->flow, *at, len, err) < 0)
        return err->kind == ERR_TEMP ? later(s) : -1;
    if (pump(s, err) < 0) {
        return broken_off(s, err);
    }
    if (upload_landed(&s->up, &status, err) < 0) {
        if (status || flow_failed(s->flow, err) || err->kind != ERR_TEMP)
            return -1;
        return realign(s, at, err);
    }
    if (is_success(status) && flow_sent(s->flow) == *at + len) {
        s->signed_in = false; /* once a request: a long upload outlives several tokens */
        flow_arrived(s->flow);
        *at += len;
        return 0;
    }
    if (status == 413)
        return smaller(s, err);
    if (status == 401 && !s->signed_in && flow_rewind(s->flow, *at)) {
        s->signed_in = true;
        if (exchange_sign_in(s->r, &s->arena, &s->up.x))
            return 0;
    }
    (void)upload_refused(&s->up, err);
    bool lost = is_success(status) || status == 416 || http_status_kind(status) == ERR_TEMP;
    return lost ? realign(s, at, err) : not_taken(s, status, err);
}

static int by_patches(struct stream *s, struct err *err)
{
    int status, idle = 0;
    for (int64_t at = 0, before = -1; at < s->blob->size;) {
        idle = at > before ? 0 : idle + 1;
        before = at > before ? at : before;
        if (idle == LIMIT_TRIES) {
            (void)err_set(err, ERR_TEMP, 0, "%s takes nothing of %s beyond byte %lld", s->to->host,
                          s->blob->digest, (long long)at);
            return later(s);
        }
        if (idle && !pace_sleep(s->r, pace_delay_ms(idle)))
            return later(s);
        if (patch(s, &at, err) < 0)
            return -1;
    }
    if (upload_close(&s->up, NULL, 0, &status, err) < 0)
        return no_answer(s, err);
    return is_success(status) ? check_there(s, status, err) : not_taken(s, status, err);
}

/* --- attempts ------------------------------------------------------------------------------------
 */

/* Sets s->chunk from what the registry and the operator say. */
static int choose_way(struct stream *s, struct err *err)
{
    const struct upload *u = &s->up;
    if (u->min_chunk > LIMIT_CHUNK_MAX)
        return err_set(err, ERR_PERM, 0,
                       "%s wants chunks of at least %zu bytes, more than the %zu allowed",
                       s->to->host, u->min_chunk, LIMIT_CHUNK_MAX);
    size_t chunk = s->chunk ? s->chunk : u->host->conf->chunk;
    bool too_long = u->max_chunk && s->blob->size > (int64_t)u->max_chunk;
    if (!chunk && (u->min_chunk || too_long))
        chunk = LIMIT_CHUNK_KEPT;
    if (chunk && chunk < u->min_chunk)
        chunk = u->min_chunk;
    if (chunk && u->max_chunk && chunk > u->max_chunk && u->max_chunk >= u->min_chunk)
        chunk = u->max_chunk;
    /* What is no longer than a chunk goes as a whole, unless that was refused. */
    s->chunk = !s->chunk && s->blob->size <= (int64_t)chunk ? 0 : chunk;
    return 0;
}

static void set_download(struct stream *s)
{
    const struct endpoint *from = s->from;
    s->down =
        (struct download){.r = from->registry,
                          .host = registry_find(from->registry, from->host, from->access.anonymous),
                          .name = from->name,
                          .access = from->access,
                          .digest = s->blob->digest,
                          .flow = s->flow,
                          .arena = &s->arena};
}

static int move(struct stream *s, const struct blob_progress *progress, struct err *err)
{
    int fd CLEANUP(cleanup_fd) = -1;
    int rc = -1;
    size_t window = s->chunk <= LIMIT_CHUNK_KEPT ? s->chunk : 0;
    s->flow = flow_new(s->r->http, s->blob->digest, s->blob->size, progress, window);
    if (s->from->layout) {
        fd = layout_open_blob(s->from->layout, s->blob->digest, s->blob->size, err);
        flow_from_file(s->flow, fd, layout_path(s->from->layout));
    } else {
        set_download(s);
    }
    if (s->from->layout ? fd >= 0 : download_start(&s->down, err) == 0)
        rc = s->chunk ? by_patches(s, err) : by_put(s, err);
    else
        s->again = err->kind == ERR_TEMP ? AGAIN_LATER : AGAIN_NOT;
    download_cancel(&s->down);
    if (rc < 0) {
        upload_cancel(&s->up);
        flow_untell(s->flow);
    }
    flow_free(STEAL(s->flow));
    return rc;
}

static int attempt(struct stream *s, const char *mount_from, const struct blob_progress *progress,
                   bool *mounted, struct err *err)
{
    s->again = AGAIN_NOT;
    s->all_sent = false;
    s->breaks = s->slow = 0;
    s->broke_at = 0;
    s->began = clock_monotonic_ms();
    s->until = patience(s);
    s->cut = s->spent = false;
    s->up = (struct upload){
        .r = s->to->registry,
        .host = registry_find(s->to->registry, s->to->host, s->to->access.anonymous),
        .name = s->to->name,
        .access = s->to->access,
        .digest = s->blob->digest,
        .arena = &s->arena};
    if (upload_open(&s->up, mount_from, mounted, err) < 0)
        return -1; /* it was patient already */
    if (*mounted)
        return 0;
    if (choose_way(s, err) < 0) {
        upload_cancel(&s->up);
        return -1;
    }
    return move(s, progress, err);
}

/* A gateway may give up on a registry that goes on and finishes. */
static bool arrived_after_all(struct stream *s)
{
    struct err ignored = ERR_INIT;
    bool there = false;
    bool asked = s->all_sent && blob_exists(s->to, s->blob, &s->arena, &there, &ignored) == 0;
    arena_release(&s->arena);
    return asked && there;
}

int stream_to_registry(const struct endpoint *from, const struct endpoint *to,
                       const struct descriptor *blob, const char *mount_from,
                       const struct blob_progress *progress, bool *mounted, struct err *err)
{
    struct stream s = {.from = from, .to = to, .blob = blob, .r = to->registry};
    int64_t until = patience(&s);
    int rc = -1, slow = 0;
    for (int tries = 1;; tries++) {
        int64_t began = clock_monotonic_ms();
        rc = attempt(&s, mount_from, progress, mounted, err);
        arena_release(&s.arena);
        slow += clock_monotonic_ms() - began >= SLOW_MS;
        if (rc == 0 || s.again == AGAIN_NOT || tries == LIMIT_TRIES || slow == TRIES_SLOW)
            break;
        log_warn("a blob is tried again", "blob", blob->digest, "reason", err->text, NULL);
        /* One that was not granted will not be. */
        mount_from = NULL;
        if (s.again == AGAIN_NOW && clock_monotonic_ms() < until)
            continue;
        int64_t pause = pace_delay_ms(tries);
        if (clock_monotonic_ms() + pause > until || !pace_sleep(s.r, pause))
            break;
        if (arrived_after_all(&s))
            return 0;
    }
    return rc;
}

static int move_to_file(struct stream *s, const struct layout_file *file,
                        const struct blob_progress *progress, struct err *err)
{
    s->flow = flow_new(s->r->http, s->blob->digest, s->blob->size, progress, 0);
    flow_to_file(s->flow, file->fd, file->shown);
    set_download(s);
    s->until = patience(s);
    int rc = download_start(&s->down, err);
    if (rc < 0 && err->kind == ERR_TEMP)
        rc = resume(s, err);
    if (rc == 0)
        rc = pump(s, err);
    download_cancel(&s->down);
    if (rc < 0)
        flow_untell(s->flow);
    flow_free(STEAL(s->flow));
    return rc;
}

int stream_to_layout(const struct endpoint *from, struct layout *to, const struct descriptor *blob,
                     const struct blob_progress *progress, struct err *err)
{
    struct stream s = {
        .from = from, .blob = blob, .r = from->registry, .began = clock_monotonic_ms()};
    struct layout_file file;
    if (layout_create_blob(to, blob->digest, &file, err) < 0)
        return -1;
    int rc = move_to_file(&s, &file, progress, err);
    arena_release(&s.arena);
    if (rc < 0) {
        layout_drop_blob(&file);
        return -1;
    }
    return layout_keep_blob(&file, err);
}
