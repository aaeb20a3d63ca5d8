#include "cgi/command.h"

#include "core/base/str.h"

#define TIME_MOST_S (365 * INT64_C(86400))

/* One pass over argv: `next` reads, `kept` says how many positional arguments were moved. */
struct parse {
    const struct command *cmd;
    const struct flag *flags;
    size_t n;
    int argc;
    char **argv;
    int next;
    int kept;
};

static const struct flag *find_long(const struct parse *p, const char *name, size_t len)
{
    for (size_t i = 0; i < p->n; i++)
        if (strlen(p->flags[i].name) == len && memcmp(p->flags[i].name, name, len) == 0)
            return &p->flags[i];
    return NULL;
}

static const struct flag *find_letter(const struct parse *p, char letter)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->flags[i].letter && p->flags[i].letter == letter)
            return &p->flags[i];
    return NULL;
}

static int unknown_flag(const struct parse *p, const char *name)
{
    enum { MOST = 64 };
    const char *names[MOST];
    size_t n = 0;
    for (; n < p->n && n < MOST; n++)
        names[n] = p->flags[n].name;
    const char *near = str_nearest(name, names, n);
    if (near)
        return command_usage(p->cmd, "unknown flag --%s, did you mean --%s?", name, near);
    return command_usage(p->cmd, "unknown flag --%s", name);
}

/* -1 when it went well, else the exit code. */
static int store_value(const struct parse *p, const struct flag *flag, const char *value)
{
    if (!*value)
        return command_usage(p->cmd, "--%s needs a value that is not empty", flag->name);
    if (flag->kind == FLAG_STR) {
        *(const char **)flag->target = value;
        return -1;
    }
    if (flag->kind == FLAG_INT) {
        if (!str_to_i64(value, flag->target))
            return command_usage(p->cmd, "--%s must be a whole number, not \"%s\"", flag->name,
                                 value);
        return -1;
    }
    if (flag->kind == FLAG_TIME) {
        int64_t *seconds = flag->target;
        if (!str_to_seconds(value, seconds) || *seconds == 0 || *seconds > TIME_MOST_S)
            return command_usage(p->cmd,
                                 "--%s is a time like 90s, 10m, 2h or 14d, 365d at most, not "
                                 "\"%.80s\"",
                                 flag->name, value);
        return -1;
    }
    struct flag_values *list = flag->target;
    if (list->n == ARRAY_LEN(list->at))
        return command_usage(p->cmd, "--%s was given more than %zu times", flag->name, list->n);
    list->at[list->n++] = value;
    return -1;
}

/* `attached` is the value in the same word, NULL when there is none. */
static int take_flag(struct parse *p, const struct flag *flag, const char *attached)
{
    if (flag->kind == FLAG_BOOL) {
        if (attached)
            return command_usage(p->cmd, "--%s takes no value", flag->name);
        *(bool *)flag->target = true;
        return -1;
    }
    if (!attached) {
        if (p->next >= p->argc)
            return command_usage(p->cmd, "--%s needs a value", flag->name);
        attached = p->argv[p->next++];
    }
    return store_value(p, flag, attached);
}

static int take_help(const struct parse *p)
{
    command_show_help(p->cmd, stdout);
    return EXIT_DONE;
}

static int take_long(struct parse *p, const char *word)
{
    size_t len = strcspn(word, "=");
    if (str_eq(word, "help"))
        return take_help(p);
    const struct flag *flag = find_long(p, word, len);
    if (!flag) {
        char name[64];
        (void)snprintf(name, sizeof name, "%.*s", (int)(len < 60 ? len : 60), word);
        return unknown_flag(p, name);
    }
    return take_flag(p, flag, word[len] == '=' ? word + len + 1 : NULL);
}

static int take_letter(struct parse *p, const char *word)
{
    if (str_eq(word, "h"))
        return take_help(p);
    if (word[1] && find_long(p, word, strcspn(word, "=")))
        return command_usage(p->cmd, "unknown flag -%s, did you mean --%s?", word, word);
    const struct flag *flag = find_letter(p, *word);
    if (!flag)
        return command_usage(p->cmd, "unknown flag -%c", *word);
    if (flag->kind != FLAG_BOOL || !word[1])
        return take_flag(p, flag, word[1] ? word + 1 : NULL);
    int code = take_flag(p, flag, NULL);
    return code >= 0 ? code : take_letter(p, word + 1); /* -qc FILE */
}

int flags_parse(const struct command *cmd, const struct flag *flags, size_t n, int argc,
                char **argv, int *positional)
{
    struct parse p = {
        .cmd = cmd, .flags = flags, .n = n, .argc = argc, .argv = argv, .next = 1, .kept = 0};
    bool ended = false;
    while (p.next < argc) {
        char *word = argv[p.next++];
        int code = -1;
        if (ended || word[0] != '-' || word[1] == '\0')
            argv[++p.kept] = word;
        else if (str_eq(word, "--"))
            ended = true;
        else if (word[1] == '-')
            code = take_long(&p, word + 2);
        else
            code = take_letter(&p, word + 1);
        if (code >= 0)
            return code;
    }
    *positional = p.kept;
    return -1;
}
