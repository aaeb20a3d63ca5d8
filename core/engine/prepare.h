/*
 * prepare.h - brings what a plan will show to its repositories, by digest: nothing that anybody
 * sees changes here (promise P3). Built images come from OCI layouts, others from the intermediate
 * registry; each tag of the plan then has its digest in `prepared`.
 */
#ifndef SLIPWAY_ENGINE_PREPARE_H
#define SLIPWAY_ENGINE_PREPARE_H

#include "core/engine/building.h"

/* Before the first build: every repository of the plan takes a push of ours. Makes repositories
 * whose image says how (`visibility`, with `namespace`, `repo_shortname`, `repo_description`),
 * where the vendor needs that. */
int prepare_prove(const struct engine *e, const struct plan *plan, struct arena *a,
                  struct err *err);

/* Pushes what was built; images for several platforms get an index. */
int prepare_built(const struct engine *e, struct plan *plan, const struct built_list *built,
                  struct arena *a, struct err *err);

/*
 * Copies what the gate left in the intermediate registry: what the gate recorded with us, else what
 * Zuul's newest successful build of the job says. All of it is found before the first copy.
 * ERR_TEMP with code ENOENT: there is none yet. ERR_PERM names an artifact that is missing.
 */
int prepare_intermediate(const struct engine *e, const struct event *event, struct plan *plan,
                         const struct policy_project *policy, struct arena *a, struct err *err);

#endif
