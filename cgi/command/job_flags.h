/*
 * job_flags.h - the flags that `build`, `upload` and `promote` share.
 */
#ifndef SLIPWAY_JOB_FLAGS_H
#define SLIPWAY_JOB_FLAGS_H

#include "cgi/command/by_hand.h"
#include "core/domain/event.h"
#include "core/domain/imagefile.h"

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
    "      --commit SHA         default: the git tag's where the working tree knows it, else\n"    \
    "                           what lies there, as HEAD. Another one than HEAD is checked out\n"  \
    "                           beside it, and HEAD too where files differ from it\n"              \
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

/* What is wrong with the flags has been said: the exit code; -1 to go on. */
int job_flags_check(const struct command *cmd, const struct job_flags *f, int positional);

/* The event whose jobs are run: of --pipeline, else what is usual for this kind of job. What is
 * wrong has been said; the exit code. */
int job_flags_event(const struct command *cmd, const struct job_flags *f, enum job_kind kind,
                    enum event_kind *out);

/* Which forge a project belongs to: --forge, else that of the first entry that matches; NULL:
 * there is none. */
const char *job_flags_forge(const struct settings *s, const struct job_flags *f);

#endif
