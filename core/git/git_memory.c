#include "core/git/git_memory.h"

#include "core/base/str.h"

#include <pthread.h>

enum {
    COMMITS_MAX = 1024,
    PARENTS_MAX = 4, /* an octopus of more is asked of git */
    REMOTES_MAX = 256,
    WALK_MAX = 64,
    NAME_MAX_BYTES = 65
};

struct known_commit {
    char name[NAME_MAX_BYTES];
    char parents[PARENTS_MAX][NAME_MAX_BYTES];
    size_t n;
};

struct known_remote {
    char *url;
    char *branch;
    int64_t asked_at;
};

struct git_memory {
    pthread_mutex_t mutex;
    struct known_commit commits[COMMITS_MAX]; /* a ring */
    size_t next_commit;
    struct known_remote remotes[REMOTES_MAX]; /* a ring */
    size_t next_remote;
};

struct git_memory *git_memory_new(void)
{
    struct git_memory *m = xcalloc(1, sizeof *m);
    (void)pthread_mutex_init(&m->mutex, NULL);
    return m;
}

void git_memory_free(struct git_memory *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < REMOTES_MAX; i++) {
        free(m->remotes[i].url);
        free(m->remotes[i].branch);
    }
    (void)pthread_mutex_destroy(&m->mutex);
    free(m);
}

static struct known_commit *find_commit(struct git_memory *m, const char *name)
{
    for (size_t i = 0; i < COMMITS_MAX; i++)
        if (str_eq(m->commits[i].name, name))
            return &m->commits[i];
    return NULL;
}

/* The header ends at the first empty line; a name of another length than the commit's is none. */
static void read_parents(struct known_commit *c, const char *text, size_t len)
{
    static const char word[] = "parent ";
    size_t name_len = strlen(c->name);
    while (len && *text != '\n' && c->n < PARENTS_MAX) {
        const char *end = memchr(text, '\n', len);
        size_t line = end ? (size_t)(end - text) : len;
        if (line == sizeof word - 1 + name_len && memcmp(text, word, sizeof word - 1) == 0)
            memcpy(c->parents[c->n++], text + sizeof word - 1, name_len);
        text += line + (end != NULL);
        len -= line + (end != NULL);
    }
}

void git_memory_commit(struct git_memory *m, const char *commit, const char *text, size_t len)
{
    struct known_commit fresh = {0};
    if (strlen(commit) >= sizeof fresh.name)
        return;
    memcpy(fresh.name, commit, strlen(commit));
    read_parents(&fresh, text, len);
    (void)pthread_mutex_lock(&m->mutex);
    if (!find_commit(m, commit)) {
        m->commits[m->next_commit] = fresh;
        m->next_commit = (m->next_commit + 1) % COMMITS_MAX;
    }
    (void)pthread_mutex_unlock(&m->mutex);
}

bool git_memory_descends(struct git_memory *m, const char *newer, const char *older)
{
    const char *walk[WALK_MAX] = {newer};
    size_t n = 1;
    bool found = false;
    (void)pthread_mutex_lock(&m->mutex);
    for (size_t at = 0; at < n && !found; at++) {
        struct known_commit *c = find_commit(m, walk[at]);
        for (size_t i = 0; c && i < c->n && !found; i++) {
            found = str_eq(c->parents[i], older);
            if (n < WALK_MAX)
                walk[n++] = c->parents[i];
        }
    }
    (void)pthread_mutex_unlock(&m->mutex);
    return found;
}

static struct known_remote *find_remote(struct git_memory *m, const char *url)
{
    for (size_t i = 0; i < REMOTES_MAX; i++)
        if (str_eq(m->remotes[i].url, url))
            return &m->remotes[i];
    return NULL;
}

const char *git_memory_branch(struct git_memory *m, const char *url, int64_t now_ms,
                              struct arena *a)
{
    (void)pthread_mutex_lock(&m->mutex);
    const struct known_remote *r = find_remote(m, url);
    const char *branch =
        r && now_ms - r->asked_at < GIT_MEMORY_BRANCH_MS ? arena_strdup(a, r->branch) : NULL;
    (void)pthread_mutex_unlock(&m->mutex);
    return branch;
}

void git_memory_set_branch(struct git_memory *m, const char *url, const char *branch,
                           int64_t now_ms)
{
    (void)pthread_mutex_lock(&m->mutex);
    struct known_remote *r = find_remote(m, url);
    if (!r) {
        r = &m->remotes[m->next_remote];
        m->next_remote = (m->next_remote + 1) % REMOTES_MAX;
    }
    free(r->url);
    free(r->branch);
    *r = (struct known_remote){xstrdup(url), xstrdup(branch), now_ms};
    (void)pthread_mutex_unlock(&m->mutex);
}
