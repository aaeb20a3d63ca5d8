#include "core/lib/http.h"

#include "core/lib/http_internal.h"
#include "core/os/clock.h"

#include <curl/curl.h>
#include <signal.h>
#include <unistd.h>

#include "version.h"

#define LOOP_WAIT_MS 30000
#define LOOK_MS_MIN 10 /* between two looks for streams that stall */
#define LOOK_MS_MAX 1000

static void curl_start(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort();
}

static int64_t stall_of(const struct http_flight *f)
{
    return f->call->stall_ms > 0 ? f->call->stall_ms : LIMIT_STALL_MS;
}

/* How often to look for bytes that moved: a stall is seen that much later than it could be. */
static int64_t look_after(const struct http_flight *f)
{
    int64_t ms = stall_of(f) / 8;
    return ms < LOOK_MS_MIN ? LOOK_MS_MIN : ms > LOOK_MS_MAX ? LOOK_MS_MAX : ms;
}

/* --- flights of the loop ------------------------------------------------------------------------
 */

static void fly(struct http_client *c, struct http_flight *f)
{
    CURL *e = c->idle_n && !f->streaming ? c->idle[--c->idle_n] : curl_easy_init();
    if (!e)
        abort();
    if (f->streaming) {
        f->still_since = clock_monotonic_ms();
        if (c->streams++ == 0 || c->look_at > f->still_since + look_after(f))
            c->look_at = f->still_since + look_after(f);
    } else {
        c->active++;
        c->busy[f->lane]++;
    }
    f->prev = NULL;
    f->next = c->flying;
    if (c->flying)
        c->flying->prev = f;
    c->flying = f;
    http_transfer_begin(c, f, e);
    if (curl_multi_add_handle(c->multi, e) != CURLM_OK)
        abort();
}

/* From here on the flight is the caller's. */
static void tell(struct http_client *c, struct http_flight *f)
{
    (void)pthread_mutex_lock(&c->lock);
    f->done = true;
    if (f->waiter && f->waiter->left && --f->waiter->left == 0)
        (void)pthread_cond_signal(&f->waiter->done);
    (void)pthread_mutex_unlock(&c->lock);
}

static void finish(struct http_client *c, struct http_flight *f, CURLcode result)
{
    CURL *e = f->easy;
    *(f->prev ? &f->prev->next : &c->flying) = f->next;
    if (f->next)
        f->next->prev = f->prev;
    if (f->streaming) {
        c->streams--;
    } else {
        c->active--;
        c->busy[f->lane]--;
        c->rescan = true;
    }
    (void)curl_multi_remove_handle(c->multi, e);
    http_transfer_end(f, result);
    if (c->idle_n < ARRAY_LEN(c->idle) && !f->streaming)
        c->idle[c->idle_n++] = e;
    else
        curl_easy_cleanup(e);
    tell(c, f);
}

static void finish_with(struct http_client *c, struct http_flight *f, enum flight_end end)
{
    f->end = end;
    finish(c, f, CURLE_ABORTED_BY_CALLBACK);
}

static void reap(struct http_client *c)
{
    int left;
    for (CURLMsg *msg; (msg = curl_multi_info_read(c->multi, &left));) {
        struct http_flight *f = NULL;
        if (msg->msg != CURLMSG_DONE)
            continue;
        CURLcode result = msg->data.result;
        (void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&f);
        finish(c, f, result);
    }
}

/* --- those that wait ----------------------------------------------------------------------------
 */

static bool take_queue(struct http_client *c)
{
    (void)pthread_mutex_lock(&c->lock);
    struct http_flight *flights = c->first;
    c->first = c->last = NULL;
    bool stop = c->stop;
    (void)pthread_mutex_unlock(&c->lock);
    *c->waiting_end = flights;
    for (struct http_flight *f; (f = *c->waiting_end); c->waiting_end = &f->next) {
        c->rescan = true;
        if (atomic_load(&f->abandon))
            atomic_store(&c->attention, true); /* which was looked at before it was here */
    }
    return !stop;
}

static bool has_room(const struct http_client *c, const struct http_flight *f)
{
    return f->streaming ||
           (c->active < LIMIT_HTTP_ACTIVE && c->busy[f->lane] < LIMIT_HOST_CONNECTIONS);
}

/* A handle holds buffers, so a large batch gets only so many at a time. curl's own limits would
 * also count streams, and have those that sleep wait for one that is not let in. */
static bool start_waiting(struct http_client *c)
{
    bool started = false;
    if (!c->rescan)
        return false;
    c->rescan = false;
    c->waiting_end = &c->waiting;
    for (struct http_flight *f; (f = *c->waiting_end);) {
        if (!has_room(c, f)) {
            c->waiting_end = &f->next;
            continue;
        }
        *c->waiting_end = f->next;
        fly(c, f);
        started = true;
    }
    return started;
}

static void drop_abandoned(struct http_client *c)
{
    c->waiting_end = &c->waiting;
    for (struct http_flight *f; (f = *c->waiting_end);) {
        if (!atomic_load(&f->abandon)) {
            c->waiting_end = &f->next;
            continue;
        }
        *c->waiting_end = f->next;
        f->end = END_ABANDONED;
        f->result = CURLE_ABORTED_BY_CALLBACK;
        tell(c, f);
    }
}

/* --- those that fly -----------------------------------------------------------------------------
 */

static bool awaken(struct http_client *c, struct http_flight *f)
{
    if (!f->starved && !f->clogged)
        return false;
    f->starved = f->clogged = false;
    f->still_since = clock_monotonic_ms();
    /* This offers the sink what it refused; its next answer may end the flight. */
    CURLcode result = curl_easy_pause(f->easy, CURLPAUSE_CONT);
    if (result != CURLE_OK)
        finish(c, f, result);
    return true;
}

/* Does what others want of flights: returns true when one was set going. A flag that is taken
 * back here before its flight falls asleep is not lost: source and sink are asked after that, and
 * see what happened before it was set. */
static bool attend(struct http_client *c)
{
    bool awoken = false;
    if (!atomic_exchange(&c->attention, false))
        return false;
    drop_abandoned(c);
    for (struct http_flight *f = c->flying, *next; f; f = next) {
        next = f->next;
        if (atomic_load(&f->abandon))
            finish_with(c, f, END_ABANDONED);
        else if (atomic_exchange(&f->resume, false) && awaken(c, f))
            awoken = true;
    }
    return awoken;
}

/* Ends streams in which nothing moves though nobody sleeps. Returns after how many milliseconds to
 * look again. */
static int look_for_stalled(struct http_client *c)
{
    if (!c->streams)
        return LOOP_WAIT_MS;
    int64_t now = clock_monotonic_ms(), nearest = LOOK_MS_MAX;
    if (now < c->look_at)
        return (int)(c->look_at - now);
    for (struct http_flight *f = c->flying, *next; f; f = next) {
        next = f->next;
        if (!f->streaming)
            continue;
        int64_t moved = http_transfer_moved(f);
        if (f->starved || f->clogged || moved - f->moved > stall_of(f) / 1000 * LIMIT_CRAWL) {
            f->still_since = now;
            f->moved = moved;
        }
        if (now - f->still_since >= stall_of(f))
            finish_with(c, f, END_STALLED);
        else if (look_after(f) < nearest)
            nearest = look_after(f);
    }
    c->look_at = now + nearest;
    return (int)nearest;
}

static void *loop(void *user)
{
    struct http_client *c = user;
    c->waiting_end = &c->waiting;
    while (take_queue(c)) {
        (void)start_waiting(c);
        int running;
        if (curl_multi_perform(c->multi, &running) != CURLM_OK)
            abort();
        reap(c);
        bool awoken = attend(c);
        int patience = look_for_stalled(c);
        if (start_waiting(c) || awoken)
            continue;
        if (curl_multi_poll(c->multi, NULL, 0, patience, NULL) != CURLM_OK)
            abort();
    }
    return NULL;
}

/* --- the client ---------------------------------------------------------------------------------
 */

void http_enqueue(struct http_client *c, struct http_flight *f)
{
    if (c->last)
        c->last->next = f;
    else
        c->first = f;
    c->last = f;
}

void http_wake(const struct http_client *c)
{
    (void)curl_multi_wakeup(c->multi);
}

static void client_destroy(struct http_client *c)
{
    while (c->idle_n)
        curl_easy_cleanup(c->idle[--c->idle_n]);
    (void)curl_multi_cleanup(c->multi);
    (void)pthread_mutex_destroy(&c->lock);
    free(c->user_agent);
    free(c->ca_file);
    free(c);
}

struct http_client *http_client_new(const struct http_client_opts *opts, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, curl_start);
    const char *ca_file = opts ? opts->ca_file : NULL;
    if (ca_file && access(ca_file, R_OK) != 0) {
        (void)err_set(err, ERR_CONFIG, 0, "ca_file %s cannot be read", ca_file);
        return NULL;
    }
    struct http_client *c = xcalloc(1, sizeof *c);
    const char *agent = opts && opts->user_agent ? opts->user_agent : "slipway/" SLIPWAY_VERSION;
    c->user_agent = xstrdup(agent);
    c->ca_file = ca_file ? xstrdup(ca_file) : NULL;
    (void)pthread_mutex_init(&c->lock, NULL);
    c->multi = curl_multi_init();
    if (!c->multi)
        abort();
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)LIMIT_HTTP_IDLE);
    /* Signals are for the program's own threads. */
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&c->thread, NULL, loop, c);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        return c;
    (void)err_errno(err, ERR_TEMP, rc, "cannot start the thread for HTTP");
    client_destroy(c);
    return NULL;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    (void)pthread_mutex_lock(&c->lock);
    c->stop = true;
    (void)pthread_mutex_unlock(&c->lock);
    (void)curl_multi_wakeup(c->multi);
    (void)pthread_join(c->thread, NULL);
    client_destroy(c);
}
