#include "core/base/base.h"
#include "core/base/str.h"
#include "core/domain/authfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* Nothing in it may break out of a header line. */
static void plain(const char *s, bool needed)
{
    must(s ? !strpbrk(s, "\r\n") : !needed);
}

static void must_be_sane(const struct authfile_hit *hit)
{
    plain(hit->username, hit->kind == AUTHFILE_BASIC);
    plain(hit->password, hit->kind == AUTHFILE_BASIC);
    plain(hit->token, hit->kind == AUTHFILE_IDENTITY_TOKEN || hit->kind == AUTHFILE_REGISTRY_TOKEN);
    must(hit->kind != AUTHFILE_HELPER || (authfile_helper_ok(hit->helper) && hit->server));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct {
        const char *host, *name;
    } asked[] = {{"docker.io", "library/app"},
                 {"r.io", NULL},
                 {"r.io", "team/app"},
                 {"r.io:5000", "a/b/c/d"},
                 {"quay.io", "org/app"}};
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct authfile_hit hit = {0};
    const struct authfile *f;
    struct err err = ERR_INIT;
    if (authfile_helper_answer(data, len, &a, &hit, &err) == 0)
        must_be_sane(&hit);
    else
        must(err.kind == ERR_CONFIG);
    if (authfile_parse(data, len, &a, &f, &err) < 0) {
        must(err.kind == ERR_CONFIG && !strpbrk(err.text, "\r\n"));
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(asked); i++)
        if (authfile_find(f, asked[i].host, asked[i].name, &hit, &err) == 0)
            must_be_sane(&hit);
        else
            must(err.kind == ERR_CONFIG && !strpbrk(err.text, "\r\n"));
    return 0;
}
