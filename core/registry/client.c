#include "core/registry/registry.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/lib/crypt.h"
#include "core/registry/registry_internal.h"

static void free_secret(char *s)
{
    if (s)
        crypt_wipe(s, strlen(s));
    free(s);
}

static void repo_free(struct registry_repo *repo)
{
    free_secret(repo->token);
    free(repo->name);
    free(repo);
}

struct registry *registry_new(struct http_client *http, const struct registry_confs *confs)
{
    struct registry *r = xcalloc(1, sizeof *r);
    r->http = http;
    r->n = confs->n;
    r->hosts = xcalloc(confs->n, sizeof *r->hosts);
    for (size_t i = 0; i < confs->n; i++)
        r->hosts[i].conf = &confs->at[i];
    (void)pthread_mutex_init(&r->lock, NULL);
    return r;
}

void registry_free(struct registry *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++) {
        struct registry_host *h = &r->hosts[i];
        for (struct registry_repo *next; h->repos; h->repos = next) {
            next = h->repos->next;
            repo_free(h->repos);
        }
        free(h->realm);
        free(h->service);
    }
    (void)pthread_mutex_destroy(&r->lock);
    free(r->hosts);
    free(r);
}

void registry_lock(struct registry *r)
{
    (void)pthread_mutex_lock(&r->lock);
}

void registry_unlock(struct registry *r)
{
    (void)pthread_mutex_unlock(&r->lock);
}

struct registry_host *registry_find(const struct registry *r, const char *host)
{
    for (size_t i = 0; i < r->n; i++)
        if (str_caseeq(r->hosts[i].conf->host, host))
            return &r->hosts[i];
    return NULL;
}

bool registry_knows(const struct registry *r, const char *host)
{
    return registry_find(r, host) != NULL;
}

/* What was forgotten costs a few requests to learn again. */
static void drop_oldest(struct registry_host *h)
{
    struct registry_repo **last = &h->repos;
    if (!*last)
        return;
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
    if (h->repos_n == LIMIT_REPOSITORIES)
        drop_oldest(h);
    struct registry_repo *repo = xcalloc(1, sizeof *repo);
    repo->name = xstrdup(name);
    repo->next = h->repos;
    h->repos = repo;
    h->repos_n++;
    return repo;
}

const char *registry_base(const struct registry_host *h, struct arena *a)
{
    const char *host = h->conf->host;
    if (str_caseeq(host, "docker.io"))
        host = "registry-1.docker.io";
    return arena_printf(a, "%s://%s", h->conf->plain_http ? "http" : "https", host);
}
