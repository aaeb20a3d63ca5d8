"""Blobs of the registry fake: reading with ranges, mounts, uploads whole and in chunks."""

import re
import time
import uuid

import oci_config as it
from oci_config import BLOBS, CONFIG, LOCK, UPLOADS, Upload, digest_of
from oci_http import fill

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Blobs:
    """Mixed into the handler, which knows reply(), error(), authorised() and may()."""

    # --- reading ------------------------------------------------------------------------------

    def blob(self, name, digest):
        if self.command == "DELETE":
            return self.delete_blob(name, digest)
        if self.command not in ("GET", "HEAD"):
            return self.error(405, "UNSUPPORTED", "no such method on a blob")
        if CONFIG["blob_redirect"]:
            where = fill(CONFIG["blob_redirect"], name=name, digest=digest)
            return self.reply(307, b"", [("Location", where)])
        with LOCK:
            data = BLOBS.get((name, digest))
        if data is None or (self.command == "HEAD" and CONFIG["blob_head"] != 200):
            return self.error(404, "BLOB_UNKNOWN")
        headers = [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes"),
                   ("ETag", f'"{digest}"')]
        if self.tells("BLOB"):
            headers.append(("Docker-Content-Digest", digest))
        return self.send_blob(data, digest, headers)

    def send_blob(self, data, digest, headers):
        wanted = self.headers.get("Range")
        manner = CONFIG["blob_range"]
        stale = self.headers.get("If-Range") not in (None, f'"{digest}"')
        if self.command == "HEAD":
            return self.reply(200, b"", headers, length=len(data))
        if not wanted or stale or manner == "ignored":
            return self.reply(200, data, headers)
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
        if not match or match.group(1) == match.group(2) == "":
            return self.reply(200, data, headers)
        first, last = match.groups()
        if first == "":
            start, end = max(0, len(data) - int(last)), len(data)
        else:
            start, end = int(first), min(int(last) + 1 if last else len(data), len(data))
        if manner == "refused" or start >= end:
            return self.reply(416, b"", [("Content-Range", f"bytes */{len(data)}")])
        headers.append(("Content-Range", f"bytes {start}-{end - 1}/{len(data)}"))
        if manner == "lying":
            start, end = 0, end - start
        return self.reply(206, data[start:end], headers)

    def delete_blob(self, name, digest):
        with LOCK:
            if CONFIG["blob_delete"] != 202:
                return self.error(CONFIG["blob_delete"], "UNSUPPORTED", "deletion is off")
            if BLOBS.pop((name, digest), None) is None:
                return self.error(404, "BLOB_UNKNOWN")
        return self.reply(202)

    # --- starting an upload -------------------------------------------------------------------

    def refused_early(self, path):
        if CONFIG["refuse_early"] and self.too_large(path):
            self.refuse_size()
            return True
        return False

    def too_large(self, path):
        limit = CONFIG["body_limit"]
        length = int(self.headers.get("Content-Length") or len(self.body))
        return ("/blobs/uploads/" in path and 0 < limit < length
                and self.command in CONFIG["body_limit_of"])

    def refuse_size(self):
        self.error(CONFIG["body_limit_status"], "SIZE_INVALID", "the body is too large")

    def uploads(self, name, ident):
        if self.too_large(f"/v2/{name}/blobs/uploads/"):
            return self.refuse_size()
        if not ident:
            if self.command != "POST":
                return self.error(405, "UNSUPPORTED", "only POST here")
            return self.start_upload(name)
        with LOCK:
            upload = UPLOADS.get(ident)
        if upload is None or upload.name != name or not self.newest(upload):
            return self.error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload, or an old Location")
        step = {"GET": self.upload_status, "PATCH": self.upload_chunk, "PUT": self.upload_end,
                "DELETE": self.upload_cancel}.get(self.command)
        if not step:
            return self.error(405, "UNSUPPORTED", "no such method on an upload")
        return step(upload)

    def newest(self, upload):
        """Was the Location of the last answer used?"""
        return ("{state}" not in CONFIG["upload_location"]
                or [str(upload.state)] in self.query.values())

    def start_upload(self, name):
        if CONFIG["post_needs_length"] and "Content-Length" not in self.headers:
            return self.error(411, "SIZE_INVALID", "Length Required")
        mount, source = self.query.get("mount", [""])[0], self.query.get("from", [""])[0]
        digest = self.query.get("digest", [""])[0]
        if mount and CONFIG["mount"] not in (201, 202):
            return self.error(CONFIG["mount"], "UNSUPPORTED", "no mounts")
        readable = mount and source and self.may(source, "pull")
        if mount and source and not readable and CONFIG["mount_unread"] == 401:
            return self.challenge(f"repository:{name}:pull,push repository:{source}:pull")
        if readable and CONFIG["mount"] == 201:
            with LOCK:
                data = BLOBS.get((source, mount))
                if data is not None:
                    BLOBS[name, mount] = data
            if data is not None:
                return self.created(name, mount)
        if digest and CONFIG["single_post"] == 201:
            if digest != digest_of(self.body):
                return self.error(400, "DIGEST_INVALID", "the bytes have another digest")
            return self.keep_blob(name, digest, self.body)
        upload = Upload(uuid.uuid4().hex, name)
        with LOCK:
            UPLOADS[upload.id] = upload
        headers = self.upload_headers(upload)
        for switch, header in (("chunk_min", "OCI-Chunk-Min-Length"),
                               ("chunk_max", "OCI-Chunk-Max-Length")):
            if CONFIG[switch]:
                headers.append((header, str(CONFIG[switch])))
        return self.reply(202, b"", headers)

    def upload_headers(self, upload, wrong=False):
        manner, last = CONFIG["upload_range"], max(0, len(upload.data) - 1)
        if manner == "stale" and upload.first:
            last = upload.first - 1
        text = {"off_by_one": f"0-{len(upload.data)}", "bytes": f"bytes=0-{last}",
                }.get(manner, f"0-{last}")
        if wrong:
            text = f"0-{len(upload.data) + 4095}"
        where = fill(CONFIG["upload_location"], name=upload.name, id=upload.id,
                     state=upload.state)
        headers = [("Location", where), ("Docker-Upload-UUID", upload.id)]
        return headers if manner == "missing" else [*headers, ("Range", text)]

    # --- going on with it ---------------------------------------------------------------------

    def cut(self, path):
        """Takes a part of the body and hangs up; the part of a PATCH is kept."""
        match = re.fullmatch(r"/v2/(.+)/blobs/uploads/([^/]+)", path)
        length = int(self.headers.get("Content-Length") or 0)
        with LOCK:
            if not (match and 0 < CONFIG["upload_cut"] < length and CONFIG["upload_cut_times"] > 0):
                return False
            CONFIG["upload_cut_times"] -= 1
            size = CONFIG["upload_cut"]
        data = self.rfile.read(size)
        self.record.update(size=len(data), aborted=True)
        with LOCK:
            upload = UPLOADS.get(match.group(2))
            if upload and self.command == "PATCH":
                upload.data += data
        self.close_connection = True
        time.sleep(0.05)
        return True

    def in_order(self, upload):
        """Checks Content-Range, where there is one, and the sizes of chunks."""
        text = self.headers.get("Content-Range")
        small = CONFIG["chunk_min"] and len(self.body) < CONFIG["chunk_min"]
        fits = True
        if text is not None:
            match = re.fullmatch(r"(\d+)-(\d+)", text)
            fits = bool(match) and int(match.group(1)) == len(upload.data) and \
                int(match.group(2)) - int(match.group(1)) + 1 == len(self.body)
        if self.command == "PATCH" and (upload.short or (small and CONFIG["chunk_min_strict"])):
            fits = False
        if not fits:
            headers = self.upload_headers(upload, wrong=CONFIG["range_416"] == "wrong")
            self.error(416, "BLOB_UPLOAD_INVALID", "out of order, or too small", headers)
            return False
        upload.short = bool(self.command == "PATCH" and small)
        return True

    def upload_status(self, upload):
        return self.reply(204, b"", self.upload_headers(upload))

    def upload_chunk(self, upload):
        if 0 < CONFIG["chunk_max"] < len(self.body):
            return self.error(413, "SIZE_INVALID", "the chunk is too large")
        with LOCK:
            if not self.in_order(upload):
                return None
            upload.data += self.body
            upload.first = upload.first or len(upload.data)
            upload.state += 1
            return self.reply(CONFIG["patch_status"], b"", self.upload_headers(upload))

    def upload_end(self, upload):
        digest = self.query.get("digest", [""])[0]
        if not DIGEST.fullmatch(digest):
            return self.error(400, "DIGEST_INVALID", "the digest is missing or malformed")
        with LOCK:
            if self.body and not self.in_order(upload):
                return None
            data = bytes(upload.data) + self.body
            del UPLOADS[upload.id]
        if digest_of(data) != digest:
            return self.error(400, "DIGEST_INVALID", "the bytes have another digest")
        return self.keep_blob(upload.name, digest, data)

    def upload_cancel(self, upload):
        with LOCK:
            UPLOADS.pop(upload.id, None)
        return self.reply(204)

    def keep_blob(self, name, digest, data):
        if CONFIG["blob_put_moves"]:
            with LOCK:
                BLOBS[name, digest] = data
        return self.created(name, digest)

    def created(self, name, digest):
        headers = [("Location", f"/v2/{name}/blobs/{digest}")]
        if self.tells("BLOB"):
            headers.append(("Docker-Content-Digest", digest))
        return self.reply(201, b"", headers)


class Storage(Blobs):
    """The object storage that a registry redirects to. It takes no credentials: a request with an
    Authorization header is 400, as S3 answers one that is signed twice."""

    role = "storage"

    def may(self, name, right):
        return True

    def tells(self, what):
        return False

    def route(self, path):
        if "Authorization" in self.headers:
            body = (b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>InvalidArgument</Code>'
                    b"<Message>Only one auth mechanism allowed</Message></Error>")
            return self.reply(400, body, [("Content-Type", "application/xml")])
        match = re.fullmatch(r"/v2/(.+)/blobs/uploads/([^/]+)", path)
        if match:
            return self.uploads(*match.groups())
        match = re.fullmatch(r"/(.+)/(sha256:[0-9a-f]{64})", path)
        with LOCK:
            data = it.BLOBS.get(match.groups()) if match else None
        if data is None or self.command not in ("GET", "HEAD"):
            return self.reply(404, b"<Error><Code>NoSuchKey</Code></Error>",
                              [("Content-Type", "application/xml")])
        return self.send_blob(data, match.group(2), [("Content-Type", "binary/octet-stream"),
                                                     ("ETag", f'"{match.group(2)}"')])
