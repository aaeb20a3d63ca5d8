"""require_signature: only what a configured key has signed is promoted. Keys and signatures are
openssl's, laid out as cosign lays them out."""

import base64
import json
import os
import subprocess

import pytest

from lib.net import wait_until
from lib.process import tool
from lib.project import new_project
from lib.registry import CONFIG, INDEX, MANIFEST, digest_of

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
IN_TOTO = "application/vnd.in-toto+json"


def openssl(*argv, data=b""):
    return subprocess.run([tool("openssl"), *argv], input=data, check=True,
                          capture_output=True).stdout


class Key:
    def __init__(self, folder, name):
        self.path = os.path.join(folder, name + ".key")
        self.public = os.path.join(folder, name + ".pub")
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
                self.path)
        openssl("pkey", "-in", self.path, "-pubout", "-out", self.public)

    def sign(self, data):
        return base64.b64encode(openssl("dgst", "-sha256", "-sign", self.path, data=data)).decode()


def config_blob(registry, name):
    return {"mediaType": CONFIG, **registry.blob(name, b"{}")}


def sign(registry, name, digest, key, says=None):
    """What `cosign sign --key` of version 2 leaves: a layer at the tag sha256-<hex>.sig. `says` is
    the digest in the signed document."""
    document = json.dumps({
        "critical": {"identity": {"docker-reference": name},
                     "image": {"docker-manifest-digest": says or digest},
                     "type": "cosign container image signature"},
        "optional": None}).encode()
    layer = {"mediaType": SIMPLE, **registry.blob(name, document),
             "annotations": {"dev.cosignproject.cosign/signature": key.sign(document)}}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config_blob(registry, name),
                "layers": [layer]}
    registry.put(name, digest.replace(":", "-") + ".sig", json.dumps(manifest).encode(), MANIFEST)


def sign_as_referrer(registry, name, digest, key, predicate="https://sigstore.dev/cosign/sign/v1"):
    """What version 3 leaves at a registry without the referrers API."""
    statement = json.dumps({"_type": "https://in-toto.io/Statement/v1",
                            "subject": [{"digest": {"sha256": digest[7:]}}],
                            "predicateType": predicate, "predicate": {}}).encode()
    pae = b"DSSEv1 %d %s %d %s" % (len(IN_TOTO), IN_TOTO.encode(), len(statement), statement)
    bundle = json.dumps({
        "mediaType": BUNDLE, "verificationMaterial": {"publicKey": {"hint": "x"}},
        "dsseEnvelope": {"payload": base64.b64encode(statement).decode(), "payloadType": IN_TOTO,
                         "signatures": [{"sig": key.sign(pae)}]}}).encode()
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE,
        "config": config_blob(registry, name),
        "layers": [{"mediaType": BUNDLE, **registry.blob(name, bundle)}],
        "subject": {"mediaType": MANIFEST, "digest": digest, "size": 1}}).encode()
    row = {"mediaType": MANIFEST, "artifactType": BUNDLE, "size": len(manifest),
           "digest": registry.put(name, digest_of(manifest), manifest, MANIFEST)}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [row]}
    registry.put(name, digest.replace(":", "-"), json.dumps(index).encode(), INDEX)


@pytest.fixture
def key(tmp_path):
    return Key(str(tmp_path), "release")


def signed_project(new_slipway, registry, *keys):
    return new_project(new_slipway, registry,
                       require_signature=["file:" + key.public for key in keys])


def retry(project, task):
    done = project.slipway.cli("queue", "retry", str(task["id"]))
    assert done.returncode == 0, done


def written(registry, since, name):
    return [row for row in registry.requests(since, name) if row[0] not in ("GET", "HEAD")]


def test_unsigned_is_not_published_and_signed_is(new_slipway, registry, repository, key):
    project = signed_project(new_slipway, registry, key)
    commit = project.list((repository, ["latest", "stable"]))
    old = registry.push(repository, "latest", "old")
    for tag in ("latest", "stable"):
        digest = registry.push(repository, f"change_1_{tag}", "new")
    since = registry.mark()
    project.merged(1, commit)
    task = project.ended(1)
    assert task["state"] == "dead", task
    assert f"{registry.host}/{repository}@{digest} is not signed" in task["reason"], task
    assert "release.pub" in task["reason"] and "queue retry" in task["reason"], task
    assert registry.digest(repository, "latest") == old
    assert registry.digest(repository, "stable") is None
    assert not written(registry, since, repository)
    assert len([r for r in registry.requests(since, repository) if r[1].endswith(".sig")]) == 1
    sign(registry, repository, digest, key)
    retry(project, task)
    assert project.ended(1, ("done",))["state"] == "done"
    assert registry.digest(repository, "latest") == registry.digest(repository, "stable") == digest
    # The signature stays with the digest; what goes is the staged tag.
    wait_until(lambda: registry.tags(repository) == [
        "latest", digest.replace(":", "-") + ".sig", "stable"], what="the staged tags are gone")


def test_one_unsigned_image_holds_back_all(new_slipway, registry, repository, key):
    project = signed_project(new_slipway, registry, key)
    tools = repository + "/tools"
    commit = project.list((repository, ["latest"]), (tools, ["latest"]))
    sign(registry, repository, registry.push(repository, "change_2_latest"), key)
    digest = registry.push(tools, "change_2_latest", "other")
    project.merged(2, commit)
    task = project.ended(2)
    assert task["state"] == "dead" and f"{tools}@{digest} is not signed" in task["reason"], task
    assert registry.digest(repository, "latest") is registry.digest(tools, "latest") is None


def test_replayed_and_foreign_signatures_do_not_count(new_slipway, registry, repository, key,
                                                      tmp_path):
    project = signed_project(new_slipway, registry, key)
    commit = project.list((repository, ["latest"]))
    good = registry.push(repository, "former", "good")
    digest = registry.push(repository, "change_3_latest", "evil")
    sign(registry, repository, digest, key, says=good)
    project.merged(3, commit)
    task = project.ended(3)
    assert task["state"] == "dead" and "another digest" in task["reason"], task
    assert good in task["reason"] and digest in task["reason"], task
    sign(registry, repository, digest, Key(str(tmp_path), "stranger"))
    retry(project, task)
    task = wait_until(lambda: next((t for t in [project.task(3)] if t["state"] == "dead"
                                    and "another digest" not in t["reason"]), None),
                      what="the stranger's signature is refused")
    assert "not by a key that counts" in task["reason"], task
    assert registry.digest(repository, "latest") is None


def test_the_index_itself_must_be_signed(new_slipway, registry, repository, key):
    project = signed_project(new_slipway, registry, key)
    commit = project.list((repository, ["latest"]))
    digest = registry.push_index(repository, "change_4_latest")
    for child in json.loads(registry.manifest(repository, digest).body)["manifests"]:
        sign(registry, repository, child["digest"], key)
    project.merged(4, commit)
    task = project.ended(4)
    assert task["state"] == "dead" and f"{digest} is not signed" in task["reason"], task
    sign(registry, repository, digest, key)
    retry(project, task)
    assert project.ended(4, ("done",))["state"] == "done"
    assert registry.digest(repository, "latest") == digest


def test_referrer_by_any_of_two_keys(new_slipway, registry, repository, key, tmp_path):
    project = signed_project(new_slipway, registry, Key(str(tmp_path), "other"), key)
    commit = project.list((repository, ["latest"]))
    digest = registry.push(repository, "change_5_latest")
    sign_as_referrer(registry, repository, digest, key, "https://slsa.dev/provenance/v1")
    project.merged(5, commit)
    task = project.ended(5)
    assert task["state"] == "dead" and "predicateType" in task["reason"], task
    assert "other.pub or release.pub" in task["reason"], task
    sign_as_referrer(registry, repository, digest, key)
    retry(project, task)
    assert project.ended(5, ("done",))["state"] == "done"
    assert registry.digest(repository, "latest") == digest


def test_a_private_key_is_refused_and_never_shown(new_slipway, registry, key):
    project = new_project(new_slipway, registry, started=False,
                          require_signature="file:" + key.path)
    done = project.slipway.cli("check", "--as", "work")
    assert done.returncode == 2, done
    said = (done.stdout + done.stderr).decode()
    assert "private key" in said and key.path in said, said
    with open(key.path, encoding="utf-8") as file:
        body = file.read().splitlines()[1]
    assert body not in said
