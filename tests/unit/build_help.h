/*
 * build_help.h - a source tree to build from, for tests of core/build: folders and files below a
 * folder of their own, a place for layouts and a scratch folder, all removed at the end.
 */
#ifndef SLIPWAY_TESTS_BUILD_HELP_H
#define SLIPWAY_TESTS_BUILD_HELP_H

#include "core/base/str.h"
#include "core/build/build.h"
#include "core/os/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct yard {
    struct arena a;
    char dir[64];
    const char *source;
    const char *out;
    const char *scratch;
    const char *siblings;
};

static UNUSED const char *yard_path(struct yard *y, const char *file)
{
    return arena_printf(&y->a, "%s/%s", y->dir, file);
}

static UNUSED void yard_folder(struct yard *y, const char *folder)
{
    struct err err = ERR_INIT;
    if (fs_mkdirs(yard_path(y, folder), 0755, &err) < 0)
        fail_msg("%s", err.text);
}

static UNUSED void yard_init(struct yard *y)
{
    *y = (struct yard){.dir = "/tmp/slipway-yard-XXXXXX"};
    if (!mkdtemp(y->dir))
        abort();
    y->source = yard_path(y, "source");
    y->out = yard_path(y, "out");
    y->scratch = yard_path(y, "scratch");
    y->siblings = yard_path(y, "siblings");
    static const char *const folders[] = {"source", "out", "scratch", "siblings"};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        yard_folder(y, folders[i]);
}

static UNUSED void yard_release(struct yard *y)
{
    struct err err = ERR_INIT;
    if (fs_remove_tree(y->dir, &err) < 0)
        fail_msg("%s", err.text);
    arena_release(&y->a);
}

/* File and folders on the way; the path is below the yard. */
static UNUSED void yard_file(struct yard *y, const char *file, const char *text, mode_t mode)
{
    struct err err = ERR_INIT;
    const char *path = yard_path(y, file);
    if (fs_mkdirs(fs_dirname(&y->a, path), 0755, &err) < 0 ||
        fs_replace_file(path, text, strlen(text), mode, &err) < 0)
        fail_msg("%s", err.text);
}

static UNUSED void yard_link(struct yard *y, const char *file, const char *target)
{
    struct err err = ERR_INIT;
    const char *path = yard_path(y, file);
    if (fs_mkdirs(fs_dirname(&y->a, path), 0755, &err) < 0 || symlink(target, path) < 0)
        fail_msg("%s: %s", path, err.text);
}

static UNUSED bool yard_has(struct yard *y, const char *file)
{
    struct stat st;
    return lstat(yard_path(y, file), &st) == 0;
}

static UNUSED size_t yard_count(struct yard *y, const char *folder)
{
    struct err err = ERR_INIT;
    struct str_list names = {0};
    if (fs_list(yard_path(y, folder), NULL, &y->a, &names, &err) < 0)
        fail_msg("%s", err.text);
    return names.n;
}

/* A list of strings that ends with NULL. */
static UNUSED struct str_list texts(struct arena *a, const char *const *from)
{
    struct str_list list = {0};
    for (; from && *from; from++)
        *list_push(a, &list) = *from;
    return list;
}
#define TEXTS(a, ...) texts((a), (const char *const[]){__VA_ARGS__, NULL})

#endif
