/*
 * queue_print.h - what `slipway queue` shows: rows of tasks, deliveries and clean-ups, one task
 * whole; as text for people or as JSON. Texts from strangers lose their control characters.
 */
#ifndef SLIPWAY_QUEUE_PRINT_H
#define SLIPWAY_QUEUE_PRINT_H

#include "core/store/store.h"

/* A list that may be longer than memory should hold: begun, pages of rows, ended. */
struct queue_out {
    bool json;
    const char *name; /* of the JSON array: "tasks" */
    size_t rows;      /* printed so far */
    int64_t now_ms;
};

void queue_begin(struct queue_out *out);
void queue_tasks(struct queue_out *out, const struct task_list *list);
void queue_deliveries(struct queue_out *out, const struct delivery_list *list);
void queue_cleanups(struct queue_out *out, const struct cleanup_list *list);
void queue_end(struct queue_out *out);

struct queue_detail {
    struct task task;
    struct delivery delivery; /* id 0: none */
    struct step_list steps;
    struct cleanup_list cleanups;
};

void queue_show(const struct queue_out *out, const struct queue_detail *d, struct arena *a);

#endif
