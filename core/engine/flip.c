#include "core/engine/publishing.h"

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/engine/locks.h"
#include "core/os/clock.h"

enum {
    FORWARD_MS = 10000, /* rolling forward inside one run; then the task is resumed later */
    OVERWRITES_MAX = 2, /* against a stranger who moves the tag at the same time */
    READBACK_FIRST_MS = 40
};

/* The flips that a round is about, and their requests. */
struct batch {
    struct registry_op *ops;
    struct flip **flips;
    size_t n;
};

static struct batch batch_new(struct publishing *p)
{
    return (struct batch){.ops = arena_alloc(p->arena, p->n * sizeof(struct registry_op)),
                          .flips = arena_alloc(p->arena, p->n * sizeof(struct flip *))};
}

static void batch_head(struct batch *b, struct flip *f)
{
    b->ops[b->n] = publishing_op(f, REGISTRY_HEAD, f->step.tag);
    b->flips[b->n++] = f;
}

static void batch_put(struct batch *b, const struct publishing *p, struct flip *f, const char *ref,
                      const char *digest)
{
    const struct kept_manifest *m = publishing_bytes(p, digest);
    struct registry_op op = publishing_op(f, REGISTRY_PUT, ref);
    op.digest = m->digest;
    op.media_type = m->media_type;
    op.bytes = m->bytes;
    op.len = m->len;
    b->ops[b->n] = op;
    b->flips[b->n++] = f;
}

static const char *shown(const struct batch *b, size_t i)
{
    return b->ops[i].absent ? NULL : b->ops[i].digest;
}

static bool is_open(const struct flip *f)
{
    return !f->stale && f->step.state == STEP_PLANNED;
}

static bool is_unrestored(const struct flip *f)
{
    return !f->stale && (f->step.state == STEP_PLANNED || f->step.state == STEP_DONE);
}

static size_t count_open(const struct publishing *p)
{
    size_t open = 0;
    for (size_t i = 0; i < p->n; i++)
        open += is_open(&p->flips[i]);
    return open;
}

/* Writes every open tag at once. Returns -1 when one was refused for good. */
static int write_open(struct publishing *p, struct err *temporary, struct err *err)
{
    struct batch b = batch_new(p);
    int rc = 0;
    for (size_t i = 0; i < p->n; i++)
        if (is_open(&p->flips[i]) && !p->flips[i].written)
            batch_put(&b, p, &p->flips[i], p->flips[i].step.tag, p->flips[i].step.new_digest);
    (void)registry_all(p->engine->registry, p->arena, b.ops, b.n);
    for (size_t i = 0; i < b.n; i++) {
        struct flip *f = b.flips[i];
        if (!b.ops[i].failed) {
            f->written = true;
            push_proofs_add(p->engine->proofs, f->repository, clock_monotonic_ms());
            continue;
        }
        if (b.ops[i].err.kind == ERR_TEMP) {
            *temporary = b.ops[i].err;
            (void)err_wrap(temporary, "writing %s", f->full);
            continue;
        }
        *err = b.ops[i].err;
        rc = err_wrap(err, "writing %s", f->full);
    }
    return rc;
}

static void leave_foreign(struct publishing *p, struct flip *f, const char *digest)
{
    f->step.state = STEP_FOREIGN;
    f->step.note = arena_printf(p->arena, "somebody else moved it to %s; left alone",
                                digest ? digest : "nothing");
}

/* A third digest at our tag: somebody else wrote it after we did. */
static void settle_foreign(struct publishing *p, struct flip *f, const char *digest)
{
    bool hold = p->policy && p->policy->on_foreign == FOREIGN_HOLD;
    if (!hold && f->overwritten++ < OVERWRITES_MAX) {
        publishing_note(p, "somebody else moved %s to %s meanwhile; written again", f->full,
                        digest ? digest : "nothing");
        f->written = false;
        return;
    }
    leave_foreign(p, f, digest);
}

/* Reads every written tag once. Returns how many still have to be asked again. */
static size_t read_written(struct publishing *p, struct err *temporary)
{
    struct batch b = batch_new(p);
    size_t unclear = 0;
    for (size_t i = 0; i < p->n; i++)
        if (is_open(&p->flips[i]) && p->flips[i].written)
            batch_head(&b, &p->flips[i]);
    (void)registry_all(p->engine->registry, p->arena, b.ops, b.n);
    for (size_t i = 0; i < b.n; i++) {
        struct flip *f = b.flips[i];
        const char *digest = shown(&b, i);
        if (b.ops[i].failed) {
            *temporary = b.ops[i].err;
            (void)err_wrap(temporary, "reading %s back", f->full);
            temporary->kind = ERR_TEMP;
            unclear++;
        } else if (str_eq(digest, f->step.new_digest)) {
            f->step.state = STEP_DONE;
        } else if (str_eq(digest, f->step.former_digest)) {
            (void)err_set(temporary, ERR_TEMP, 0,
                          "%s was written, but the registry still shows %s there", f->full,
                          digest ? digest : "nothing");
            unclear++;
        } else {
            settle_foreign(p, f, digest);
        }
    }
    return unclear;
}

/* A registry may lag behind its own 201 for a moment; what stays unclear is written again. */
static void read_back(struct publishing *p, struct err *temporary)
{
    int64_t pause = READBACK_FIRST_MS;
    for (int i = 0; read_written(p, temporary) && i + 1 < LIMIT_READBACK_TRIES; i++) {
        clock_sleep_ms(pause);
        pause *= 4;
    }
    for (size_t i = 0; i < p->n; i++)
        p->flips[i].written = false;
}

int publishing_forward(struct publishing *p, struct err *err)
{
    int64_t deadline = clock_monotonic_ms() + FORWARD_MS, pause = 100;
    struct err temporary = ERR_INIT;
    while (count_open(p)) {
        int rc = write_open(p, &temporary, err);
        read_back(p, &temporary);
        if (rc < 0)
            return -1;
        if (!count_open(p))
            break;
        int64_t wait = temporary.retry_after ? temporary.retry_after * 1000 : pause;
        if (clock_monotonic_ms() + wait > deadline) {
            *err = temporary;
            err->kind = ERR_TEMP;
            return -1;
        }
        clock_sleep_ms(wait);
        pause *= 2;
    }
    return 0;
}

/* Asks what each of the wanted tags shows now, before anything is decided on it. */
static int look(struct publishing *p, bool (*wanted)(const struct flip *), struct batch *b,
                struct err *err)
{
    *b = batch_new(p);
    for (size_t i = 0; i < p->n; i++)
        if (wanted(&p->flips[i]))
            batch_head(b, &p->flips[i]);
    (void)registry_all(p->engine->registry, p->arena, b->ops, b->n);
    for (size_t i = 0; i < b->n; i++) {
        if (!b->ops[i].failed)
            continue;
        *err = b->ops[i].err;
        err->kind = ERR_TEMP;
        return err_wrap(err, "looking at %s before going on", b->flips[i]->full);
    }
    return 0;
}

int publishing_look(struct publishing *p, struct err *err)
{
    struct batch b;
    if (look(p, is_open, &b, err) < 0)
        return -1;
    for (size_t i = 0; i < b.n; i++) {
        struct flip *f = b.flips[i];
        const char *digest = shown(&b, i);
        if (str_eq(digest, f->step.new_digest))
            f->step.state = STEP_DONE;
        else if (!str_eq(digest, f->step.former_digest))
            settle_foreign(p, f, digest);
    }
    return 0;
}

/* Absent before: only a registry that deletes tags by name can take it away again. The way by a
 * placeholder is never used on a final tag. */
static int remove_again(struct publishing *p, struct flip *f, struct err *err)
{
    enum registry_removal removal;
    if (registry_untag(p->engine->registry, p->arena, f->step.registry, f->step.name, f->step.tag,
                       &removal, err) < 0)
        return -1;
    if (removal == REMOVAL_NO_WAY) {
        f->step.state = STEP_STUCK;
        f->step.note = arena_printf(
            p->arena, "it did not exist before, and this registry cannot delete a tag: %s",
            err->text);
    } else {
        f->step.note = "removed again";
    }
    return 0;
}

/* What each tag shows decides: ours is taken back, the former one stays, a stranger's is left.
 * Only what shows the former one is restored, whatever was answered to a write: the rest is looked
 * at again. */
static int sort_for_restore(struct publishing *p, struct batch *writes, struct err *err)
{
    struct batch b;
    if (look(p, is_unrestored, &b, err) < 0)
        return -1;
    for (size_t i = 0; i < b.n; i++) {
        struct flip *f = b.flips[i];
        const char *digest = shown(&b, i);
        if (str_eq(digest, f->step.former_digest)) {
            f->step.state = STEP_RESTORED;
        } else if (!str_eq(digest, f->step.new_digest)) {
            leave_foreign(p, f, digest);
        } else if (!f->step.former_digest) {
            if (remove_again(p, f, err) < 0)
                return -1;
        } else if (!publishing_bytes(p, f->step.former_digest)) {
            f->step.state = STEP_STUCK;
            f->step.note = "the former manifest is not kept any more";
        } else {
            batch_put(writes, p, f, f->step.tag, f->step.former_digest);
        }
    }
    return 0;
}

static int restore_round(struct publishing *p, struct err *err)
{
    struct batch writes = batch_new(p);
    int rc = sort_for_restore(p, &writes, err);
    (void)registry_all(p->engine->registry, p->arena, writes.ops, writes.n);
    for (size_t i = 0; i < writes.n; i++) {
        struct flip *f = writes.flips[i];
        if (!writes.ops[i].failed) {
            f->step.note = "the former digest is back";
        } else if (writes.ops[i].err.kind == ERR_TEMP) {
            *err = writes.ops[i].err;
            rc = err_wrap(err, "restoring %s", f->full);
        } else {
            f->step.state = STEP_STUCK;
            f->step.note = arena_printf(p->arena, "could not be restored to %s: %s",
                                        f->step.former_digest, writes.ops[i].err.text);
        }
    }
    return rc;
}

static const struct flip *first_unrestored(const struct publishing *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (is_unrestored(&p->flips[i]))
            return &p->flips[i];
    return NULL;
}

int publishing_back(struct publishing *p, struct err *err)
{
    int64_t pause = READBACK_FIRST_MS;
    const struct flip *left = NULL;
    for (int i = 0; i < LIMIT_READBACK_TRIES; i++) {
        if (restore_round(p, err) < 0)
            return -1;
        left = first_unrestored(p);
        if (!left)
            return 0;
        if (i) {
            clock_sleep_ms(pause);
            pause *= 4;
        }
    }
    return err_set(err, ERR_TEMP, 0, "%s was put back, but the registry still shows %s there",
                   left->full, left->step.new_digest);
}

/* A PUT by digest of bytes that are there already changes nothing that anybody sees, and needs the
 * same right as the PUT of a tag. */
int publishing_prove(struct publishing *p, struct err *err)
{
    struct batch b = batch_new(p);
    struct str_list seen = {0};
    int64_t now = clock_monotonic_ms();
    if (count_open(p) < 2)
        return 0;
    for (size_t i = 0; i < p->n; i++) {
        struct flip *f = &p->flips[i];
        if (!is_open(f) || str_in(f->repository, &seen) ||
            push_proofs_has(p->engine->proofs, f->repository, now))
            continue;
        *list_push(p->arena, &seen) = f->repository;
        batch_put(&b, p, f, f->step.new_digest, f->step.new_digest);
    }
    (void)registry_all(p->engine->registry, p->arena, b.ops, b.n);
    for (size_t i = 0; i < b.n; i++) {
        if (b.ops[i].failed) {
            *err = b.ops[i].err;
            return err_wrap(err, "proving the right to push to %s", b.flips[i]->repository);
        }
        push_proofs_add(p->engine->proofs, b.flips[i]->repository, now);
    }
    return 0;
}
