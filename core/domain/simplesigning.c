#include "core/domain/simplesigning.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/lib/json.h"

#define COSIGN_TYPE "cosign container image signature"

int simplesigning_check(const void *bytes, size_t len, const char *digest, struct err *err)
{
    if (!digest || !imageref_digest_ok(digest))
        return err_set(err, ERR_BUG, 0, "a signature is asked about without a digest");
    if (len > LIMIT_SIGNED)
        return err_set(err, ERR_PERM, 0, "the signed document has %zu bytes; at most %zu are read",
                       len, LIMIT_SIGNED);
    struct js *doc CLEANUP_JS = js_parse(bytes, len, err);
    if (!doc) {
        if (err)
            err->kind = ERR_PERM;
        return err_wrap(err, "the signed document is no valid JSON");
    }
    const char *type = js_str(doc, "critical.type");
    const char *signed_digest = js_str(doc, "critical.image.docker-manifest-digest");
    if (!type || !signed_digest)
        return err_set(err, ERR_PERM, 0,
                       "the signed document has no critical.type or no "
                       "critical.image.docker-manifest-digest");
    if (!str_eq(type, COSIGN_TYPE))
        return err_set(err, ERR_PERM, 0, "the signed document is not of type \"" COSIGN_TYPE "\"");
    if (!str_eq(signed_digest, digest))
        return err_set(err, ERR_PERM, 0, "what was signed is another digest than %s%s%s", digest,
                       imageref_digest_ok(signed_digest) ? ": " : "",
                       imageref_digest_ok(signed_digest) ? signed_digest : "");
    return 0;
}
