#include "core/base/base.h"
#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/zuul_builds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void must_be_plain(const char *s)
{
    must(!str_empty(s));
    for (; *s; s++)
        must(*s > ' ' && *s < 127);
}

static void try_query(const char *text, const struct zuul_query *q)
{
    static const struct zuul_conf conf = {.name = "main", .api = "https://zuul.example.org/api"};
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct zuul_query custom = *q;
    bool ok = zuul_query_check(text, &err) == 0;
    custom.custom = zuul_query_expand(text, q, &a, &err);
    must(ok || !custom.custom);
    const char *url = custom.custom ? zuul_builds_url(&conf, &custom, &a, &err) : NULL;
    must(!url || str_starts(url, "https://zuul.example.org/api/builds?"));
    must(!url || (!strchr(url, '#') && strlen(url) <= 2 * LIMIT_ZUUL_QUERY));
    if (url)
        must_be_plain(url);
    must(url || !str_empty(err.text));
}

static void try_reply(const char *text, size_t len, const struct zuul_query *q)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct zuul_build build;
    if (zuul_builds_pick(text, len, q, &a, &build, &err) < 0) {
        must(err.kind == ERR_TEMP || err.kind == ERR_PERM);
        for (const char *p = err.text; *p; p++)
            must((unsigned char)*p >= ' ' && *p != 127);
        return;
    }
    must(build.uuid || !build.n);
    list_each (const struct zuul_artifact, artifact, &build) {
        must(imageref_tag_ok(artifact->tag) && imageref_host_ok(artifact->host));
        must(imageref_name_ok(artifact->name) && strchr(artifact->repository, '\n') == NULL);
        must(imageref_digest_ok(artifact->ref) ||
             (imageref_tag_ok(artifact->ref) && str_starts(artifact->ref, build.uuid)));
        must(zuul_artifact_find(&build, artifact->repository, artifact->tag) != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct zuul_query q = {.project = "team/app",
                                        .change = "7",
                                        .patchset = "2",
                                        .pipeline = "gate",
                                        .job = "build-images"};
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *text = arena_strndup(&a, (const char *)data, len);
    static struct zuul_conf one = {.name = "main", .api = "https://zuul.example.org/api/tenant/t"};
    static const struct zuul_confs confs = {.at = &one, .n = 1};
    try_query(text, &q);
    try_reply(text, strlen(text), &q);
    (void)zuul_select(&confs, text, &(struct err){0});
    return 0;
}
