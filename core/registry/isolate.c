#include "core/registry/remove_internal.h"

#include "core/base/limits.h"
#include "core/base/str.h"
#include "core/domain/manifest.h"
#include "core/lib/crypt.h"
#include "core/os/clock.h"
#include "core/os/random.h"
#include "core/registry/blob.h"

/* --- what is remembered -------------------------------------------------------------------------
 */

static enum registry_answer right_known(struct removal *rm, struct err *err)
{
    registry_lock(rm->r);
    struct registry_repo *repo = registry_repo(rm->host, rm->name);
    if (repo->may_delete == ANSWER_NO && clock_monotonic_ms() >= repo->no_until)
        repo->may_delete = ANSWER_UNKNOWN;
    enum registry_answer known = repo->may_delete;
    if (known == ANSWER_NO)
        (void)err_set(err, ERR_PERM, 0, "%s", repo->why_not);
    registry_unlock(rm->r);
    return known;
}

static void set_right(struct removal *rm, enum registry_answer answer, const struct err *why)
{
    registry_lock(rm->r);
    struct registry_repo *repo = registry_repo(rm->host, rm->name);
    repo->may_delete = answer;
    repo->no_until = clock_monotonic_ms() + (int64_t)LIMIT_NO_DELETE_S * 1000;
    if (why)
        (void)snprintf(repo->why_not, sizeof repo->why_not, "%.*s", (int)sizeof repo->why_not - 1,
                       why->text);
    registry_unlock(rm->r);
}

static bool wants_image(struct removal *rm)
{
    registry_lock(rm->r);
    bool wants = rm->host->vendor.wants_image;
    registry_unlock(rm->r);
    return wants;
}

static void set_wants_image(struct removal *rm)
{
    registry_lock(rm->r);
    rm->host->vendor.wants_image = true;
    registry_unlock(rm->r);
}

/* --- the right to delete -------------------------------------------------------------------------
 */

static int vendor_job(struct removal *rm, struct vendor_job *j, struct err *err)
{
    return vendor_job_init(j, rm->r, rm->a, rm->host, rm->vendor, rm->name, err);
}

static bool vendor_deletes(const struct removal *rm)
{
    return rm->vendor && rm->vendor->drop;
}

/* Asks the vendor's API whether it lets us in. */
static enum step prove_by_vendor(struct removal *rm, struct err *err)
{
    struct vendor_job j;
    if (vendor_job(rm, &j, err) < 0)
        return err->kind == ERR_TEMP ? STEP_FAILED : STEP_NO_WAY;
    enum vendor_step step = rm->vendor->may_delete(&j, err);
    if (step == VENDOR_DONE)
        return STEP_DONE;
    return step == VENDOR_FAILED ? STEP_FAILED : STEP_NO_WAY;
}

/* Proves the right to delete on a digest that nothing has. Only a 404 that says so in words
 * counts: a server without deletion may answer a bare 404 to everything. */
static enum step prove_by_digest(struct removal *rm, struct err *err)
{
    struct exchange x = {0};
    char random[65];
    random_hex(random, 32);
    if (removal_request(rm, "DELETE", arena_printf(rm->a, "sha256:%s", random), &x, err) < 0)
        return STEP_FAILED;
    if (x.resp.status == 404 && exchange_says_unknown(&x))
        return STEP_DONE;
    (void)exchange_refused(&x, "prove the right to delete in", rm->name, err);
    if (x.resp.status == 405)
        (void)err_set(err, ERR_PERM, 405,
                      "%s deletes nothing in %s (405): turn deletion on there "
                      "(docker-registry: storage.delete.enabled) to have staged tags removed",
                      rm->host->conf->host, rm->name);
    if (removal_is_success(x.resp.status))
        (void)err_set(err, ERR_PERM, x.resp.status,
                      "%s says that it deleted from %s what was never there", rm->host->conf->host,
                      rm->name);
    if (err->kind == ERR_TEMP)
        return STEP_FAILED;
    set_right(rm, ANSWER_NO, err);
    return STEP_REFUSED;
}

/* --- putting back --------------------------------------------------------------------------------
 */

/* Puts the tag back to what it showed, unless somebody else has moved it meanwhile. */
static int restore(struct removal *rm, const char *placeholder, struct err *err)
{
    struct registry_op op;
    if (removal_ask(rm, REGISTRY_HEAD, rm->tag, &op, err) < 0)
        return -1;
    if (op.absent || !str_eq(op.digest, placeholder))
        return 0;
    if (removal_ask(rm, REGISTRY_GET, rm->expected, &op, err) < 0)
        return -1;
    if (op.absent)
        return err_set(err, ERR_TEMP, 404, "the registry no longer has %s", rm->expected);
    op.verb = REGISTRY_PUT;
    op.ref = rm->tag;
    if (registry_all(rm->r, rm->a, &op, 1) == 0)
        return 0;
    *err = op.err;
    return -1;
}

static enum step left_behind(struct removal *rm, struct err *err)
{
    err->kind = ERR_TEMP;
    (void)err_wrap(err, "left a placeholder at %s/%s, to be removed later", rm->host->conf->host,
                   removal_what(rm));
    return STEP_FAILED;
}

/* The right seemed to be there and is not: nothing may stay changed. */
static enum step take_back(struct removal *rm, const char *placeholder, struct err *err)
{
    struct err why = *err;
    /* GitHub refuses for reasons of the tag, not of the repository. */
    if (!vendor_deletes(rm))
        set_right(rm, ANSWER_NO, &why);
    if (restore(rm, placeholder, err) < 0)
        return left_behind(rm, err);
    *err = why;
    return STEP_REFUSED;
}

/* --- deleting the placeholder --------------------------------------------------------------------
 */

static enum step delete_by_vendor(struct removal *rm, const char *digest, struct err *err)
{
    struct vendor_job j;
    if (vendor_job(rm, &j, err) < 0)
        return err->kind == ERR_TEMP ? STEP_FAILED : STEP_REFUSED;
    /* After a removal that was cut short nobody has asked yet. */
    enum vendor_step step = rm->vendor->may_delete(&j, err);
    if (step == VENDOR_DONE)
        step = rm->vendor->drop(&j, rm->tag, digest, err);
    switch (step) {
    case VENDOR_DONE:
        return STEP_DONE;
    case VENDOR_GONE:
        return STEP_GONE;
    case VENDOR_FAILED:
    case VENDOR_UNSURE:
        return STEP_FAILED;
    case VENDOR_REFUSED:
    case VENDOR_NO_WAY:
        break;
    }
    return STEP_REFUSED;
}

static enum step delete_by_digest(struct removal *rm, const char *digest, struct err *err)
{
    struct exchange x = {0};
    if (removal_request(rm, "DELETE", digest, &x, err) < 0)
        return STEP_FAILED;
    if (removal_is_success(x.resp.status))
        return STEP_DONE;
    (void)exchange_refused(&x, "delete the placeholder of", removal_what(rm), err);
    if (x.resp.status == 404)
        return STEP_GONE;
    return err->kind == ERR_TEMP ? STEP_FAILED : STEP_REFUSED;
}

/* 1: the tag still shows it, 0: it does not, -1: could not ask. What a vendor's API deleted may be
 * seen for a moment. */
static int still_shows(struct removal *rm, const char *digest, struct err *err)
{
    int looks = vendor_deletes(rm) ? LIMIT_READBACK_TRIES : 1;
    for (int i = 0; i < looks; i++) {
        struct registry_op op;
        if (i > 0)
            clock_sleep_ms((int64_t)LIMIT_READBACK_PAUSE_MS << (i - 1));
        if (removal_ask(rm, REGISTRY_HEAD, rm->tag, &op, err) < 0)
            return -1;
        if (op.absent || !str_eq(op.digest, digest))
            return 0;
    }
    return 1;
}

enum step isolate_delete(struct removal *rm, const char *digest, struct err *err)
{
    bool first = right_known(rm, err) != ANSWER_YES;
    enum step step = (vendor_deletes(rm) ? delete_by_vendor : delete_by_digest)(rm, digest, err);
    if (step == STEP_FAILED)
        return left_behind(rm, err);
    if (step == STEP_REFUSED)
        return take_back(rm, digest, err);
    if (first || step == STEP_GONE) {
        int shows = still_shows(rm, digest, err);
        if (shows < 0)
            return left_behind(rm, err);
        if (shows) {
            (void)err_set(err, ERR_PERM, 0, "%s still shows %s after its deletion",
                          rm->host->conf->host, removal_what(rm));
            return take_back(rm, digest, err);
        }
    }
    set_right(rm, ANSWER_YES, NULL);
    return STEP_DONE;
}

/* --- putting the placeholder ---------------------------------------------------------------------
 */

/* A placeholder on its way: bytes of our own making. */
struct placeholder {
    const char *media_type;
    const char *bytes;
    const char *digest;
    int status; /* of the refusal */
};

static struct placeholder make_placeholder(struct removal *rm, bool image)
{
    char nonce[33], text[CRYPT_DIGEST_TEXT];
    struct placeholder p = {.media_type = image ? MANIFEST_OCI : MANIFEST_OCI_INDEX};
    random_hex(nonce, 16);
    p.bytes = (image ? manifest_dummy_image : manifest_empty_index)(nonce, rm->a);
    crypt_digest(p.bytes, strlen(p.bytes), text);
    p.digest = arena_strdup(rm->a, text);
    return p;
}

/* Was it stored as it was sent? */
static enum step check_stored(struct removal *rm, const struct placeholder *p,
                              const struct http_resp *resp, struct err *err)
{
    const char *told = http_header(&resp->headers, "Docker-Content-Digest");
    if (str_eq(told, p->digest))
        return STEP_DONE;
    struct registry_op op;
    if (removal_ask(rm, REGISTRY_HEAD, rm->tag, &op, err) < 0)
        return left_behind(rm, err);
    bool ours = !op.absent && str_eq(op.digest, p->digest);
    if (ours && !str_starts(told, "sha256:"))
        return STEP_DONE;
    (void)err_set(err, ERR_PERM, 0, "%s stored other bytes than were sent at %s",
                  rm->host->conf->host, removal_what(rm));
    if (ours || (!op.absent && str_eq(op.digest, told)))
        return take_back(rm, op.digest, err);
    return STEP_REFUSED;
}

static enum step put_one(struct removal *rm, struct placeholder *p, struct err *err)
{
    struct exchange x = {
        .content_type = p->media_type, .body = p->bytes, .body_len = strlen(p->bytes)};
    p->status = 0;
    if (removal_request(rm, "PUT", rm->tag, &x, err) < 0)
        return STEP_FAILED;
    if (x.resp.status >= 200 && x.resp.status <= 204)
        return check_stored(rm, p, &x.resp, err);
    (void)exchange_refused(&x, "isolate", removal_what(rm), err);
    p->status = x.resp.status;
    return err->kind == ERR_TEMP ? STEP_FAILED : STEP_REFUSED;
}

static enum step put_image(struct removal *rm, struct placeholder *p, struct err *err)
{
    struct endpoint to = {
        .registry = rm->r, .host = rm->host->conf->host, .name = rm->name, .access = {0}};
    if (blob_put(&to, MANIFEST_EMPTY_CONFIG, strlen(MANIFEST_EMPTY_CONFIG),
                 MANIFEST_EMPTY_CONFIG_DIGEST, err) < 0)
        return err->kind == ERR_TEMP ? STEP_FAILED : STEP_REFUSED;
    *p = make_placeholder(rm, true);
    return put_one(rm, p, err);
}

/* May it be the empty index that is refused, and not we? 500 is how one registry fails over it. */
static bool is_about_index(int status)
{
    static const int statuses[] = {400, 404, 406, 415, 422, 500, 501};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        if (status == statuses[i])
            return true;
    return false;
}

/* Overwrites the tag with a placeholder and makes sure that it is what was stored. */
static enum step put_placeholder(struct removal *rm, const char **digest, struct err *err)
{
    struct placeholder p = make_placeholder(rm, false);
    enum step step = STEP_REFUSED;
    bool image = wants_image(rm);
    if (!image)
        step = put_one(rm, &p, err);
    if (image || is_about_index(p.status)) {
        step = put_image(rm, &p, err);
        if (step == STEP_DONE)
            set_wants_image(rm);
    }
    if (step == STEP_REFUSED)
        set_right(rm, ANSWER_NO, err);
    *digest = p.digest;
    return step;
}

enum step isolate(struct removal *rm, struct err *err)
{
    const char *digest;
    if (rm->vendor && rm->vendor->not_isolated) {
        (void)err_set(err, ERR_PERM, 0, "%s", rm->vendor->not_isolated);
        return STEP_NO_WAY;
    }
    enum registry_answer right = right_known(rm, err);
    enum step step = STEP_DONE;
    if (right == ANSWER_NO)
        return STEP_REFUSED;
    if (vendor_deletes(rm) || right != ANSWER_YES)
        step = (vendor_deletes(rm) ? prove_by_vendor : prove_by_digest)(rm, err);
    if (step == STEP_DONE)
        step = put_placeholder(rm, &digest, err);
    return step == STEP_DONE ? isolate_delete(rm, digest, err) : step;
}
