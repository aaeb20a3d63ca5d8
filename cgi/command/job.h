/*
 * job.h - what `build`, `upload` and `promote` share: the four jobs run by hand, inside any CI. The
 * image list comes from a working tree, the plan from the same function as the service's, and it is
 * carried out by the same engine. Without a configuration there is no policy: then the user's own
 * credentials decide what may be done.
 */
#ifndef SLIPWAY_JOB_H
#define SLIPWAY_JOB_H

#include "cgi/command/by_hand.h"
#include "cgi/command/job_source.h"
#include "cgi/command/stopping.h"
#include "core/domain/plan.h"
#include "core/engine/building.h"
#include "core/engine/engine.h"

struct job_flags {
    struct by_hand_flags by_hand;
    const char *forge, *project, *change, *patchset, *branch, *tag, *commit, *staged_commit;
    const char *pipeline, *change_url, *run_id, *intermediate;
    const char *file, *source, *siblings, *builder, *format;
    int64_t timeout_s; /* 0: not said */
    bool dry_run, exit_code, quiet;
};

#define JOB_FLAGS_INIT                                                                             \
    {                                                                                              \
        .file = IMAGEFILE_NAME, .source = ".", .format = "text"                                    \
    }

/* Of all three. */
#define JOB_FLAGS(f)                                                                               \
    BY_HAND_FLAGS((f).by_hand), {"forge", 0, FLAG_STR, &(f).forge},                                \
        {"project", 0, FLAG_STR, &(f).project}, {"change", 0, FLAG_STR, &(f).change},              \
        {"patchset", 0, FLAG_STR, &(f).patchset}, {"branch", 0, FLAG_STR, &(f).branch},            \
        {"tag", 0, FLAG_STR, &(f).tag}, {"commit", 0, FLAG_STR, &(f).commit},                      \
        {"staged-commit", 0, FLAG_STR, &(f).staged_commit},                                        \
        {"pipeline", 0, FLAG_STR, &(f).pipeline}, {"change-url", 0, FLAG_STR, &(f).change_url},    \
        {"intermediate", 0, FLAG_STR, &(f).intermediate}, {"file", 'f', FLAG_STR, &(f).file},      \
        {"source", 0, FLAG_STR, &(f).source}, {"timeout", 0, FLAG_TIME, &(f).timeout_s},           \
        {"dry-run", 'n', FLAG_BOOL, &(f).dry_run}, {"exit-code", 0, FLAG_BOOL, &(f).exit_code},    \
        {"quiet", 'q', FLAG_BOOL, &(f).quiet},                                                     \
    {                                                                                              \
        "format", 0, FLAG_STR, &(f).format                                                         \
    }

/* Of those that build. */
#define JOB_BUILD_FLAGS(f)                                                                         \
    {"siblings", 0, FLAG_STR, &(f).siblings},                                                      \
    {                                                                                              \
        "builder", 0, FLAG_STR, &(f).builder                                                       \
    }

#define JOB_HELP                                                                                   \
    "      --project NAME       full name in the forge, such as team/app; with a configuration\n"  \
    "                           its policy applies then. Default: from the remote `origin`\n"      \
    "      --forge NAME         the configured forge it lives in; default: the first one whose\n"  \
    "                           policy entry matches the project\n"                                \
    "      --change N           of this change, pull or merge request\n"                           \
    "      --patchset N\n"                                                                         \
    "      --change-url URL     shown to people; a label of the images\n"                          \
    "      --branch NAME        the (target) branch; default: what is checked out\n"               \
    "      --tag NAME           of this git tag, instead of a change\n"                            \
    "      --commit SHA         default: HEAD of the working tree. Another one is checked out\n"   \
    "                           beside it\n"                                                       \
    "      --staged-commit SHA  the change's own commit, where what is built is a merge of it\n"   \
    "      --pipeline NAME      check, gate, promote, post, tag or release: whose jobs\n"          \
    "      --intermediate REPO  host/prefix of the intermediate registry, where no policy says\n"  \
    "                           it\n"                                                              \
    "  -f, --file FILE          the image list below --source; default: .slipway.yaml\n"           \
    "      --source DIR         the working tree; default: this folder\n"

#define JOB_BUILD_HELP                                                                             \
    "      --siblings DIR       other projects' sources: DIR/<canonical name>\n"                   \
    "      --builder NAME       buildah, podman or docker; default: container_command\n"

#define JOB_TAIL_HELP                                                                              \
    "  -n, --dry-run            look and say what would be done, write nothing\n"                  \
    "      --exit-code          with --dry-run: end with 3 when something would be done\n"         \
    "  -q, --quiet              say nothing but results and failures\n"                            \
    "      --format text|json\n"

struct job {
    const struct command *cmd;
    const struct job_flags *flags;
    enum job_kind kind;
    struct arena *arena;
    struct stopping stopping;
    struct job_source source;
    const char *at_commit; /* the list's and the sources' commit where it is not what lies in the
                              working tree; NULL: as it lies there */
    const char *tree;      /* git tree of what is built, NULL: no git */
    struct imagefile file; /* with the jobs of this kind only */
    struct str_list hosts; /* registries that the list names */
    struct by_hand hand;
    bool has_policy; /* the operator's, else our own that denies nothing */
    struct policy_project entry;
    struct policy policy;
    struct build_conf build;
    struct engine engine;
    struct event event;
    struct plan plan;
    char *scratch;         /* removed at the end */
    const char *build_dir; /* where builds and layouts go; NULL: below scratch */
};

/* What is wrong with the flags has been said: the exit code; -1 to go on. */
int job_check(const struct command *cmd, const struct job_flags *f, int positional);

/* Reads the working tree, plans, and puts the engine together (without a store). On failure what is
 * wrong has been said and everything is released; returns the exit code. */
int job_open(struct job *j, const struct command *cmd, const struct job_flags *f,
             enum job_kind kind, struct arena *a);
void job_close(struct job *j);

/* Is it over with the plan: a dry run, a refusal, nothing to do? Then all has been said. */
bool job_is_decided(struct job *j, int *code);

/* Builds what the plan wants built, with the log on standard error. On failure *tail is the end of
 * a log that has not been shown, or NULL. */
int job_build(struct job *j, struct built_list *out, const char **tail, struct err *err);

/* A failure as the by-hand commands say it; the exit code. */
int job_failed(const struct job *j, const struct err *err, const char *tail);

/* Which forge a project belongs to: --forge, else that of the first entry that matches; NULL:
 * there is none. */
const char *job_forge(const struct settings *s, const struct job_flags *f);

/* "host/name:tag" */
const char *job_target(const struct plan_tag *t, struct arena *a);

#endif
