#include "config/secret.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/lib/crypt.h"
#include "core/os/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CREDENTIALS_DIRECTORY "CREDENTIALS_DIRECTORY"

static bool name_ok(const char *s)
{
    return *s && !strchr(s, '/') && !str_eq(s, ".") && !str_eq(s, "..");
}

static bool variable_ok(const char *s)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    return *s && strchr(letters, *s) && s[strcspn(s, "= \t")] == '\0';
}

int secret_check(const char *text, const char *dir, struct arena *a, const char **ref,
                 struct err *err)
{
    const char *path = str_after(text, "file:");
    const char *credential = str_after(text, "credential:");
    const char *variable = str_after(text, "env:");
    if (path && !*path)
        return err_set(err, ERR_CONFIG, 0, "file: needs a path behind it");
    if (credential && !name_ok(credential))
        return err_set(err, ERR_CONFIG, 0,
                       "credential: needs the name of a systemd credential behind it, no path");
    if (variable && !variable_ok(variable))
        return err_set(err, ERR_CONFIG, 0, "env: needs the name of a variable behind it");
    if (!path && !credential && !variable)
        return err_set(err, ERR_CONFIG, 0,
                       "write file:PATH, credential:NAME or env:NAME, never the secret itself");
    *ref = path && *path != '/' ? arena_printf(a, "file:%s/%s", dir, path) : arena_strdup(a, text);
    return 0;
}

static int read_file(const char *ref, const char *path, bool check_mode, struct strbuf *out,
                     struct err *err)
{
    /* O_NONBLOCK: a FIFO must not make us wait. */
    int fd CLEANUP(cleanup_fd) = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        char detail[128];
        return err_set(err, ERR_CONFIG, errno, "%s can't be read: %s", ref,
                       strerror_r(errno, detail, sizeof detail));
    }
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_CONFIG, 0, "%s is not a regular file", ref);
    if (check_mode && (st.st_mode & 0007))
        return err_set(err, ERR_CONFIG, 0, "%s is open to everybody (mode %04o): chmod o-rwx it",
                       ref, (unsigned)(st.st_mode & 07777));
    if (fs_read_fd(fd, out, err) < 0)
        return err_set(err, ERR_CONFIG, 0, "%s can't be read, or is longer than %zu bytes", ref,
                       out->max);
    return 0;
}

static int read_variable(const char *ref, const char *name, struct strbuf *out, struct err *err)
{
    const char *value = getenv(name);
    if (!value)
        return err_set(err, ERR_CONFIG, 0, "%s: the variable is not set", ref);
    if (strbuf_addstr(out, value) < 0)
        return err_set(err, ERR_CONFIG, 0, "%s is longer than %zu bytes", ref, out->max);
    return 0;
}

static int read_reference(const char *ref, struct strbuf *out, struct err *err)
{
    const char *path = str_after(ref, "file:");
    const char *credential = str_after(ref, "credential:");
    if (path)
        return read_file(ref, path, true, out, err);
    if (!credential)
        return read_variable(ref, str_after(ref, "env:"), out, err);
    const char *dir = getenv(CREDENTIALS_DIRECTORY);
    if (str_empty(dir))
        return err_set(err, ERR_CONFIG, 0,
                       "%s: $" CREDENTIALS_DIRECTORY " is not set; systemd sets it for units with "
                       "LoadCredential=",
                       ref);
    char *file CLEANUP(cleanup_free) = xasprintf("%s/%s", dir, credential);
    return read_file(ref, file, false, out, err);
}

static void strip_newline(struct strbuf *b)
{
    if (b->len && b->buf[b->len - 1] == '\n')
        b->buf[--b->len] = '\0';
    if (b->len && b->buf[b->len - 1] == '\r')
        b->buf[--b->len] = '\0';
}

int secret_read(const char *ref, struct arena *a, const char **out, struct err *err)
{
    struct strbuf text CLEANUP(crypt_wipe_buffer) = STRBUF_INIT(LIMIT_TOKEN);
    if (read_reference(ref, &text, err) < 0)
        return -1;
    strip_newline(&text);
    if (!text.len)
        return err_set(err, ERR_CONFIG, 0, "%s is empty: an empty secret lets nobody in", ref);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.buf[i] < ' ' || text.buf[i] == 127)
            return err_set(err, ERR_CONFIG, 0,
                           "%s holds a line break or another control character: a secret is one "
                           "line",
                           ref);
    *out = strbuf_to_arena(&text, a);
    log_secret(*out);
    return 0;
}

int secret_read_text(const char *ref, struct arena *a, const char **out, struct err *err)
{
    struct strbuf text CLEANUP(crypt_wipe_buffer) = STRBUF_INIT(LIMIT_AUTH_FILE);
    if (read_reference(ref, &text, err) < 0)
        return -1;
    if (!text.len)
        return err_set(err, ERR_CONFIG, 0, "%s is empty", ref);
    if (memchr(text.buf, '\0', text.len))
        return err_set(err, ERR_CONFIG, 0, "%s holds a NUL byte", ref);
    *out = strbuf_to_arena(&text, a);
    return 0;
}
