#include "core/build/build_layout.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/lib/crypt.h"
#include "core/lib/json.h"
#include "core/os/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whoever pushes a layout is of the same group and takes it away afterwards. */
#define FOLDER_MODE 0775
#define VERSION_TEXT "{\"imageLayoutVersion\":\"1.0.0\"}"
#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"

static int put_file(const char *path, const char *text, struct err *err)
{
    int fd CLEANUP(cleanup_fd) = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_errno(err, ERR_PERM, errno, "%s", path);
    return fs_write_all(fd, text, strlen(text), err);
}

static int move_file(const char *from, const char *to, struct err *err)
{
    if (rename(from, to) < 0)
        return err_errno(err, ERR_PERM, errno, "rename to %s", to);
    (void)chmod(to, 0644);
    return 0;
}

static int move_blobs(const char *raw, const char *blobs, struct arena *a, struct err *err)
{
    struct str_list names = {0};
    if (fs_list(raw, NULL, a, &names, err) < 0)
        return -1;
    for (size_t i = 0; i < names.n; i++)
        if (str_is_hex(names.at[i], 64) &&
            move_file(arena_printf(a, "%s/%s", raw, names.at[i]),
                      arena_printf(a, "%s/%s", blobs, names.at[i]), err) < 0)
            return -1;
    return 0;
}

static int write_index(const char *part, const char *digest, const struct strbuf *manifest,
                       struct arena *a, struct err *err)
{
    struct js *parsed CLEANUP_JS = js_parse(manifest->buf, manifest->len, err);
    if (!parsed)
        return err_wrap(err, "manifest.json");
    const char *type = js_member_str(parsed, "mediaType");
    struct js *root = js_object();
    js_put_str(root, "mediaType", type ? type : OCI_MANIFEST);
    js_put_str(root, "digest", digest);
    js_put_int(root, "size", (int64_t)manifest->len);
    struct js *roots = js_array();
    js_push(roots, root);
    struct js *index CLEANUP_JS = js_object();
    js_put_int(index, "schemaVersion", 2);
    js_put(index, "manifests", roots);
    return put_file(arena_printf(a, "%s/index.json", part), js_dump(index, a), err);
}

/* The umask is not asked; a group that the parent hands down stays handed down. */
static int open_folder(const char *path, struct err *err)
{
    struct stat st;
    if ((mkdir(path, FOLDER_MODE) < 0 && errno != EEXIST) || stat(path, &st) < 0 ||
        chmod(path, FOLDER_MODE | (st.st_mode & S_ISGID)) < 0)
        return err_errno(err, ERR_PERM, errno, "%s", path);
    return 0;
}

int build_layout_begin(const char *raw, const char *part, struct err *err)
{
    return open_folder(part, err) < 0 ? -1 : open_folder(raw, err);
}

int build_layout_make(const char *raw, const char *part, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct strbuf manifest CLEANUP_STRBUF = STRBUF_INIT(LIMIT_MANIFEST);
    const char *blobs = arena_printf(&a, "%s/blobs/sha256", part);
    const char *from = arena_printf(&a, "%s/manifest.json", raw);
    char digest[CRYPT_DIGEST_TEXT];
    if (open_folder(arena_printf(&a, "%s/blobs", part), err) < 0 || open_folder(blobs, err) < 0 ||
        fs_read_file(from, &manifest, err) < 0)
        return -1;
    crypt_digest(manifest.buf, manifest.len, digest);
    if (move_blobs(raw, blobs, &a, err) < 0 ||
        move_file(from, arena_printf(&a, "%s/%s", blobs, digest + strlen("sha256:")), err) < 0 ||
        write_index(part, digest, &manifest, &a, err) < 0 ||
        put_file(arena_printf(&a, "%s/oci-layout", part), VERSION_TEXT, err) < 0)
        return -1;
    return fs_remove_tree(raw, err);
}

/* The file of a descriptor, there with its size. */
static int check_blob(const char *path, const struct js *descriptor, struct arena *a,
                      const char **file, struct err *err)
{
    const char *digest = js_member_str(descriptor, "digest");
    int64_t size = js_int(descriptor, "size", -1);
    struct stat st;
    if (!digest || !imageref_digest_ok(digest) || !str_starts(digest, "sha256:"))
        return err_set(err, ERR_PERM, 0, "%s: a blob without a sha256 digest", path);
    *file = arena_printf(a, "%s/blobs/sha256/%s", path, digest + strlen("sha256:"));
    if (stat(*file, &st) < 0)
        return err_errno(err, ERR_PERM, errno, "%s", *file);
    if (!S_ISREG(st.st_mode) || st.st_size != size)
        return err_set(err, ERR_PERM, 0, "%s: not of the size that is said", *file);
    return 0;
}

static struct js *read_json(const char *file, struct err *err)
{
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(LIMIT_MANIFEST);
    if (fs_read_file(file, &text, err) < 0)
        return NULL;
    struct js *value = js_parse_within(text.buf, text.len, LIMIT_MANIFEST_VALUES, err);
    if (!value)
        (void)err_wrap(err, "%s", file);
    return value;
}

static int check_layout(const char *path, struct arena *a, struct err *err)
{
    const char *file;
    if (access(arena_printf(a, "%s/oci-layout", path), F_OK) < 0)
        return err_errno(err, ERR_PERM, errno, "%s/oci-layout", path);
    struct js *index CLEANUP_JS = read_json(arena_printf(a, "%s/index.json", path), err);
    if (!index)
        return -1;
    const struct js *roots = js_member(index, "manifests");
    if (js_len(roots) != 1)
        return err_set(err, ERR_PERM, 0, "%s: %zu images, where one is wanted", path,
                       js_len(roots));
    if (check_blob(path, js_at(roots, 0), a, &file, err) < 0)
        return -1;
    struct js *manifest CLEANUP_JS = read_json(file, err);
    if (!manifest)
        return -1;
    const struct js *layers = js_member(manifest, "layers");
    if (!js_is_array(layers))
        return err_set(err, ERR_PERM, 0, "%s: not the manifest of one image", file);
    if (check_blob(path, js_member(manifest, "config"), a, &file, err) < 0)
        return -1;
    for (size_t i = 0; i < js_len(layers); i++)
        if (check_blob(path, js_at(layers, i), a, &file, err) < 0)
            return -1;
    return 0;
}

int build_layout_check(const char *path, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    if (check_layout(path, &a, err) == 0)
        return 0;
    if (err)
        err->kind = ERR_PERM;
    return -1;
}

int build_layout_finish(const char *part, const char *path, struct err *err)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    static const char *const folders[] = {"", "/blobs", "/blobs/sha256"};
    if (build_layout_check(part, err) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        if (open_folder(arena_printf(&a, "%s%s", part, folders[i]), err) < 0)
            return -1;
    }
    int fd CLEANUP(cleanup_fd) = open(part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || syncfs(fd) < 0)
        return err_errno(err, ERR_PERM, errno, "sync %s", part);
    if (fs_remove_tree(path, err) < 0)
        return -1;
    if (rename(part, path) < 0)
        return err_errno(err, ERR_PERM, errno, "rename to %s", path);
    return 0;
}
