#include "core/base/base.h"

#include "tests/fuzz/forge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"pull_request", "push", "merge_group",
                                        "create",       "ping", "other"};
    return fuzz_forge("github", names, ARRAY_LEN(names), data, size);
}
