/* What git's answers mean: the second part of git_argv.h. */
#include "core/git/git_argv.h"

#include "core/base/str.h"

enum git_trouble git_classify(const char *text)
{
    static const struct {
        const char *part;
        enum git_trouble trouble;
    } table[] = {
        {"not our ref", GIT_TROUBLE_GONE},
        {"unadvertised object", GIT_TROUBLE_REFUSED},
        {" not valid", GIT_TROUBLE_REFUSED}, /* JGit: want <id> not valid */
        {"couldn't find remote ref", GIT_TROUBLE_NO_REF},
        {"server certificate verification failed", GIT_TROUBLE_TRUST},
        {"SSL certificate problem", GIT_TROUBLE_TRUST},
        {"certificate subject name", GIT_TROUBLE_TRUST},
        {"Host key verification failed", GIT_TROUBLE_TRUST},
        {"Authentication failed", GIT_TROUBLE_ACCESS},
        {"could not read Username", GIT_TROUBLE_ACCESS},
        {"could not read Password", GIT_TROUBLE_ACCESS},
        {"Permission denied", GIT_TROUBLE_ACCESS},
        {"returned error: 30", GIT_TROUBLE_ACCESS},
        {"returned error: 401", GIT_TROUBLE_ACCESS},
        {"returned error: 403", GIT_TROUBLE_ACCESS},
        {"returned error: 404", GIT_TROUBLE_ACCESS},
        {"does not appear to be a git repository", GIT_TROUBLE_ACCESS},
        {"Repository not found", GIT_TROUBLE_ACCESS},
        {"corrupt", GIT_TROUBLE_DAMAGE},
        {"bad object", GIT_TROUBLE_DAMAGE},
        {"bad tree object", GIT_TROUBLE_DAMAGE},
        {"packfile", GIT_TROUBLE_DAMAGE},
        {"index file", GIT_TROUBLE_DAMAGE},
        {"object file", GIT_TROUBLE_DAMAGE},
        {"reference broken", GIT_TROUBLE_DAMAGE},
        {"bad shallow line", GIT_TROUBLE_DAMAGE},
        {"Failed to traverse parents", GIT_TROUBLE_DAMAGE},
        {"not a git repository", GIT_TROUBLE_DAMAGE},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (strstr(text, table[i].part))
            return table[i].trouble;
    const char *quoted = strstr(text, "repository '");
    return quoted && strstr(quoted, "' not found") ? GIT_TROUBLE_ACCESS : GIT_TROUBLE_NETWORK;
}

void git_brief(const char *text, char *out, size_t size)
{
    const char *line = strstr(text, "fatal: ");
    if (!line)
        line = strstr(text, "error: ");
    if (!line)
        line = text;
    size_t len = strcspn(line, "\r\n");
    if (len >= size)
        len = size - 1;
    for (size_t i = 0; i < len; i++)
        out[i] = (unsigned char)line[i] < ' ' || line[i] == 127 ? '?' : line[i];
    out[len] = '\0';
    if (!len)
        (void)snprintf(out, size, "it gave no reason");
}

/* "<hex> <type> <size>" */
static bool parse_header(struct arena *a, const char *line, size_t len, struct git_object *out)
{
    struct str_list words = str_split(a, arena_strndup(a, line, len), ' ');
    uint64_t size;
    if (words.n != 3 || !(str_is_hex(words.at[0], 40) || str_is_hex(words.at[0], 64)) ||
        !str_to_u64(words.at[2], &size) || size > SIZE_MAX / 2)
        return false;
    out->name = words.at[0];
    out->type = words.at[1];
    out->len = (size_t)size;
    return true;
}

bool git_batch_next(struct arena *a, const char **at, size_t *left, struct git_object *out)
{
    *out = (struct git_object){0};
    const char *end = *left ? memchr(*at, '\n', *left) : NULL;
    if (!end)
        return false;
    size_t len = (size_t)(end - *at);
    bool present = parse_header(a, *at, len, out);
    /* Whatever else a line says ("missing", "ambiguous"), the object is not there for us. */
    *left -= len + 1;
    *at = end + 1;
    if (!present)
        return true;
    if (*left < out->len + 1)
        return false;
    out->data = *at;
    *at += out->len + 1;
    *left -= out->len + 1;
    return true;
}

unsigned git_tree_mode(const struct git_object *tree, const char *name, size_t hash_len)
{
    const char *p = tree->data, *end = tree->data + tree->len;
    while (p && p < end) {
        unsigned mode = 0;
        for (; p < end && *p >= '0' && *p <= '7' && mode < 01000000; p++)
            mode = mode * 8 + (unsigned)(*p - '0');
        const char *nul = p < end ? memchr(p, '\0', (size_t)(end - p)) : NULL;
        if (!nul || *p != ' ' || (size_t)(end - nul) < hash_len + 1)
            return 0;
        if (str_eq(p + 1, name))
            return mode;
        p = nul + 1 + hash_len;
    }
    return 0;
}

const char *git_commit_tree(struct arena *a, const struct git_object *commit)
{
    static const char key[] = "tree ";
    size_t key_len = sizeof key - 1;
    if (!str_eq(commit->type, "commit") || commit->len <= key_len ||
        memcmp(commit->data, key, key_len) != 0)
        return NULL;
    const char *end = memchr(commit->data, '\n', commit->len);
    if (!end)
        return NULL;
    const char *tree =
        arena_strndup(a, commit->data + key_len, (size_t)(end - commit->data) - key_len);
    return git_check_object(tree, NULL) == 0 ? tree : NULL;
}

const char *git_lsremote_find(struct arena *a, const char *text, const char *ref)
{
    struct str_list lines = str_split(a, text, '\n');
    for (size_t i = 0; i < lines.n; i++) {
        const char *tab = strchr(lines.at[i], '\t');
        if (!tab || !str_eq(tab + 1, ref))
            continue;
        const char *object = arena_strndup(a, lines.at[i], (size_t)(tab - lines.at[i]));
        if (git_check_object(object, NULL) == 0)
            return object;
    }
    return NULL;
}

const char *git_lsremote_head(struct arena *a, const char *text)
{
    struct str_list lines = str_split(a, text, '\n');
    for (size_t i = 0; i < lines.n; i++) {
        const char *branch = str_after(lines.at[i], "ref: refs/heads/");
        const char *tab = branch ? strchr(branch, '\t') : NULL;
        if (tab && str_eq(tab + 1, "HEAD"))
            return arena_strndup(a, branch, (size_t)(tab - branch));
    }
    return NULL;
}
