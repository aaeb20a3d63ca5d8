"""What the registry fake holds, and every switch of its manners. The tests' interface.

CONFIG is set while the fake runs with PUT /_ctl/config (a JSON object, merged); the defaults are a
well-mannered OCI 1.1 registry. In texts that say so, {port}, {storage}, {name}, {digest}, {id},
{state} and {path} are filled in: the ports of the registry and of its object storage, and what the
request is about.
"""
import copy
import hashlib
import threading

CONFIG = {
    # --- signing in
    "auth": "none",          # none, basic, bearer
    "challenge": "",         # the WWW-Authenticate value, {port} filled in; "" is the usual one; a
                             # line each for several headers
    "user": "ci",
    "password": "geheim",
    "anonymous_token": False,
    "refuse_scope": "",      # the token service answers 403 when this right is asked for
    "token_body": "",        # instead of a token
    "expires_in": 300,
    "grants": "pull,push,delete",
    "token_scopes": "all",   # all, first: only the first scope of a request counts
    "token_post": 404,       # status of POST /token; 200: grant_type=refresh_token is understood
    "refresh_token": "dauerhaft",

    # --- manifests
    "tag_delete": 202,       # status of DELETE by tag; 202 removes the tag
    "tag_delete_removes": True,
    "tag_delete_code": "UNSUPPORTED",
    "digest_delete": "yes",  # yes, off (405), bare404, tagged403, absent202, keeps_tags, broken,
                             # dangling400 (while a tag shows it)
    "digest_header": True,   # Docker-Content-Digest: True, False, or a list of "GET", "HEAD",
                             # "PUT" (manifests), "BLOB" that have it
    "put_moves": True,       # False: 201 and nothing stored
    "put_digest": "",        # the digest that a PUT's answer names, whatever was stored
    "get_digest": "",        # the digest that a GET's or HEAD's answer names, whatever is served
    "content_type": "",      # of manifests, instead of the stored one
    "corrupt": False,        # bytes of manifests are changed on the way out
    "need_accept": 0,        # 500: a request for a manifest without Accept gets that
    "accept_strict": False,  # an index that Accept does not name is 404, as 2.8.2 does
    "check_blobs": False,    # PUT of a manifest wants its blobs and children here, else 400
    "check_type": False,     # PUT of a manifest wants Content-Type to be its mediaType, else 400
    "manifest_limit": 4 << 20,  # a larger PUT is 413
    "put_tags": "silent",    # PUT ?tag=: silent (ignored), yes (OCI-Tag), refuse (400)
    "lag": 0,                # the next GETs and HEADs of a tag after its change show it as it was
    "immutable": "",         # regex of tags that can't be moved or removed
    "immutable_status": 400,
    "immutable_same": True,  # False: not even to the digest that they show (ECR)
    "readonly": 0,           # 405: every change of manifests and blobs is refused so
    "ratelimit": "",         # "100;w=21600": RateLimit-Limit and -Remaining on manifests; a GET
    "ratelimit_remaining": 100,  # counts down, and at 0 is 429
    "ratelimit_retry": "seconds:1",  # Retry-After of that: see the rules' retry_after

    # --- lists
    "tags_n": "yes",         # yes, ignored (all, no Link), nolink (truncated, no Link)
    "tags_null": False,      # an empty list is null
    "tags_order": "sorted",  # sorted, reverse (paged in that order, without regard to `last`)
    "page_cap": 0,           # at most so many a page whatever n says, with a Link
    "n_max": 0,              # a larger n is 400 (ECR: 1000)
    "link": "angle",         # angle, bare (no <>), unquoted (rel=next), absolute, loop (to itself),
                             # or a whole Link value, with {port} and {storage}
    "referrers": "yes",      # yes, 404; or an URL that is redirected to (303), {storage} filled in
    "referrers_page": 0,     # so many a page, with a Link
    "referrers_filter": True,  # artifactType= is obeyed, and OCI-Filters-Applied says so

    # --- blobs
    "blob_redirect": "",     # Location for GET and HEAD of blobs; {port} {storage} {name} {digest}
                             # filled in: "http://127.0.0.1:{storage}/{name}/{digest}?sig=x" works
    "blob_head": 200,        # 404: a HEAD never finds a blob
    "blob_range": "yes",     # yes, ignored (200 whole), refused (416), lying (206 from byte 0)
    "blob_put_moves": True,  # False: 201 and nothing stored
    "blob_delete": 202,
    "mount": 201,            # 201; 202 (an upload is opened instead); else this status
    "mount_unread": 401,     # the token has no right to the source: 401 (as 2.8.2), 202 (an upload)
    "single_post": 201,      # POST ?digest= with the body; 202: body ignored, "now do PUT"
    "post_needs_length": False,  # a POST without Content-Length is 411
    "patch_status": 202,     # 201, 204
    "upload_location": "/v2/{name}/blobs/uploads/{id}?_state={state}",
                             # {state} changes with each answer, and only the newest is taken;
                             # forms to try: "{id}?_state={state}", "http://x:{port}/v2/...",
                             # "http://10.1.2.3/x", "http://127.0.0.1:{storage}/v2/..."
    "upload_range": "right",  # Range of uploads: right, off_by_one, stale (at the first chunk),
                             # bytes (bytes=0-9), missing
    "range_416": "right",    # Range of a 416: right, wrong
    "chunk_min": 0,          # OCI-Chunk-Min-Length; a chunk after a smaller one is 416
    "chunk_min_strict": False,  # a smaller chunk itself is 416
    "chunk_max": 0,          # OCI-Chunk-Max-Length; a larger one is 413
    "body_limit": 0,         # a larger body of PATCH, PUT or POST of a blob is refused
    "body_limit_status": 413,
    "body_limit_of": ["PATCH", "PUT", "POST"],
    "refuse_early": False,   # what body_limit refuses is refused before its body is read
    "upload_cut": 0,         # so many bytes of a body are taken (kept, if it was a PATCH), then the
    "upload_cut_times": 1,   # connection breaks; so many times
}
DEFAULTS = copy.deepcopy(CONFIG)

STORE = {}    # (name, digest) -> (type, bytes)
TAGS = {}     # (name, tag) -> digest
TIMES = {}    # (name, tag) -> seconds since 1970 of its last push
BLOBS = {}    # (name, digest) -> bytes
UPLOADS = {}  # id -> Upload
LAGS = {}     # (name, tag) -> [former digest or None, looks left]
TOKENS = {}   # token -> set of (name, right)
LOG = []
RULES = []
PORTS = {}    # port, storage, api
LOCK = threading.RLock()


class Upload:
    """A blob that is on its way; `first` is the size after its first chunk."""

    def __init__(self, ident, name):
        self.id = ident
        self.name = name
        self.data = bytearray()
        self.state = 1
        self.first = 0
        self.short = False


def reset():
    """Back to good manners and an empty registry."""
    CONFIG.clear()
    CONFIG.update(copy.deepcopy(DEFAULTS))
    for part in (STORE, TAGS, TIMES, BLOBS, UPLOADS, LAGS, TOKENS, LOG, RULES):
        part.clear()


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()
