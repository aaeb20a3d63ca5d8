/*
 * payload.h - what the parsers of all forges share: the JSON of a stored request, fields that must
 * be there, and events that leave only when every name in them is fit. Pure.
 */
#ifndef SLIPWAY_PAYLOAD_H
#define SLIPWAY_PAYLOAD_H

#include "core/base/err.h"
#include "core/base/httpmsg.h"
#include "core/base/mem.h"
#include "core/domain/event.h"
#include "core/lib/json.h"

/* The body as a JSON object; a form (application/x-www-form-urlencoded) is decoded and its field
 * `payload` read. ERR_INPUT otherwise; freed with js_free. */
struct js *payload_json(const struct http_req *req, struct err *err);

/* A text, or an integer as text, copied; NULL when absent, null, empty or of another type. */
const char *payload_text(const struct js *v, const char *path, struct arena *a);
/* The same, required: NULL with ERR_INPUT that names the field. */
const char *payload_need(const struct js *v, const char *path, struct arena *a, struct err *err);
/* An http or https URL for people; NULL when it is anything else. */
const char *payload_url(const struct js *v, const char *path, struct arena *a);
/* RFC 3339 text, or seconds; 0 when absent or malformed. */
int64_t payload_time(const struct js *v, const char *path);

/* Validates and appends; ERR_INPUT names the field. */
int payload_add(struct event_list *events, const struct event *e, struct arena *a, struct err *err);

#endif
