#include "core/build/build_run.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/build/build_argv.h"
#include "core/build/build_layout.h"
#include "core/build/build_scene.h"
#include "core/build/build_source.h"
#include "core/os/clock.h"
#include "core/os/fs.h"
#include "core/os/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#define DISK_EVERY_MS 1000
#define DISK_SHARE 10 /* looking takes a tenth of the time at most */

struct job {
    const struct build_spec *spec;
    const struct build_watch *watch;
    struct arena *a;
    struct build_scene scene;
    struct build_layouts kept; /* the caller's wish */
    struct build_layouts done;
    int64_t timeout_s;
    int64_t deadline;
    int64_t disk_max;
    int64_t disk_at;
    int64_t log_left;
    int64_t log_dropped;
    char tail[LIMIT_BUILD_TAIL + 1]; /* the last bytes of the running command's output */
    size_t tail_len;
};

/* One image for one platform. */
struct turn {
    const struct build_image *image;
    const char *platform;
    const char *layout; /* where it is to be */
    struct build_source source;
};

static void keep_tail(struct job *j, const char *text, size_t len)
{
    if (len > LIMIT_BUILD_TAIL) {
        text += len - LIMIT_BUILD_TAIL;
        len = LIMIT_BUILD_TAIL;
    }
    size_t keep = LIMIT_BUILD_TAIL - len < j->tail_len ? LIMIT_BUILD_TAIL - len : j->tail_len;
    memmove(j->tail, j->tail + j->tail_len - keep, keep);
    memcpy(j->tail + keep, text, len);
    j->tail_len = keep + len;
    j->tail[j->tail_len] = '\0';
}

static void pass_log(struct job *j, const char *text, size_t len)
{
    if (j->watch && j->watch->log && len)
        j->watch->log(j->watch->user, text, len);
}

/* Our own words, which no limit keeps back. */
static void say(struct job *j, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(struct job *j, const char *fmt, ...)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len < 0)
        abort();
    const char *line = arena_printf(&a, "slipway: %s\n", str_printable(&a, text));
    free(text);
    pass_log(j, line, strlen(line));
}

static void on_output(void *user, const char *data, size_t len)
{
    struct job *j = user;
    size_t fits = (int64_t)len <= j->log_left ? len : (size_t)j->log_left;
    keep_tail(j, data, len);
    pass_log(j, data, fits);
    j->log_left -= (int64_t)fits;
    if (fits == len)
        return;
    if (!j->log_dropped)
        say(j, "the log is longer than it may be: the rest is dropped");
    j->log_dropped += (int64_t)(len - fits);
}

static int check_disk(struct job *j, struct err *err)
{
    int64_t before = clock_monotonic_ms();
    if (before < j->disk_at)
        return 0;
    int64_t size = build_scene_size(&j->scene);
    int64_t now = clock_monotonic_ms();
    int64_t pause = (now - before) * DISK_SHARE;
    j->disk_at = now + (pause > DISK_EVERY_MS ? pause : DISK_EVERY_MS);
    if (size <= j->disk_max)
        return 0;
    return err_set(err, ERR_PERM, EDQUOT,
                   "the build takes more than %lld bytes of disk, which is its limit",
                   (long long)j->disk_max);
}

static int check(void *user, struct err *err)
{
    struct job *j = user;
    if (j->watch && j->watch->stop && j->watch->stop(j->watch->user))
        return err_set(err, ERR_TEMP, ECANCELED, "the build was stopped");
    return check_disk(j, err);
}

static int out_of_time(const struct job *j, struct err *err)
{
    return err_set(err, ERR_PERM, ETIMEDOUT, "timed out: the job's %lld seconds are over",
                   (long long)j->timeout_s);
}

static int tool_failed(struct job *j, const struct turn *t, const char *what, int status,
                       struct err *err)
{
    const char *words = build_last_words(j->tail, j->a);
    enum err_kind kind;
    const char *advice = build_advice(j->tail, t->platform, &kind);
    if (status == 128 + SIGKILL && !advice)
        advice = "it was killed, as happens when memory runs out";
    return err_set(err, kind, status, "%s failed with status %d: %s%s%s%s", what, status,
                   *words ? words : "no word about why", advice ? " (" : "", advice ? advice : "",
                   advice ? ")" : "");
}

/* out NULL: it goes to the log. */
static int run_tool(struct job *j, const struct turn *t, const char *what, struct str_list argv,
                    struct strbuf *out, struct err *err)
{
    struct proc_result r CLEANUP(proc_result_release);
    int64_t left = j->deadline - clock_monotonic_ms();
    if (left <= 0)
        return out_of_time(j, err);
    proc_result_init(&r, LIMIT_CHILD_OUTPUT);
    *list_push(j->a, &argv) = NULL;
    j->tail_len = 0;
    j->tail[0] = '\0';
    const struct proc_opts opts = {.argv = argv.at,
                                   .env = j->scene.env,
                                   .cwd = j->scene.place.home,
                                   .timeout_ms = left,
                                   .on_output = out ? NULL : on_output,
                                   .check = check,
                                   .user = j};
    int rc = proc_run(&opts, &r, err);
    if (out) {
        keep_tail(j, r.err.buf, r.err.len);
        (void)strbuf_add(out, r.out.buf, r.out.len);
    }
    if (r.timed_out)
        return out_of_time(j, err);
    if (rc < 0)
        return -1;
    return r.status ? tool_failed(j, t, what, r.status, err) : 0;
}

/* As people know it. */
static const char *called(const struct build_image *image)
{
    return str_empty(image->label) ? image->name : image->label;
}

static void warn_of_healthcheck(struct job *j, const struct turn *t)
{
    struct strbuf text CLEANUP_STRBUF = STRBUF_INIT(LIMIT_CONTAINERFILE);
    if (j->spec->format == BUILD_OCI && fs_read_file(t->source.filename, &text, NULL) == 0 &&
        build_has_healthcheck(text.buf, text.len))
        say(j,
            "warning: image %s: the OCI format knows no HEALTHCHECK, it is dropped; format: docker "
            "keeps it",
            called(t->image));
}

static int build_it(struct job *j, const struct turn *t, const char *part, struct err *err)
{
    bool joined = t->image->siblings.n > 0;
    const char *sent =
        joined ? arena_printf(j->a, "%s/sent", j->scene.room.path) : t->source.context;
    struct str_list argv = build_argv(j->spec, &j->scene.place, t->image, t->platform, sent,
                                      t->source.filename, part, j->a);
    if (joined &&
        build_siblings_join(j->spec, t->image, t->source.context, sent, j->disk_max, err) < 0)
        return -1;
    int rc = run_tool(j, t, "the build", argv, NULL, err);
    if (joined && fs_remove_tree(sent, rc ? NULL : err) < 0)
        return -1;
    return rc;
}

static int export_it(struct job *j, const struct turn *t, const char *part, struct err *err)
{
    const char *raw = arena_printf(j->a, "%s/raw", part);
    struct str_list argv =
        build_export_argv(j->spec, &j->scene.place, t->image, t->platform, raw, j->a);
    if (argv.n && (build_layout_begin(raw, part, err) < 0 ||
                   run_tool(j, t, "writing the image", argv, NULL, err) < 0 ||
                   build_layout_make(raw, part, err) < 0))
        return -1;
    return build_layout_finish(part, t->layout, err);
}

static int make_layout(struct job *j, struct turn *t, struct err *err)
{
    const char *part = arena_printf(j->a, "%s/.%s.part", j->spec->out,
                                    build_layout_name(t->image->name, t->platform, j->a));
    if (build_source_find(j->spec, t->image, j->a, &t->source, err) < 0 ||
        fs_remove_tree(part, err) < 0)
        return -1;
    say(j, "image %s%s%s: %s build, %s", called(t->image), t->platform ? " for " : "",
        t->platform ? t->platform : "", build_tool_name(j->spec->tool), t->image->context);
    warn_of_healthcheck(j, t);
    int rc = build_it(j, t, part, err);
    rc = rc ? rc : export_it(j, t, part, err);
    if (rc < 0)
        (void)fs_remove_tree(part, NULL);
    return rc;
}

static bool is_kept(const struct job *j, const struct turn *t)
{
    for (size_t i = 0; i < j->kept.n; i++)
        if (str_eq(j->kept.at[i].name, t->image->name) &&
            str_eq(j->kept.at[i].platform, t->platform))
            return build_layout_check(t->layout, NULL) == 0;
    return false;
}

static struct turn turn_of(const struct job *j, const struct build_image *image, size_t i)
{
    const char *platform = image->platforms.n ? image->platforms.at[i] : NULL;
    return (struct turn){
        .image = image,
        .platform = platform,
        .layout = arena_printf(j->a, "%s/%s", j->spec->out,
                               build_layout_name(image->name, platform, j->a)),
    };
}

static size_t turns_of(const struct build_image *image)
{
    return image->platforms.n ? image->platforms.n : 1;
}

/* Is there still something to be built that may be FROM this? */
static bool is_wanted_later(const struct job *j, const struct turn *t)
{
    const struct build_image *end = j->spec->images.at + j->spec->images.n;
    const char *store = build_store_name(t->platform, j->a);
    for (const struct build_image *image = t->image + 1; t->image->refs.n && image < end; image++) {
        for (size_t i = 0; i < turns_of(image); i++) {
            struct turn later = turn_of(j, image, i);
            if (!is_kept(j, &later) && str_eq(build_store_name(later.platform, j->a), store))
                return true;
        }
    }
    return false;
}

static int import_it(struct job *j, const struct turn *t, struct err *err)
{
    struct strbuf id CLEANUP_STRBUF = STRBUF_INIT(LIMIT_CHILD_OUTPUT);
    /* The tools make a name of the path, and take no capital letters for it. */
    const char *link = arena_printf(j->a, "%s/former", j->scene.place.home);
    struct str_list argv = build_import_argv(j->spec, &j->scene.place, "former", j->a);
    if (!argv.n)
        return 0;
    if (fs_remove_tree(link, err) < 0)
        return -1;
    if (symlink(t->layout, link) < 0)
        return err_errno(err, ERR_CONFIG, errno, "%s", link);
    if (run_tool(j, t, "reading the former image", argv, &id, err) < 0)
        return -1;
    id.buf[strcspn(id.buf, "\n")] = '\0';
    if (!str_is_hex(id.buf, 64))
        return err_set(err, ERR_PERM, 0, "reading the former image: no id came out");
    argv = build_tag_argv(j->spec, &j->scene.place, t->image, t->platform,
                          arena_strdup(j->a, id.buf), j->a);
    return run_tool(j, t, "naming the former image", argv, NULL, err);
}

static int take_turn(struct job *j, struct turn *t, struct err *err)
{
    if (build_scene_turn(&j->scene, t->image, t->platform, err) < 0)
        return -1;
    if (!is_kept(j, t))
        return make_layout(j, t, err);
    say(j, "image %s: already built by a former run", called(t->image));
    return is_wanted_later(j, t) ? import_it(j, t, err) : 0;
}

static int wrap_image(const struct turn *t, struct err *err)
{
    return err_wrap(err, "image %s%s%s%s", called(t->image), t->platform ? " (" : "",
                    t->platform ? t->platform : "", t->platform ? ")" : "");
}

/* A mistake in the last image is told before the first one is built. */
static int find_all(struct job *j, struct err *err)
{
    list_each (struct build_image, image, &j->spec->images) {
        struct turn t = {.image = image};
        if (build_source_find(j->spec, image, j->a, &t.source, err) < 0)
            return wrap_image(&t, err);
    }
    return 0;
}

static int build_all(struct job *j, struct err *err)
{
    list_each (struct build_image, image, &j->spec->images) {
        for (size_t i = 0; i < turns_of(image); i++) {
            struct turn t = turn_of(j, image, i);
            if (take_turn(j, &t, err) < 0)
                return wrap_image(&t, err);
            *list_push(j->a, &j->done) = (struct build_layout){
                .name = image->name, .platform = t.platform, .path = t.layout};
        }
    }
    return 0;
}

static void close_scene(struct job *j)
{
    struct err err = ERR_INIT;
    if (j->log_dropped)
        say(j, "%lld bytes of log were dropped", (long long)j->log_dropped);
    if (build_scene_close(&j->scene, &err) < 0)
        log_warn("what a build left cannot be removed", "why", err.text, NULL);
}

int build_run(const struct build_spec *spec, const struct build_watch *watch, struct arena *a,
              struct build_layouts *out, struct err *err)
{
    struct job job = {
        .spec = spec,
        .watch = watch,
        .a = a,
        .kept = *out,
        .timeout_s = spec->timeout_s ? spec->timeout_s : LIMIT_BUILD_S,
        .disk_max = spec->disk_max ? spec->disk_max : LIMIT_BUILD_DISK,
        .log_left = spec->log_max ? spec->log_max : (int64_t)LIMIT_BUILD_LOG,
    };
    *out = (struct build_layouts){0};
    job.deadline = clock_monotonic_ms() + job.timeout_s * 1000;
    job.disk_at = clock_monotonic_ms() + DISK_EVERY_MS;
    if (build_spec_check(spec, a, err) < 0)
        return -1;
    int rc = build_scene_open(&job.scene, spec, watch ? watch->scratch : NULL, a, err);
    rc = rc ? rc : find_all(&job, err);
    rc = rc ? rc : build_all(&job, err);
    close_scene(&job);
    if (rc < 0)
        return -1;
    *out = job.done;
    return 0;
}
