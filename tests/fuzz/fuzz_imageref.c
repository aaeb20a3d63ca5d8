#include "core/base/base.h"
#include "core/base/limits.h"
#include "core/domain/imageref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must_be_sane(const struct imageref *ref, struct arena *a)
{
    if (!imageref_host_ok(ref->host) || !imageref_name_ok(ref->name) ||
        (ref->tag && !imageref_tag_ok(ref->tag)) ||
        (ref->digest && !imageref_digest_ok(ref->digest)) ||
        strlen(imageref_repository(ref, a)) > LIMIT_NAME)
        abort();
}

static void check_transport(const char *text, const char *host, struct arena *a)
{
    struct imageref_place place;
    struct err err = ERR_INIT;
    if (imageref_parse_transport(text, host, a, &place, &err) < 0) {
        if (err.kind != ERR_CONFIG || strpbrk(err.text, "\r\n"))
            abort();
        return;
    }
    if (place.kind == IMAGEREF_REGISTRY)
        must_be_sane(&place.ref, a);
    else if (!*place.path || (place.ref_name && !*place.ref_name))
        abort();
}

/* What parses must be made of parts that are legal by themselves. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const hosts[] = {NULL, "docker.io", "registry.example.org:5000"};
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    const char *text = arena_strndup(&a, (const char *)data, len);
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct imageref ref;
        struct err err = ERR_INIT;
        check_transport(text, hosts[i], &a);
        if (imageref_parse(text, hosts[i], &a, &ref, &err) < 0) {
            if (err.kind != ERR_CONFIG || !*err.text)
                abort();
            continue;
        }
        must_be_sane(&ref, &a);
    }
    (void)imageref_is_change_tag(text);
    return 0;
}
