#include "core/store/store.h"

#include "core/base/str.h"

static const char *const verdicts[DELIVERY__MAX] = {
    [DELIVERY_NEW] = "new",         [DELIVERY_TAKEN] = "taken",
    [DELIVERY_IGNORED] = "ignored", [DELIVERY_MALFORMED] = "malformed",
    [DELIVERY_REPEAT] = "repeat",
};

static const char *const states[TASK__MAX] = {
    [TASK_QUEUED] = "queued",   [TASK_WAITING] = "waiting",
    [TASK_RUNNING] = "running", [TASK_UNDOING] = "undoing",
    [TASK_DONE] = "done",       [TASK_SKIPPED] = "skipped",
    [TASK_FAILED] = "failed",   [TASK_SUPERSEDED] = "superseded",
    [TASK_DEAD] = "dead",       [TASK_PARTIAL] = "partial",
    [TASK_HELD] = "held",       [TASK_CANCELLED] = "cancelled",
};

static const char *const steps[STEP__MAX] = {
    [STEP_PLANNED] = "planned",   [STEP_SAME] = "same",       [STEP_DONE] = "done",
    [STEP_RESTORED] = "restored", [STEP_FOREIGN] = "foreign", [STEP_STUCK] = "stuck",
};

const char *delivery_verdict_name(enum delivery_verdict v)
{
    return (unsigned)v < DELIVERY__MAX ? verdicts[v] : "unknown";
}

const char *task_state_name(enum task_state s)
{
    return (unsigned)s < TASK__MAX ? states[s] : "unknown";
}

bool task_state_from_name(const char *name, enum task_state *out)
{
    for (size_t i = 0; i < TASK__MAX; i++)
        if (str_eq(name, states[i])) {
            *out = (enum task_state)i;
            return true;
        }
    return false;
}

const char *step_state_name(enum step_state s)
{
    return (unsigned)s < STEP__MAX ? steps[s] : "unknown";
}
