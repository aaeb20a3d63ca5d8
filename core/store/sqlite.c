#include "core/store/store_internal.h"

#include "core/base/log.h"
#include "core/base/str.h"
#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/os/random.h"
#include "core/store/schema.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int store_check_dir(int dir, const char *name, struct err *err)
{
    struct stat st;
    if (fstat(dir, &st))
        return err_errno(err, ERR_CONFIG, errno, "%s", name);
    /* Whoever may create files beside the store can plant a journal that SQLite would replay. */
    if (st.st_mode & S_IWOTH)
        return err_set(err, ERR_CONFIG, EPERM,
                       "%s: everybody may write there; give the store a directory of its own, "
                       "mode 2770 or less",
                       name);
    return 0;
}

/* The file appears under its name with its final mode, for another user may open it at once. It is
 * never opened by that name here: once a process has opened a database, nothing but SQLite may
 * close it, for its locks would drop. */
static int store_create_file(int dir, const char *base, const char *path, struct err *err)
{
    char suffix[17];
    random_hex(suffix, 8);
    CLEANUP(cleanup_free) char *beside = xasprintf("%s.%s.tmp", base, suffix);
    CLEANUP(cleanup_fd) int fd = openat(dir, beside, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, ERR_CONFIG, errno, "cannot create %s", path);
    int failure = 0;
    if (fchmod(fd, 0660) || fsync(fd) || (linkat(dir, beside, dir, base, 0) && errno != EEXIST))
        failure = errno;
    if (unlinkat(dir, beside, 0) || fsync(dir))
        failure = failure ? failure : errno;
    return failure ? err_errno(err, ERR_CONFIG, failure, "cannot create %s", path) : 0;
}

static int store_check_file(int dir, const char *base, const char *path, bool may_create,
                            struct err *err)
{
    struct stat st;
    if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW)) {
        if (errno != ENOENT)
            return err_errno(err, ERR_CONFIG, errno, "%s", path);
        if (!may_create)
            return err_set(err, ERR_CONFIG, ENOENT,
                           "there is no store at %s: 'slipway work' or 'slipway serve' makes it",
                           path);
        if (store_create_file(dir, base, path, err))
            return -1;
        if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW))
            return err_errno(err, ERR_CONFIG, errno, "%s", path);
    }
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_CONFIG, EINVAL, "%s: not a regular file", path);
    if (st.st_mode & S_IWOTH)
        return err_set(err, ERR_CONFIG, EPERM, "%s: everybody may write it; chmod 0660 it", path);
    return 0;
}

/* The canonical path: both programs must come to the same lock files beside the store, wherever
 * they run. */
static int store_locate(const struct store_opts *opts, char **out, struct err *err)
{
    const char *path = str_after(opts->url, "sqlite:");
    if (!path)
        return err_set(err, ERR_CONFIG, EINVAL,
                       "store %s: unknown kind of store; this program knows sqlite:/path/to/file",
                       opts->url);
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    if (!*base || str_eq(base, ".") || str_eq(base, ".."))
        return err_set(err, ERR_CONFIG, EINVAL, "store %s: the name of the file is missing",
                       opts->url);
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    const char *dir_name = fs_dirname(&a, path);
    CLEANUP(cleanup_free) char *real = realpath(dir_name, NULL);
    if (!real)
        return err_errno(err, ERR_CONFIG, errno, "the store's directory %s", dir_name);
    CLEANUP(cleanup_fd) int dir = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_errno(err, ERR_CONFIG, errno, "the store's directory %s", real);
    CLEANUP(cleanup_free) char *full = xasprintf("%s/%s", str_eq(real, "/") ? "" : real, base);
    if (store_check_dir(dir, real, err) || store_check_file(dir, base, full, opts->may_create, err))
        return -1;
    *out = STEAL(full);
    return 0;
}

/*
 * A rollback journal, not WAL: Debian 12's SQLite 3.40 can corrupt a WAL file that several
 * connections use. One that stays, its head overwritten with zeros and synced, is as durable as one
 * that is truncated or deleted, and needs no new blocks for each commit: 1.6 ms for one of 28
 * deliveries, against 1.8 truncated. The cache is smaller than SQLite's own 2 MB: as many usual
 * deliveries as `serve` has threads change less than 1 MB, and it is memory that stays.
 */
static const struct {
    const char *set;
    const char *get;
    int64_t want;
} pragmas[] = {
    {"PRAGMA synchronous = EXTRA", "PRAGMA synchronous", 3},
    {"PRAGMA foreign_keys = ON", "PRAGMA foreign_keys", 1},
    {"PRAGMA trusted_schema = OFF", "PRAGMA trusted_schema", 0},
    {"PRAGMA cell_size_check = ON", "PRAGMA cell_size_check", 1},
    {"PRAGMA cache_size = -1000", "PRAGMA cache_size", -1000},
    {"PRAGMA journal_size_limit = 4194304", "PRAGMA journal_size_limit", MIB(4)},
    {"PRAGMA temp_store = MEMORY", "PRAGMA temp_store", 2},
    {"PRAGMA mmap_size = 0", NULL, 0},
};

static int store_set_journal(struct sql *db, struct err *err)
{
    CLEANUP_SQL struct sql_stmt *q = NULL;
    if (sql_query(db, "PRAGMA journal_mode = PERSIST", SQL_NO_ARGS, &q, err))
        return -1;
    int rc = sql_step(q, err);
    if (rc < 0)
        return -1;
    if (!rc || !sql_col_is(q, 0, "persist"))
        return err_set(err, ERR_CONFIG, 0, "SQLite refuses a rollback journal for this file");
    return 0;
}

static int store_set_pragmas(struct sql *db, struct err *err)
{
    if (store_set_journal(db, err))
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(pragmas); i++) {
        int64_t is = -1;
        if (sql_script(db, pragmas[i].set, err))
            return -1;
        if (!pragmas[i].get)
            continue;
        if (sql_one_int(db, pragmas[i].get, SQL_NO_ARGS, &is, NULL, err))
            return -1;
        if (is != pragmas[i].want)
            return err_set(err, ERR_CONFIG, 0, "SQLite ignores '%s'", pragmas[i].set);
    }
    return 0;
}

/* SQLite syncs the directory when it makes the journal, but passes over an error there. A
 * persistent journal keeps its name for good, so it is enough to make sure of it once. */
static int store_sync_dir(const char *path, struct err *err)
{
    CLEANUP(arena_release) struct arena a = ARENA_INIT;
    CLEANUP(cleanup_fd) int dir = open(fs_dirname(&a, path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fsync(dir))
        return err_errno(err, ERR_CONFIG, errno, "sync the directory");
    return 0;
}

static int store_start(struct store *s, bool may_create, struct err *err)
{
    if (turnstile_open(&s->gate, s->path, err))
        return -1;
    if (turnstile_enter(&s->gate, true, err))
        return -1;
    int rc = sql_open(s->path, LIMIT_STORE_BUSY_MS, &s->db, err);
    if (!rc)
        rc = store_set_pragmas(s->db, err);
    if (!rc)
        rc = schema_migrate(s->db, may_create, err);
    if (!rc)
        rc = store_sync_dir(s->path, err);
    turnstile_leave(&s->gate);
    return rc;
}

int store_open(const struct store_opts *opts, struct store **out, struct err *err)
{
    struct store *s = xcalloc(1, sizeof *s);
    s->gate = (struct turnstile)TURNSTILE_INIT;
    int rc = store_locate(opts, &s->path, err);
    if (!rc) {
        rc = store_start(s, opts->may_create, err);
        if (rc)
            (void)err_wrap(err, "store %s", s->path);
    }
    commit_init(&s->commit, s->db, s->gate);
    if (rc) {
        store_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    commit_release(&s->commit);
    sql_close(s->db);
    turnstile_close(&s->gate);
    free(s->path);
    free(s);
}

static int ping_op(struct sql *db, void *ctx, struct err *err)
{
    const int64_t *now = ctx;
    return sql_run(db, "UPDATE pulse SET at = ?1 WHERE id = 1", SQL_ARGS(sql_int(*now)), err);
}

int store_ping(struct store *s, struct err *err)
{
    if (!sql_is_broken(s->db) && commit_is_proved(&s->commit, LIMIT_STORE_PROOF_MS))
        return 0;
    int64_t now = clock_now_ms();
    return commit_write(&s->commit, ping_op, &now, err);
}

bool store_is_broken(const struct store *s)
{
    return sql_is_broken(s->db);
}

int64_t store_commits(const struct store *s)
{
    return atomic_load(&s->commit.groups);
}

const char *store_wake_path(const struct store *s, struct arena *a)
{
    return arena_printf(a, "%s.wake", s->path);
}

const char *store_work_lock_path(const struct store *s, struct arena *a)
{
    return arena_printf(a, "%s.work", s->path);
}

const char *store_text(struct arena *a, const char *text)
{
    char *copy = arena_strdup(a, text);
    if (copy)
        (void)log_redact(copy);
    return copy;
}

int store_check_fence(struct sql *db, int64_t task, struct err *err)
{
    if (sql_changes(db) == 1)
        return 0;
    return err_set(err, ERR_BUG, ESTALE, "task %lld was claimed or changed by somebody else",
                   (long long)task);
}
