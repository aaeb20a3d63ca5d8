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
#define LIMIT_TEMPLATE_DEPTH 16  /* brackets in brackets, variables in variables */
#define LIMIT_TEMPLATE_ITEMS 100 /* of one list */
#define LIMIT_TEMPLATE_STEPS 2000
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
#define LIMIT_MANIFEST MIB(4)               /* OCI: at least 4 MiB must be supported */
#define LIMIT_DESCRIPTORS 10000             /* that one manifest lists */
#define LIMIT_MANIFEST_VALUES 200000        /* of JSON in it: memory, not text, is what they cost */
#define LIMIT_MEDIA_TYPE 255                /* RFC 6838: 127 on each side of the slash */
#define LIMIT_BLOB_BYTES ((int64_t)1 << 53) /* beyond it JSON numbers are not exact */
#define LIMIT_SIGNED MIB(1)                 /* what a signature is over, or a bundle */
#define LIMIT_KEY_FILE KIB(64)              /* a public key */
#define LIMIT_SIGNED_SIMPLE KIB(64)         /* one simple signing document */
#define LIMIT_SIGNATURE KIB(4)              /* base64 of a signature */
#define LIMIT_LINK KIB(8)                   /* the target of one link */
#define LIMIT_LINKS 32                      /* looked at in one answer */
#define LIMIT_SEMVER 256                    /* one version */
#define LIMIT_SEMVER_COMPARATORS 200        /* of one range */
#define LIMIT_LAYOUT_PATH 4000              /* of a directory */
#define LIMIT_TOKEN KIB(64)
#define LIMIT_RESPONSE MIB(4)    /* a forge's answer */
#define LIMIT_REPORT_S 86400     /* a report that the forge does not take is tried for so long */
#define LIMIT_REPORT_MS 15000    /* one request of a report */
#define LIMIT_REPORT_BODY KIB(4) /* longer ones are cut at their beginning */
#define LIMIT_REPORT_SUMMARY 500 /* bytes of its one line */
#define LIMIT_GITHUB_DESCRIPTION 140 /* characters of a commit status */
#define LIMIT_GERRIT_MESSAGE KIB(16) /* of a review */
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
#define LIMIT_STALL_MS 60000          /* no byte moved in a transfer that should */
#define LIMIT_STALL_DOWNLOAD_MS 30000 /* the same where nobody has to work before he answers */
#define LIMIT_CRAWL 256               /* bytes a second; less is as good as none */
#define LIMIT_AUTHORITIES MIB(1)      /* of PEM, from one folder of certificates */
#define LIMIT_RETRY_AFTER_S 3600      /* a longer wait is cut to this */

/* Copies. A stream holds a GET, a PUT and a ring between them. */
#define LIMIT_TRIES 6             /* of one request that may be repeated */
#define LIMIT_PATIENCE_MS 300000  /* for one request, all its waits together */
#define LIMIT_COPY_S 21600        /* all copies of one run, unless it is said otherwise */
#define LIMIT_COPY_MOST_S 604800  /* and what may be said */
#define LIMIT_HOST_TRANSFERS 4    /* blobs of one host at once */
#define LIMIT_COPY_IMAGES 8       /* images at once */
#define LIMIT_COPY_LOOKS 16       /* images looked at at once, to see whether there is work */
#define LIMIT_COPY_THREADS 16     /* blobs at once, all hosts together */
#define LIMIT_COPY_BATCH 16       /* manifests of one image held and asked for at once */
#define LIMIT_RING KIB(256)       /* between a download and an upload */
#define LIMIT_CHUNK_MAX MIB(1024) /* an OCI-Chunk-Min-Length beyond it is refused */
#define LIMIT_CHUNK_KEPT MIB(4)   /* of a chunk, to send it again; also the usual chunk */
#define LIMIT_CHUNK_LEAST KIB(256)
#define LIMIT_DEPTH_INDEX 4          /* indexes in indexes */
#define LIMIT_REFERRERS 1000         /* of one manifest */
#define LIMIT_REFERRERS_LIST MIB(16) /* all pages of that */
#define LIMIT_COMPANIONS 2000        /* of one image: signatures and referrers, theirs too */
#define LIMIT_COPY_HELD MIB(2)       /* manifests of one batch together, beyond the first */
#define LIMIT_COPY_BLOBS 100000      /* of one image */
#define LIMIT_TAG_LIST 100000        /* tags of one repository */
#define LIMIT_TAG_PAGE MIB(16)       /* one answer: some put all tags into it */
#define LIMIT_TAG_PAGES 5000
#define LIMIT_TAG_PAGES_BYTES MIB(64) /* all of them */
#define LIMIT_TAG_VALUES 300000       /* of JSON in one page */
#define LIMIT_TAG_DETAILS 500         /* tags that are asked for one by one */
#define LIMIT_SIGNATURE_LAYERS 50     /* signatures looked at for one digest */
#define LIMIT_HELPER_MS 10000         /* a credential helper's run */
#define LIMIT_HELPER_OUTPUT KIB(64)
#define LIMIT_AUTH_FILE MIB(1)

/* Children. */
#define LIMIT_CHILD_OUTPUT MIB(4)
#define LIMIT_CHILD_ERRORS KIB(16)
#define LIMIT_GIT_MS 120000
#define LIMIT_GIT_PATH 1024   /* of a file inside a repository */
#define LIMIT_GIT_FETCHES 200 /* into one cache, each a pack; then it is tidied */

/* Builds. */
#define LIMIT_BUILD_S 3600 /* one job, all its images */
#define LIMIT_BUILD_MOST_S 86400
#define LIMIT_BUILD_DISK (INT64_C(20) << 30) /* the throw-away store of a job */
#define LIMIT_BUILD_LOG MIB(16)
#define LIMIT_BUILD_TAIL KIB(4) /* of the log, in reports and reasons */
#define LIMIT_BUILD_SPEC MIB(4)
#define LIMIT_BUILD_TEXT KIB(64) /* one argument, label or path of it; Linux takes 128 KiB */
#define LIMIT_BUILD_PULL MIB(1)  /* an auth.json */
#define LIMIT_CONTAINERFILE MIB(4)
#define LIMIT_BUILD_GRACE_S 60     /* a job that has not ended so long after its time is ended */
#define LIMIT_BUILD_TALK_MS 30000  /* the other side has to say or take something */
#define LIMIT_BUILD_CLEAN_MS 30000 /* a stopped build tidies up; then it is killed */
#define LIMIT_BUILD_IMAGES 200
#define LIMIT_BUILD_PLATFORMS 20 /* of one image */
#define LIMIT_CHECKOUT (INT64_C(4) << 30)
#define LIMIT_CHECKOUT_MS 900000    /* one fetch, or writing one tree */
#define LIMIT_CHECKOUT_LIST MIB(16) /* the sizes of its files, as text: some two million */
#define LIMIT_CHECKOUT_DEPTH 200    /* folders in folders */
#define LIMIT_SUBMODULES 100        /* of one checkout, all together */
#define LIMIT_SUBMODULES_DEPTH 5    /* submodules in submodules */
#define LIMIT_ZUUL_QUERY KIB(4)     /* promote_container_image_query */
#define LIMIT_ZUUL_ARTIFACTS 2000   /* images of one build that Zuul tells of */

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
#define LIMIT_SWEEP_AFTER_S (14 * 86400) /* staged tags that nobody can be asked about are old */
#define LIMIT_SWEEP_ASKED 500            /* changes that one sweep of `work` asks forges about */
#define LIMIT_SWEEP_BATCH 8              /* tags looked at at once */
#define LIMIT_SWEEP_CHILDREN 64          /* of an index, whose configs tell when it was built */
#define LIMIT_CONFIRM_S 600              /* "merged, but the forge does not say so yet" */
#define LIMIT_READBACK_TRIES 4
#define LIMIT_READBACK_PAUSE_MS 250 /* before the second look, doubled before each further one */
#define LIMIT_STOP_MS 20000

#endif
