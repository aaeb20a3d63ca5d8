#include "core/base/base.h"
#include "core/base/str.h"
#include "core/domain/bundle.h"
#include "core/domain/simplesigning.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define DIGEST "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define OTHER "sha256:2222222222222222222222222222222222222222222222222222222222222222"

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* What was signed is a simple-signing document or a sigstore bundle; no document speaks of two
 * digests. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct arena a CLEANUP(arena_release) = ARENA_INIT;
    struct err err = ERR_INIT;
    struct bundle b;
    size_t pae_len;
    if (simplesigning_check(data, len, DIGEST, &err) == 0)
        must(simplesigning_check(data, len, OTHER, &err) < 0);
    must(err.kind == ERR_PERM && !strpbrk(err.text, "\r\n"));
    if (bundle_read(data, len, &a, &b, &err) < 0) {
        must(err.kind == ERR_PERM && !strpbrk(err.text, "\r\n"));
        return 0;
    }
    must(b.signature && b.signature_len > 0);
    bool first = bundle_check(&b, DIGEST, NULL, &err) == 0;
    bool second = bundle_check(&b, OTHER, NULL, &err) == 0;
    if (b.kind == BUNDLE_MESSAGE) {
        must(!(first && second));
        return 0;
    }
    const char *pae = bundle_pae(&b, &a, &pae_len);
    must(pae_len > b.payload_len &&
         memcmp(pae + pae_len - b.payload_len, b.payload, b.payload_len) == 0);
    return 0;
}
