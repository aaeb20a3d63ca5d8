/*
 * fs.h - files. Bounded reads, durable writes, directories. Paths are the operator's or ours.
 */
#ifndef SLIPWAY_FS_H
#define SLIPWAY_FS_H

#include "core/base/err.h"
#include "core/base/mem.h"
#include "core/base/strbuf.h"

#include <sys/types.h>

/* close() for an fd declared with CLEANUP(cleanup_fd); negative fds are left alone. */
void cleanup_fd(int *fd);

/* Appends a whole regular file; more than out->max bytes is an ERR_CONFIG error. err.code is the
 * errno, so that the caller can tell ENOENT. */
int fs_read_file(const char *path, struct strbuf *out, struct err *err);

/* Reads fd to its end; -1 with ERR_INPUT and code EMSGSIZE when it holds more than out->max. */
int fs_read_fd(int fd, struct strbuf *out, struct err *err);

int fs_write_all(int fd, const void *data, size_t len, struct err *err); /* retries EINTR */

/* Writes beside the path, fsyncs, renames over it, fsyncs the directory. */
int fs_replace_file(const char *path, const void *data, size_t len, mode_t mode, struct err *err);

int fs_mkdirs(const char *path, mode_t mode, struct err *err); /* mkdir -p */
int fs_remove_tree(const char *path, struct err *err);         /* rm -rf, does not follow links */
bool fs_exists(const char *path);

/* The directory part ("." when there is none), in the arena. */
const char *fs_dirname(struct arena *a, const char *path);

/* Sorted names in a directory that end with suffix, without "." and "..". */
int fs_list(const char *dir, const char *suffix, struct arena *a, struct str_list *out,
            struct err *err);

#endif
