#include "core/registry/registry.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/crypt.h"
#include "core/registry/credentials.h"
#include "core/registry/registry_internal.h"
#include "core/registry/vendor_internal.h"

#include <time.h>

static void free_secret(char *s)
{
    if (s)
        crypt_wipe(s, strlen(s));
    free(s);
}

static void repo_free(struct registry_repo *repo)
{
    free(repo->name);
    free(repo);
}

static void token_free(struct registry_token *t)
{
    free_secret(t->token);
    free(t->name);
    free(t->with);
    free(t->more);
    free(t->origin);
    free(t);
}

static void host_release(struct registry_host *h)
{
    for (struct registry_repo *next; h->repos; h->repos = next) {
        next = h->repos->next;
        repo_free(h->repos);
    }
    for (struct registry_token *next; h->tokens; h->tokens = next) {
        next = h->tokens->next;
        token_free(h->tokens);
    }
    free(h->realm);
    free(h->service);
    vendor_forget(&h->vendor);
}

struct registry *registry_new(struct http_client *http, const struct registry_confs *confs,
                              struct credentials *credentials)
{
    struct registry *r = xcalloc(1, sizeof *r);
    pthread_condattr_t monotonic;
    r->http = http;
    r->own = credentials ? NULL : credentials_new();
    r->credentials = credentials ? credentials : r->own;
    r->n = 2 * confs->n;
    r->hosts = xcalloc(r->n, sizeof *r->hosts);
    for (size_t i = 0; i < r->n; i++)
        r->hosts[i] = (struct registry_host){
            .conf = &confs->at[i / 2], .anonymous = i % 2, .rate = {.limit = -1, .remaining = -1}};
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&r->stopped, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    return r;
}

void registry_free(struct registry *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++)
        host_release(&r->hosts[i]);
    (void)pthread_cond_destroy(&r->stopped);
    (void)pthread_mutex_destroy(&r->lock);
    credentials_free(r->own);
    free(r->warnings);
    free(r->hosts);
    free(r);
}

void registry_stop(struct registry *r)
{
    registry_lock(r);
    r->stopping = true;
    (void)pthread_cond_broadcast(&r->stopped);
    registry_unlock(r);
}

void registry_lock(struct registry *r)
{
    (void)pthread_mutex_lock(&r->lock);
}

void registry_unlock(struct registry *r)
{
    (void)pthread_mutex_unlock(&r->lock);
}

struct registry_host *registry_find(const struct registry *r, const char *host, bool anonymous)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->hosts[i].anonymous == anonymous && str_caseeq(r->hosts[i].conf->host, host))
            return &r->hosts[i];
    return NULL;
}

bool registry_knows(const struct registry *r, const char *host)
{
    return registry_find(r, host, false) != NULL;
}

struct str_list registry_plain_hosts(const struct registry *r, struct arena *a)
{
    struct str_list hosts = {0};
    for (size_t i = 0; i < r->n; i++)
        if (!r->hosts[i].anonymous && r->hosts[i].conf->plain_http)
            *list_push(a, &hosts) = r->hosts[i].conf->host;
    return hosts;
}

/* What was forgotten costs a few requests to learn again. */
static void drop_oldest_repo(struct registry_host *h)
{
    struct registry_repo **last = &h->repos;
    while ((*last)->next)
        last = &(*last)->next;
    repo_free(*last);
    *last = NULL;
    h->repos_n--;
}

struct registry_repo *registry_repo(struct registry_host *h, const char *name)
{
    for (struct registry_repo *repo = h->repos; repo; repo = repo->next)
        if (str_eq(repo->name, name))
            return repo;
    if (h->repos && h->repos_n >= LIMIT_REPOSITORIES)
        drop_oldest_repo(h);
    struct registry_repo *repo = xcalloc(1, sizeof *repo);
    repo->name = xstrdup(name);
    repo->next = h->repos;
    h->repos = repo;
    h->repos_n++;
    return repo;
}

static void drop_oldest_token(struct registry_host *h)
{
    struct registry_token **last = &h->tokens;
    while ((*last)->next)
        last = &(*last)->next;
    token_free(*last);
    *last = NULL;
    h->tokens_n--;
}

struct registry_token *registry_token(struct registry_host *h, const char *name,
                                      const struct registry_access *access)
{
    const char *with = str_eq(access->with, name) ? NULL : access->with;
    for (struct registry_token *t = h->tokens; t; t = t->next)
        if (str_eq(t->name, name) && str_eq(t->with, with) && t->read_only == access->read_only)
            return t;
    if (h->tokens && h->tokens_n >= LIMIT_REPOSITORIES)
        drop_oldest_token(h);
    struct registry_token *t = xcalloc(1, sizeof *t);
    t->name = xstrdup(name);
    t->with = with ? xstrdup(with) : NULL;
    t->read_only = access->read_only;
    t->next = h->tokens;
    h->tokens = t;
    h->tokens_n++;
    return t;
}

const char *registry_base(const struct registry_host *h, struct arena *a)
{
    const char *host = h->conf->host;
    if (str_caseeq(host, "docker.io"))
        host = "registry-1.docker.io";
    return arena_printf(a, "%s://%s", h->conf->plain_http ? "http" : "https", host);
}
