#include "core/base/base.h"

#include "tests/fuzz/forge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {""};
    return fuzz_forge("gerrit", names, ARRAY_LEN(names), data, size);
}
