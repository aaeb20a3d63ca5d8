/*
 * plan_scene.h - everything that a plan is made from, for tests that change one thing in it: two
 * images as in the smallest file of the design, a permissive policy, an event about main.
 */
#ifndef SLIPWAY_TESTS_PLAN_SCENE_H
#define SLIPWAY_TESTS_PLAN_SCENE_H

#include "core/domain/plan.h"

#define REG "registry.example.org"
#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define STAGED "fedcba9876543210fedcba9876543210fedcba98"

/* A scene is everything that a plan is made from; each test changes one thing in it. */
struct scene {
    struct arena arena;
    struct event event;
    struct imagefile file;
    struct policy_project policy;
    struct plan_input in;
    struct plan plan;
    struct pattern *patterns[32];
    size_t n;
    char text[8192]; /* plan_print */
};

struct scene *scene_new(enum event_kind kind);
void scene_free(struct scene *s);

void scene_pattern(struct scene *s, struct pattern_list *list, const char *text);
struct image_text scene_text(unsigned line, const char *text);
/* tags: separated by blanks, NULL: `tags: []`; '~' stands for a blank within one. */
struct image *scene_image(struct scene *s, struct image_list *list, const char *context,
                          const char *repository, const char *tags);
struct imagefile_job *scene_job(struct scene *s, enum pipeline p, enum job_kind kind);
/* As written in the file, without jobs so far. */
void scene_given_row(struct scene *s, enum pipeline p);

/* Plans, and prints into s->text. */
void scene_make(struct scene *s);
/* Plans, compares, and frees the scene. text NULL: anything. */
void scene_expect(struct scene *s, enum plan_verdict verdict, const char *text);

#endif
