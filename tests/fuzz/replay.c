/*
 * A main() for a fuzz target without libFuzzer: runs it over the files whose names come NUL-
 * separated on stdin, whole and cut short at up to CUTS places, and over the empty input. Each
 * input is a heap block of exactly its size, so that AddressSanitizer sees every step beyond it.
 */
#include "core/base/base.h"
#include "core/base/mem.h"

#define CUTS 64
#define FILE_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void run_copy(const uint8_t *data, size_t len)
{
    uint8_t *copy = xmalloc(len ? len : 1);

    memcpy(copy, data, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static bool run_file(const char *path, uint8_t *buffer)
{
    FILE *file = fopen(path, "rb");

    if (!file) {
        perror(path);
        return false;
    }
    size_t len = fread(buffer, 1, FILE_MAX, file);
    size_t step = len / CUTS + 1;

    fclose(file);
    run_copy(buffer, len);
    for (size_t cut = step; cut < len; cut += step)
        run_copy(buffer, cut);
    return true;
}

int main(void)
{
    uint8_t *buffer = xmalloc(FILE_MAX);
    char *path = NULL;
    size_t cap = 0;
    bool ok = true;

    run_copy(buffer, 0);
    while (getdelim(&path, &cap, '\0', stdin) > 0)
        ok = run_file(path, buffer) && ok;
    free(path);
    free(buffer);
    return ok ? 0 : 1;
}
