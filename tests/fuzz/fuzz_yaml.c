/* Any bytes as YAML: the tree must be whole, within its limits, and every reader must bear it. */
#include "core/base/base.h"

#include "core/base/limits.h"
#include "core/lib/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Visits all that a consumer could, aliases as often as they occur. */
static size_t visit(const struct yml_node *n, size_t depth, struct diags *diags)
{
    size_t seen = 1;
    const char *text;
    bool truth;
    int64_t number;
    struct str_list list = {0};
    if (depth > LIMIT_YAML_DEPTH || n->at.line == 0)
        abort();
    if (n->type == YML_SCALAR) {
        if (strlen(n->text) != n->len)
            abort();
        (void)yml_is_typed(n);
        (void)yml_is_null(n);
        (void)yml_want_bool(n, "it", &truth, diags);
        (void)yml_want_int(n, "it", -100, 100, &number, diags);
        (void)yml_want_str(n, "it", true, &text, diags);
    }
    (void)yml_want_str_list(n, "it", true, &list, diags);
    for (size_t i = 0; n->type == YML_SEQ && i < n->n; i++)
        seen += visit(n->items[i], depth + 1, diags);
    for (size_t i = 0; n->type == YML_MAP && i < n->n; i++) {
        if (n->pairs[i].key->type != YML_SCALAR)
            abort();
        seen += 1 + visit(n->pairs[i].value, depth + 1, diags);
    }
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const keys[] = {"container_images", "tags"};
    struct arena a = ARENA_INIT;
    struct diags diags = {.arena = &a};
    const struct yml_node *root = yml_parse("fuzz", data, size, &diags);
    if ((root != NULL) != (diags.errors == 0))
        abort();
    if (root && visit(root, 0, &diags) > LIMIT_YAML_NODES)
        abort();
    yml_check_keys(root, keys, ARRAY_LEN(keys), &diags);
    CLEANUP_STRBUF struct strbuf out = STRBUF_INIT(MIB(1));
    diag_format(&diags, &out);
    arena_release(&a);
    return 0;
}
