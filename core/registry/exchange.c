#include "core/registry/registry_internal.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/os/clock.h"
#include "core/registry/auth.h"
#include "core/registry/pace.h"

#include <errno.h>

/* An impatient request waits for a quiet host no longer than this. */
enum { SHORT_WAIT_MS = 2000, TRIES_STRANGER = 2 };

/* One that took so long and failed is not worth many more tries. */
enum { SLOW_MS = LIMIT_REQUEST_MS / 2, TRIES_SLOW = 2 };

/* A longer wait is told to whoever watches. */
enum { TOLD_MS = 5000 };

/* Sign-ins of one round: one for each repository, however many requests wait for it. */
struct signins {
    struct signin *at;
    size_t n;
    size_t cap;
};

/* An exchange on its way through the rounds. */
struct trip {
    struct exchange *x;
    int tries;          /* requests that were answered by trouble, */
    int slow;           /* and those of them that took long */
    int64_t sent_at;    /* clock_monotonic_ms */
    int64_t not_before; /* clock_monotonic_ms of the next one */
    int64_t give_up;    /* clock_monotonic_ms: patience ends */
    bool sent;          /* in this round: else whatever failed may be done again */
    bool hopeless;      /* it failed before it came to the host */
    bool ended;
};

static struct signin *signin_for(struct signins *list, struct arena *a, const struct exchange *x)
{
    list_each (struct signin, s, list)
        if (auth_same(s->of, x))
            return s;
    struct signin *s = list_push(a, list);
    s->of = x;
    return s;
}

/* --- addresses -----------------------------------------------------------------------------------
 */

static bool is_listed(const struct str_list *origins, const char *origin, struct arena *a)
{
    for (size_t i = 0; i < origins->n; i++)
        if (str_eq(origin, http_origin(a, origins->at[i])))
            return true;
    return false;
}

/* The host of an origin, without its port. */
static const char *host_of(const char *origin, struct arena *a)
{
    const char *host = strstr(origin, "://") + 3;
    return arena_strndup(a, host, *host == '[' ? strcspn(host, "]") : strcspn(host, ":"));
}

/* By plain http to the host that is reached over https: so says a server behind a proxy that does
 * not tell it. */
static bool is_hidden_https(const char *origin, const char *own, struct arena *a)
{
    return own && str_starts(origin, "http:") && str_starts(own, "https:") &&
           str_eq(host_of(origin, a), host_of(own, a));
}

int exchange_check_url(const struct registry_host *h, const char *url, struct arena *a, bool *own,
                       bool *paired, struct err *err)
{
    char shown[HTTP_SHOWN_URL];
    const char *origin = http_origin(a, url);
    const char *base = http_origin(a, registry_base(h, a));
    *own = origin && str_eq(origin, base);
    *paired = origin && is_listed(&h->conf->storage, origin, a);
    if (*own || *paired ||
        (origin && str_starts(origin, "https:") && !http_host_is_private(a, url)))
        return 0;
    http_shown_url(url, shown);
    if (origin && is_hidden_https(origin, base, a))
        return err_set(err, ERR_PERM, 0,
                       "registry %s sends us to \"%s\", which is not followed: its proxy hides "
                       "https from it: set X-Forwarded-Proto there (docker-registry: http.host or "
                       "relativeurls: true), or list %.200s in `storage` of that registry",
                       h->conf->host, shown, origin);
    return err_set(err, ERR_PERM, 0,
                   "registry %s sends us to \"%s\", which is not followed: it is neither its own "
                   "address nor a public https server%s%.200s%s",
                   h->conf->host, shown, origin ? "; if that is right, list " : "",
                   origin ? origin : "", origin ? " in `storage` of that registry" : "");
}

/* Foreign servers see no credentials, and what they ask for is nothing to us. */
static bool is_own(const struct exchange *x, struct arena *a)
{
    return !x->url || str_eq(http_origin(a, x->url), http_origin(a, registry_base(x->host, a)));
}

struct http_via exchange_foreign_via(const struct registry_host *h, bool paired)
{
    struct http_via via = h->conf->via;
    via.client_cert = via.client_key = NULL;
    if (paired)
        return via;
    via.ca_file = via.ca_dir = NULL;
    /* Through a proxy the address is the proxy's business; the name was looked at. */
    via.public_only = !via.proxy;
    return via;
}

/* --- one request ---------------------------------------------------------------------------------
 */

/* Where it goes, and how. *own: credentials may go along. */
static int aim(struct exchange *x, struct arena *a, struct http_call *call, bool *own,
               struct err *err)
{
    bool paired = false;
    *own = true;
    call->via = x->host->conf->via;
    if (!x->url) {
        call->req.url = arena_printf(a, "%s/v2/%s/%s", registry_base(x->host, a), x->name, x->path);
        return 0;
    }
    call->req.url = x->url;
    if (exchange_check_url(x->host, x->url, a, own, &paired, err) < 0)
        return -1;
    if (!*own)
        call->via = exchange_foreign_via(x->host, paired);
    return 0;
}

/* The time limit of whatever this is a part of bounds each of its requests. usual_ms: what holds
 * where the exchange does not say, 0: nothing. */
static int limit_time(const struct exchange *x, int64_t usual_ms, int64_t *timeout_ms,
                      struct err *err)
{
    int64_t left = x->access.until - clock_monotonic_ms();
    *timeout_ms = x->timeout_ms ? x->timeout_ms : usual_ms;
    if (!x->access.until)
        return 0;
    if (left <= 0)
        return err_set(err, ERR_TEMP, ETIMEDOUT, "registry %s was not asked: the time is over",
                       x->host->conf->host);
    if (*timeout_ms == 0 || *timeout_ms > left)
        *timeout_ms = left;
    return 0;
}

static int make_call(struct registry *r, struct arena *a, struct exchange *x, int64_t usual_ms,
                     struct http_call *call)
{
    bool own;
    *call =
        (struct http_call){.req = {.method = x->method, .body = x->body, .body_len = x->body_len},
                           .source = x->source,
                           .sink = x->sink,
                           .max_body = x->max_body};
    struct http_headers *headers = &call->req.headers;
    x->sent = x->origin = NULL;
    if (limit_time(x, usual_ms, &call->timeout_ms, &x->err) < 0 ||
        aim(x, a, call, &own, &x->err) < 0 || (own && auth_header(r, a, x, &x->err) < 0)) {
        x->failed = true;
        return -1;
    }
    if (x->sent)
        http_header_add(a, headers, "Authorization", x->sent);
    if (x->accept)
        http_header_add(a, headers, "Accept", x->accept);
    if (x->content_type)
        http_header_add(a, headers, "Content-Type", x->content_type);
    list_each (const struct http_header, header, &x->headers)
        http_header_add(a, headers, header->name, header->value);
    return 0;
}

/* A host that is known to want tokens gets one before the first request. Where that fails for
 * good, the request goes without, and its 401 says anew where to sign in; where it may pass, or no
 * credentials could be had, the request fails, and the next one asks anew. */
static void fetch_ahead(struct registry *r, struct arena *a, struct trip *const *trips, size_t n)
{
    struct signins list = {0};
    for (size_t i = 0; i < n; i++)
        if (is_own(trips[i]->x, a) && auth_wants_token(r, trips[i]->x))
            (void)signin_for(&list, a, trips[i]->x);
    auth_sign_in(r, a, list.at, list.n);
    list_each (struct signin, s, &list) {
        if (s->result == SIGNIN_OK)
            continue;
        auth_forget(r, s->of->host);
        for (size_t i = 0; i < n; i++)
            if (s->result == SIGNIN_FAILED && s->err.kind == ERR_TEMP &&
                auth_same(s->of, trips[i]->x)) {
                trips[i]->x->failed = true;
                trips[i]->x->err = s->err;
                trips[i]->hopeless = s->no_credential;
            }
    }
}

/* What another origin asks for (a storage) is not asked for by the registry. */
static void take_answer(struct registry *r, struct arena *a, struct exchange *x,
                        const struct http_call *call)
{
    x->failed = call->failed;
    x->err = call->err;
    x->resp = call->resp;
    if (is_own(x, a))
        pace_note(r, x->host, call);
}

/* Sends the trips that have not failed; keeps in `again` those whose 401 is worth a sign-in and
 * returns how many. */
static size_t send_round(struct registry *r, struct arena *a, struct trip *const *trips, size_t n,
                         struct trip **again)
{
    struct http_call *calls = arena_alloc(a, n * sizeof *calls);
    struct trip **flown = arena_alloc(a, n * sizeof *flown);
    size_t k = 0, left = 0;
    for (size_t i = 0; i < n; i++) {
        if (trips[i]->x->failed)
            continue;
        trips[i]->hopeless = make_call(r, a, trips[i]->x, LIMIT_REQUEST_MS, &calls[k]) < 0;
        if (!trips[i]->hopeless)
            flown[k++] = trips[i];
    }
    (void)http_all(r->http, a, calls, k);
    for (size_t i = 0; i < k; i++) {
        struct exchange *x = flown[i]->x;
        flown[i]->sent = true;
        take_answer(r, a, x, &calls[i]);
        if (!x->failed && x->resp.status == 401 && !x->signed_in && !x->source && !x->sink &&
            is_own(x, a))
            again[left++] = flown[i];
    }
    return left;
}

/* Signs in for all and keeps those to send again; returns how many. */
static size_t sign_in_round(struct registry *r, struct arena *a, struct trip **trips, size_t n)
{
    struct signins list = {0};
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        struct signin *s = signin_for(&list, a, trips[i]->x);
        s->challenge = &trips[i]->x->resp.headers;
        s->rejected = trips[i]->x->sent;
    }
    auth_sign_in(r, a, list.at, list.n);
    for (size_t i = 0; i < n; i++) {
        struct exchange *x = trips[i]->x;
        const struct signin *s = signin_for(&list, a, x);
        trips[i]->sent = false; /* a 401 did nothing */
        trips[i]->hopeless = s->no_credential;
        x->failed = s->result == SIGNIN_FAILED;
        if (x->failed)
            x->err = s->err;
        if (s->result != SIGNIN_OK)
            continue;
        x->signed_in = true;
        trips[left++] = trips[i];
    }
    return left;
}

static void run_once(struct registry *r, struct arena *a, struct trip *const *trips, size_t n)
{
    struct trip **again = arena_alloc(a, n * sizeof(struct trip *));
    for (size_t i = 0; i < n; i++) {
        trips[i]->sent = trips[i]->hopeless = false;
        trips[i]->x->failed = trips[i]->x->signed_in = false;
        trips[i]->x->resp = (struct http_resp){0};
    }
    fetch_ahead(r, a, trips, n);
    size_t left = send_round(r, a, trips, n, again);
    while (left && (left = sign_in_round(r, a, again, left)) > 0)
        left = send_round(r, a, again, left, again);
}

/* --- patience ------------------------------------------------------------------------------------
 */

/* Reference: POST and PATCH move an upload on, so the second of two would do harm; a mount would
 * not, and its sender says so. */
static bool may_repeat(const struct exchange *x)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE"};
    if (x->source || x->sink)
        return false;
    if (x->safe)
        return true;
    /* Of PUT only that of a manifest, which has no address that the registry made for one upload.
     */
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (str_eq(x->method, methods[i]))
            return !x->url || *methods[i] != 'P';
    return false;
}

static bool is_trouble(const struct exchange *x)
{
    const struct http_call call = {.failed = x->failed, .err = x->err, .resp = x->resp};
    return pace_is_trouble(&call);
}

/* When it may be sent; false when that is later than it waits, and it has failed. */
static bool may_wait(struct registry *r, struct trip *t, int64_t now)
{
    struct exchange *x = t->x;
    int64_t quiet = pace_quiet_ms(r, x->host);
    int64_t latest = x->access.patient ? t->give_up : now + SHORT_WAIT_MS;
    if (now + quiet > t->not_before)
        t->not_before = now + quiet;
    if (quiet == 0 || t->not_before <= latest)
        return true;
    x->failed = true;
    (void)pace_refused(x->host, quiet, &x->err);
    return false;
}

/* After an answer: is this the end of it? */
static bool is_settled(struct registry *r, struct trip *t, int64_t now)
{
    struct exchange *x = t->x;
    if (!x->access.patient || t->hopeless || !is_trouble(x) || (t->sent && !may_repeat(x)))
        return true;
    /* A host that never answered and is not there is rather misspelt than busy. */
    bool stranger = x->failed && pace_is_stranger(r, x->host, &x->err);
    t->slow += now - t->sent_at >= SLOW_MS;
    if (t->slow >= TRIES_SLOW)
        return true;
    if (++t->tries >= (stranger ? TRIES_STRANGER : LIMIT_TRIES))
        return true;
    int64_t asked_s =
        x->failed ? x->err.retry_after : http_retry_after(&x->resp, clock_now_ms() / 1000);
    int64_t delay = asked_s ? asked_s * 1000 : pace_delay_ms(t->tries);
    t->not_before = now + delay;
    return t->not_before > t->give_up;
}

/* Puts those that may be sent now into `ready`, and returns how many. *next: when the first of the
 * others may; *left: how many those are. */
static size_t sort_out(struct registry *r, struct trip *trips, size_t n, struct trip **ready,
                       size_t *left, int64_t *next)
{
    int64_t now = clock_monotonic_ms();
    size_t k = 0;
    *left = 0;
    for (size_t i = 0; i < n; i++) {
        struct trip *t = &trips[i];
        if (t->ended || (t->ended = !may_wait(r, t, now)))
            continue;
        if (t->not_before <= now)
            ready[k++] = t;
        else if ((*left)++ == 0 || t->not_before < *next)
            *next = t->not_before;
    }
    return k;
}

/* The wait of whoever comes next; false when there is none any more. */
static bool sleep_until(struct registry *r, const struct trip *trips, size_t n, int64_t next)
{
    int64_t ms = next - clock_monotonic_ms();
    char seconds[24];
    (void)snprintf(seconds, sizeof seconds, "%lld", (long long)(ms + 999) / 1000);
    for (size_t i = 0; i < n && ms >= TOLD_MS; i++)
        if (!trips[i].ended && trips[i].not_before == next) {
            log_warn("waiting, as the registry asks", "registry", trips[i].x->host->conf->host,
                     "seconds", seconds, NULL);
            break;
        }
    return pace_sleep(r, ms);
}

static void give_up_all(struct trip *trips, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (trips[i].ended)
            continue;
        trips[i].ended = trips[i].x->failed = true;
        (void)err_set(&trips[i].x->err, ERR_TEMP, 0,
                      "registry %s was not asked: the program is being stopped",
                      trips[i].x->host->conf->host);
    }
}

static struct trip *begin(struct arena *a, struct exchange *x, size_t n)
{
    struct trip *trips = arena_alloc(a, n * sizeof *trips);
    int64_t now = clock_monotonic_ms();
    for (size_t i = 0; i < n; i++)
        trips[i] = (struct trip){.x = &x[i],
                                 .give_up = registry_until(&x[i].access, now + LIMIT_PATIENCE_MS)};
    return trips;
}

void exchange_all(struct registry *r, struct arena *a, struct exchange *x, size_t n)
{
    struct trip *trips = begin(a, x, n);
    struct trip **ready = arena_alloc(a, n * sizeof *ready);
    size_t left = n, k;
    int64_t next = 0;
    while ((k = sort_out(r, trips, n, ready, &left, &next)) > 0 || left > 0) {
        if (k == 0 && !sleep_until(r, trips, n, next)) {
            give_up_all(trips, n);
            return;
        }
        if (k == 0)
            continue;
        for (size_t i = 0; i < k; i++)
            ready[i]->sent_at = clock_monotonic_ms();
        run_once(r, a, ready, k);
        for (size_t i = 0; i < k; i++)
            ready[i]->ended = is_settled(r, ready[i], clock_monotonic_ms());
    }
}

/* --- transfers that are flown by hand ------------------------------------------------------------
 */

int exchange_prepare(struct registry *r, struct arena *a, struct exchange *x,
                     struct http_call *call)
{
    struct trip *trip = begin(a, x, 1), *ready;
    size_t left;
    int64_t next = 0;
    x->failed = false;
    x->resp = (struct http_resp){0};
    while (sort_out(r, trip, 1, &ready, &left, &next) == 0) {
        if (left && !sleep_until(r, trip, 1, next))
            give_up_all(trip, 1);
        if (trip->ended)
            return -1;
    }
    fetch_ahead(r, a, &trip, 1);
    return x->failed ? -1 : make_call(r, a, x, 0, call);
}

void exchange_note(struct registry *r, struct exchange *x, const struct http_call *call)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    take_answer(r, &a, x, call);
}

bool exchange_sign_in(struct registry *r, struct arena *a, struct exchange *x)
{
    struct trip trip = {.x = x}, *one = &trip;
    if (x->failed || x->resp.status != 401 || x->signed_in || !is_own(x, a))
        return false;
    return sign_in_round(r, a, &one, 1) == 1;
}
