/* Any bytes as an image list: either findings, or values that keep what the headers promise. */
#include "core/base/base.h"

#include "core/base/limits.h"
#include "core/domain/imagefile.h"
#include "core/domain/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void check_image(const struct image *image, struct diags *diags)
{
    require(image->context.text && image->at.line);
    require(image->no_tags == (image->tags.n == 0));
    require(image->no_tags || (image->repository.text && image->registry.text));
    require(image->tags.n <= LIMIT_TAGS);
    list_each (const struct image_text, tag, &image->tags)
        require(template_check(tag->text, tag->at, diags));
}

static void check_file(const struct imagefile *file, struct diags *diags)
{
    for (size_t i = 0; i < PIPELINE__MAX; i++) {
        require(file->pipelines[i].jobs.n <= LIMIT_JOBS);
        list_each (const struct imagefile_job, job, &file->pipelines[i].jobs) {
            require((unsigned)job->kind < JOB__MAX);
            list_each (const struct image, image, &job->images)
                check_image(image, diags);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = ARENA_INIT;
    struct diags diags = {.arena = &a};
    const struct imagefile *file = imagefile_parse("fuzz", data, size, &diags);
    require((file != NULL) == (diags.errors == 0));
    if (file)
        check_file(file, &diags);
    require((file != NULL) == (diags.errors == 0));
    CLEANUP_STRBUF struct strbuf out = STRBUF_INIT(MIB(1));
    diag_format(&diags, &out);
    arena_release(&a);
    return 0;
}
