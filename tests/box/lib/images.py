"""Images that are made and put into a registry by plain HTTP, and what a registry then shows.

`where` is everywhere a base URL ("http://127.0.0.1:5000", with auth=(user, password), ca=path,
cert=(cert, key) as keywords where needed) or an oci.Client. Every push returns a Pushed: the digest
of what the tag shows, as a str, which also knows .manifests and .blobs (digests) and .bytes.
"""

import base64
import gzip
import hashlib
import io
import json
import random
import tarfile

from . import pki
from .oci import (ACCEPT, CONFIG, DOCKER_LIST, DOCKER_MANIFEST, INDEX, LAYER, MANIFEST, client_of)

EMPTY = "application/vnd.oci.empty.v1+json"
SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGN = "https://sigstore.dev/cosign/sign/v1"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def random_layer(size, seed=None):
    """Bytes that don't compress; the same for the same seed."""
    return random.Random(seed).randbytes(size)


def gzip_layer(size, seed=None):
    """A packed tar of one file of random bytes: what skopeo copies as it is, where it would pack
    other bytes anew."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            item = tarfile.TarInfo("data")
            item.size = size
            tar.addfile(item, io.BytesIO(random_layer(size, seed)))
    return out.getvalue()


class Pushed(str):
    """A digest, and what belongs to it."""

    def __new__(cls, digest, manifests=(), blobs=(), data=b""):
        self = super().__new__(cls, digest)
        self.manifests = list(manifests)
        self.blobs = list(blobs)
        self.bytes = data
        return self


# --- parts --------------------------------------------------------------------------------------

def push_blob(where, name, data, **how):
    """A descriptor without its type."""
    client = client_of(where, **how)
    digest = digest_of(data)
    start = client.expect(202, "POST", f"/v2/{name}/blobs/uploads/", b"",
                          {"Content-Length": "0"})
    url = start.headers["Location"]
    url += ("&" if "?" in url else "?") + f"digest={digest}"
    client.expect(201, "PUT", url.replace(client.base, ""), data,
                  {"Content-Type": "application/octet-stream"})
    return {"digest": digest, "size": len(data)}


def put_manifest(where, name, ref, value, media_type=None, **how):
    """Puts a manifest (dict, or its bytes); returns the answer."""
    client = client_of(where, **how)
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    kind = media_type or json.loads(data)["mediaType"]
    return client.expect(201, "PUT", f"/v2/{name}/manifests/{ref or digest_of(data)}", data,
                         {"Content-Type": kind})


def content(layer):
    return layer if isinstance(layer, bytes) else random_layer(layer)


def packed(layer, docker):
    """The end of a layer's media type."""
    return "+gzip" if layer.startswith(b"\x1f\x8b") and not docker else ""


def image(client, name, layers, config, docker, annotations):
    """(manifest's bytes, blobs); the blobs are pushed."""
    layers = [content(layer) for layer in layers]
    if not isinstance(config, bytes):
        config = json.dumps({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
            **(config or {})}).encode()
    kinds = (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER) if docker else (MANIFEST, CONFIG, LAYER)
    value = {"schemaVersion": 2, "mediaType": kinds[0],
             "config": {"mediaType": kinds[1], **push_blob(client, name, config)},
             "layers": [{"mediaType": kinds[2] + packed(layer, docker),
                         **push_blob(client, name, layer)} for layer in layers]}
    if annotations:
        value["annotations"] = annotations
    blobs = [value["config"]["digest"], *(layer["digest"] for layer in value["layers"])]
    return json.dumps(value).encode(), blobs


# --- images -------------------------------------------------------------------------------------

def push_image(where, name, tag, layers=(1000,), config=None, docker=False, annotations=None,
               **how):
    """Layers are bytes (see gzip_layer), or sizes of random ones; config is bytes, or keys to add
    to a usual one. Without a tag the manifest is put by its digest."""
    client = client_of(where, **how)
    data, blobs = image(client, name, layers, config, docker, annotations)
    put_manifest(client, name, tag, data)
    return Pushed(digest_of(data), [digest_of(data)], dict.fromkeys(blobs), data)


def push_index(where, name, tag, platforms=("linux/amd64", "linux/arm64"), layers=3, size=1000,
               seed=None, docker=False, annotations=None, **how):
    """An index of an image for each platform. `layers`: how many of `size`, all different, or a
    list of what each of them has. .manifests are the children in order, then the index."""
    client = client_of(where, **how)
    children, blobs = [], {}
    for number, platform in enumerate(platforms):
        system, _, arch = platform.partition("/")
        arch, _, variant = arch.partition("/")
        parts = layers if isinstance(layers, (list, tuple)) else [
            random_layer(size, None if seed is None else f"{seed} {number} {n}")
            for n in range(layers)]
        data, made = image(client, name, parts, {"os": system, "architecture": arch}, docker, None)
        put_manifest(client, name, None, data)
        child = {"mediaType": DOCKER_MANIFEST if docker else MANIFEST, "digest": digest_of(data),
                 "size": len(data), "platform": {"architecture": arch, "os": system}}
        if variant:
            child["platform"]["variant"] = variant
        children.append(child)
        blobs.update(dict.fromkeys(made))
    value = {"schemaVersion": 2, "mediaType": DOCKER_LIST if docker else INDEX,
             "manifests": children}
    if annotations:
        value["annotations"] = annotations
    data = json.dumps(value).encode()
    put_manifest(client, name, tag, data)
    manifests = [child["digest"] for child in children] + [digest_of(data)]
    return Pushed(digest_of(data), manifests, blobs, data)


def push_artifact(where, name, tag=None, subject=None, artifact_type="application/x.box",
                  data=b"artifact", media_type=None, annotations=None, layers=None, fallback=True,
                  **how):
    """Without an image's config; `layers` replaces the one layer of `data`. With `subject` (a
    digest in this repository) it refers to that, and where the registry doesn't say OCI-Subject the
    fallback tag is kept (unless fallback=False)."""
    client = client_of(where, **how)
    if layers is None:
        layers = [{"mediaType": media_type or artifact_type, **push_blob(client, name, data)}]
    value = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact_type,
             "config": {"mediaType": EMPTY, **push_blob(client, name, b"{}")}, "layers": layers}
    if annotations:
        value["annotations"] = annotations
    if subject:
        shown = manifest(client, name, subject)
        value["subject"] = {"mediaType": shown.headers["Content-Type"], "digest": str(subject),
                            "size": len(shown.body)}
    made = json.dumps(value).encode()
    answer = put_manifest(client, name, tag, made)
    if subject and fallback and not answer.headers.get("OCI-Subject"):
        item = {"mediaType": MANIFEST, "digest": digest_of(made), "size": len(made),
                "artifactType": artifact_type, **({"annotations": annotations} if annotations
                                                  else {})}
        add_fallback(client, name, subject, item)
    blobs = [value["config"]["digest"], *(layer["digest"] for layer in layers)]
    return Pushed(digest_of(made), [digest_of(made)], blobs, made)


def add_fallback(where, name, subject, item, **how):
    """Adds a descriptor to the index at sha256-<hex>, the referrers tag."""
    client = client_of(where, **how)
    tag = subject.replace(":", "-")
    old = manifest(client, name, tag)
    items = json.loads(old.body)["manifests"] if old.status == 200 else []
    put_manifest(client, name, tag, {"schemaVersion": 2, "mediaType": INDEX,
                                     "manifests": [*items, item]})


# --- signatures ---------------------------------------------------------------------------------

def simple_signing(name, digest, kind="cosign container image signature"):
    return json.dumps({"critical": {"identity": {"docker-reference": name},
                                    "image": {"docker-manifest-digest": str(digest)},
                                    "type": kind}, "optional": None}).encode()


def push_cosign_signature(where, name, digest, key, by="tag", payload=None, signature=None, **how):
    """A signature by the private key at `key`: by="tag" at sha256-<hex>.sig, by="referrer" as one,
    by="bundle" as cosign 3 makes it. `payload` (bytes) and `signature` (DER) may be told otherwise,
    to be wrong."""
    client = client_of(where, **how)
    if by == "bundle":
        return push_bundle(client, name, digest, key, payload, signature)
    payload = simple_signing(name, digest) if payload is None else payload
    signature = pki.sign(key, payload) if signature is None else signature
    layer = {"mediaType": SIMPLE, **push_blob(client, name, payload), "annotations": {
        "dev.cosignproject.cosign/signature": base64.b64encode(signature).decode()}}
    if by == "referrer":
        return push_artifact(client, name, subject=digest, artifact_type=SIMPLE, layers=[layer])
    config = json.dumps({"architecture": "", "config": {}, "os": "", "rootfs": {
        "type": "layers", "diff_ids": [layer["digest"]]}}).encode()
    data = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": {
        "mediaType": CONFIG, **push_blob(client, name, config)}, "layers": [layer]}).encode()
    put_manifest(client, name, digest.replace(":", "-") + ".sig", data)
    return Pushed(digest_of(data), [digest_of(data)], [digest_of(config), layer["digest"]], data)


def push_bundle(where, name, digest, key, payload=None, signature=None, predicate=SIGN, **how):
    client = client_of(where, **how)
    if payload is None:
        payload = json.dumps({
            "_type": "https://in-toto.io/Statement/v1", "predicateType": predicate,
            "subject": [{"digest": {"sha256": digest.partition(":")[2]}}],
            "predicate": {}}).encode()
    kind = "application/vnd.in-toto+json"
    pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    signature = pki.sign(key, pae) if signature is None else signature
    bundle = {"mediaType": BUNDLE, "verificationMaterial": {"publicKey": {"hint": "box"}},
              "dsseEnvelope": {"payload": base64.b64encode(payload).decode(), "payloadType": kind,
                               "signatures": [{"sig": base64.b64encode(signature).decode()}]}}
    return push_artifact(client, name, subject=digest, artifact_type=BUNDLE,
                         data=json.dumps(bundle).encode(),
                         annotations={"dev.sigstore.bundle.predicateType": predicate})


# --- what a registry shows ----------------------------------------------------------------------

def manifest(where, name, ref, **how):
    """The answer to GET: .status, .headers, .body."""
    return client_of(where, **how).call("GET", f"/v2/{name}/manifests/{ref}",
                                        headers={"Accept": ACCEPT})


def blob(where, name, digest, **how):
    """The bytes, checked; None when it is not there."""
    answer = client_of(where, **how).call("GET", f"/v2/{name}/blobs/{digest}")
    if answer.status == 404:
        return None
    assert answer.status == 200 and digest_of(answer.body) == digest, answer.status
    return answer.body


def tags(where, name, **how):
    """{tag: digest, computed from the bytes}; {} when the repository is not there."""
    client = client_of(where, **how)
    answer = client.call("GET", f"/v2/{name}/tags/list")
    if answer.status == 404:
        return {}
    assert answer.status == 200, answer
    found = {}
    for tag in json.loads(answer.body)["tags"] or ():
        shown = manifest(client, name, tag)
        if shown.status == 200:
            found[tag] = digest_of(shown.body)
    return found


def whole(where, name, ref, **how):
    """Reads an image with everything below it, every byte checked: the set of its digests. Fails
    when anything is missing or wrong."""
    client = client_of(where, **how)
    answer = manifest(client, name, ref)
    assert answer.status == 200, f"{name}:{ref}: {answer.status}"
    digest = digest_of(answer.body)
    assert not ref.startswith("sha256:") or ref == digest, f"{name}@{ref} shows {digest}"
    value, found = json.loads(answer.body), {digest}
    for child in value.get("manifests", ()):
        found |= whole(client, name, child["digest"])
    for item in [value[k] for k in ("config",) if k in value] + value.get("layers", []):
        data = blob(client, name, item["digest"])
        assert data is not None and len(data) == item["size"], f"{name}@{item['digest']}"
        found.add(item["digest"])
    return found
