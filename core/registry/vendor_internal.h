/*
 * vendor_internal.h - the table of vendors and what their files share: one job at one repository's
 * vendor API, requests to it, and what its refusals mean.
 */
#ifndef SLIPWAY_REGISTRY_VENDOR_INTERNAL_H
#define SLIPWAY_REGISTRY_VENDOR_INTERNAL_H

#include "core/lib/json.h"
#include "core/registry/registry_internal.h"
#include "core/registry/vendor.h"

/* One repository of a registry, seen through its vendor's API. */
struct vendor_job {
    struct registry *r;
    struct arena *a;
    struct registry_host *host;
    const struct vendor *vendor;
    const char *name;
    const char *base;     /* the API's URL, without '/' at its end; NULL: there is none here */
    const char *username; /* whom the API may see; NULL: nobody */
    const char *password;
    bool own_origin; /* the API is at the registry's own origin */
    bool own_login;  /* the above are the registry's own credentials, not api_* */
    struct http_via via;
    const char *header; /* what goes along with each request: "Authorization"; NULL: nothing */
    const char *proof;  /* its value */
};

/* What became of a removal. err is set for all but DONE and GONE. */
enum vendor_step {
    VENDOR_FAILED,  /* could not ask: ERR_TEMP */
    VENDOR_DONE,    /* it says so */
    VENDOR_GONE,    /* it says that there is no such tag */
    VENDOR_UNSURE,  /* it may be under way: look at the tag (Docker Hub's 500) */
    VENDOR_REFUSED, /* this API cannot: another way may */
    VENDOR_NO_WAY   /* refused for good, nothing else is to be tried */
};

/* One row. Functions that a vendor does not need are NULL. */
struct vendor {
    const char *type;         /* "quay" */
    const char *title;        /* "Quay" */
    const char *const *hosts; /* NULL-ended; "*.x" is any host below x */
    const char *api;          /* of those hosts; NULL: the registry's own origin */
    bool one_account;         /* the registry's credentials are the API's too */
    bool token_only;          /* the API takes api_password only, never the registry's */
    bool oci_first;           /* OCI deletion of a tag is tried before the API */
    const char *not_by_oci;   /* why OCI deletion of a tag is never tried; NULL: it is */
    const char *not_isolated; /* why a tag is never isolated; NULL: it may be */

    /* Removes that tag alone. `digest` is what it shows (NULL: whatever). */
    enum vendor_step (*remove)(struct vendor_job *j, const char *tag, const char *digest,
                               struct err *err);
    /* For a vendor that deletes manifests, by its API only: may it be done here (asked before
     * anything is overwritten: VENDOR_DONE), and the deletion of a placeholder that `tag` alone
     * shows. */
    enum vendor_step (*may_delete)(struct vendor_job *j, struct err *err);
    enum vendor_step (*drop)(struct vendor_job *j, const char *tag, const char *digest,
                             struct err *err);
    int (*times)(struct vendor_job *j, const struct str_list *wanted, struct vendor_tags *out,
                 struct err *err);
    int (*create)(struct vendor_job *j, const struct vendor_repository *as, bool *made,
                  struct err *err);
    /* Is a host under another name of this vendor? Sends no credentials. */
    enum registry_answer (*probe)(struct vendor_job *j);
};

extern const struct vendor vendor_dockerhub, vendor_quay, vendor_harbor, vendor_ghcr, vendor_gitlab,
    vendor_acr;

/* The vendor of a host as far as it is known; when `probe`, an unknown one of type "auto" is asked,
 * once. NULL: none. */
const struct vendor *vendor_known(struct registry *r, struct arena *a, struct registry_host *h,
                                  bool probe);

/* Fills *out. Without an API or a login base or password are NULL, which is no error.
 * -1: credentials could not be had. */
int vendor_job_init(struct vendor_job *out, struct registry *r, struct arena *a,
                    struct registry_host *h, const struct vendor *v, const char *name,
                    struct err *err);

/* One request to the API; path is what follows the base. Any status is an answer; -1: none came. */
struct vendor_query {
    const char *method;
    const char *path;
    const char *accept; /* NULL: JSON */
    const char *json;   /* body; NULL: none */
    struct http_resp resp;
};
int vendor_ask(struct vendor_job *j, struct vendor_query *q, struct err *err);

/* GET of JSON: any answer but 2xx with JSON is an error. The caller frees *doc. */
int vendor_get(struct vendor_job *j, const char *path, const char *what, struct js **doc,
               struct http_headers *headers, struct err *err);

/* Does a list go on after this page? By its Link header, or because the page is full. */
bool vendor_goes_on(struct vendor_job *j, const struct http_headers *headers, size_t n,
                    size_t page);

/* Sets err by an answer that was not hoped for: kind by status, Retry-After kept, the API's own
 * words, no secrets. Returns -1. */
int vendor_refused(const struct vendor_job *j, const struct http_resp *resp, const char *verb,
                   const char *what, struct err *err);
/* The step that such an answer to a removal means; sets err as above. */
enum vendor_step vendor_judge(const struct vendor_job *j, const struct http_resp *resp,
                              const char *verb, const char *what, struct err *err);

/* Sets the proof: "Bearer <password>", or Basic. */
void vendor_bearer(struct vendor_job *j);
void vendor_basic(struct vendor_job *j);

const char *vendor_escape(struct arena *a, const char *text, bool keep_slash);
/* Adds a tag; the time is RFC 3339, NULL or malformed: not told. -1: too many. */
int vendor_add_tag(struct vendor_job *j, struct vendor_tags *out, const char *tag, const char *time,
                   struct err *err);

/* Releases what is remembered of a host. */
void vendor_forget(struct registry_vendor *memory);

#endif
