#include "cgi/command.h"

#include "cgi/command/job.h"
#include "cgi/command/job_print.h"
#include "core/base/str.h"
#include "core/os/fs.h"
#include "core/registry/layout.h"

#include <errno.h>
#include <unistd.h>

struct build {
    struct job_flags job;
    const char *out;
};

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

/* A layout of an earlier build makes place, nothing else does. */
static int keep(const struct build *b, const struct build_layout *l, struct arena *a,
                const char **path, struct err *err)
{
    const char *name = strrchr(l->path, '/') + 1;
    const char *to = arena_printf(a, "%s/%s", b->out, name);
    if (fs_exists(to) && !fs_exists(arena_printf(a, "%s/oci-layout", to)))
        return err_set(err, ERR_CONFIG, EEXIST, "%s is there already and is no OCI layout", to);
    if (fs_exists(to) && fs_remove_tree(to, err) < 0)
        return -1;
    if (rename(l->path, to) < 0)
        return err_errno(err, ERR_PERM, errno, "%s", to);
    *path = to;
    return 0;
}

static int finish(struct job *j, const struct build *b, const struct built_list *built,
                  struct job_result *result, struct err *err)
{
    list_each (const struct built, image, built) {
        const char *label = image->image->context.text;
        list_each (const struct plan_build, p, &j->plan.builds)
            if (p->image == image->image)
                label = p->label;
        list_each (const struct build_layout, l, &image->layouts) {
            struct job_row *row = list_push(j->arena, result);
            *row = (struct job_row){.target = label, .state = "built", .platform = l->platform};
            if (digest_of(l, j->arena, &row->digest, err) < 0 ||
                (b->out && keep(b, l, j->arena, &row->path, err) < 0))
                return -1;
        }
    }
    return 0;
}

static int build(struct job *j, const struct build *b)
{
    struct err err = ERR_INIT;
    struct built_list built = {0};
    const char *tail = NULL;
    int code;
    if (job_is_decided(j, &code))
        return code;
    struct job_result result = {.state = "built"};
    if (job_build(j, &built, &tail, &err) < 0 || finish(j, b, &built, &result, &err) < 0)
        return job_failed(j, &err, tail);
    job_print(&result, j->cmd, j->flags, j->arena);
    return EXIT_DONE;
}

/* The builds lie on the same file system as what stays of them. */
static int make_out(struct build *b, struct job *j, char **work, struct arena *a)
{
    struct err err = ERR_INIT;
    if (!b->out || b->job.dry_run)
        return EXIT_DONE;
    if (fs_mkdirs(b->out, 0755, &err) < 0)
        return command_failed(&err);
    char *real CLEANUP(cleanup_free) = realpath(b->out, NULL);
    b->out = arena_strdup(a, real ? real : b->out);
    *work = xasprintf("%s/.slipway-XXXXXX", b->out);
    if (!mkdtemp(*work)) {
        (void)err_errno(&err, ERR_CONFIG, errno, "--out %s", b->out);
        free(STEAL(*work));
        return command_failed(&err);
    }
    j->build_dir = arena_strdup(a, *work);
    return EXIT_DONE;
}

static int run(int argc, char **argv)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct build b = {.job = JOB_FLAGS_INIT};
    const struct flag flags[] = {
        JOB_FLAGS(b.job), JOB_BUILD_FLAGS(b.job), {"out", 'o', FLAG_STR, &b.out}};
    struct job j = {0};
    char *work = NULL;
    int positional;
    int code = flags_parse(&command_build, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code < 0)
        code = job_check(&command_build, &b.job, positional);
    if (code >= 0)
        return code;
    code = make_out(&b, &j, &work, &a);
    if (code == EXIT_DONE)
        code = job_open(&j, &command_build, &b.job, JOB_BUILD, &a);
    if (code == EXIT_DONE) {
        code = build(&j, &b);
        job_close(&j);
    }
    if (work)
        (void)fs_remove_tree(work, NULL);
    free(work);
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
        "  -o, --out DIR            keep the OCI layouts, a folder an image and platform; those\n"
        "                           of an earlier build are replaced\n"
        "      --timeout TIME       end after so long, as 90s, 10m or 2h; default: "
        "1h\n" JOB_TAIL_HELP "\n"
        "Exit status: 0 built, 1 failed, 2 usage or configuration, 3 see --exit-code, 5 refused,\n"
        "75 try later.\n",
    .run = run,
};
