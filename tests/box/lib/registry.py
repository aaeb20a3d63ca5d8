"""Debian's docker-registry, and images that are made and pushed by hand."""

import hashlib
import json
import os
import re

from .net import call, free_port, is_open
from .process import Process, tool

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
ACCEPT = ", ".join([MANIFEST, INDEX, "application/vnd.docker.distribution.manifest.v2+json",
                    "application/vnd.docker.distribution.manifest.list.v2+json"])
LINE = re.compile(r'^\S+ - \S+ \[[^]]*\] "(\w+) (\S+) HTTP/[\d.]+" (\d+) .*"(.*)"$', re.M)


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """One docker-registry in a folder of its own. `users` are its htpasswd lines, if any."""

    def __init__(self, folder, deletion=True, htpasswd=None):
        os.makedirs(folder, exist_ok=True)
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self.headers = {}
        config = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": os.path.join(folder, "data")},
                        "delete": {"enabled": deletion}},
            "http": {"addr": self.host},
        }
        if htpasswd:
            config["auth"] = {"htpasswd": {"realm": "box", "path": htpasswd}}
        path = os.path.join(folder, "config.yml")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        self.process = Process("docker-registry", [tool("docker-registry"), "serve", path],
                               os.path.join(folder, "log"), env={"HOME": folder},
                               ready=lambda: is_open(("127.0.0.1", self.port)))

    def stop(self):
        self.process.kill()

    def call(self, method, path, body=None, headers=None):
        return call(method, self.url + path, body, {**self.headers, **(headers or {})})

    def blob(self, name, data):
        digest = digest_of(data)
        start = self.call("POST", f"/v2/{name}/blobs/uploads/")
        assert start.status == 202, start
        where = start.headers["Location"].replace(self.url, "")
        done = self.call("PUT", f"{where}&digest={digest}", data,
                         {"Content-Type": "application/octet-stream"})
        assert done.status == 201, done
        return {"digest": digest, "size": len(data)}

    def put(self, name, ref, data, media_type):
        """Puts manifest bytes under a tag or digest; returns their digest."""
        answer = self.call("PUT", f"/v2/{name}/manifests/{ref}", data,
                           {"Content-Type": media_type})
        assert answer.status == 201, answer
        return digest_of(data)

    def push(self, name, tag, content="hello", labels=None, arch="amd64"):
        """A tiny image with one layer; returns the manifest's digest."""
        data = json.dumps(self.manifest_for(name, content, labels, arch)).encode()
        return self.put(name, tag or digest_of(data), data, MANIFEST)

    def manifest_for(self, name, content, labels=None, arch="amd64"):
        layer = content.encode() if isinstance(content, str) else content
        config = {"architecture": arch, "os": "linux", "config": {"Labels": labels or {}},
                  "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]}}
        return {"schemaVersion": 2, "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, **self.blob(name, json.dumps(config).encode())},
                "layers": [{"mediaType": LAYER, **self.blob(name, layer)}]}

    def push_index(self, name, tag, content="hello", archs=("amd64", "arm64"), labels=None):
        """A multi-architecture image; returns the index's digest."""
        children = []
        for arch in archs:
            data = json.dumps(self.manifest_for(name, f"{content} {arch}", labels, arch)).encode()
            children.append({"mediaType": MANIFEST, "digest": self.put(name, digest_of(data), data,
                                                                       MANIFEST),
                             "size": len(data), "platform": {"architecture": arch, "os": "linux"}})
        data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).encode()
        return self.put(name, tag, data, INDEX)

    def manifest(self, name, ref):
        """The answer to GET; status 404 when it is not there."""
        return self.call("GET", f"/v2/{name}/manifests/{ref}", headers={"Accept": ACCEPT})

    def digest(self, name, ref):
        """What a tag shows, None when it is absent. Computed from the bytes."""
        answer = self.manifest(name, ref)
        if answer.status == 404:
            return None
        assert answer.status == 200, answer
        return digest_of(answer.body)

    def tags(self, name):
        answer = self.call("GET", f"/v2/{name}/tags/list")
        if answer.status == 404:
            return []
        assert answer.status == 200, answer
        return sorted(json.loads(answer.body)["tags"] or [])

    def mark(self):
        """A place in the access log, for requests()."""
        return os.path.getsize(self.process.log)

    def requests(self, since=0, name=None):
        """(method, path, status) of each request of Slipway's since a mark, of one repository if
        named."""
        with open(self.process.log, "rb") as file:
            file.seek(since)
            text = file.read().decode("utf-8", "replace")
        rows = [(m, p, int(s)) for m, p, s, who in LINE.findall(text) if "slipway" in who]
        return [r for r in rows if name is None or f"/v2/{name}/" in r[1]]
