"""The programs of tests/fakes as processes: the registry whose faults a test sets, the token
service, the vendors."""

import base64
import json
import os
import re
import time

from . import pki
from .net import Answer, wait_until
from .oci import ACCEPT, MANIFEST, Client
from .process import Process
from .registry import digest_of
from .web import ROOT


class Fake:
    """A fake with control paths below /_ctl/. `tls` is (certificate, key), `ca` their CA."""

    def __init__(self, folder, script, *argv, tls=None, ca=None, client_ca=None, client_cert=None):
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(ROOT, "tests", "fakes", script)
        options = ["--tls", *tls] if tls else []
        options += ["--client-ca", client_ca] if client_ca else []
        self.process = Process(script, ["/usr/bin/python3", "-u", path, *argv, *options],
                               os.path.join(folder, "log"))
        self.port = int(wait_until(lambda: re.search(r"port=(\d+)\n", self.process.said()),
                                   what=f"{script} listens").group(1))
        self.scheme = "https" if tls else "http"
        self.ca = ca
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{self.scheme}://{self.host}"
        self.cert = client_cert

    def stop(self):
        self.process.kill()

    def call(self, method, path, body=None, headers=None) -> Answer:
        """One request on a connection of its own, without credentials."""
        client = Client(self.url, ca=self.ca, cert=self.cert)
        try:
            return client.send(method, path if "://" in path else self.url + path, body, headers)
        finally:
            client.close()

    def control(self, method, what, body=None):
        answer = self.call(method, f"/_ctl/{what}", json.dumps(body).encode())
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def config(self, **settings):
        """Sets switches (the fake's CONFIG explains them); returns all."""
        return self.control("PUT", "config", settings)

    def log(self):
        """The requests since the last look, as dicts."""
        return self.control("GET", "log")


class FaultyRegistry(Fake):
    """tests/fakes/registry_fake.py: a registry in memory. Manifests are taken without their blobs,
    and tags can be deleted by name, unless a test says otherwise (oci_config.py)."""

    def __init__(self, folder, *argv, script="registry_fake.py", **tls):
        super().__init__(folder, script, *argv, **tls)
        ports = self.control("GET", "ports")
        self.storage = f"{self.scheme}://127.0.0.1:{ports['storage']}"
        self.api = f"{self.scheme}://127.0.0.1:{ports['api']}"

    def client(self, auth=None):
        """An oci.Client, for images.py and for looking."""
        return Client(self.url, auth, self.ca, self.cert)

    def rule(self, method, path, **answer):
        """Rules of oci_http.py: the next matching request gets this answer."""
        self.control("POST", "rule", {"method": method, "path": path, **answer})

    def rules(self, *rules):
        """Replaces all rules."""
        self.control("PUT", "rules", list(rules))

    def reset(self):
        self.control("PUT", "reset")

    def requests(self):
        """Since the last look: (method, path)."""
        return [(row["method"], row["path"]) for row in self.log()]

    def dump(self):
        """{"tags": {name: {tag: digest}}, "manifests", "blobs": {name: [digest]}, "uploads"}"""
        return self.control("GET", "dump")

    def store(self, name, ref, data, media_type=MANIFEST):
        """A manifest (bytes), without any request in the log; returns its digest."""
        self.control("PUT", "store", {"name": name, "ref": ref, "type": media_type,
                                      "body64": base64.b64encode(data).decode()})
        return digest_of(data)

    def store_blob(self, name, data):
        self.control("PUT", "blob", {"name": name, "body64": base64.b64encode(data).decode()})
        return {"digest": digest_of(data), "size": len(data)}

    def age(self, name, tag, seconds):
        """The tag was pushed so long ago, says the vendor's interface."""
        self.control("PUT", "time", {"name": name, "tag": tag, "at": time.time() - seconds})

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
        answer = self.call("GET", f"/v2/{name}/manifests/{ref}", headers={"Accept": ACCEPT})
        if answer.status == 404:
            return None
        assert answer.status == 200, answer
        return digest_of(answer.body)


class TokenServer(Fake):
    """tests/fakes/token_server.py, for Registry(tokens=...). Users `ci` (everything) and `reader`
    (pull); others by config(users=...). log() tells who asked for which scopes and got which."""

    account = ("ci", "geheim-wort")

    def __init__(self, folder, issuer="box", tls=None, ca=None):
        self.issuer = issuer
        self.key, self.bundle = pki.token_key(folder)
        super().__init__(folder, "token_server.py", "--key", self.key, "--cert", self.bundle,
                         "--issuer", issuer, tls=tls, ca=ca)
        self.realm = f"{self.url}/token"

    def token(self, *scopes, service="box-registry", account=account):
        """The answer to one GET: {"token": ...}."""
        query = "&".join([f"service={service}", *(f"scope={scope}" for scope in scopes)])
        headers = {}
        if account:
            text = base64.b64encode(":".join(account).encode()).decode()
            headers = {"Authorization": "Basic " + text}
        return json.loads(self.call("GET", f"/token?{query}", headers=headers).body)


class VendorFake(FaultyRegistry):
    """tests/fakes/vendor_fake.py: `vendor` is hub, quay, harbor, ghcr, gitlab or acr. `host` is the
    registry, `api` the origin of the vendor's own interface (what `api:` in the settings names).
    The interface's credentials: user, password and token of vendor()."""

    def __init__(self, folder, vendor, **tls):
        super().__init__(folder, vendor, script="vendor_fake.py", **tls)

    def vendor(self, **switches):
        """Sets the vendor's own switches (its file in tests/fakes/vendors explains them)."""
        return self.control("PUT", "vendor", switches)
