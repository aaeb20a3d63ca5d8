#include "core/domain/policy.h"

#include "core/base/str.h"

const struct policy_project *policy_find(const struct policy *p, const char *forge,
                                         const char *project)
{
    if (str_empty(forge) || str_empty(project))
        return NULL;
    list_each (struct policy_project, entry, p)
        if (str_eq(entry->forge, forge) && pattern_match(entry->match, project))
            return entry;
    return NULL;
}

bool policy_matches(const struct pattern_list *list, const char *subject, bool when_empty)
{
    if (!list->n)
        return when_empty;
    if (!subject)
        return false;
    for (size_t i = 0; i < list->n; i++)
        if (pattern_match(list->at[i], subject))
            return true;
    return false;
}

bool policy_may_publish(const struct policy_project *p, const char *repository)
{
    return policy_matches(&p->may_publish, repository, false);
}

const char *policy_behind(const struct policy_project *p, const char *repository, struct arena *a)
{
    const char *rest = p->intermediate ? str_after(repository, p->intermediate) : NULL;
    if (!rest || *rest != '/')
        return NULL;
    /* The port of a registry was written with '_' there. */
    char *name = arena_strdup(a, rest + 1);
    char *host_end = strchr(name, '/'), *port = strchr(name, '_');
    if (policy_may_publish(p, name))
        return name;
    if (!port || !host_end || port > host_end)
        return NULL;
    *port = ':';
    return policy_may_publish(p, name) ? name : NULL;
}

bool policy_tag_is_immutable(const struct policy_project *p, const char *tag)
{
    return policy_matches(&p->immutable, tag, false);
}

bool policy_may_read(const struct policy_project *p, const char *repository)
{
    const struct pattern_list *list = p->may_read_given ? &p->may_read : &p->may_publish;
    return policy_matches(list, repository, false);
}
