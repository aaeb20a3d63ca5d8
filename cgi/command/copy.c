#include "cgi/command.h"

#include "cgi/command/by_hand.h"
#include "cgi/copy_print.h"
#include "cgi/progress.h"
#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/os/clock.h"

#include <errno.h>

struct copy_flags {
    struct by_hand_flags by_hand;
    struct flag_values tags, platforms;
    const char *expected, *format;
    int64_t timeout_s;
    bool no_companions, dry_run, exit_code, quiet;
};

struct copy_list {
    struct copy *at;
    size_t n;
    size_t cap;
};

static int parse_place(const char *text, struct imageref_place *out, struct arena *a,
                       struct err *err)
{
    if (imageref_parse_transport(text, NULL, a, out, err) < 0)
        return -1;
    if (out->kind == IMAGEREF_REGISTRY && out->ref.tag && out->ref.digest)
        return err_set(err, ERR_CONFIG, 0,
                       "%s: name a tag or a digest, not both (--expect DIGEST "
                       "makes sure of what a tag shows)",
                       text);
    return 0;
}

static const char *ref_of(const struct imageref_place *p)
{
    if (p->kind == IMAGEREF_LAYOUT)
        return p->ref_name;
    return p->ref.digest ? p->ref.digest : p->ref.tag;
}

/* The name of a layout's only image stands for the tag that was not written. A source of several is
 * left to fail as such. */
static int name_of_root(const struct copy *c, const char **out, struct arena *a, struct err *err)
{
    struct err ignored = ERR_INIT;
    struct descriptor root;
    bool absent = false;
    if (layout_root(c->from.layout, NULL, a, &root, &absent, &ignored) < 0)
        return 0;
    if (!str_empty(root.ref_name) && (c->to.layout || imageref_tag_ok(root.ref_name)))
        *out = root.ref_name;
    else if (c->to.registry)
        return err_set(err, ERR_CONFIG, 0,
                       "%s: its image has no name that could be a tag: name one, as in %s:TAG",
                       copy_source(c, a), copy_end(&c->to, NULL, a));
    return 0;
}

static int open_ends(const struct by_hand *b, const struct imageref_place *from,
                     const struct imageref_place *to, struct copy *c, bool *absent, struct err *err)
{
    if (by_hand_endpoint(b, from, BY_HAND_READ, &c->from, err) < 0) {
        *absent = err->code == ENOENT;
        return -1;
    }
    if (by_hand_endpoint(b, to, c->dry_run ? BY_HAND_SUPPOSE : BY_HAND_MAKE, &c->to, err) == 0)
        return 0;
    by_hand_close(&c->from);
    return -1;
}

static bool is_listed(const struct copy_list *list, const struct copy *c, struct arena *a)
{
    list_each (const struct copy, other, list)
        if (str_eq(copy_target(other, a), copy_target(c, a)))
            return true;
    return false;
}

static void close_ends(struct copy *c)
{
    by_hand_close(&c->from);
    by_hand_close(&c->to);
}

/* A target without a tag gets the source's; a source by digest is then copied by digest only. One
 * that was named before is there but once. */
static int add_copy(struct copy_list *list, const struct by_hand *b, const struct copy_flags *f,
                    const struct imageref_place *from, const struct imageref_place *to,
                    struct arena *a, bool *absent, struct err *err)
{
    struct copy c = {.from_ref = ref_of(from),
                     .expected = f->expected,
                     .no_companions = f->no_companions,
                     .companions_of_same = true,
                     .check_below_same = true,
                     .dry_run = f->dry_run};
    const char *tag = ref_of(to);
    if (from->kind == IMAGEREF_REGISTRY && !c.from_ref)
        c.from_ref = "latest";
    if (tag && imageref_digest_ok(tag))
        return err_set(err, ERR_CONFIG, 0,
                       "a target is written at a tag; its digest is the "
                       "source's, and --expect makes sure of it");
    if (!tag && c.from_ref && imageref_tag_ok(c.from_ref) && !f->tags.n)
        tag = c.from_ref;
    if (open_ends(b, from, to, &c, absent, err) < 0)
        return -1;
    if (c.from.layout && !c.from_ref && !tag && !f->tags.n && name_of_root(&c, &tag, a, err) < 0) {
        close_ends(&c);
        return -1;
    }
    if (tag)
        *list_push(a, &c.to_tags) = tag;
    for (size_t i = 0; i < f->tags.n; i++)
        if (!str_in(f->tags.at[i], &c.to_tags))
            *list_push(a, &c.to_tags) = f->tags.at[i];
    for (size_t i = 0; i < f->platforms.n; i++)
        *list_push(a, &c.platforms) = f->platforms.at[i];
    c.from.access.read_only = true;
    if (is_listed(list, &c, a))
        close_ends(&c);
    else
        *list_push(a, list) = c;
    return 0;
}

static void print_json(const struct copy_list *list, struct arena *a)
{
    struct js *doc CLEANUP_JS = js_object();
    struct js *copies = js_array();
    for (size_t i = 0; i < list->n; i++)
        js_push(copies, copy_json(&list->at[i], a));
    js_put_int(doc, "schema", 1);
    js_put(doc, "copies", copies);
    (void)printf("%s\n", js_pretty(doc, a));
}

/* Nothing here knows of promotions: whoever writes last wins. */
static void say_unfenced(const struct by_hand *b, const struct copy_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->at[i].to.registry && list->at[i].to_tags.n) {
            by_hand_say_unfenced(b, &command_copy);
            return;
        }
}

static int run_copies(const struct by_hand *b, struct copy_list *list, const struct copy_flags *f,
                      struct arena *a)
{
    bool json = str_eq(f->format, "json");
    struct progress *progress = progress_new(stderr, list->n, f->quiet || json);
    struct copy_opts opts = {.watch = progress_watch(progress)};
    if (f->timeout_s)
        opts.until = clock_monotonic_ms() + f->timeout_s * 1000;
    if (!f->dry_run && !f->quiet)
        say_unfenced(b, list);
    (void)copy_all(a, list->at, list->n, &opts);
    progress_free(progress);
    if (json)
        print_json(list, a);
    for (size_t i = 0; i < list->n && !json; i++) {
        const struct copy *c = &list->at[i];
        if (!c->failed)
            (void)printf("%s %s\n", c->digest, copy_target(c, a));
        else if (f->quiet)
            (void)fprintf(stderr, "slipway copy: %s\n", copy_line(c, a));
    }
    int code = copy_exit_code(list->at, list->n);
    if (code != EXIT_DONE || !f->dry_run || !f->exit_code)
        return code;
    for (size_t i = 0; i < list->n; i++)
        if (!list->at[i].same)
            return EXIT_CHANGES;
    return code;
}

static int check_flags(const struct copy_flags *f, int positional)
{
    if (positional < 2)
        return command_usage(&command_copy, "it takes a source and one or more targets");
    if (!str_eq(f->format, "text") && !str_eq(f->format, "json"))
        return command_usage(&command_copy, "--format is text or json, not \"%s\"", f->format);
    for (size_t i = 0; i < f->tags.n; i++)
        if (!imageref_tag_ok(f->tags.at[i]))
            return command_usage(&command_copy, "--tag %.140s is no legal tag", f->tags.at[i]);
    for (size_t i = 0; i < f->platforms.n; i++)
        if (!platform_ok(f->platforms.at[i]))
            return command_usage(&command_copy,
                                 "--platform is os/architecture[/variant], not \"%.80s\"",
                                 f->platforms.at[i]);
    if (f->expected && !imageref_digest_ok(f->expected))
        return command_usage(&command_copy, "--expect must be a digest: sha256:<64 hex digits>");
    if (f->exit_code && !f->dry_run)
        return command_usage(&command_copy, "--exit-code goes with --dry-run");
    return EXIT_DONE;
}

static int copy_places(const struct copy_flags *f, int n, char **words, struct arena *a)
{
    struct err err = ERR_INIT;
    struct by_hand b;
    struct copy_list list = {0};
    struct str_list hosts = {0};
    struct imageref_place *places = arena_alloc(a, (size_t)n * sizeof *places);
    for (int i = 0; i < n; i++) {
        if (parse_place(words[i], &places[i], a, &err) < 0)
            return command_failed(&err);
        if (places[i].kind == IMAGEREF_REGISTRY)
            *list_push(a, &hosts) = places[i].ref.host;
    }
    int code = by_hand_setup(&b, &f->by_hand, &hosts, a);
    if (code != EXIT_DONE)
        return code;
    int rc = 0;
    bool is_absent = false;
    for (int i = 1; i < n && rc == 0; i++)
        rc = add_copy(&list, &b, f, &places[0], &places[i], a, &is_absent, &err);
    code = rc < 0 ? by_hand_failed(&err) : run_copies(&b, &list, f, a);
    code = is_absent ? EXIT_NOT_FOUND : code;
    list_each (struct copy, c, &list)
        close_ends(c);
    by_hand_release(&b);
    return code;
}

static int run(int argc, char **argv)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct copy_flags f = {.format = "text"};
    const struct flag flags[] = {
        BY_HAND_FLAGS(f.by_hand),
        {"tag", 't', FLAG_LIST, &f.tags},
        {"platform", 0, FLAG_LIST, &f.platforms},
        {"expect", 0, FLAG_STR, &f.expected},
        {"no-companions", 0, FLAG_BOOL, &f.no_companions},
        {"timeout", 0, FLAG_TIME, &f.timeout_s},
        {"dry-run", 'n', FLAG_BOOL, &f.dry_run},
        {"exit-code", 0, FLAG_BOOL, &f.exit_code},
        {"quiet", 'q', FLAG_BOOL, &f.quiet},
        {"format", 0, FLAG_STR, &f.format},
    };
    int positional;
    int code = flags_parse(&command_copy, flags, ARRAY_LEN(flags), argc, argv, &positional);
    if (code >= 0)
        return code;
    code = check_flags(&f, positional);
    return code == EXIT_DONE ? copy_places(&f, positional, argv + 1, &a) : code;
}

const struct command command_copy = {
    .name = "copy",
    .summary = "copy an image between registries and OCI layouts, byte for byte",
    .help =
        "Examples:\n"
        "  slipway copy quay.io/team/app:v1 registry.example.org/team/app\n"
        "  slipway copy quay.io/team/app:v1 registry.example.org/team/app:v1 --tag v1.2 --tag v1\n"
        "  slipway copy quay.io/team/app@sha256:... oci:/srv/images:app\n"
        "  slipway copy oci:/srv/images:app registry.example.org/team/app:v1 other.org/app:v1\n"
        "\n"
        "An image is docker://host/name:tag (docker:// may be left out), host/name@digest, or\n"
        "oci:PATH[:NAME]. Indexes are copied whole and verbatim, signatures and referrers go\n"
        "along, what the target has is not copied again, and a tag appears only when all below\n"
        "it is there. A target without a tag gets the source's. Prints digest and target.\n"
        "\n" BY_HAND_UNFENCED "Flags:\n" BY_HAND_HELP
        "  -t, --tag TAG            a further tag at each target; may be repeated\n"
        "      --platform OS/ARCH   of an index copy only these children; the index and its\n"
        "                           digest stay as they are; may be repeated\n"
        "      --expect DIGEST      fail unless the source shows this digest\n"
        "      --no-companions      leave signatures, attestations and referrers\n"
        "      --timeout TIME       end after so long, as 90s, 10m or 2h; default: 6h. What is\n"
        "                           there by then stays, and the next run goes on\n"
        "  -n, --dry-run            look and say what would be copied, write nothing\n"
        "      --exit-code          with --dry-run: end with 3 when something would be copied\n"
        "  -q, --quiet              say nothing but results and failures\n"
        "      --format text|json\n"
        "\n"
        "Exit status: 0 done, 1 failed, 2 usage or configuration, 3 see --exit-code, 4 no such\n"
        "source, 5 denied, 75 try later.\n",
    .run = run,
};
