/*
 * link.h - the Link header (RFC 8288), as far as paging through a list needs it: where is the next
 * page? Pure.
 */
#ifndef SLIPWAY_LINK_H
#define SLIPWAY_LINK_H

#include "core/base/httpmsg.h"
#include "core/base/mem.h"

/*
 * The target of the first link whose relation is "next", over all Link headers in order, as it was
 * written: absolute or relative (http_join makes it absolute). The relation may be quoted or not,
 * in any case, one of several words, and stand anywhere among the parameters; of several `rel` in
 * one link the first counts. A target without angle brackets is taken too (one registry sends it).
 * False when there is none; malformed links are passed over. At most LIMIT_LINKS are looked at; a
 * target that is empty, longer than LIMIT_LINK or holds blanks or control bytes is none.
 */
bool link_next(const struct http_headers *headers, const char **url, struct arena *a);

#endif
