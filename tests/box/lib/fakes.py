"""The registry whose faults a test sets: tests/fakes/registry_fake.py as a process."""

import json
import os
import re

from .net import call, wait_until
from .process import Process
from .registry import ACCEPT, MANIFEST, digest_of
from .web import ROOT


class FaultyRegistry:
    """Holds manifests without blobs; tags can be deleted by name unless a test says otherwise."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        script = os.path.join(ROOT, "tests", "fakes", "registry_fake.py")
        log = os.path.join(folder, "log")
        self.process = Process("registry_fake", ["/usr/bin/python3", "-u", script], log)
        port = wait_until(lambda: re.search(r"port=(\d+)", self.process.said()),
                          what="the fake registry listens").group(1)
        self.host = f"127.0.0.1:{port}"
        self.url = f"http://{self.host}"

    def stop(self):
        self.process.kill()

    def control(self, method, what, body=None):
        answer = call(method, f"{self.url}/_ctl/{what}", json.dumps(body).encode())
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def config(self, **settings):
        self.control("PUT", "config", settings)

    def rule(self, method, path, **answer):
        self.control("POST", "rule", {"method": method, "path": path, **answer})

    def requests(self):
        """Since the last look: (method, path)."""
        return [(row["method"], row["path"]) for row in self.control("GET", "log")]

    def push(self, name, tag, content="hello"):
        config = {"config": {"Labels": {}}, "about": content}
        blob = json.dumps(config)
        self.control("PUT", "blob", {"name": name, "body": blob})
        data = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST,
                           "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                                      "digest": digest_of(blob.encode()), "size": len(blob)},
                           "layers": [], "annotations": {"about": content}})
        self.control("PUT", "store", {"name": name, "ref": tag, "type": MANIFEST, "body": data})
        return digest_of(data.encode())

    def digest(self, name, ref):
        answer = call("GET", f"{self.url}/v2/{name}/manifests/{ref}", headers={"Accept": ACCEPT})
        if answer.status == 404:
            return None
        assert answer.status == 200, answer
        return digest_of(answer.body)
