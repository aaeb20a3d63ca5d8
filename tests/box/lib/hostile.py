"""A registry that means harm, spoken byte by byte; a canary that must see nobody; and a command
whose memory is watched."""

import base64
import json
import os
import re
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from .byhand import Ran
from .images import digest_of
from .oci import CONFIG, INDEX, LAYER, MANIFEST
from .process import environment
from .slipway import binary

WORD = "geheim-wort"  # the password of auth_file(), which is never shown
REASONS = {200: "OK", 401: "Unauthorized", 404: "Not Found"}


class Request:
    def __init__(self, method, path, headers, body):
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body

    def __repr__(self):
        return f"{self.method} {self.path}"


def answer(status, body=b"", headers=(), kind="application/json"):
    """The bytes of an answer; `headers` is text lines."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'X')}", f"Content-Type: {kind}",
             f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def error(status, code="DENIED", message="no", headers=()):
    return answer(status, {"errors": [{"code": code, "message": message}]}, headers)


class Listener:
    """Connections on a free port, each in a thread of its own."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.socket.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self.open = True
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while self.open:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.guard, args=(peer,), daemon=True).start()

    def guard(self, peer):
        with peer:
            try:
                self.serve(peer)
            except OSError:
                pass

    def stop(self):
        self.open = False
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Canary(Listener):
    """Nobody has any business here."""

    def __init__(self):
        self.seen = []
        super().__init__()

    def serve(self, peer):
        peer.settimeout(2)
        self.seen.append(b"(connected)")
        self.seen.append(peer.recv(65536))
        peer.sendall(answer(200, {"token": "from-the-canary"}))


class Evil(Listener):
    """Serves what add() and blob() hold, under any name, unless a trick comes first: trick(path)
    is called with a function that gets the Request and returns the bytes of an answer, pieces of
    it (then the connection ends), or None for the usual answer."""

    def __init__(self):
        self.tricks = []
        self.requests = []
        self.manifests = {}
        self.blobs = {}
        super().__init__()

    # --- what it holds

    def add(self, value, *tags, kind=None):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        kind = kind or json.loads(data)["mediaType"]
        digest = digest_of(data)
        for ref in (digest, *tags):
            self.manifests[ref] = (kind, data, digest)
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    def blob(self, data=b"x", kind=LAYER):
        self.blobs[digest_of(data)] = data
        return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}

    def image(self, *tags, layers=(b"a layer",), config=None, more=None):
        config = config or {"os": "linux", "architecture": "amd64"}
        return self.add({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": self.blob(json.dumps(config).encode(), CONFIG),
            "layers": [self.blob(one) if isinstance(one, bytes) else one for one in layers],
            **(more or {})}, *tags)

    def index(self, children, *tags, **more):
        return self.add({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(children),
                         **more}, *tags)

    # --- how it speaks

    def trick(self, path, what, method=None, times=1 << 30):
        """`what` may be the answer itself."""
        do = what if callable(what) else lambda request: what
        self.tricks.append([method, re.compile(path), do, times])

    def count(self, method, path=""):
        return len([r for r in self.requests if r.method == method and re.search(path, r.path)])

    def serve(self, peer):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        file = peer.makefile("rb")
        while request := self.read(file):
            self.requests.append(request)
            said = self.tricked(request)
            if said is None:
                said = self.usual(request)
            if not isinstance(said, bytes):
                for piece in said:
                    peer.sendall(piece)
                return
            if request.method == "HEAD":
                said = said[:said.index(b"\r\n\r\n") + 4]
            peer.sendall(said)

    @staticmethod
    def read(file):
        words = file.readline(65536).decode("latin-1").split()
        if len(words) < 2:
            return None
        headers = {}
        while line := file.readline(65536).strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return Request(words[0], words[1], headers,
                       file.read(int(headers.get("content-length", 0))))

    def tricked(self, request):
        for row in self.tricks:
            method, path, do, times = row
            if times and (method or request.method) == request.method and path.search(request.path):
                row[3] -= 1
                return do(request)
        return None

    def usual(self, request):
        found = re.search(r"/(manifests|blobs|referrers)/([^?]+)", request.path)
        part, ref = found.groups() if found else ("", "")
        if part == "manifests" and ref in self.manifests:
            kind, data, digest = self.manifests[ref]
            return answer(200, data, [f"Docker-Content-Digest: {digest}"], kind)
        if part == "blobs" and ref in self.blobs:
            return answer(200, self.blobs[ref], kind="application/octet-stream")
        if request.path.endswith("/v2/"):
            return answer(200, {})
        return error(404, {"manifests": "MANIFEST_UNKNOWN"}.get(part, "NOT_FOUND"))


def drip(data, pause=1.0):
    """A byte at a time."""
    for byte in data:
        yield bytes([byte])
        time.sleep(pause)


def forever(piece, head=b"HTTP/1.1 200 OK\r\n"):
    yield head
    while True:
        yield piece


# --- watched commands ---------------------------------------------------------------------------

def sanitized():
    with open(binary(), "rb") as file:
        return b"__asan_init" in file.read()


class Watched(Ran):
    """A Ran that knows how long it took and the most memory it had (bytes)."""

    seconds = 0.0
    memory = 0


def most_memory(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            found = re.search(r"VmHWM:\s+(\d+) kB", file.read())
    except OSError:
        found = None
    return int(found.group(1)) << 10 if found else 0


def watch(*argv, env=None, timeout=90):
    """Runs a command to its end. It must come within `timeout` seconds, and in 64 MiB (a sanitizer
    takes several times as much, so that there only the plain program is held to it)."""
    began, most = time.monotonic(), 0
    child = subprocess.Popen([binary(), *map(str, argv)], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=environment(env))
    texts = {}
    threads = [threading.Thread(target=lambda n, f: texts.update({n: f.read()}), args=pair)
               for pair in (("out", child.stdout), ("err", child.stderr))]
    for thread in threads:
        thread.start()
    try:
        while child.poll() is None and time.monotonic() < began + timeout:
            most = max(most, most_memory(child.pid))
            time.sleep(0.005)
        late = child.poll() is None
    finally:
        if child.poll() is None:
            child.kill()
        for thread in threads:
            thread.join()
        child.stdout.close()
        child.stderr.close()
    ran = Watched(child.wait(), texts["out"], texts["err"])
    ran.seconds, ran.memory = time.monotonic() - began, most
    assert not late, f"it had not ended after {timeout} s\n{ran}"
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f]", ran.out + ran.err), ran
    assert sanitized() or most <= 64 << 20, f"{most >> 20} MiB\n{ran}"
    return ran


def plain(*servers):
    return [word for one in servers for word in ("--plain-http", one.host)]


def auth_file(folder, server, word=WORD):
    path = os.path.join(str(folder), "auth.json")
    text = base64.b64encode(f"ci:{word}".encode()).decode()
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
        json.dump({"auths": {server.host: {"auth": text}}}, file)
    return path


def inspect(one, *words, ref=":v1", **how):
    ran = watch("inspect", f"{one.host}/a{ref}", *words, *plain(one), **how)
    assert WORD not in ran.out + ran.err, ran
    return ran


def copy(one, target, *words, ref=":v1", **how):
    """Copies and looks: no tag may appear unless it went well."""
    ran = watch("copy", f"{one.host}/a{ref}", f"{target.host}/b:v1", *words, *plain(one, target),
                **how)
    assert WORD not in ran.out + ran.err, ran
    assert (ran.code == 0) == ("b" in target.dump()["tags"]), ran
    return ran


def together(attack, values):
    """What waits for the most part."""
    with ThreadPoolExecutor(len(values)) as pool:
        for done in [pool.submit(attack, value) for value in values]:
            done.result()
