/*
 * service.h - what every request handler needs: the settings, the store and the shared budgets.
 */
#ifndef SLIPWAY_SERVICE_H
#define SLIPWAY_SERVICE_H

#include "cgi/web/request.h"
#include "config/settings.h"
#include "core/store/store.h"

#include <pthread.h>

/* The last answer to "can the store be written?", so that strangers who ask often cost nothing. */
struct readiness {
    pthread_mutex_t lock;
    int64_t checked_ms; /* monotonic, 0: never */
    bool ready;
};

struct service {
    const struct settings *settings;
    struct store *store;
    const char *wake_path; /* NULL: nobody is told */
    atomic_llong told;     /* the store's commits when the worker was told last */
    struct arena arena;    /* holds the settings */
    struct body_budget budget;
    struct readiness readiness;
};

/* Reads the configuration as `serve` and opens the store (which is made when missing). Returns an
 * exit_code: what is wrong was said on standard error. */
int service_open(struct service *s, const char *config_path);
void service_close(struct service *s);

/* Answers one request, whatever it is; `out` is a whole CGI response. Thread-safe. False: the store
 * is broken, so the process must end once the requests in hand are answered. */
bool service_answer(struct service *s, const char *const *params, struct body_source source,
                    struct strbuf *out);

#endif
