"""Debian's docker-registry: plain, read-only, with accounts, with tokens, over TLS.

Images: images.py (push_image, push_index, push_artifact, push_cosign_signature, tags, manifest,
whole). Their `where` is registry.client() here, which signs in as the registry wants.
"""

import ctypes
import json
import os
import re
import secrets

from .images import digest_of
from .net import call, free_port, is_open
from .oci import ACCEPT, CONFIG, INDEX, LAYER, MANIFEST, Client
from .process import Process, tool

LINE = re.compile(r'^\S+ - \S+ \[[^]]*\] "(\w+) (\S+) HTTP/[\d.]+" (\d+) .*"(.*)"$', re.M)
SALT = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
TAKEN = "address already in use"


def bcrypt(password):
    """By the C library's crypt: neither htpasswd nor a package is needed."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    # The last of the 22 characters carries two bits only, which four of them spell cleanly.
    salt = "".join(secrets.choice(SALT) for _ in range(21)) + secrets.choice(".Oeu")
    made = crypt(password.encode(), f"$2y$05${salt}".encode())
    assert made and made.startswith(b"$2y$05$"), "the C library knows no bcrypt"
    return made.decode()


def write_htpasswd(path, users):
    """users: {name: password}."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{name}:{bcrypt(password)}\n" for name, password in users.items())
    return path


class Registry:
    """One docker-registry in a folder of its own.

    htpasswd   path of a file of bcrypt lines
    users      {name: password}: makes that file; the first one is whom client() signs in as
    tokens     a TokenServer (fakes.py): auth.token against it; client() signs in as `ci`
    tls        (certificate, key) of PrivateCA.server(); `ca` for client() then
    client_ca  path of a CA: a client certificate of it is demanded
    readonly   storage.maintenance.readonly: writes are 405
    data       folder of the storage, where another registry left it
    """

    def __init__(self, folder, deletion=True, htpasswd=None, users=None, tokens=None,
                 service="box-registry", tls=None, ca=None, client_ca=None, readonly=False,
                 data=None, level="warn"):
        os.makedirs(folder, exist_ok=True)
        self.headers = {}
        self.ca = ca
        self.auth = next(iter(users.items())) if users else tokens.account if tokens else None
        self.data = data or os.path.join(folder, "data")
        config = {
            "version": 0.1,
            "log": {"level": level, "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": self.data},
                        "delete": {"enabled": deletion},
                        "maintenance": {"readonly": {"enabled": readonly}}},
            "http": {"secret": "the same for every registry of the tests"},
        }
        if users:
            htpasswd = write_htpasswd(os.path.join(folder, "htpasswd"), users)
        if htpasswd:
            config["auth"] = {"htpasswd": {"realm": "box", "path": htpasswd}}
        if tokens:
            config["auth"] = {"token": {"realm": f"{tokens.url}/token", "service": service,
                                        "issuer": tokens.issuer, "rootcertbundle": tokens.bundle}}
        if tls:
            config["http"]["tls"] = {"certificate": tls[0], "key": tls[1]}
            if client_ca:
                config["http"]["tls"]["clientcas"] = [client_ca]
        self.scheme = "https" if tls else "http"
        self.start(folder, config)

    def start(self, folder, config):
        """Another process may take the free port before the registry does: then another one."""
        path = os.path.join(folder, "config.yml")
        for attempt in range(5):
            self.port = free_port()
            self.host = f"127.0.0.1:{self.port}"
            self.url = f"{self.scheme}://{self.host}"
            config["http"]["addr"] = self.host
            with open(path, "w", encoding="utf-8") as file:
                json.dump(config, file)
            try:
                self.process = Process("docker-registry", [tool("docker-registry"), "serve", path],
                                       os.path.join(folder, "log"), env={"HOME": folder},
                                       ready=lambda: is_open(("127.0.0.1", self.port)))
                return
            except AssertionError as error:
                if TAKEN not in str(error) or attempt == 4:
                    raise

    def stop(self):
        self.process.kill()

    def client(self, auth=None, cert=None):
        """An oci.Client, signed in as whom this registry knows unless told otherwise."""
        return Client(self.url, auth or self.auth, self.ca, cert)

    def call(self, method, path, body=None, headers=None):
        if self.scheme == "https" or self.auth:
            client = self.client()
            try:
                return client.call(method, path, body, {**self.headers, **(headers or {})})
            finally:
                client.close()
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

    def requests(self, since=0, name=None, who="slipway"):
        """(method, path with query, status) of each request since a mark, of one repository if
        named; of Slipway's only, unless `who` names another part of the User-Agent."""
        with open(self.process.log, "rb") as file:
            file.seek(since)
            text = file.read().decode("utf-8", "replace")
        rows = [(m, p, int(s)) for m, p, s, agent in LINE.findall(text) if who in agent]
        return [r for r in rows if name is None or f"/v2/{name}/" in r[1]]

    def count(self, since=0, name=None, who="slipway"):
        """{"GET manifests": 3, "POST uploads": 8, ...}: the requests by method and kind; a mount
        that worked is a "POST mount"."""
        found = {}
        for method, path, status in self.requests(since, name, who):
            kind = next((k for k in ("uploads", "blobs", "manifests", "tags", "referrers")
                         if f"/{k}/" in path), "other")
            if "mount=" in path and status == 201:
                kind = "mount"
            key = f"{method} {kind}"
            found[key] = found.get(key, 0) + 1
        return found
