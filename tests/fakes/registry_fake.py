#!/usr/bin/python3
"""A small registry in memory whose manners and faults a test sets while it runs.

It prints "port=N" once it listens. Besides /v2/ and /token it answers, for the tests alone:

    PUT  /_ctl/config   JSON object: merged into CONFIG below
    POST /_ctl/rule     JSON object: see Rules; the next matching requests get this answer instead
    PUT  /_ctl/store    JSON {name, ref, type, body}: stores a manifest without any request
    GET  /_ctl/log      JSON list of the requests since the last look, which empties it
    *    /echo...       the request as JSON: method, path, headers, body
"""
import argparse
import base64
import hashlib
import json
import re
import ssl
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONFIG = {
    "auth": "none",          # none, basic, bearer
    "challenge": "",         # the WWW-Authenticate value, {port} filled in; "" is the usual one
    "user": "ci",
    "password": "geheim",
    "anonymous_token": False,
    "refuse_scope": "",      # the token service answers 403 when this right is asked for
    "token_body": "",        # instead of a token
    "expires_in": 300,
    "grants": "pull,push,delete",
    "tag_delete": 202,       # status of DELETE by tag; 202 removes the tag
    "tag_delete_removes": True,
    "digest_delete": "yes",  # yes, off (405), bare404, tagged403, absent202, keeps_tags, broken
    "digest_header": True,   # Docker-Content-Digest on GET, HEAD and PUT
    "put_moves": True,       # False: 201 and nothing stored
    "put_digest": "",        # the digest that a PUT's answer names, whatever was stored
    "content_type": "",      # of manifests, instead of the stored one
    "corrupt": False,        # bytes of manifests are changed on the way out
    "blob_redirect": "",     # Location for blobs
}
STORE = {}    # (name, digest) -> (type, bytes)
TAGS = {}     # (name, tag) -> digest
BLOBS = {}    # (name, digest) -> bytes
TOKENS = {}   # token -> set of (name, right)
LOG = []
RULES = []
LOCK = threading.RLock()


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Rules:
    """{"method": "PUT", "path": regex, "times": 1, "status": 500, "headers": [[name, value]],
    "body": text, "size": bytes of x, "delay": seconds, "drip": seconds a byte, "close": true}"""

    @staticmethod
    def take(method, path):
        with LOCK:
            for rule in RULES:
                if rule.get("method", method) == method and re.search(rule["path"], path):
                    rule["times"] = rule.get("times", 1) - 1
                    if rule["times"] <= 0:
                        RULES.remove(rule)
                    return rule
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "registry_fake"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def reply(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and body:
            self.wfile.write(body)

    def error(self, status, code, message="no", headers=()):
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self.reply(status, body, [("Content-Type", "application/json"), *headers])

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else b""
        path = urllib.parse.urlsplit(self.path).path
        if path.startswith("/_ctl/"):
            return self.control(path[6:])
        with LOCK:
            LOG.append({"method": self.command, "path": self.path,
                        "authorization": self.headers.get("Authorization") or "",
                        "accept": self.headers.get_all("Accept") or [],
                        "peer": self.client_address[1]})
        rule = Rules.take(self.command, self.path)
        if rule:
            return self.follow(rule)
        if path.startswith("/echo"):
            return self.echo()
        if path == "/token":
            return self.token()
        if path.startswith("/v2/"):
            with LOCK:
                return self.registry(path[4:])
        return self.error(404, "NOT_HERE")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = handle_any

    def follow(self, rule):
        time.sleep(rule.get("delay", 0))
        if rule.get("close"):
            self.close_connection = True
            return
        body = rule.get("body", "").encode() + b"x" * rule.get("size", 0)
        headers = [tuple(h) for h in rule.get("headers", [])]
        if not rule.get("drip"):
            self.reply(rule.get("status", 200), body, headers)
            return
        self.send_response(rule.get("status", 200))
        self.end_headers()
        self.close_connection = True
        try:
            for byte in body:
                self.wfile.write(bytes([byte]))
                time.sleep(rule["drip"])
        except OSError:
            pass

    def control(self, what):
        with LOCK:
            if what == "config":
                CONFIG.update(json.loads(self.body))
            elif what == "rule":
                RULES.append(json.loads(self.body))
            elif what == "store":
                item = json.loads(self.body)
                self.store(item["name"], item["ref"], item["type"], item["body"].encode())
            elif what == "blob":
                item = json.loads(self.body)
                data = item["body"].encode()
                BLOBS[item["name"], digest_of(data)] = data
            elif what == "log":
                body = json.dumps(LOG).encode()
                LOG.clear()
                return self.reply(200, body)
        return self.reply(200, b"{}")

    def echo(self):
        headers = [[k.lower(), v] for k, v in self.headers.items()]
        self.reply(200, json.dumps({"method": self.command, "path": self.path, "headers": headers,
                                    "body": self.body.decode("latin-1"),
                                    "peer": self.client_address[1]}).encode(),
                   [("Content-Type", "application/json"), ("X-Twice", "1"), ("X-Twice", "2")])

    # --- signing in ---------------------------------------------------------------------------

    def basic_ok(self):
        want = base64.b64encode(f"{CONFIG['user']}:{CONFIG['password']}".encode()).decode()
        return self.headers.get("Authorization") == "Basic " + want

    def token(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        anonymous = "Authorization" not in self.headers
        if not (self.basic_ok() or (anonymous and CONFIG["anonymous_token"])):
            return self.error(401, "UNAUTHORIZED", "wrong credentials")
        _, name, rights = (query.get("scope") or ["::"])[0].split(":")
        if CONFIG["refuse_scope"] and CONFIG["refuse_scope"] in rights.split(","):
            return self.error(403, "DENIED", "no such right")
        if CONFIG["token_body"]:
            return self.reply(200, CONFIG["token_body"].encode())
        granted = set(rights.split(",")) & set(CONFIG["grants"].split(","))
        with LOCK:
            token = f"tok{len(TOKENS)}-{time.time_ns()}"
            TOKENS[token] = {(name, right) for right in granted}
        return self.reply(200, json.dumps({"token": token,
                                           "expires_in": CONFIG["expires_in"]}).encode())

    def authorised(self, name, right):
        if CONFIG["auth"] == "none":
            return True
        port = self.server.server_address[1]
        usual = ('Basic realm="fake"' if CONFIG["auth"] == "basic" else
                 f'Bearer realm="http://127.0.0.1:{port}/token",service="fake",'
                 f'scope="repository:{name}:{right}"')
        if CONFIG["auth"] == "basic" and self.basic_ok():
            return True
        sent = self.headers.get("Authorization") or ""
        if CONFIG["auth"] == "bearer" and sent.startswith("Bearer "):
            if (name, right) in TOKENS.get(sent[7:], ()):
                return True
        challenge = CONFIG["challenge"].replace("{port}", str(port)) or usual
        headers = [("WWW-Authenticate", line) for line in challenge.split("\n")]
        self.error(401, "UNAUTHORIZED", "sent: " + sent, headers)
        return False

    # --- manifests and blobs ------------------------------------------------------------------

    def store(self, name, ref, media_type, data):
        digest = digest_of(data)
        STORE[name, digest] = (media_type, data)
        if not ref.startswith("sha256:"):
            TAGS[name, ref] = digest
        return digest

    def registry(self, path):
        match = re.fullmatch(r"(.+)/(manifests|blobs)/([^/]+)", path)
        if not match:
            return self.error(404, "NAME_UNKNOWN")
        name, kind, ref = match.groups()
        right = {"PUT": "push", "DELETE": "delete"}.get(self.command, "pull")
        if not self.authorised(name, right):
            return None
        if kind == "blobs":
            return self.blob(name, ref)
        if self.command == "PUT":
            return self.put_manifest(name, ref)
        if self.command == "DELETE":
            return self.delete_manifest(name, ref)
        return self.get_manifest(name, ref)

    def blob(self, name, ref):
        if CONFIG["blob_redirect"]:
            port = str(self.server.server_address[1])
            where = CONFIG["blob_redirect"].replace("{port}", port).replace("{digest}", ref)
            return self.reply(307, b"", [("Location", where)])
        data = BLOBS.get((name, ref))
        return self.reply(200, data) if data is not None else self.error(404, "BLOB_UNKNOWN")

    def get_manifest(self, name, ref):
        digest = TAGS.get((name, ref), ref)
        if (name, digest) not in STORE:
            return self.error(404, "MANIFEST_UNKNOWN")
        media_type, data = STORE[name, digest]
        headers = [("Content-Type", CONFIG["content_type"] or media_type)]
        if CONFIG["digest_header"]:
            headers.append(("Docker-Content-Digest", digest))
        return self.reply(200, data + b" " if CONFIG["corrupt"] else data, headers)

    def put_manifest(self, name, ref):
        digest = digest_of(self.body)
        if CONFIG["put_moves"]:
            self.store(name, ref, self.headers.get("Content-Type"), self.body)
        headers = [("Location", f"/v2/{name}/manifests/{digest}")]
        if CONFIG["digest_header"]:
            headers.append(("Docker-Content-Digest", CONFIG["put_digest"] or digest))
        return self.reply(201, b"", headers)

    def delete_manifest(self, name, ref):
        if not ref.startswith("sha256:"):
            return self.delete_tag(name, ref)
        manner = CONFIG["digest_delete"]
        tags = [key for key, digest in TAGS.items() if key[0] == name and digest == ref]
        if manner == "off":
            return self.error(405, "UNSUPPORTED", "deletion is off")
        if manner == "bare404":
            return self.reply(404, b"not found")
        if (name, ref) not in STORE:
            return self.reply(202) if manner == "absent202" else self.error(404, "MANIFEST_UNKNOWN")
        if manner == "tagged403" and tags:
            return self.error(403, "DENIED", "a tag shows it")
        if manner == "broken":
            return self.error(503, "UNAVAILABLE", "the disk is away")
        if manner != "keeps_tags":
            del STORE[name, ref]
            for key in tags:
                del TAGS[key]
        return self.reply(202)

    def delete_tag(self, name, ref):
        status = CONFIG["tag_delete"]
        if status != 202:
            return self.error(status, "UNSUPPORTED", "no deletion by tag")
        if (name, ref) not in TAGS:
            return self.error(404, "MANIFEST_UNKNOWN")
        if CONFIG["tag_delete_removes"]:
            del TAGS[name, ref]
        return self.reply(202)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    args = parser.parse_args()
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.request_queue_size = 128
    server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    if args.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*args.tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(f"port={server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
