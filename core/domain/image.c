#include "core/domain/image.h"

#include "core/base/str.h"

static const char *const pipeline_names[PIPELINE__MAX] = {
    [PIPELINE_CHECK] = "check",       [PIPELINE_GATE] = "gate", [PIPELINE_PROMOTE] = "promote",
    [PIPELINE_POST] = "post",         [PIPELINE_TAG] = "tag",   [PIPELINE_RELEASE] = "release",
    [PIPELINE_PERIODIC] = "periodic",
};

static const char *const job_names[JOB__MAX] = {
    [JOB_BUILD] = "build-container-image",
    [JOB_UPLOAD] = "upload-container-image",
    [JOB_PROMOTE] = "promote-container-image",
    [JOB_MIRROR] = "mirror-container-images",
};

const char *pipeline_name(enum pipeline p)
{
    return (unsigned)p < PIPELINE__MAX ? pipeline_names[p] : "unknown";
}

bool pipeline_from_name(const char *name, enum pipeline *out)
{
    for (size_t i = 0; i < PIPELINE__MAX; i++) {
        if (str_eq(name, pipeline_names[i])) {
            *out = (enum pipeline)i;
            return true;
        }
    }
    return false;
}

const char *job_name(enum job_kind j)
{
    return (unsigned)j < JOB__MAX ? job_names[j] : "unknown";
}

/* The older family has the same jobs. */
static const char *const docker_names[JOB__MAX] = {
    [JOB_BUILD] = "build-docker-image",
    [JOB_UPLOAD] = "upload-docker-image",
    [JOB_PROMOTE] = "promote-docker-image",
};

bool job_from_name(const char *name, enum job_kind *out)
{
    for (size_t i = 0; i < JOB__MAX; i++) {
        if (str_eq(name, job_names[i]) || (docker_names[i] && str_eq(name, docker_names[i]))) {
            *out = (enum job_kind)i;
            return true;
        }
    }
    return false;
}
