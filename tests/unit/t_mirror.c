#include "core/base/base.h"

#include "core/base/str.h"
#include "core/domain/mirror.h"
#include "core/lib/pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define REG "registry.example.org"
#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX64

static bool knows(const void *ctx, const char *host)
{
    (void)ctx;
    return str_eq(host, REG) || str_eq(host, "quay.io");
}

/* What mirror_parse says, and the entries that mirror_resolve makes of it. */
struct made {
    struct arena arena;
    struct imagefile_mirrors items;
    struct mirror_entries entries;
    struct diags diags;
    char said[4096];
    bool good;
};

static struct made *make(const char *yaml, const struct policy_project *policy)
{
    struct made *m = xcalloc(1, sizeof *m);
    struct strbuf out CLEANUP_STRBUF = STRBUF_INIT(sizeof m->said - 1);
    const struct mirror_rules rules = {.policy = policy, .knows_registry = knows};
    m->diags.arena = &m->arena;
    m->good = mirror_parse("list.yaml", yaml, strlen(yaml), &m->items, &m->diags);
    if (m->good)
        mirror_resolve(&m->items, &rules, &m->entries, &m->diags);
    diag_format(&m->diags, &out);
    memcpy(m->said, out.buf ? out.buf : "", out.len + 1);
    return m;
}

static void unmake(struct made *m)
{
    arena_release(&m->arena);
    free(m);
}

/* ---- lists that are wrong -------------------------------------------------------------------- */

#define ITEM "- {src_repository: quay.io/a/b, "
static const struct {
    const char *yaml, *says;
} wrong_rows[] = {
    {"x: 1\n", "list.yaml:1:1: error: mirror_container_images_images is missing"},
    {"just text\n", "mirror_container_images_images is missing"},
    {"mirror_container_images_images: x\n", "must be a list"},
    {"- text\n", "a mirrored image must be a map"},
    {"[", "list.yaml:"},
    {"- {src_tag: v1, dest_repository: " REG "/b}\n", "needs src_repository"},
    {ITEM "src_tag: v1}\n", "needs dest_repository"},
    {ITEM "dest_repository: " REG "/b}\n", "needs src_tag, or src_tags"},
    {ITEM "src_tag: v1, src_tags: [v2], dest_repository: " REG "/b}\n", "exclude another"},
    {ITEM "src_tag: 1.10, dest_repository: " REG "/b}\n", "quote it"},
    {ITEM "src_tag: 'a b', dest_repository: " REG "/b}\n", "neither a tag nor a digest"},
    {ITEM "src_tag: 'sha256:12', dest_repository: " REG "/b}\n", "neither a tag nor a digest"},
    {ITEM "src_tag: '" DIGEST "', dest_repository: " REG "/b}\n", "needs a dest_tag"},
    {ITEM "src_tag: v1, dest_tag: '-x', dest_repository: " REG "/b}\n", "is no legal tag"},
    {ITEM "src_tags: [v1], dest_tag: x, dest_repository: " REG "/b}\n", "dest_tag goes with"},
    {ITEM "src_tags: ['^(v'], dest_repository: " REG "/b}\n", "^(v"},
    {ITEM "src_tags: ['semver:>=y'], dest_repository: " REG "/b}\n", "semver:>=y"},
    {ITEM "src_tags: ['v*'], skip_tags: ['^['], dest_repository: " REG "/b}\n", "^["},
    {ITEM "src_tag: v1, skip_tags: [x], dest_repository: " REG "/b}\n", "skip_tags goes with"},
    {ITEM "src_tag: v1, prune: true, dest_repository: " REG "/b}\n", "prune goes with src_tags"},
    {ITEM "src_tag: v1, dest_repository: " REG "/b:v2}\n", "the tag belongs into dest_tag"},
    {ITEM "src_tag: v1, dest_repository: 'http://" REG "/b'}\n", "dest_repository"},
    {ITEM "src_tag: v1, dest_repository: b}\n", "name its host in dest_registry"},
    {ITEM "src_tag: v1, dest_registry: 'https://" REG "', dest_repository: b}\n", "dest_registry"},
    {ITEM "src_tag: v1, platforms: [linux], dest_repository: " REG "/b}\n", "os/architecture"},
    {ITEM "src_tag: v1, dest_tags: x, dest_repository: " REG "/b}\n", "did you mean 'dest_tag'"},
    {"- {src_repository: 'quay.io/a/b:v1', src_tag: v1, dest_repository: " REG "/b}\n",
     "the tag belongs into src_tag"},
    {"- {src_repository: 'quay.io/A', src_tag: v1, dest_repository: " REG "/b}\n", "a-z"},
    /* What can be read, but may not be run. */
    {"- {src_repository: other.org/a, src_tag: v1, dest_repository: " REG "/b}\n",
     "add other.org under `registries`"},
    {ITEM "src_tag: v1, dest_repository: other.org/b}\n", "add other.org under `registries`"},
    {ITEM "src_tag: v1, dest_repository: quay.io/a/b}\n", "source and target are the same"},
    {ITEM "src_tag: change_7_latest, dest_repository: " REG "/b}\n", "is a staged one"},
    {ITEM "src_tag: v1, dest_tag: change_7_x, dest_repository: " REG "/b}\n", "is a staged one"},
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong_rows); i++) {
        struct made *m = make(wrong_rows[i].yaml, NULL);
        if (!m->diags.errors || m->entries.n || !strstr(m->said, wrong_rows[i].says))
            fail_msg("%swants \"%s\", says\n%s", wrong_rows[i].yaml, wrong_rows[i].says, m->said);
        unmake(m);
    }
}

/* ---- lists that are right -------------------------------------------------------------------- */

static void test_right(void **state)
{
    (void)state;
    struct made *m = make("mirror_container_images_images:\n"
                          "  - {src_repository: quay.io/a/b, src_tag: v1, dest_repository: a/b,\n"
                          "     dest_tag: '1', dest_registry: " REG "}\n"
                          "  - src_repository: quay.io/a/b\n"
                          "    src_tags: ['semver:>=1.2 <2', 'nightly-*']\n"
                          "    skip_tags: [nightly-0]\n"
                          "    dest_repository: [" REG "/x, " REG "/y]\n"
                          "    platforms: [linux/amd64]\n"
                          "    prune: true\n"
                          "    companions: false\n"
                          "  - {src_repository: quay.io/a/b, src_tag: '" DIGEST "',\n"
                          "     dest_repository: quay.io/a/b, dest_tag: pinned}\n"
                          "other_key: is somebody else's\n",
                          NULL);
    assert_string_equal(m->said, "");
    assert_true(m->good);
    assert_int_equal(m->entries.n, 3);
    const struct mirror_entry *e = m->entries.at;
    assert_string_equal(mirror_source(&e[0], &m->arena), "quay.io/a/b:v1");
    assert_int_equal(e[0].targets.n, 1);
    assert_string_equal(e[0].targets.at[0].host, REG);
    assert_string_equal(e[0].targets.at[0].name, "a/b");
    assert_string_equal(mirror_source(&e[1], &m->arena), "quay.io/a/b: semver:>=1.2 <2, nightly-*");
    assert_int_equal(e[1].targets.n, 2);
    assert_string_equal(e[1].targets.at[1].name, "y");
    assert_null(e[1].tag);
    assert_true(e[1].item->prune && e[1].item->no_companions);
    assert_string_equal(e[1].item->platforms.at[0], "linux/amd64");
    assert_string_equal(mirror_source(&e[2], &m->arena), "quay.io/a/b@" DIGEST);
    for (size_t i = 0; i < 3; i++)
        assert_false(e[i].anonymous);
    unmake(m);
    /* A file may be nothing but the list. */
    m = make("- {src_repository: quay.io/a, src_tag: v1, dest_repository: " REG "/a}\n", NULL);
    assert_int_equal(m->entries.n, 1);
    unmake(m);
}

/* ---- policy ---------------------------------------------------------------------------------- */

static void may(struct arena *a, struct pattern_list *list, const char *text)
{
    struct pattern *p = pattern_compile(text, NULL);
    assert_non_null(p);
    *list_push(a, list) = p;
}

static void test_policy(void **state)
{
    (void)state;
    static const struct {
        const char *source, *target, *tag, *says;
        bool anonymous;
    } rows[] = {
        {REG "/team/a", REG "/team/b", "v1", "", false},
        {"quay.io/public", REG "/team/b", "v1", "", true},
        {REG "/secret/a", REG "/team/b", "v1", "", true},
        {REG "/shared/a", REG "/team/b", "v1", "", false},
        {REG "/team/a", REG "/other/b", "v1", "(may_publish)", false},
        {REG "/team/a", REG "/shared/b", "v1", "(may_publish)", false},
        {REG "/team/a", REG "/team/b", "x1", "(image_tags)", false},
    };
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct policy_project policy = {.may_read_given = true};
    may(&a, &policy.may_publish, REG "/team/*");
    may(&a, &policy.may_read, REG "/team/*");
    may(&a, &policy.may_read, REG "/shared/*");
    may(&a, &policy.image_tags, "v*");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct made *m = make(arena_printf(&a,
                                           "- {src_repository: %s, src_tag: %s, "
                                           "dest_repository: %s}\n",
                                           rows[i].source, rows[i].tag, rows[i].target),
                              &policy);
        bool refused = *rows[i].says != '\0';
        if (!strstr(m->said, rows[i].says) || m->entries.n != (refused ? 0 : 1) ||
            (!refused && m->entries.at[0].anonymous != rows[i].anonymous))
            fail_msg("row %zu: %s", i, m->said);
        if (refused && !str_starts(m->said, "list.yaml:1:3: error: "))
            fail_msg("row %zu without its place: %s", i, m->said);
        unmake(m);
    }
    const struct mirror_rules rules = {.policy = &policy, .knows_registry = knows};
    assert_null(mirror_tag_refused(&rules, "v1"));
    assert_non_null(mirror_tag_refused(&rules, "x1"));
    assert_non_null(mirror_tag_refused(&rules, "change_1_v1"));
    pattern_free(policy.may_publish.at[0]);
    pattern_free(policy.may_read.at[0]);
    pattern_free(policy.may_read.at[1]);
    pattern_free(policy.image_tags.at[0]);
}

/* ---- one tag, two sources -------------------------------------------------------------------- */

static void test_twins(void **state)
{
    (void)state;
    struct made *m = make(
        "- {src_repository: quay.io/a, src_tag: v1, dest_repository: " REG "/a}\n"
        "- {src_repository: quay.io/b, src_tag: v2, dest_tag: v1, dest_repository: " REG "/a}\n"
        "- {src_repository: quay.io/b, src_tag: v2, dest_repository: " REG "/a}\n"
        "- {src_repository: quay.io/c, src_tags: ['v*'], dest_repository: " REG "/a}\n"
        "- {src_repository: quay.io/c, src_tags: ['v*'], dest_repository: " REG "/a}\n",
        NULL);
    assert_false(m->good && str_empty(m->said));
    assert_non_null(strstr(m->said, "list.yaml:2:3: error: " REG "/a:v1: "));
    assert_non_null(strstr(m->said, "writes the same tag as line 1"));
    assert_null(strstr(m->said, ":3:3: error"));
    assert_null(strstr(m->said, ":5:3: error"));
    assert_int_equal(m->entries.n, 4);
    unmake(m);
}

/* ---- tags that are never pruned -------------------------------------------------------------- */

static const struct {
    const char *tag;
    bool kept;
} kept_rows[] = {
    {"v1", false},
    {"latest", false},
    {"change_7_latest", true},
    {"sha256-" HEX64, true},
    {"sha256-" HEX64 ".sig", true},
    {"sha256-" HEX64 ".att", true},
    {"sha512-" HEX64 HEX64, true},
    {"sha512-" HEX64 HEX64 ".sig", true},
    {"sha512-" HEX64, false},
    {"sha256-" HEX64 "0", false},
    {"sha256-" HEX64 "-x", false},
    {"sha256-abc", false},
    {"sha256-", false},
    {"xsha256-" HEX64, false},
};

static void test_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kept_rows); i++)
        if (mirror_tag_is_kept(kept_rows[i].tag) != kept_rows[i].kept)
            fail_msg("%s", kept_rows[i].tag);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong), cmocka_unit_test(test_right), cmocka_unit_test(test_policy),
        cmocka_unit_test(test_twins), cmocka_unit_test(test_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
