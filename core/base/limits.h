/*
 * limits.h - every bound on size, number and time, in one place. Bytes unless the name says
 * otherwise; times are milliseconds (_MS) or seconds (_S).
 */
#ifndef SLIPWAY_LIMITS_H
#define SLIPWAY_LIMITS_H

#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)

/* The receiver (DESIGN 6.1; GitHub sends up to 25 MB). */
#define LIMIT_BODY_DEFAULT MIB(4)
#define LIMIT_BODY_MAX MIB(25)
#define LIMIT_BODIES_IN_FLIGHT MIB(64)
#define LIMIT_HEADERS_KEPT KIB(16)
#define LIMIT_SERVE_THREADS 56    /* 48 to 64: fewer starve group commit */
#define LIMIT_FCGI_POLL_MS 100    /* libfcgi's wait for a silent connection's first byte */
#define LIMIT_FCGI_SILENT_MS 2000 /* patience with half-sent requests when stopping */
#define LIMIT_WEBHOOK_SKEW_S 300

/* Texts from strangers. */
#define LIMIT_JSON_DEPTH 64
#define LIMIT_JSON_VALUES 1000000 /* the largest of real webhooks have some 100,000 */
#define LIMIT_YAML_BYTES MIB(1)
#define LIMIT_YAML_DEPTH 32
#define LIMIT_YAML_NODES 50000 /* after aliases and merges are expanded */
#define LIMIT_YAML_SCALAR KIB(16)
#define LIMIT_YAML_ANCHORS 1000 /* different names */
#define LIMIT_YAML_NAME 255     /* an anchor or a tag, expanded */
#define LIMIT_DIAGS 100         /* findings kept for one file */
#define LIMIT_PATTERN 1024
#define LIMIT_PATTERN_MATCH 100000 /* PCRE2 match limit, */
#define LIMIT_PATTERN_WORK 2000000 /* times the bytes of its code: tens of milliseconds */
#define LIMIT_PATTERN_DEPTH 1000
#define LIMIT_TEMPLATE KIB(4)
#define LIMIT_NAME 255 /* host/name of an image */
#define LIMIT_TAG 128  /* OCI distribution 1.1.1 */
#define LIMIT_PROJECT 255
#define LIMIT_REF 255
#define LIMIT_EVENT_URL 1024     /* a change's URL, for people */
#define LIMIT_EVENT_TEXT 256     /* a title or a name, for people */
#define LIMIT_EVENT_AHEAD_S 3600 /* a time that lies further ahead of its delivery says nothing */
#define LIMIT_RUN_ID 128
#define LIMIT_WEBHOOK_ID 255
#define LIMIT_STANDARD_BODY MIB(1) /* the scheme itself advises 20 KB */
#define LIMIT_SIGNATURES 16        /* in one webhook-signature header */
#define LIMIT_HOOK_SECRET 16       /* shortest that passes as a plain token */
#define LIMIT_TAG_DEPTH 5          /* tag objects that name tag objects */
#define LIMIT_IMAGES 1000          /* in one repository's list */
#define LIMIT_TAGS 100             /* of one image */
#define LIMIT_PLAN 2000            /* tags that the jobs of one pipeline name for one event */
#define LIMIT_BRANCHES 100
#define LIMIT_JOBS 20    /* in one pipeline of one repository */
#define LIMIT_EVENTS 200 /* in one delivery (batch-ref-updated) */

/* Talking to registries and forges. */
#define LIMIT_MANIFEST MIB(4) /* OCI: at least 4 MiB must be supported */
#define LIMIT_TOKEN KIB(64)
#define LIMIT_RESPONSE MIB(4) /* a forge's answer */
#define LIMIT_ERROR_BODY KIB(8)
#define LIMIT_HTTP_HEADERS KIB(64)
#define LIMIT_CHALLENGES 16     /* in one answer */
#define LIMIT_TOKEN_S 86400     /* a token is kept no longer, whatever it says */
#define LIMIT_REPOSITORIES 1000 /* of one registry whose tokens and rights are remembered */
#define LIMIT_NO_DELETE_S 600   /* then a refused right to delete is asked for again */
#define LIMIT_REDIRECTS 3
#define LIMIT_HTTP_IDLE 24   /* connections and handles kept warm */
#define LIMIT_HTTP_ACTIVE 32 /* transfers at once, all hosts together */
#define LIMIT_CONNECT_MS 5000
#define LIMIT_REQUEST_MS 30000
#define LIMIT_HOST_CONNECTIONS 16
#define LIMIT_RETRY_AFTER_S 3600 /* a longer wait is cut to this */

/* Children. */
#define LIMIT_CHILD_OUTPUT MIB(4)
#define LIMIT_CHILD_ERRORS KIB(16)
#define LIMIT_GIT_MS 120000
#define LIMIT_GIT_PATH 1024   /* of a file inside a repository */
#define LIMIT_GIT_FETCHES 200 /* into one cache, each a pack; then it is tidied */

/* The store. */
#define LIMIT_COMMIT_GROUP 128    /* operations that share one commit */
#define LIMIT_STORE_BUSY_MS 5000  /* for a stranger's lock, an sqlite3 shell's for instance */
#define LIMIT_STORE_PROOF_MS 1000 /* a commit proves for so long that the store can be written */

/* The worker. */
#define LIMIT_WORK_THREADS 8
#define LIMIT_ROWS 200 /* in one page of a query */
#define LIMIT_POLL_MS 2000
#define LIMIT_ATTEMPTS 12 /* then a task is dead and waits for an operator */
#define LIMIT_WAIT_STAGED_S 600
#define LIMIT_CONFIRM_S 600 /* "merged, but the forge does not say so yet" */
#define LIMIT_READBACK_TRIES 4
#define LIMIT_STOP_MS 20000

#endif
