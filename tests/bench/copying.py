"""Whole images between registries: a large one against the PUT-only floor and skopeo, a mount-only
copy, and a mirror that finds nothing to do."""

import hashlib
import json
import os
import re
import secrets
import statistics
import subprocess
import threading
import time

import raw
import service

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
LINE = re.compile(r'^\S+ - .*?"(\w+) (\S+) HTTP/[\d.]+" (\d+) \d+ ".*?" "(.*?)"$', re.M)
MIB = 1 << 20
PIECE = 16 * MIB
MIRRORED = 200


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layer:
    """Bytes that repeat one random piece, so that memory is not what is measured here."""

    def __init__(self, size):
        self.size = size
        self.piece = memoryview(secrets.token_bytes(PIECE))
        hashed = hashlib.sha256()
        for part in self.parts():
            hashed.update(part)
        self.digest = "sha256:" + hashed.hexdigest()

    def parts(self):
        left = self.size
        while left:
            part = self.piece[:min(left, PIECE)]
            left -= len(part)
            yield part


def upload(host, name, digest, size, parts):
    connection = raw.Raw(host)
    connection.send("POST", f"/v2/{name}/blobs/uploads/")
    location = session(connection)
    connection.socket.sendall(
        (f"PUT {location}&digest={digest} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: slipway-bench\r\n"
         f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n").encode())
    for part in parts:
        connection.socket.sendall(part)
    status, answer = connection.receive()
    connection.close()
    assert status == 201, (status, answer)


def session(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.socket.recv(65536)
    assert b" 202 " in data.split(b"\r\n")[0], data
    location = re.search(rb"(?im)^location: *(\S+)", data).group(1).decode()
    return re.sub(r"^https?://[^/]+", "", location)


def put_only(host, name, layers):
    """The floor: all uploads at once, each from memory."""
    threads = [threading.Thread(target=upload, args=(host, name, x.digest, x.size, x.parts()))
               for x in layers]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - started


def put_manifest(host, name, ref, media_type, value):
    data = raw.encode(value)
    connection = raw.Raw(host)
    status, answer = connection.call("PUT", f"/v2/{name}/manifests/{ref or digest_of(data)}",
                                     [("Content-Type", media_type)], data)
    connection.close()
    assert status == 201, (status, answer)
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def push_image(host, name, ref, layers, arch="amd64"):
    """The layers are there; the config and the manifest are made. Returns its descriptor."""
    config = raw.encode({"architecture": arch, "os": "linux", "created": "2026-01-01T00:00:00Z",
                         "rootfs": {"type": "layers", "diff_ids": [x.digest for x in layers]},
                         "config": {}, "history": [{"created_by": secrets.token_hex(8)}]})
    upload(host, name, digest_of(config), len(config), [config])
    return put_manifest(host, name, ref, MANIFEST, {
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": LAYER, "digest": x.digest, "size": x.size} for x in layers]})


class Peak:
    """The most private memory that a process was seen to have."""

    def __init__(self, pid):
        self.pid, self.most = pid, 0.0
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while True:
            try:
                self.most = max(self.most, raw.memory_mb(self.pid)["private_mb"])
            except (OSError, KeyError):
                return
            time.sleep(0.02)


def run(argv, env=None):
    started = time.monotonic()
    process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = Peak(process.pid)
    _, told = process.communicate()
    taken = time.monotonic() - started
    peak.thread.join()
    if process.returncode:
        raise service.Trouble(f"{' '.join(argv)}: {told.decode()[-400:]}")
    return taken, peak.most


class Pair:
    """Two registries, and what the benchmarks push into the first."""

    def __init__(self, world):
        self.world = world
        self.source = service.start_registry(world.folder, "source")[1]
        self.target = service.start_registry(world.folder, "target")[1]

    def slipway(self, *words):
        said = " ".join(words)
        hosts = [x for x in (self.source, self.target) if x in said or words[0] == "mirror"]
        plain = [word for host in hosts for word in ("--plain-http", host)]
        return [self.world.slipway, words[0], "--config", self.world.config, *plain, *words[1:]]

    def skopeo(self, command, *words):
        flags = ["--src-tls-verify=false", "--dest-tls-verify=false"]
        return ["skopeo", "--insecure-policy", command, *flags, *words]

    def requests(self, name):
        rows = LINE.findall(self.world.folder.log_text(name))
        return [row[:3] for row in rows if row[3].startswith("slipway/")]


def large(pair, mib, times):
    """One image of 4 layers: floor, Slipway and skopeo in turns, another one first each time. The
    bytes are new in each round: skopeo would remember where it has put them and mount them."""
    taken = {"floor": [], "slipway": [], "skopeo": []}
    peaks = []
    for i in range(times):
        layers = [Layer(mib * MIB // 4) for _ in range(4)]
        put_only(pair.source, f"bench/{mib}-{i}", layers)
        push_image(pair.source, f"bench/{mib}-{i}", "v1", layers)
        source = f"{pair.source}/bench/{mib}-{i}:v1"
        ways = [
            ("floor", lambda: (put_only(pair.target, f"floor/{mib}-{i}", layers), 0)),
            ("slipway", lambda: run(pair.slipway(
                "copy", "--quiet", source, f"{pair.target}/slipway/{mib}-{i}:v1"))),
            ("skopeo", lambda: run(pair.skopeo(
                "copy", f"docker://{source}", f"docker://{pair.target}/skopeo/{mib}-{i}:v1"))),
        ]
        for name, way in ways[i % 3:] + ways[:i % 3]:
            if name == "skopeo" and mib > 1024:
                continue
            os.sync()
            seconds, peak = way()
            taken[name].append(seconds)
            if name == "slipway":
                peaks.append(peak)
    seconds = {name: statistics.median(list_) for name, list_ in taken.items() if list_}
    return {"mib": mib, "seconds": seconds, "private_mb": max(peaks)}


def mounts(pair):
    """An index of 2 x 3 layers into another repository of the same registry."""
    children = []
    for arch in ("amd64", "arm64"):
        layers = [Layer(64 * 1024) for _ in range(3)]
        put_only(pair.source, "bench/index", layers)
        child = push_image(pair.source, "bench/index", None, layers, arch)
        children.append({**child, "platform": {"os": "linux", "architecture": arch}})
    put_manifest(pair.source, "bench/index", "v1", INDEX,
                 {"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
    before = len(pair.requests("source"))
    run(pair.slipway("copy", "--quiet", f"{pair.source}/bench/index:v1",
                     f"{pair.source}/bench/mounted:v1"))
    time.sleep(0.2)
    seen = pair.requests("source")[before:]
    moved = [row for row in seen if row[0] in ("PUT", "PATCH", "GET") and "/blobs/" in row[1]]
    return {"requests": len(seen), "blobs_moved": len(moved)}


def unchanged(pair, times):
    """A mirror of many tags, all of them there already; `skopeo sync` for scale."""
    layer = Layer(1024)
    upload(pair.source, "bench/mirror", layer.digest, layer.size, layer.parts())
    for i in range(MIRRORED):
        push_image(pair.source, "bench/mirror", f"v{i}", [layer])
    folder = pair.world.folder
    rows = {"mirror_container_images_images": [{
        "src_repository": f"{pair.source}/bench/mirror", "src_tags": ["v*"],
        "dest_repository": f"{pair.target}/bench/mirror"}]}
    path = folder.write("mirror.yaml", json.dumps(rows))
    slipway = pair.slipway("mirror", "--quiet", path)
    skopeo = pair.skopeo("sync", "--src", "docker", "--dest", "docker",
                         f"{pair.source}/bench/mirror", f"{pair.target}/synced")
    run(slipway)
    run(skopeo)
    before = {name: len(pair.requests(name)) for name in ("source", "target")}
    taken = {"slipway": [], "skopeo": []}
    for _ in range(times):
        taken["slipway"].append(run(slipway)[0])
        taken["skopeo"].append(run(skopeo)[0])
    time.sleep(0.2)
    seen = {name: [row for row in pair.requests(name)[before[name]:]] for name in before}
    return {"ms": {name: statistics.median(list_) * 1000 for name, list_ in taken.items()},
            "heads": {name: len([r for r in rows if r[0] == "HEAD"]) / times
                      for name, rows in seen.items()},
            "requests": {name: len(rows) / times for name, rows in seen.items()}}
