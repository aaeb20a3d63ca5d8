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

bool policy_tag_is_immutable(const struct policy_project *p, const char *tag)
{
    return policy_matches(&p->immutable, tag, false);
}

bool policy_may_read(const struct policy_project *p, const char *repository)
{
    const struct pattern_list *list = p->may_read_given ? &p->may_read : &p->may_publish;
    return policy_matches(list, repository, false);
}
