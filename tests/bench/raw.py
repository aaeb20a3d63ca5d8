"""HTTP over one kept-alive socket with as little between as Python allows: the floor that the
program is compared with must not be slowed down by a library."""

import hashlib
import hmac
import json
import os
import secrets
import socket
import statistics
import time


def median_ms(values):
    return statistics.median(values) * 1000


class Raw:
    def __init__(self, host, agent="slipway-bench"):
        name, _, port = host.partition(":")
        self.host = host
        self.agent = agent
        self.socket = socket.create_connection((name, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        self.socket.close()

    def send(self, method, path, headers=(), body=b""):
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", f"User-Agent: {self.agent}",
                 *(f"{name}: {value}" for name, value in headers)]
        if body or method in ("PUT", "POST"):
            lines.append(f"Content-Length: {len(body)}")
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def receive(self):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError("closed")
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            elif name.lower() == b"transfer-encoding":
                return status, self.chunks(body)
        while len(body) < length:
            body += self.socket.recv(65536)
        return status, body

    def chunks(self, data):
        while not data.endswith(b"0\r\n\r\n"):
            data += self.socket.recv(65536)
        return data

    def call(self, method, path, headers=(), body=b""):
        self.send(method, path, headers, body)
        return self.receive()

    def retag(self, name, source, tags, accept):
        """By hand: one GET, and a PUT a tag. Nothing is checked."""
        status, manifest = self.call("GET", f"/v2/{name}/manifests/{source}", [("Accept", accept)])
        assert status == 200, (status, manifest)
        for tag in tags:
            status, answer = self.call("PUT", f"/v2/{name}/manifests/{tag}",
                                       [("Content-Type", accept)], manifest)
            assert status == 201, (status, answer)


def github_headers(secret, body, event="pull_request"):
    mac = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return [("Content-Type", "application/json"), ("X-GitHub-Event", event),
            ("X-GitHub-Delivery", secrets.token_hex(16)), ("X-Hub-Signature-256", "sha256=" + mac)]


def standard_headers(key_text, key, body):
    import base64
    name, stamp = "msg_" + secrets.token_hex(12), str(int(time.time()))
    mac = hmac.new(key, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return [("Content-Type", "application/json"), ("webhook-id", name),
            ("webhook-timestamp", stamp),
            ("webhook-signature", "v1," + base64.b64encode(mac).decode())]


def encode(value):
    return json.dumps(value).encode()


def fdatasync_ms(folder, times=200):
    """The disk's part: how long one fdatasync of a 4 KiB write takes."""
    path = os.path.join(folder, "fdatasync")
    taken = []
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for i in range(times):
            os.pwrite(fd, os.urandom(4096), (i % 16) * 4096)
            started = time.monotonic()
            os.fdatasync(fd)
            taken.append(time.monotonic() - started)
    finally:
        os.close(fd)
        os.unlink(path)
    return median_ms(taken)


def cpu_seconds(pid):
    """Of a process and its children that live."""
    total = 0.0
    ticks = os.sysconf("SC_CLK_TCK")
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(entry) == pid or int(fields[1]) == pid:
            total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def memory_mb(pid):
    """Private and resident memory."""
    values = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            words = line.split()
            if words[-1] == "kB":
                values[words[0].rstrip(":")] = int(words[1]) / 1024
    return {"private_mb": round(values["Private_Clean"] + values["Private_Dirty"], 2),
            "rss_mb": round(values["Rss"], 2)}
