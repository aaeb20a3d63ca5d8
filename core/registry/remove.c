#include "core/registry/registry.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/imageref.h"
#include "core/domain/manifest.h"
#include "core/lib/json.h"
#include "core/os/clock.h"
#include "core/registry/remove_internal.h"

bool removal_is_success(int status)
{
    return status == 200 || status == 202 || status == 204;
}

const char *removal_what(const struct removal *rm)
{
    return arena_printf(rm->a, "%s:%s", rm->name, rm->tag);
}

int removal_ask(struct removal *rm, enum registry_verb verb, const char *ref,
                struct registry_op *op, struct err *err)
{
    *op = (struct registry_op){
        .verb = verb, .host = rm->host->conf->host, .name = rm->name, .ref = ref};
    if (registry_all(rm->r, rm->a, op, 1) == 0)
        return 0;
    *err = op->err;
    return -1;
}

int removal_request(struct removal *rm, const char *method, const char *ref, struct exchange *x,
                    struct err *err)
{
    x->host = rm->host;
    x->name = rm->name;
    x->method = method;
    x->path = arena_printf(rm->a, "manifests/%s", ref);
    x->max_body = LIMIT_ERROR_BODY;
    exchange_all(rm->r, rm->a, x, 1);
    if (!x->failed)
        return 0;
    *err = x->err;
    return err_wrap(err, "%s/%s", rm->host->conf->host, removal_what(rm));
}

/* --- the OCI way: delete the tag itself ----------------------------------------------------------
 */

static enum registry_answer tag_delete_known(struct removal *rm)
{
    registry_lock(rm->r);
    enum registry_answer known = rm->host->tag_delete;
    registry_unlock(rm->r);
    return known;
}

static void set_tag_delete(struct removal *rm, enum registry_answer answer)
{
    registry_lock(rm->r);
    rm->host->tag_delete = answer;
    registry_unlock(rm->r);
}

/* An answer that a host never contradicted before is not believed without a look at the tag. */
static enum step confirm_untied(struct removal *rm, enum step when_absent, struct err *err)
{
    struct registry_op op;
    if (removal_ask(rm, REGISTRY_HEAD, rm->tag, &op, err) < 0)
        return STEP_FAILED;
    if (op.absent && when_absent == STEP_DONE)
        set_tag_delete(rm, ANSWER_YES);
    if (!op.absent)
        set_tag_delete(rm, ANSWER_NO);
    return op.absent ? when_absent : STEP_REFUSED;
}

/* distribution up to 2.8 takes the tag for a malformed digest; no vendor's API stands behind. */
static bool says_distribution(const struct exchange *x)
{
    struct js *doc CLEANUP_JS = js_parse(x->resp.body, x->resp.body_len, NULL);
    return doc && str_eq(js_str(js_at(js_get(doc, "errors"), 0), "code"), "DIGEST_INVALID");
}

static void set_probed(struct removal *rm)
{
    registry_lock(rm->r);
    rm->host->vendor.probed = true;
    registry_unlock(rm->r);
}

static enum step untie(struct removal *rm, struct err *err)
{
    enum registry_answer known = tag_delete_known(rm);
    struct exchange x = {0};
    if (rm->vendor && rm->vendor->not_by_oci) {
        (void)err_set(err, ERR_PERM, 0, "%s", rm->vendor->not_by_oci);
        return STEP_REFUSED;
    }
    if (known == ANSWER_NO)
        return STEP_REFUSED;
    if (removal_request(rm, "DELETE", rm->tag, &x, err) < 0)
        return STEP_FAILED;
    int status = x.resp.status;
    if (removal_is_success(status))
        return known == ANSWER_YES ? STEP_DONE : confirm_untied(rm, STEP_DONE, err);
    if (status == 404)
        return known == ANSWER_YES ? STEP_GONE : confirm_untied(rm, STEP_GONE, err);
    (void)exchange_refused(&x, "delete", removal_what(rm), err);
    if (err->kind == ERR_TEMP)
        return STEP_FAILED;
    if (says_distribution(&x))
        set_probed(rm);
    if (known == ANSWER_UNKNOWN && (status == 400 || status == 405 || status == 501))
        set_tag_delete(rm, ANSWER_NO);
    return STEP_REFUSED;
}

/* --- the vendor's way ----------------------------------------------------------------------------
 */

static enum registry_answer vendor_api_known(struct removal *rm, enum registry_answer set)
{
    registry_lock(rm->r);
    if (set != ANSWER_UNKNOWN)
        rm->host->vendor.api = set;
    enum registry_answer known = rm->host->vendor.api;
    registry_unlock(rm->r);
    return known;
}

/* Looks at the tag after the API had its say, which some registries follow with a delay. */
static enum step confirm_by_look(struct removal *rm, enum vendor_step said, struct err *err)
{
    struct err why = *err;
    for (int i = 0; i < LIMIT_READBACK_TRIES; i++) {
        struct registry_op op;
        if (i > 0)
            clock_sleep_ms((int64_t)LIMIT_READBACK_PAUSE_MS << (i - 1));
        if (removal_ask(rm, REGISTRY_HEAD, rm->tag, &op, err) < 0)
            return STEP_FAILED;
        if (op.absent)
            return said == VENDOR_GONE ? STEP_GONE : STEP_DONE;
        /* Who moved it meanwhile keeps it. */
        if (rm->expected && !str_eq(op.digest, rm->expected))
            return said == VENDOR_DONE ? STEP_DONE : STEP_CHANGED;
        if (said == VENDOR_GONE)
            break;
    }
    *err = why;
    if (said == VENDOR_GONE)
        return STEP_REFUSED;
    if (said == VENDOR_DONE)
        (void)err_set(err, ERR_TEMP, 0, "%s still shows %s after its API removed the tag",
                      rm->host->conf->host, removal_what(rm));
    return STEP_FAILED;
}

static enum step by_vendor(struct removal *rm, struct err *err)
{
    struct vendor_job j;
    if (vendor_job_init(&j, rm->r, rm->a, rm->host, rm->vendor, rm->name, err) < 0)
        return err->kind == ERR_TEMP ? STEP_FAILED : STEP_NO_WAY;
    /* GitLab's registry has a call of its own; every other API needs a login. */
    if (!rm->vendor->oci_first && (!j.base || str_empty(j.password)))
        return STEP_REFUSED;
    rm->vendor_tried = true;
    enum vendor_step step = rm->vendor->remove(&j, rm->tag, rm->expected, err);
    switch (step) {
    case VENDOR_FAILED:
        return STEP_FAILED;
    case VENDOR_NO_WAY:
        return STEP_NO_WAY;
    case VENDOR_REFUSED:
        return STEP_REFUSED;
    case VENDOR_DONE:
        if (vendor_api_known(rm, ANSWER_UNKNOWN) == ANSWER_YES)
            return STEP_DONE;
        break;
    case VENDOR_GONE:
    case VENDOR_UNSURE:
        break;
    }
    enum step seen = confirm_by_look(rm, step, err);
    if (seen == STEP_DONE && step == VENDOR_DONE)
        (void)vendor_api_known(rm, ANSWER_YES);
    return seen;
}

static enum step by_vendor_first(struct removal *rm, struct err *err)
{
    rm->vendor = vendor_known(rm->r, rm->a, rm->host, false);
    if (!rm->vendor || !rm->vendor->remove || rm->vendor->oci_first)
        return STEP_REFUSED;
    return by_vendor(rm, err);
}

/* After OCI deletion was refused: also finds out what a host of another name is. */
static enum step by_vendor_then(struct removal *rm, struct err *err)
{
    if (!rm->vendor)
        rm->vendor = vendor_known(rm->r, rm->a, rm->host, true);
    if (!rm->vendor || !rm->vendor->remove || rm->vendor_tried)
        return STEP_REFUSED;
    return by_vendor(rm, err);
}

/* --- the whole -----------------------------------------------------------------------------------
 */

/* In this order, until one does not refuse. */
static const struct {
    enum step (*go)(struct removal *rm, struct err *err);
    bool overwrites; /* nothing for a tag that people use */
} ways[] = {{by_vendor_first, false}, {untie, false}, {by_vendor_then, false}, {isolate, true}};

static enum step try_ways(struct removal *rm, bool overwrite, struct err *err)
{
    enum step step = STEP_REFUSED;
    for (size_t i = 0; i < ARRAY_LEN(ways) && step == STEP_REFUSED; i++)
        if (overwrite || !ways[i].overwrites)
            step = ways[i].go(rm, err);
    return step;
}

enum sight { SIGHT_FAILED, SIGHT_EXPECTED, SIGHT_GONE, SIGHT_OTHER, SIGHT_PLACEHOLDER };

/* What the tag shows now; the digest when it is a placeholder that an earlier removal left. */
static enum sight look(struct removal *rm, const char **placeholder, struct err *err)
{
    struct registry_op op;
    if (removal_ask(rm, REGISTRY_HEAD, rm->tag, &op, err) < 0)
        return SIGHT_FAILED;
    if (op.absent)
        return SIGHT_GONE;
    if (str_eq(op.digest, rm->expected))
        return SIGHT_EXPECTED;
    if (!str_eq(op.media_type, MANIFEST_OCI_INDEX) && !str_eq(op.media_type, MANIFEST_OCI))
        return SIGHT_OTHER;
    if (removal_ask(rm, REGISTRY_GET, rm->tag, &op, err) < 0)
        return SIGHT_FAILED;
    if (op.absent)
        return SIGHT_GONE;
    *placeholder = op.digest;
    return manifest_is_placeholder(op.bytes, op.len) ? SIGHT_PLACEHOLDER : SIGHT_OTHER;
}

static int check_kept(struct removal *rm, const char *kept, const char *kept_digest,
                      struct err *err)
{
    struct registry_op op;
    if (!kept)
        return 0;
    if (removal_ask(rm, REGISTRY_HEAD, kept, &op, err) < 0)
        return err_wrap(err, "reading %s again after %s was removed", kept, rm->tag);
    if (!op.absent && str_eq(op.digest, kept_digest))
        return 0;
    return err_set(err, ERR_BUG, 0, "after the removal of %s/%s the tag %s shows %s instead of %s",
                   rm->host->conf->host, removal_what(rm), kept, op.absent ? "nothing" : op.digest,
                   kept_digest);
}

static int settle(struct removal *rm, enum step step, const char *kept, const char *kept_digest,
                  enum registry_removal *out, struct err *err)
{
    if (step == STEP_FAILED)
        return -1;
    *out = step == STEP_DONE      ? REMOVAL_DONE
           : step == STEP_GONE    ? REMOVAL_GONE
           : step == STEP_CHANGED ? REMOVAL_CHANGED
                                  : REMOVAL_NO_WAY;
    if (*out != REMOVAL_NO_WAY)
        *err = (struct err)ERR_INIT;
    return step == STEP_DONE ? check_kept(rm, kept, kept_digest, err) : 0;
}

int registry_remove_tag(struct registry *r, struct arena *a, const char *host, const char *name,
                        const char *tag, const char *expected, bool fresh, const char *kept,
                        const char *kept_digest, enum registry_removal *out, struct err *err)
{
    struct err own = ERR_INIT;
    struct removal rm = {.r = r,
                         .a = a,
                         .host = registry_find(r, host, false),
                         .name = name,
                         .tag = tag,
                         .expected = expected};
    if (!err)
        err = &own;
    if (!rm.host)
        return err_set(err, ERR_CONFIG, 0, "%s/%s: this registry is not configured", host, name);
    if (!imageref_name_ok(name) || !imageref_tag_ok(tag) || !imageref_digest_ok(expected) ||
        (kept && (!imageref_tag_ok(kept) || str_eq(kept, tag) || str_empty(kept_digest))))
        return err_set(err, ERR_BUG, 0, "a removal without a legal name");
    const char *placeholder = NULL;
    enum sight sight = fresh ? SIGHT_EXPECTED : look(&rm, &placeholder, err);
    if (sight == SIGHT_FAILED)
        return -1;
    if (sight == SIGHT_PLACEHOLDER && str_eq(placeholder, kept_digest))
        sight = SIGHT_OTHER;
    if (sight == SIGHT_GONE || sight == SIGHT_OTHER) {
        *out = sight == SIGHT_GONE ? REMOVAL_GONE : REMOVAL_CHANGED;
        return 0;
    }
    enum step step;
    if (sight == SIGHT_PLACEHOLDER) {
        rm.vendor = vendor_known(r, a, rm.host, false);
        step = isolate_delete(&rm, placeholder, err);
    } else {
        step = try_ways(&rm, true, err);
    }
    return settle(&rm, step, kept, kept_digest, out, err);
}

int registry_untag(struct registry *r, struct arena *a, const char *host, const char *name,
                   const char *tag, enum registry_removal *out, struct err *err)
{
    struct err own = ERR_INIT;
    struct removal rm = {
        .r = r, .a = a, .host = registry_find(r, host, false), .name = name, .tag = tag};
    if (!err)
        err = &own;
    if (!rm.host)
        return err_set(err, ERR_CONFIG, 0, "%s/%s: this registry is not configured", host, name);
    if (!imageref_name_ok(name) || !imageref_tag_ok(tag))
        return err_set(err, ERR_BUG, 0, "a removal without a legal name");
    enum step step = try_ways(&rm, false, err);
    if (step == STEP_REFUSED)
        (void)err_set(err, ERR_PERM, 0, "%s does not delete single tags", host);
    return settle(&rm, step, NULL, NULL, out, err);
}
