"""Small images and a small registry client, with the standard library only."""

import gzip
import hashlib
import http.client
import io
import json
import os
import shutil
import subprocess
import tarfile

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ACCEPT = ", ".join([MANIFEST, "application/vnd.oci.image.index.v1+json",
                    "application/vnd.docker.distribution.manifest.v2+json",
                    "application/vnd.docker.distribution.manifest.list.v2+json"])


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encode(value):
    return json.dumps(value, separators=(",", ":")).encode()


class Image:
    """A manifest and the blobs that it names."""

    def __init__(self, manifest, media_type, blobs):
        self.manifest = manifest
        self.media_type = media_type
        self.blobs = blobs  # digest -> bytes
        self.digest = digest_of(manifest)


def from_files(files, labels=None):
    """An image FROM scratch with the given files (name -> bytes)."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    layer = gzip.compress(raw.getvalue(), mtime=0)
    config = encode({"architecture": "amd64", "os": "linux", "config": {"Labels": labels or {}},
                     "rootfs": {"type": "layers", "diff_ids": [digest_of(raw.getvalue())]}})
    manifest = encode({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": LAYER, "digest": digest_of(layer), "size": len(layer)}]})
    return Image(manifest, MANIFEST, {digest_of(config): config, digest_of(layer): layer})


def from_layout(path):
    """The one image of an OCI layout on disk."""
    def blob(digest):
        with open(os.path.join(path, "blobs", *digest.split(":")), "rb") as file:
            return file.read()

    with open(os.path.join(path, "index.json"), encoding="utf-8") as file:
        entry = json.load(file)["manifests"][0]
    manifest = blob(entry["digest"])
    parsed = json.loads(manifest)
    wanted = [parsed["config"], *parsed["layers"]]
    return Image(manifest, entry["mediaType"], {d["digest"]: blob(d["digest"]) for d in wanted})


def build(folder, context, name):
    """buildah builds the context's Containerfile (FROM scratch and COPY only, so that no root and
    no network is needed). Returns the image and how it was made. Where user namespaces are
    forbidden, the same image is put together here."""
    layout = folder.file("layouts", name)
    os.makedirs(os.path.dirname(layout), exist_ok=True)
    why = "buildah is not installed"
    if shutil.which("buildah"):
        base = ["buildah", "--root", folder.file("storage"), "--runroot", folder.file("runroot"),
                "--storage-driver", "vfs", "--storage-opt", "vfs.ignore_chown_errors=true"]
        log = folder.log("buildah")
        # Without root it keeps locks in the home directory, where nothing is to be left.
        env = dict(os.environ, HOME=folder.file("home"), XDG_RUNTIME_DIR=folder.file("home"))
        os.makedirs(env["HOME"], exist_ok=True)
        with open(log, "ab") as out:
            done = subprocess.run(
                [*base, "build", "--isolation", "chroot", "--format", "oci", "--timestamp", "0",
                 "--tag", f"localhost/{name}", context], env=env, stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, check=False)
            if done.returncode == 0:
                done = subprocess.run(
                    [*base, "push", f"localhost/{name}", f"oci:{layout}:{name}"], env=env,
                    stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False)
        if done.returncode == 0:
            return from_layout(layout), "buildah"
        why = f"buildah may not work here, see {os.path.relpath(log)}"
    files = {}
    for entry in sorted(os.listdir(context)):
        if entry != "Containerfile":
            with open(os.path.join(context, entry), "rb") as file:
                files[entry] = file.read()
    return from_files(files), f"a script ({why})"


class Registry:
    """A kept-alive connection to one registry."""

    def __init__(self, host, agent="slipway-demo"):
        self.host = host
        self.agent = agent
        self.connection = http.client.HTTPConnection(host, timeout=30)

    def close(self):
        self.connection.close()

    def call(self, method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers["User-Agent"] = self.agent
        try:
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.connection.close()  # it was idle for too long
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
        data = answer.read()
        return answer.status, answer.headers, data

    def expect(self, wanted, method, path, body=None, **headers):
        status, got, data = self.call(method, path, body, **headers)
        if status not in wanted:
            raise RuntimeError(f"{method} {path}: {status} {data[:200]!r}")
        return got, data

    def push(self, name, tag, image):
        for digest, blob in image.blobs.items():
            if self.call("HEAD", f"/v2/{name}/blobs/{digest}")[0] == 200:
                continue
            headers, _ = self.expect((202,), "POST", f"/v2/{name}/blobs/uploads/")
            place = headers["Location"].partition(self.host)[2] or headers["Location"]
            place += ("&" if "?" in place else "?") + f"digest={digest}"
            self.expect((201,), "PUT", place, blob, Content_Type="application/octet-stream")
        self.expect((201,), "PUT", f"/v2/{name}/manifests/{tag}", image.manifest,
                    Content_Type=image.media_type)

    def digest(self, name, tag):
        """What a tag shows, None when it is not there."""
        status, headers, _ = self.call("HEAD", f"/v2/{name}/manifests/{tag}", Accept=ACCEPT)
        return headers["Docker-Content-Digest"] if status == 200 else None

    def tags(self, name):
        status, _, data = self.call("GET", f"/v2/{name}/tags/list")
        return sorted(json.loads(data)["tags"] or []) if status == 200 else []

    def pull(self, name, tag):
        """Reads an image whole and checks every byte; returns digest, blobs and their size."""
        _, manifest = self.expect((200,), "GET", f"/v2/{name}/manifests/{tag}", Accept=ACCEPT)
        parsed = json.loads(manifest)
        total = len(manifest)
        wanted = [parsed["config"], *parsed["layers"]]
        for entry in wanted:
            _, data = self.expect((200,), "GET", f"/v2/{name}/blobs/{entry['digest']}")
            if digest_of(data) != entry["digest"]:
                raise RuntimeError(f"{entry['digest']} came with other bytes")
            total += len(data)
        return digest_of(manifest), len(wanted), total
