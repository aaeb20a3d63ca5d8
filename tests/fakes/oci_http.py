"""The HTTP side of the registry fake: bodies, the log, rules, hostile answers, controls."""

import base64
import email.utils
import gzip
import json
import re
import ssl
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import oci_config as it
from oci_config import CONFIG, LOCK, LOG, RULES

NOTED = ("content-type", "content-length", "content-range", "range", "if-range", "user-agent",
         "transfer-encoding", "content-encoding", "accept-encoding", "expect", "cookie")
ENDLESS = 64 << 20


def fill(text, **more):
    """Braces that are not ours stay as they are."""
    for key, value in {**it.PORTS, **more}.items():
        text = text.replace("{" + key + "}", str(value))
    return text


def retry_after(form):
    """seconds:5, date:5, timestamp:5; anything else as it stands."""
    kind, _, number = form.partition(":")
    if kind == "seconds":
        return number
    if kind == "date":
        return email.utils.formatdate(time.time() + float(number), usegmt=True)
    if kind == "timestamp":
        return str(int(time.time() + float(number)))
    return form


class Rules:
    """A rule is an answer that the next matching requests get. Which ones:
        {"method": "PUT", "path": regex of path and query, "times": 1, "skip": 0, ...}
    What they get:
        "status": 500, "headers": [[name, value]], "body": text, "size": bytes of x,
        "delay": seconds before it, "drip": seconds a byte, "close": true (nothing at all),
        "retry_after": "seconds:5", "date:5" or "timestamp:5",
        "endless": "headers" or "body", "bomb": MiB that a small gzip body unpacks to,
        "early": true (before the request's body is read)
    or, with "mangle", the real answer, changed:
        {"short": N bytes, then the connection breaks; "long": N more bytes, and said so;
         "extra": N more bytes than said; "flip": the byte that is changed;
         "chunked": true; "stall": seconds in the middle; "gzip": true (packed, though not asked);
         "drop": [header names], "add": [[name, value]], "status": N}
    Header values may hold {port} {storage} {api} {path}."""

    @staticmethod
    def take(method, path, early):
        with LOCK:
            for rule in RULES:
                if bool(rule.get("early")) != early or rule.get("method", method) != method:
                    continue
                if not re.search(rule["path"], path):
                    continue
                if rule.get("skip", 0) > 0:
                    rule["skip"] -= 1
                    continue
                rule["times"] = rule.get("times", 1) - 1
                if rule["times"] <= 0:
                    RULES.remove(rule)
                return rule
        return None


class Base(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "registry_fake"
    disable_nagle_algorithm = True
    role = "registry"
    mangle = None
    body = b""

    def log_message(self, *args):
        pass

    # --- answers ------------------------------------------------------------------------------

    def reply(self, status, body=b"", headers=(), length=None):
        """`length` is what Content-Length says of a HEAD."""
        how = self.mangle or {}
        status = how.get("status", status)
        if how.get("gzip"):
            body, headers = gzip.compress(body), [*headers, ("Content-Encoding", "gzip")]
        if "flip" in how and body:
            at = how["flip"] % len(body)
            body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]
        body += b"+" * how.get("long", 0)
        self.record["status"] = status
        self.send_response(status)
        dropped = [name.lower() for name in how.get("drop", ())]
        for name, value in [*headers, *how.get("add", ())]:
            if name.lower() not in dropped:
                self.send_header(name, fill(value, path=self.path))
        if how.get("chunked"):
            self.send_header("Transfer-Encoding", "chunked")
        elif status != 204 and "content-length" not in dropped:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        elif status != 204:
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.send(body, how)

    def send(self, body, how):
        try:
            if how.get("chunked"):
                for at in range(0, len(body), 65536):
                    piece = body[at:at + 65536]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")
            elif "short" in how:
                self.wfile.write(body[:how["short"]])
                self.close_connection = True
            elif "stall" in how:
                self.wfile.write(body[:len(body) // 2])
                time.sleep(how["stall"])
                self.wfile.write(body[len(body) // 2:])
            else:
                self.wfile.write(body + b"-" * how.get("extra", 0))
                self.close_connection = self.close_connection or bool(how.get("extra"))
        except OSError:
            self.close_connection = True

    def json(self, status, value, headers=()):
        body = json.dumps(value).encode()
        self.reply(status, body, [("Content-Type", "application/json"), *headers])

    def error(self, status, code, message="no", headers=()):
        self.json(status, {"errors": [{"code": code, "message": message}]}, headers)

    # --- requests -----------------------------------------------------------------------------

    def handle_any(self):
        parts = urllib.parse.urlsplit(self.path)
        self.query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
        self.mangle = None
        self.record = {"method": self.command, "path": self.path, "query": self.query,
                       "authorization": self.headers.get("Authorization") or "",
                       "accept": self.headers.get_all("Accept") or [],
                       "peer": self.client_address[1], "server": self.role, "size": 0,
                       "status": 0, "aborted": False,
                       "headers": {n: self.headers[n] for n in NOTED if n in self.headers}}
        if parts.path.startswith("/_ctl/"):
            self.body = self.read_body()
            return self.control(parts.path[6:])
        with LOCK:
            LOG.append(self.record)
        rule = Rules.take(self.command, self.path, early=True)
        if rule or self.refused_early(parts.path):
            self.close_connection = True
            if rule:
                self.follow(rule)
            return self.linger()
        if self.cut(parts.path):
            return None
        self.body = self.read_body()
        self.record["size"] = len(self.body)
        if self.record["aborted"]:
            self.close_connection = True
            return None
        rule = Rules.take(self.command, self.path, early=False)
        if rule and "mangle" in rule:
            time.sleep(rule.get("delay", 0))
            self.mangle = rule["mangle"]
        elif rule:
            return self.follow(rule)
        return self.route(parts.path)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = handle_any

    def refused_early(self, path):
        """Answered before the body was read."""
        return False

    def cut(self, path):
        """The connection breaks within the body."""
        return False

    def linger(self):
        """Reads what is still sent for a moment: closing at once would take the answer back."""
        try:
            self.wfile.flush()
            self.connection.settimeout(0.3)
            for _ in range(1024):
                if not self.connection.recv(65536):
                    return
        except OSError:
            pass

    def read_body(self):
        if (self.headers.get("Transfer-Encoding") or "").lower() != "chunked":
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else b""
            self.record["aborted"] = len(body) < length
            return body
        body = b""
        while True:
            size = int(self.rfile.readline().split(b";")[0] or b"0", 16)
            body += self.rfile.read(size)
            ended = self.rfile.readline() == b""
            if size == 0 or ended:
                self.record["aborted"] = ended
                return body

    def follow(self, rule):
        time.sleep(rule.get("delay", 0))
        if rule.get("close"):
            self.close_connection = True
            return
        status = rule.get("status", 200)
        body = rule.get("body", "").encode() + b"x" * rule.get("size", 0)
        headers = [tuple(h) for h in rule.get("headers", [])]
        if "retry_after" in rule:
            headers.append(("Retry-After", retry_after(rule["retry_after"])))
        if "bomb" in rule:
            body = gzip.compress(bytes(rule["bomb"] << 20))
            headers.append(("Content-Encoding", "gzip"))
        if not (rule.get("drip") or rule.get("endless")):
            self.reply(status, body, headers)
            return
        self.record["status"] = status
        self.send_response(status)
        self.close_connection = True
        try:
            if rule.get("endless") == "headers":
                self.flush_headers()
                for n in range(ENDLESS // 1024):
                    self.wfile.write(b"X-Filler-%d: %s\r\n" % (n, b"h" * 1000))
                return
            self.end_headers()
            if rule.get("endless"):
                for _ in range(ENDLESS // 65536):
                    self.wfile.write(b"e" * 65536)
                return
            for byte in body:
                self.wfile.write(bytes([byte]))
                time.sleep(rule["drip"])
        except OSError:
            pass

    # --- for the tests ------------------------------------------------------------------------

    def control(self, what):
        with LOCK:
            value = json.loads(self.body) if self.body else {}
            if what == "log":
                body = json.dumps(LOG).encode()
                LOG.clear()
                return self.reply(200, body)
            try:
                answer = self.set(what, value)
            except (KeyError, ValueError) as error:
                return self.json(400, {"error": str(error)})
        return self.json(200, {} if answer is None else answer)

    def set(self, what, value):
        if what == "config":
            unknown = set(value) - set(CONFIG)
            if unknown:
                raise ValueError(f"no such switch: {sorted(unknown)}")
            CONFIG.update(value)
            return CONFIG
        if what == "rule":
            RULES.append(value)
        elif what == "rules":
            RULES[:] = value or []
        elif what == "reset":
            it.reset()
        elif what == "ports":
            return it.PORTS
        elif what == "store":
            self.store(value["name"], value["ref"], value["type"], content_of(value))
        elif what == "blob":
            data = content_of(value)
            it.BLOBS[value["name"], it.digest_of(data)] = data
        elif what == "time":
            it.TIMES[value["name"], value["tag"]] = value["at"]
        elif what == "dump":
            return dump()
        return None


def content_of(item):
    return base64.b64decode(item["body64"]) if "body64" in item else item["body"].encode()


def dump():
    """What is stored: {"tags": {name: {tag: digest}}, "manifests": {name: [digest]},
    "blobs": {name: [digest]}, "uploads": [{id, name, size}]}."""
    out = {"tags": {}, "manifests": {}, "blobs": {}, "uploads": [
        {"id": u.id, "name": u.name, "size": len(u.data)} for u in it.UPLOADS.values()]}
    for (name, tag), digest in sorted(it.TAGS.items()):
        out["tags"].setdefault(name, {})[tag] = digest
    for part, where in (("manifests", it.STORE), ("blobs", it.BLOBS)):
        for name, digest in sorted(where):
            out[part].setdefault(name, []).append(digest)
    return out


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that goes away, or gives up at the handshake, is no fault of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def tls_context(cert, key, client_ca=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def listen(handler, port=0, context=None, host="127.0.0.1"):
    """A server in a thread of its own; returns its port."""
    server = Server((host, port), handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True,
                                            do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def wait_for_ever():
    threading.Event().wait()
