#include "cgi/command.h"

#include "cgi/command/job_build.h"
#include "cgi/command/job_decide.h"
#include "cgi/command/job_print.h"
#include "core/base/strset.h"
#include "core/base/str.h"
#include "core/os/fs.h"
#include "core/registry/layout.h"

#include <errno.h>

static void close_layout(struct layout **l)
{
    if (*l)
        layout_close(*l);
}

static int digest_of(const struct build_layout *l, struct arena *a, const char **digest,
                     struct err *err)
{
    struct descriptor root;
    bool absent = false;
    struct layout *layout CLEANUP(close_layout) = layout_open(l->path, false, err);
    if (!layout || layout_root(layout, NULL, a, &root, &absent, err) < 0)
        return -1;
    *digest = root.digest;
    return 0;
}

/* What people call an image, as a name of a folder: the last part of its repository or context. */
static const char *folder_name(const char *label)
{
    const char *slash = strrchr(label, '/');
    const char *name = slash ? slash + 1 : label;
    return *name && *name != '.' && *name != '-' ? name : "image";
}

/* A folder for each: of two images of one name the second is "app-2". */
static const char *place_of(const char *out, const char *name, const char *platform,
                            struct strset *taken, struct arena *a)
{
    for (size_t i = 1;; i++) {
        const char *numbered = i == 1 ? name : arena_printf(a, "%s-%zu", name, i);
        const char *place = build_layout_name(numbered, platform, a);
        if (strset_add(taken, a, place))
            return arena_printf(a, "%s/%s", out, place);
    }
}

/* Where each layout is to stay, in the order of the builds and their platforms; none without --out.
 * A layout of an earlier build makes place, nothing else does. */
static int find_places(const struct job *j, struct str_list *places, struct err *err)
{
    struct strset taken = {0};
    const char *out = j->beside.path ? fs_dirname(j->arena, j->beside.path) : NULL;
    for (size_t i = 0; out && i < j->plan.builds.n; i++) {
        const struct plan_build *p = &j->plan.builds.at[i];
        const struct str_list *arch = &p->image->arch;
        for (size_t k = 0; k < (arch->n ? arch->n : 1); k++) {
            const char *platform = arch->n ? arch->at[k] : NULL;
            const char *place = place_of(out, folder_name(p->label), platform, &taken, j->arena);
            if (fs_exists(place) && !fs_exists(arena_printf(j->arena, "%s/oci-layout", place)))
                return err_set(err, ERR_CONFIG, EEXIST, "%s is there already and is no OCI layout",
                               place);
            *list_push(j->arena, places) = place;
        }
    }
    return 0;
}

static int keep(const char *from, const char *to, struct err *err)
{
    if (fs_exists(to) && fs_remove_tree(to, err) < 0)
        return -1;
    return rename(from, to) < 0 ? err_errno(err, ERR_PERM, errno, "%s", to) : 0;
}

static int finish(struct job *j, const struct built_list *built, const struct str_list *places,
                  struct job_result *result, struct err *err)
{
    for (size_t i = 0; i < built->n; i++)
        list_each (const struct build_layout, l, &built->at[i].layouts) {
            struct job_row *row = list_push(j->arena, result);
            *row = (struct job_row){
                .target = j->plan.builds.at[i].label, .state = "built", .platform = l->platform};
            if (digest_of(l, j->arena, &row->digest, err) < 0)
                return -1;
            if (!places->n)
                continue;
            row->path = places->at[result->n - 1];
            if (keep(l->path, row->path, err) < 0)
                return -1;
        }
    return 0;
}

static int build(struct job *j)
{
    struct err err = ERR_INIT;
    struct built_list built = {0};
    struct str_list places = {0};
    const char *tail = NULL;
    int code;
    if (job_is_decided(j, &code))
        return code;
    struct job_result result = {.state = "built"};
    if (find_places(j, &places, &err) < 0 || job_build(j, &built, &tail, &err) < 0 ||
        finish(j, &built, &places, &result, &err) < 0)
        return job_failed(j, &err, tail);
    job_print(&result, j->cmd, j->flags, j->arena);
    return EXIT_DONE;
}

static int run(int argc, char **argv)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct job_flags f = JOB_FLAGS_INIT;
    const char *out = NULL;
    const struct flag flags[] = {JOB_FLAGS(f), JOB_BUILD_FLAGS(f), {"out", 'o', FLAG_STR, &out}};
    struct job j;
    int positional;
    int code = flags_parse(&command_build, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code < 0)
        code = job_flags_check(&command_build, &f, positional);
    if (code >= 0)
        return code;
    code = job_open(&j, &command_build, &f, JOB_BUILD, out, &a);
    if (code != EXIT_DONE)
        return code;
    code = build(&j);
    job_close(&j);
    return code;
}

const struct command command_build = {
    .name = "build",
    .summary = "build the images of the list, here",
    .help =
        "Examples:\n"
        "  slipway build                          # every image of .slipway.yaml\n"
        "  slipway build --out images             # and keep them: OCI layouts below images/\n"
        "  slipway build --commit v1.2.3 --builder buildah\n"
        "  slipway build --dry-run --format json\n"
        "\n"
        "Does what the job build-container-image does: each image is built from its context, in\n"
        "the order of the list, so that one may be FROM an earlier one. buildah and podman run\n"
        "in a throw-away store; nothing is pushed, and without --out nothing stays. The log goes\n"
        "to standard error; digests, images and platforms are printed.\n"
        "\n"
        "Flags:\n" BY_HAND_HELP JOB_HELP JOB_BUILD_HELP
        "  -o, --out DIR            keep the OCI layouts: DIR/app for .../team/app, or (with "
        "arch)\n"
        "                           DIR/app-linux-arm64; those of an earlier build are replaced\n"
        "      --timeout TIME       end after so long, as 90s, 10m or 2h; default: "
        "1h\n" JOB_TAIL_HELP "\n"
        "Exit status: 0 built, 1 failed, 2 usage or configuration, 3 see --exit-code, 5 refused,\n"
        "75 try later.\n",
    .run = run,
};
