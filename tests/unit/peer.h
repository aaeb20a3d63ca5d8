/*
 * peer.h - real servers for unit tests: started on a free loopback port, ended by their own pid.
 * What they print goes to files in a folder of their own, which is removed with them.
 */
#ifndef SLIPWAY_TESTS_PEER_H
#define SLIPWAY_TESTS_PEER_H

#include "core/base/base.h"
#include "core/base/mem.h"

#include <ftw.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct peer {
    pid_t pid;
    int port;
    char dir[64];
    char host[32]; /* "127.0.0.1:<port>" */
};

static UNUSED void peer_pause(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

static UNUSED const char *peer_path(struct arena *a, const struct peer *p, const char *file)
{
    return arena_printf(a, "%s/%s", p->dir, file);
}

static UNUSED void peer_dir(struct peer *p)
{
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/slipway-peer-XXXXXX");
    if (!mkdtemp(p->dir))
        abort();
}

static UNUSED void peer_write(const struct peer *p, const char *file, const char *text)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    FILE *f = fopen(peer_path(&a, p, file), "w");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        abort();
}

/* What a file of the peer's folder holds now. */
static UNUSED char *peer_read(struct arena *a, const struct peer *p, const char *file)
{
    FILE *f CLEANUP(cleanup_file) = fopen(peer_path(a, p, file), "r");
    size_t cap = 1 << 20;
    char *text = arena_alloc(a, cap);
    if (f)
        text[fread(text, 1, cap - 1, f)] = '\0';
    return text;
}

static UNUSED pid_t peer_spawn(struct arena *a, const struct peer *p, const char *const *argv)
{
    const char *out = peer_path(a, p, "out"), *errors = peer_path(a, p, "err");
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!freopen("/dev/null", "r", stdin) || !freopen(out, "w", stdout) ||
        !freopen(errors, "w", stderr))
        _exit(126);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

/* Starts it and waits until `file` shows the marker with a port number behind it. */
static UNUSED void peer_start(struct peer *p, const char *const *argv, const char *file,
                              const char *marker)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    p->pid = peer_spawn(&a, p, argv);
    for (int i = 0; i < 3000 && p->port == 0; i++) {
        struct arena scratch CLEANUP(arena_release) = ARENA_INIT;
        const char *found = strstr(peer_read(&scratch, p, file), marker);
        if (found && strpbrk(found, "\"\n"))
            p->port = (int)strtol(found + strlen(marker), NULL, 10);
        else
            peer_pause(10);
    }
    if (p->port == 0) {
        (void)fprintf(stderr, "%s did not start: %s\n", argv[0], peer_read(&a, p, "err"));
        abort();
    }
    (void)snprintf(p->host, sizeof p->host, "127.0.0.1:%d", p->port);
}

static UNUSED int peer_unlink(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static UNUSED void peer_stop(struct peer *p)
{
    (void)kill(p->pid, SIGKILL);
    (void)waitpid(p->pid, NULL, 0);
    (void)nftw(p->dir, peer_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

/* The fake of tests/fakes/registry_fake.py; with TLS when a certificate and a key are named. */
static UNUSED void peer_fake(struct peer *p, const char *cert, const char *key)
{
    const char *const argv[] = {
        "/usr/bin/python3", "tests/fakes/registry_fake.py", cert ? "--tls" : NULL, cert, key, NULL};
    if (!*p->dir)
        peer_dir(p);
    peer_start(p, argv, "out", "port=");
}

/* Debian's docker-registry over plain HTTP. The account is ci, "geheim-wort" (bcrypt, cost 5). */
static UNUSED void peer_docker_registry(struct peer *p, bool deletion, bool basic)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    peer_dir(p);
    peer_write(p, "htpasswd", "ci:$2y$05$tOhov8Bq.jgNlWCw7bXqAu60.EPbgDOZrbtdmUDzYCIBehL59RWH.\n");
    const char *auth = arena_printf(&a, "auth: {htpasswd: {realm: test, path: %s}}\n",
                                    peer_path(&a, p, "htpasswd"));
    peer_write(p, "config.yml",
               arena_printf(&a,
                            "version: 0.1\n"
                            "log: {level: info}\n"
                            "storage:\n"
                            "  filesystem: {rootdirectory: %s}\n"
                            "  delete: {enabled: %s}\n"
                            "http: {addr: \"127.0.0.1:0\"}\n%s",
                            peer_path(&a, p, "data"), deletion ? "true" : "false",
                            basic ? auth : ""));
    const char *const argv[] = {"docker-registry", "serve", peer_path(&a, p, "config.yml"), NULL};
    peer_start(p, argv, "err", "listening on 127.0.0.1:");
}

#endif
