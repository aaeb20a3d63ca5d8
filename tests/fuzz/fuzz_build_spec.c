#include "core/base/base.h"
#include "core/base/str.h"
#include "core/build/build_argv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* No word of a command but its own flags begins with '-', and none has a second line. */
static void check_words(const struct build_spec *spec, const struct build_image *image,
                        struct arena *a)
{
    const struct build_place place = {.store = "/t/s",
                                      .run = "/t/r",
                                      .home = "/t/h",
                                      .registries_conf = "/t/c",
                                      .policy = "/t/p",
                                      .isolation = "chroot",
                                      .driver = "vfs"};
    struct str_list argv = build_argv(spec, &place, image, NULL, "/context", "/file", "/layout", a);
    bool behind = false;
    for (size_t i = 0; i < argv.n; i++) {
        must(!strpbrk(argv.at[i], "\r\n\x1b"));
        must(!behind || argv.at[i][0] == '/');
        behind = behind || str_eq(argv.at[i], "--");
        if (argv.at[i][0] == '-' && !str_eq(argv.at[i], "--"))
            must(strchr(argv.at[i], '=') != NULL);
    }
    must(behind && !strchr(build_layout_name(image->name, NULL, a), '/'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct build_spec spec, again;
    if (build_spec_from_json((const char *)data, len, &a, &spec, &err) < 0) {
        must(err.kind == ERR_INPUT && !strpbrk(err.text, "\r\n\x1b"));
        return 0;
    }
    const char *text = build_spec_to_json(&spec, &a);
    must(!strchr(text, '\n'));
    must(build_spec_from_json(text, strlen(text), &a, &again, &err) == 0);
    must(str_eq(build_spec_to_json(&again, &a), text));
    for (size_t i = 0; i < spec.images.n; i++)
        check_words(&spec, &spec.images.at[i], &a);
    return 0;
}
