"""Manifests of the registry fake: by tag and digest, lists of tags, referrers, deletion."""

import json
import re
import time

from oci_config import (BLOBS, CONFIG, LAGS, LOCK, PORTS, STORE, TAGS, TIMES, digest_of)
from oci_http import fill, retry_after

INDEXES = ("application/vnd.oci.image.index.v1+json",
           "application/vnd.docker.distribution.manifest.list.v2+json")
FOREIGN = ("nondistributable", ".foreign.")


def parsed(data):
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


class Store:
    """What moves tags. Also used by the vendors' own interfaces."""

    def store(self, name, ref, media_type, data):
        digest = digest_of(data)
        STORE[name, digest] = (media_type, data)
        if not ref.startswith("sha256:"):
            self.move_tag(name, ref, digest)
        return digest

    def move_tag(self, name, tag, digest):
        former = TAGS.get((name, tag))
        if CONFIG["lag"] and former != digest:
            LAGS[name, tag] = [former, CONFIG["lag"]]
        if digest is None:
            TAGS.pop((name, tag), None)
            TIMES.pop((name, tag), None)
        else:
            TAGS[name, tag] = digest
            TIMES[name, tag] = time.time()

    def seen(self, name, tag):
        """What a tag shows to somebody who looks now."""
        lag = LAGS.get((name, tag))
        if not lag:
            return TAGS.get((name, tag))
        lag[1] -= 1
        if lag[1] <= 0:
            del LAGS[name, tag]
        return lag[0]

    def tags_of(self, name, digest=None):
        return sorted(tag for (n, tag), d in TAGS.items()
                      if n == name and (digest is None or d == digest))

    def drop_manifest(self, name, digest):
        """With every tag on it."""
        for tag in self.tags_of(name, digest):
            self.move_tag(name, tag, None)
        STORE.pop((name, digest), None)

    def frozen(self, name, tag, digest):
        if not (CONFIG["immutable"] and re.fullmatch(CONFIG["immutable"], tag)):
            return False
        former = TAGS.get((name, tag))
        return former is not None and not (former == digest and CONFIG["immutable_same"])

    def exists(self, name):
        return any(n == name for part in (STORE, TAGS, BLOBS) for n, _ in part)


class Manifests(Store):
    """Mixed into the handler, which knows reply(), error() and tells()."""

    # --- reading ------------------------------------------------------------------------------

    def get_manifest(self, name, ref):
        by_digest = ref.startswith("sha256:")
        accept = ",".join(self.headers.get_all("Accept") or [])
        if CONFIG["need_accept"] and not accept:
            return self.error(CONFIG["need_accept"], "UNKNOWN", "no Accept")
        headers = self.rate()
        if headers is None:
            return None
        digest = ref if by_digest else self.seen(name, ref)
        if (name, digest) not in STORE:
            return self.error(404, "MANIFEST_UNKNOWN", headers=headers)
        media_type, data = STORE[name, digest]
        if CONFIG["accept_strict"] and media_type in INDEXES and media_type not in accept:
            return self.error(404, "MANIFEST_UNKNOWN",
                              "the accept header does not support this type")
        headers.append(("Content-Type", CONFIG["content_type"] or media_type or ""))
        if self.tells(self.command):
            headers.append(("Docker-Content-Digest", CONFIG["get_digest"] or digest))
        return self.reply(200, data + b" " if CONFIG["corrupt"] else data, headers)

    def rate(self):
        """The headers of a rate limit; None when it answered 429."""
        if not CONFIG["ratelimit"]:
            return []
        window = CONFIG["ratelimit"].partition(";")[2]
        left = CONFIG["ratelimit_remaining"]
        spent = self.command == "GET" and left <= 0
        if self.command == "GET" and left > 0:
            left = CONFIG["ratelimit_remaining"] = left - 1
        headers = [("RateLimit-Limit", CONFIG["ratelimit"]),
                   ("RateLimit-Remaining", f"{left};{window}" if window else str(left))]
        if spent:
            headers.append(("Retry-After", retry_after(CONFIG["ratelimit_retry"])))
            self.error(429, "TOOMANYREQUESTS", "the limit is reached", headers)
            return None
        return headers

    # --- writing ------------------------------------------------------------------------------

    def put_manifest(self, name, ref):
        by_digest = ref.startswith("sha256:")
        digest = digest_of(self.body)
        tags = self.query.get("tag", [])
        content = parsed(self.body)
        problem = self.problem_of(name, content)
        if CONFIG["manifest_limit"] and len(self.body) > CONFIG["manifest_limit"]:
            return self.error(413, "SIZE_INVALID", "the manifest is too large")
        if by_digest and ref != digest:
            return self.error(400, "DIGEST_INVALID", "the bytes have another digest")
        if problem:
            return self.error(400, *problem)
        if tags and CONFIG["put_tags"] == "refuse":
            return self.error(400, "UNSUPPORTED", "no tags in the query")
        tags = [tag for tag in tags if CONFIG["put_tags"] == "yes"]
        if any(self.frozen(name, tag, digest) for tag in [*tags, *([] if by_digest else [ref])]):
            return self.error(CONFIG["immutable_status"], "TAG_INVALID", "the tag is immutable")
        if CONFIG["put_moves"]:
            self.store(name, ref, self.headers.get("Content-Type"), self.body)
            for tag in tags:
                self.move_tag(name, tag, digest)
        headers = [("Location", f"/v2/{name}/manifests/{digest}"),
                   *(("OCI-Tag", tag) for tag in tags)]
        if self.tells("PUT"):
            headers.append(("Docker-Content-Digest", CONFIG["put_digest"] or digest))
        subject = content.get("subject")
        if CONFIG["referrers"] == "yes" and isinstance(subject, dict):
            headers.append(("OCI-Subject", subject.get("digest", "")))
        return self.reply(201, b"", headers)

    def problem_of(self, name, content):
        """(code, message) of what a stricter registry refuses."""
        said = (self.headers.get("Content-Type") or "").partition(";")[0].strip()
        if CONFIG["check_type"] and content.get("mediaType", said) != said:
            return "MANIFEST_INVALID", "mediaType is not Content-Type"
        if not CONFIG["check_blobs"]:
            return None
        blobs = [content[k] for k in ("config",) if k in content] + content.get("layers", [])
        for item in blobs:
            absent = any(word in item.get("mediaType", "") for word in FOREIGN)
            if (name, item["digest"]) not in BLOBS and not absent:
                return "MANIFEST_BLOB_UNKNOWN", item["digest"]
        for item in content.get("manifests", []):
            if (name, item["digest"]) not in STORE:
                return "MANIFEST_BLOB_UNKNOWN", item["digest"]
        return None

    # --- deletion -----------------------------------------------------------------------------

    def delete_manifest(self, name, ref):
        if not ref.startswith("sha256:"):
            return self.delete_tag(name, ref)
        manner = CONFIG["digest_delete"]
        tags = self.tags_of(name, ref)
        if manner == "off":
            return self.error(405, "UNSUPPORTED", "deletion is off")
        if manner == "bare404":
            return self.reply(404, b"not found")
        if (name, ref) not in STORE:
            return self.reply(202) if manner == "absent202" else self.error(404, "MANIFEST_UNKNOWN")
        if manner == "tagged403" and tags:
            return self.error(403, "DENIED", "a tag shows it")
        if manner == "dangling400" and tags:
            return self.error(400, "GOOGLE_MANIFEST_DANGLING_TAG", "a tag shows it")
        if manner == "broken":
            return self.error(503, "UNAVAILABLE", "the disk is away")
        if manner != "keeps_tags":
            self.drop_manifest(name, ref)
        return self.reply(202)

    def delete_tag(self, name, ref):
        status = CONFIG["tag_delete"]
        if status != 202:
            return self.error(status, CONFIG["tag_delete_code"], "no deletion by tag")
        if (name, ref) not in TAGS:
            return self.error(404, "MANIFEST_UNKNOWN")
        if self.frozen(name, ref, None):
            return self.error(CONFIG["immutable_status"], "DENIED", "the tag is immutable")
        if CONFIG["tag_delete_removes"]:
            self.move_tag(name, ref, None)
        return self.reply(202)

    # --- lists --------------------------------------------------------------------------------

    def number(self, name):
        text = self.query.get(name, [""])[0]
        return int(text) if text.isdigit() else None

    def tags_list(self, name):
        if not self.exists(name):
            return self.error(404, "NAME_UNKNOWN")
        n, last = self.number("n"), self.query.get("last", [""])[0]
        if CONFIG["n_max"] and n is not None and n > CONFIG["n_max"]:
            return self.error(400, "PAGINATION_NUMBER_INVALID", "n is too large")
        tags = self.tags_of(name)
        if CONFIG["tags_order"] == "reverse":
            tags = tags[::-1]
        headers = []
        if CONFIG["tags_n"] != "ignored":
            if CONFIG["tags_order"] == "sorted":
                tags = [tag for tag in tags if tag > last]
            elif last in tags:
                tags = tags[tags.index(last) + 1:]
            size = min(s for s in (n, CONFIG["page_cap"] or None, len(tags)) if s is not None)
            if size < len(tags) and size > 0 and CONFIG["tags_n"] != "nolink":
                headers = [("Link", self.link(f"/v2/{name}/tags/list",
                                              f"n={n or size}&last={tags[size - 1]}"))]
            tags = tags[:size]
        value = None if CONFIG["tags_null"] and not tags else tags
        return self.json(200, {"name": name, "tags": value}, headers)

    def link(self, path, query):
        url = f"{path}?{query}"
        form = CONFIG["link"]
        scheme = "https" if hasattr(self.connection, "context") else "http"
        return {"angle": f'<{url}>; rel="next"', "bare": f'{url}; rel="next"',
                "unquoted": f"<{url}>; rel=next",
                "absolute": f'<{scheme}://127.0.0.1:{PORTS["port"]}{url}>; rel="next"',
                "loop": f'<{self.path}>; rel="next"'}.get(form) or fill(form)

    def referrers(self, name, digest):
        how = CONFIG["referrers"]
        if how == "404":
            return self.reply(404, b"404 page not found\n", [("Content-Type", "text/plain")])
        if how != "yes":
            return self.reply(303, b"", [("Location", fill(how, name=name, digest=digest))])
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            return self.error(400, "DIGEST_INVALID")
        found = [self.descriptor(d, *STORE[n, d]) for n, d in sorted(STORE) if n == name
                 and (parsed(STORE[n, d][1]).get("subject") or {}).get("digest") == digest]
        headers = [("Content-Type", INDEXES[0])]
        wanted = self.query.get("artifactType", [""])[0]
        if wanted and CONFIG["referrers_filter"]:
            found = [item for item in found if item.get("artifactType") == wanted]
            headers.append(("OCI-Filters-Applied", "artifactType"))
        size, start = CONFIG["referrers_page"], self.number("start") or 0
        if size and start + size < len(found):
            more = f"&artifactType={wanted}" if wanted else ""
            headers.append(("Link", self.link(f"/v2/{name}/referrers/{digest}",
                                              f"start={start + size}{more}")))
        found = found[start:start + size] if size else found
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": found})
        return self.reply(200, body.encode(), headers)

    @staticmethod
    def descriptor(digest, media_type, data):
        content = parsed(data)
        kind = content.get("artifactType") or (content.get("config") or {}).get("mediaType")
        item = {"mediaType": media_type, "digest": digest, "size": len(data)}
        if kind:
            item["artifactType"] = kind
        if content.get("annotations"):
            item["annotations"] = content["annotations"]
        return item

    def manifests(self, name, ref):
        with LOCK:
            step = {"PUT": self.put_manifest, "DELETE": self.delete_manifest,
                    "GET": self.get_manifest, "HEAD": self.get_manifest}.get(self.command)
            if not step:
                return self.error(405, "UNSUPPORTED", "no such method on a manifest")
            return step(name, ref)
