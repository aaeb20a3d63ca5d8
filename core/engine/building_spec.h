/*
 * building_spec.h - what the builder is asked for, from values alone: plan and event in, spec out.
 * Pure. Internal to core/engine.
 */
#ifndef SLIPWAY_ENGINE_BUILDING_SPEC_H
#define SLIPWAY_ENGINE_BUILDING_SPEC_H

#include "core/build/build.h"
#include "core/domain/plan.h"
#include "core/engine/building.h"

struct building_input {
    const struct event *event;
    const struct plan *plan;
    const struct policy_project *policy; /* NULL: no pull credentials */
    const struct build_conf *conf;
    const char *source, *out, *siblings; /* absolute */
    struct str_list insecure;
    enum build_tool usual; /* where the repository names none */
};

/* "image-0" is the first of the plan's builds. ERR_CONFIG names the image's place, and what is
 * wrong with what is written there. */
int building_spec(const struct building_input *in, struct arena *a, struct build_spec *out,
                  struct err *err);

/* The spec as it is kept to be compared: without credentials, and without limits, which do not
 * change what is built. `source` says what lies in the folder of that name. */
const char *building_identity(const struct build_spec *spec, const char *source, struct arena *a);

/* The siblings that the plan's builds name, each once. */
struct str_list building_siblings(const struct plan *plan, struct arena *a);

/* The project that a canonical name means on a forge at that URL: without the forge's host. */
const char *building_sibling_project(const char *canonical, const char *forge_url, struct arena *a);

/* How the code is checked out, as any of the builds asks for it. */
struct building_wants {
    bool submodules;
    bool lfs;
};
struct building_wants building_wants(const struct plan *plan);

/* The full name of the ref that should hold the event's commit, NULL where none is known. */
const char *building_ref(const struct event *event, const char *forge_type, struct arena *a);

/* The end of a log as plain lines: no colours, no control characters, from the start of a line. */
const char *building_tail(const char *log, size_t len, struct arena *a);

#endif
