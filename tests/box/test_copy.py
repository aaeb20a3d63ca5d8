"""`slipway inspect` and `slipway copy`, as a user sees them, against real registries."""

import base64
import ctypes
import json
import os
import re
import resource
import signal
import subprocess
import time

import pytest

from lib import images
from lib.byhand import ended, on_terminal, run, start
from lib.images import digest_of, push_artifact, push_cosign_signature, push_image, push_index
from lib.net import free_port, wait_until
from lib.pki import signing_key
from lib.process import environment, tool

DIGEST = "sha256:" + "0" * 64
WRITES = ("PUT", "POST", "PATCH", "DELETE")


def plain(*servers):
    return [word for s in servers for word in ("--plain-http", s.host)]


def at(server, name, tag="v1"):
    return f"{server.host}/{name}" + ("" if not tag else "@" + tag if ":" in tag else ":" + tag)


def writes(server, mark, name):
    return [r for r in server.requests(mark, name) if r[0] in WRITES]


def auth_file(folder, server, user="ci", password="geheim-wort"):
    path = os.path.join(folder, "auth.json")
    text = base64.b64encode(f"{user}:{password}".encode()).decode()
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"auths": {server.host: {"auth": text}}}, file)
    os.chmod(path, 0o600)
    return path


# --- what is copied -----------------------------------------------------------------------------

def docker_image(where, name, tag):
    return push_image(where, name, tag, layers=(700, 800), docker=True)


def docker_list(where, name, tag):
    return push_index(where, name, tag, docker=True)


@pytest.mark.parametrize("push", [push_image, push_index, docker_image, docker_list,
                                  push_artifact])
def test_any_image_arrives_whole(registry, twin, repository, push):
    pushed = push(registry.client(), repository, "v1")
    ran = run("copy", at(registry, repository), at(twin, repository, ""), *plain(registry, twin))
    assert ran.code == 0, ran
    assert ran.out == f"{pushed} {at(twin, repository)}\n"
    assert images.tags(twin.client(), repository) == {"v1": pushed}
    source = images.manifest(registry.client(), repository, "v1")
    target = images.manifest(twin.client(), repository, "v1")
    assert target.body == source.body
    assert target.headers["Content-Type"] == source.headers["Content-Type"]
    assert images.whole(twin.client(), repository, "v1") == {*pushed.manifests, *pushed.blobs}
    again = run("copy", at(registry, repository), at(twin, repository), "--format", "json",
                *plain(registry, twin))
    assert again.json["copies"][0]["state"] == "same" and again.code == 0


def test_by_digest_and_to_several(registry, twin, repository):
    pushed = push_image(registry.client(), repository, "v1")
    ran = run("copy", at(registry, repository, pushed), at(twin, repository, ""),
              *plain(registry, twin))
    assert ran.code == 0 and ran.out == f"{pushed} {at(twin, repository, pushed)}\n"
    assert images.tags(twin.client(), repository) == {}
    images.whole(twin.client(), repository, pushed)
    ran = run("copy", "docker://" + at(registry, repository), at(twin, repository + "-a"),
              at(twin, repository + "-b", "x"), "--tag", "v1.0", "-t", "v1", *plain(registry, twin))
    assert ran.code == 0, ran
    assert images.tags(twin.client(), repository + "-a") == {"v1": pushed, "v1.0": pushed}
    assert images.tags(twin.client(), repository + "-b") == {"x": pushed, "v1.0": pushed,
                                                             "v1": pushed}


def test_expected_digest(registry, twin, repository):
    pushed = push_image(registry.client(), repository, "v1")
    words = ["copy", at(registry, repository), at(twin, repository), *plain(registry, twin)]
    wrong = run(*words, "--expect", DIGEST)
    assert wrong.code == 1 and pushed in wrong.err and DIGEST in wrong.err, wrong
    assert not writes(twin, 0, repository)
    assert run(*words, "--expect", pushed).code == 0
    assert images.tags(twin.client(), repository) == {"v1": pushed}


def test_dry_run_writes_nothing(registry, twin, repository):
    pushed = push_index(registry.client(), repository, "v1")
    mark = twin.mark()
    words = ["copy", "--dry-run", "--exit-code", at(registry, repository), at(twin, repository),
             *plain(registry, twin)]
    ran = run(*words, "--format", "json")
    assert ran.code == 3, ran
    copy = ran.json["copies"][0]
    assert (copy["state"], copy["digest"], copy["blobs"]) == ("would-copy", pushed, 8)
    assert not writes(twin, mark, repository)
    assert run(*[w for w in words if w != "--exit-code"]).code == 0
    assert run("copy", *words[3:]).code == 0
    assert run(*words).code == 0


def test_dry_run_makes_no_layout(registry, repository, tmp_path):
    push_image(registry.client(), repository, "v1")
    ran = run("copy", "-n", at(registry, repository), f"oci:{tmp_path}/new", *plain(registry))
    assert ran.code == 0, ran
    assert not os.listdir(tmp_path)


def test_platforms_keep_the_digest(registry, fake, repository):
    pushed = push_index(registry.client(), repository, "v1",
                        ("linux/amd64", "linux/arm64", "linux/arm/v7"))
    words = ["copy", at(registry, repository), at(fake, repository), *plain(registry, fake)]
    ran = run(*words, "--platform", "linux/arm64")
    assert ran.code == 0, ran
    assert fake.digest(repository, "v1") == pushed
    assert images.manifest(fake.client(), repository, pushed.manifests[1]).status == 200
    assert images.manifest(fake.client(), repository, pushed.manifests[0]).status == 404
    ran = run(*words, "--platform", "linux/s390x")
    assert ran.code == 1 and "linux/s390x" in ran.err and "linux/arm64" in ran.err, ran


# docker-registry takes no index of which parts are missing.
def test_platforms_where_a_registry_refuses(registry, twin, repository):
    push_index(registry.client(), repository, "v1")
    ran = run("copy", at(registry, repository), at(twin, repository), "--platform", "linux/amd64",
              *plain(registry, twin))
    assert ran.code == 1 and "copy all platforms" in ran.err, ran
    assert images.tags(twin.client(), repository) == {}


def test_quiet_and_json(registry, twin, repository):
    pushed = push_index(registry.client(), repository, "v1")
    words = ["copy", at(registry, repository), at(twin, repository), *plain(registry, twin)]
    ran = run(*words, "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, f"{pushed} {at(twin, repository)}\n", ""), ran
    ran = run(*words[:2], at(twin, repository + "-2"), *words[3:], "--format", "json")
    copy = ran.json["copies"][0]
    assert copy["source"] == at(registry, repository)
    assert copy["targets"] == [at(twin, repository + "-2")]
    assert (copy["state"], copy["digest"], copy["blobs"]) == ("copied", pushed, 8)
    assert copy["blobs_moved"] + copy["blobs_mounted"] == 8 and copy["bytes_moved"] > 6000
    assert ran.err == "", ran
    absent = run(*words[:1], at(registry, repository, "nope"), *words[2:], "--format", "json")
    assert absent.code == 4 and absent.json["copies"][0]["absent"] is True
    absent = run(*words[:1], at(registry, repository, "nope"), *words[2:], "--quiet")
    assert absent.code == 4 and absent.err.count("\n") == 1, absent


# --- OCI layouts --------------------------------------------------------------------------------

def test_layout_out_and_in(registry, twin, repository, tmp_path):
    pushed = push_index(registry.client(), repository, "v1")
    layout = f"oci:{tmp_path}/out"
    ran = run("copy", at(registry, repository), layout, *plain(registry))
    assert ran.code == 0 and ran.out == f"{pushed} {layout}:v1\n", ran
    assert run("inspect", "--tags", layout).out == "v1\n"
    for source in (layout, layout + ":v1"):
        name = repository + source[-1]
        ran = run("copy", source, at(twin, name, "v2"), *plain(twin))
        assert ran.code == 0, ran
        assert images.tags(twin.client(), name) == {"v2": pushed}
        images.whole(twin.client(), name, "v2")
    absent = run("copy", layout + ":other", at(twin, repository), *plain(twin))
    assert absent.code == 4 and "v1" in absent.err, absent
    shown = run("inspect", layout + ":other")
    assert shown.code == 4 and "v1" in shown.err, shown
    assert run("inspect", f"{layout}:v1", "--format", "json").json["digest"] == pushed
    missing = run("copy", f"oci:{tmp_path}/nowhere", at(twin, repository), *plain(twin))
    assert missing.code == 4 and "nowhere" in missing.err, missing
    assert run("inspect", f"oci:{tmp_path}/nowhere").code == 4
    ran = run("copy", layout, at(twin, repository + "-n", ""), at(twin, repository + "-n"),
              *plain(twin, registry))
    assert ran.out == f"{pushed} {at(twin, repository + '-n')}\n", ran
    bare = f"oci:{tmp_path}/bare"
    assert run("copy", at(registry, repository, pushed), bare, *plain(registry)).code == 0
    ran = run("copy", bare, at(twin, repository, ""), *plain(twin))
    assert ran.code == 2 and "name one, as in" in ran.err, ran


def test_layout_whose_bytes_are_wrong(registry, twin, repository, tmp_path):
    pushed = push_image(registry.client(), repository, "v1", layers=(5000,))
    assert run("copy", at(registry, repository), f"oci:{tmp_path}/o", *plain(registry)).code == 0
    layer = list(pushed.blobs)[1]
    path = tmp_path / "o" / "blobs" / "sha256" / layer[7:]
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    ran = run("copy", f"oci:{tmp_path}/o:v1", at(twin, repository), *plain(twin))
    assert ran.code == 1 and "wrong bytes" in ran.err and layer in ran.err, ran
    assert images.tags(twin.client(), repository) == {}


def no_leftovers(folder):
    """Nothing temporary, and each blob is what its name says."""
    for base, _, names in os.walk(folder):
        for name in names:
            assert not name.startswith("."), (base, name)
            if os.path.basename(base) == "sha256":
                with open(os.path.join(base, name), "rb") as file:
                    assert digest_of(file.read()) == "sha256:" + name


def test_full_disk_under_a_layout(registry, repository, tmp_path):
    push_image(registry.client(), repository, "v1", layers=(2 << 20, 1000))
    words = ["copy", at(registry, repository), f"oci:{tmp_path}/o", *plain(registry)]
    folder = tmp_path / "o"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    mounted = libc.mount(b"none", bytes(folder), b"tmpfs", 0, b"size=1m") == 0
    try:
        if mounted:
            ran = run(*words)
        else:
            ran = run(*words, preexec_fn=lambda: (
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
                resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))))
        assert ran.code == 75 and str(folder) in ran.err, ran
        assert "No space left" in ran.err or "File too large" in ran.err, ran
        no_leftovers(folder)
        shown = run("inspect", "--tags", f"oci:{folder}")
        assert shown.out == "", shown
    finally:
        if mounted:
            libc.umount(bytes(folder))
    assert run(*words).code == 0
    no_leftovers(folder)


# --- companions ---------------------------------------------------------------------------------

def test_companions_come_along(registry, twin, repository, tmp_path):
    key, _ = signing_key(str(tmp_path))
    pushed = push_image(registry.client(), repository, "v1")
    signature = push_cosign_signature(registry.client(), repository, pushed, key)
    sbom = push_artifact(registry.client(), repository, subject=pushed, data=b"an SBOM")
    words = ["copy", at(registry, repository), *plain(registry, twin)]
    ran = run(*words, at(twin, repository), "--format", "json")
    assert ran.code == 0 and ran.json["copies"][0]["companions"] == 2, ran
    shown = images.tags(twin.client(), repository)
    hexed = pushed.replace(":", "-")
    assert shown["v1"] == pushed and shown[hexed + ".sig"] == signature
    index = json.loads(images.manifest(twin.client(), repository, hexed).body)
    assert [m["digest"] for m in index["manifests"]] == [sbom]
    images.whole(twin.client(), repository, sbom)
    seen = run("inspect", at(twin, repository), "--format", "json", *plain(twin)).json
    assert seen["cosign_tags"] == [hexed + ".sig"]
    assert [r["digest"] for r in seen["referrers"]] == [sbom]
    assert run(*words, at(twin, repository + "-bare"), "--no-companions").code == 0
    assert images.tags(twin.client(), repository + "-bare") == {"v1": pushed}
    layout = f"oci:{tmp_path}/l"
    assert run("copy", at(registry, repository), layout, *plain(registry)).code == 0
    assert run("copy", layout + ":v1", at(twin, repository + "-back"), *plain(twin)).code == 0
    back = images.tags(twin.client(), repository + "-back")
    assert back[hexed + ".sig"] == signature and hexed in back


# --- interrupted --------------------------------------------------------------------------------

def slow(fake, repository, seconds=20):
    """An image of eight layers, the last two of which take their time."""
    layers = [images.random_layer(20000 + n, n) for n in range(8)]
    pushed = push_image(fake.client(), repository, "v1", layers=layers)
    for layer in list(pushed.blobs)[7:]:
        fake.rule("GET", f"/blobs/{layer}", times=9, mangle={"stall": seconds})
    return pushed


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_run_again(fake, twin, repository, number):
    pushed = slow(fake, repository)
    words = ["copy", at(fake, repository), at(twin, repository), "--format", "json",
             *plain(fake, twin)]
    mark = twin.mark()
    process = start(*words)
    wait_until(lambda: twin.count(mark, repository).get("PUT uploads", 0) >= 6, what="six blobs")
    began = time.monotonic()
    process.send_signal(number)
    ran = ended(process)
    assert ran.code == -number and time.monotonic() - began < 2, ran
    assert images.tags(twin.client(), repository) == {}
    fake.rules()
    again = run(*words)
    copy = again.json["copies"][0]
    assert again.code == 0 and copy["blobs"] == 9 and 1 <= copy["blobs_moved"] <= 3, again
    assert images.tags(twin.client(), repository) == {"v1": pushed}
    images.whole(twin.client(), repository, "v1")


def test_time_limit(fake, twin, repository):
    """Ends then, takes its uploads back, keeps what is there; the next run goes on."""
    pushed = slow(fake, repository)
    words = ["copy", at(fake, repository), at(twin, repository), "--format", "json",
             *plain(fake, twin)]
    mark = twin.mark()
    began = time.monotonic()
    ran = run(*words, "--timeout", "3s")
    assert ran.code == 75 and 2.5 < time.monotonic() - began < 12, ran
    reason = ran.json["copies"][0]["reason"]
    assert "not done within the time limit" in reason and "next run goes on" in reason, reason
    did = twin.count(mark, repository)
    assert did["DELETE uploads"] == 2, did
    assert images.tags(twin.client(), repository) == {}
    fake.rules()
    again = run(*words, "--timeout", "10m")
    assert again.code == 0 and 1 <= again.json["copies"][0]["blobs_moved"] <= 3, again
    assert images.tags(twin.client(), repository) == {"v1": pushed}


@pytest.mark.parametrize("time_limit", ["0", "0s", "-1s", "1.5h", "1w", "h", "366d", "9" * 30])
def test_wrong_time_limits(time_limit):
    ran = run("copy", "--timeout", time_limit, "a.example/b:c", "d.example/e:f")
    assert ran.code == 2 and "--timeout is a time like 90s, 10m" in ran.err, ran


# --- hostile and absent sources -----------------------------------------------------------------

def test_wrong_bytes_from_the_source(fake, twin, repository):
    pushed = push_image(fake.client(), repository, "v1", layers=(5000,))
    fake.rule("GET", f"/blobs/{list(pushed.blobs)[1]}", times=99, mangle={"flip": 100})
    ran = run("copy", at(fake, repository), at(twin, repository), *plain(fake, twin))
    assert ran.code == 1 and "wrong bytes" in ran.err, ran
    assert images.tags(twin.client(), repository) == {}
    assert images.blob(twin.client(), repository, list(pushed.blobs)[1]) is None


def test_wrong_manifest_from_the_source(fake, twin, repository):
    push_image(fake.client(), repository, "v1")
    fake.config(corrupt=True)
    ran = run("copy", at(fake, repository), at(twin, repository), *plain(fake, twin))
    assert ran.code == 1, ran
    assert not writes(twin, 0, repository)
    assert run("inspect", at(fake, repository), *plain(fake)).code == 1


@pytest.mark.parametrize("command", ["copy", "inspect"])
def test_absent_and_denied(registry, twin, token_registry, token_service, repository, command):
    push_image(registry.client(), repository, "v1")
    push_image(token_registry.client(), repository, "v1")
    more = [at(twin, repository)] if command == "copy" else []
    used = plain(*([registry, twin] if more else [registry]))
    for source in (at(registry, repository, "v9"), at(registry, repository, DIGEST),
                   at(registry, repository + "/none")):
        ran = run(command, source, *more, *used)
        assert ran.code == 4 and source in ran.err, ran
    used = plain(token_registry, *([twin] if more else []))
    ran = run(command, at(token_registry, repository), *more, *used)
    assert ran.code == 2 and "--realm" in ran.err, ran
    used += ["--realm", token_service.url]
    ran = run(command, at(token_registry, repository), *more, *used)
    assert ran.code == 5 and token_registry.host in ran.err, ran


def test_denied_target(registry, token_registry, token_service, repository, tmp_path):
    push_image(registry.client(), repository, "v1")
    path = auth_file(str(tmp_path), token_registry, "reader", "lese-wort")
    ran = run("copy", at(registry, repository), at(token_registry, repository), "--auth-file", path,
              "--realm", token_service.url, *plain(registry, token_registry))
    assert ran.code == 5 and repository in ran.err, ran
    assert "lese-wort" not in ran


@pytest.mark.parametrize("host, says", [
    (None, "onnect"), ("no-such-host.invalid", "resolve")])
def test_nobody_there_fails_at_once(registry, repository, host, says):
    host = host or f"127.0.0.1:{free_port()}"
    began = time.monotonic()
    for words in (["inspect", f"{host}/team/app:v1"],
                  ["copy", f"{host}/team/app:v1", at(registry, repository), *plain(registry)]):
        ran = run(*words, "--plain-http", host)
        assert ran.code == 75 and says in ran.err and host in ran.err, ran
    assert time.monotonic() - began < 8


# --- words that are wrong -----------------------------------------------------------------------

LONG = "a" * 300
WRONG = [
    (["copy"], "it takes a source and one or more targets"),
    (["copy", "r.example.org/a:1"], "it takes a source and one or more targets"),
    (["copy", "http://r.example.org/a:1", "r.example.org/b:1"], "http"),
    (["copy", "https://r.example.org/a:1", "r.example.org/b:1"], "https"),
    (["copy", "dir:/tmp/x", "r.example.org/b:1"], "dir"),
    (["copy", "docker-daemon:x", "r.example.org/b:1"], "docker-daemon"),
    (["copy", "r.example.org/UPPER:1", "r.example.org/b:1"], "UPPER"),
    (["copy", "r.example.org/a:1", f"r.example.org/{LONG}:1"], "255"),
    (["copy", "r.example.org/a:1", f"r.example.org/b:{'t' * 129}"], "128"),
    (["copy", "r.example.org/a:1", "r.example.org/b@sha256:12"], "sha256"),
    (["copy", "r.example.org/a:1", f"r.example.org/b@{DIGEST}"], "--expect"),
    (["copy", f"r.example.org/a:1@{DIGEST}", "r.example.org/b:1"], "not both"),
    (["copy", "r.example.org/a:1", "oci:"], "oci"),
    (["copy", "", "r.example.org/b:1"], ""),
    (["copy", "app:1", "r.example.org/b:1"], "app:1"),
    (["copy", "r.example.org/a:1", "r.example.org/b", "--tag", "-x"], "no legal tag"),
    (["copy", "r.example.org/a:1", "r.example.org/b", "--platform", "linux"], "--platform is"),
    (["copy", "r.example.org/a:1", "r.example.org/b", "--expect", "abc"], "--expect must be"),
    (["copy", "r.example.org/a:1", "r.example.org/b", "--exit-code"], "--dry-run"),
    (["copy", "r.example.org/a:1", "r.example.org/b", "--format", "xml"], "text or json"),
    (["copy", "r.example.org/a:1", "r.example.org/b", "--plain-http", "http://r.example.org"],
     "leave out"),
    (["copy", "r.example.org/a:1", "r.example.org/b", "--ca-file", "/no/such.pem"], "/no/such.pem"),
    (["copy", "r.example.org/a:1", "r.example.org/b", "--auth-file", "/no/such"], "/no/such"),
    (["copy", "r.example.org/a:1", "r.example.org/b", "--config", "/no/such.yaml"],
     "/no/such.yaml"),
    (["copy", "r.example.org/a:1", "r.example.org/b", "--realm", "here"], "--realm is https"),
    (["inspect"], "it takes one image"),
    (["inspect", "r.example.org/a", "r.example.org/b"], "it takes one image"),
    (["inspect", "r.example.org/a", "--raw", "--tags"], "exclude"),
    (["inspect", "ftp://r.example.org/a"], "ftp"),
]


@pytest.mark.parametrize("words, says", WRONG, ids=lambda v: "-".join(v)[:60] if
                         isinstance(v, list) else "")
def test_wrong_words(words, says):
    ran = run(*words)
    assert ran.code == 2 and says in ran.err, ran
    assert ran.out == "" and ran.err.count("\n") == 1, ran


def test_help_reads_well():
    for command in ("copy", "inspect", "mirror"):
        ran = run("help", command)
        assert ran.code == 0 and "Examples:" in ran.out and "Exit status:" in ran.out
        assert max(len(line) for line in ran.out.splitlines()) <= 90
        assert run(command, "--help").out == ran.out


# --- http, https, certificates, credentials -----------------------------------------------------

def test_http_where_tls_is_spoken_and_the_reverse(registry, tls_registry, private_ca):
    ran = run("inspect", at(tls_registry, "a"), *plain(tls_registry))
    assert ran.code == 2 and "plain" in ran.err and "https" in ran.err, ran
    ran = run("inspect", at(registry, "a"))
    assert ran.code == 2 and "--plain-http HOST" in ran.err, ran
    ran = run("inspect", at(tls_registry, "a"))
    assert ran.code == 2 and "--ca-file FILE" in ran.err, ran
    ran = run("inspect", at(tls_registry, "a"), "--ca-file", private_ca.ca)
    assert ran.code == 5, ran


def test_credentials_and_certificates(tls_registry, token_registry, token_service, private_ca,
                                      repository, tmp_path):
    pushed = push_index(tls_registry.client(), repository, "v1")
    path = auth_file(str(tmp_path), tls_registry)
    with open(path, encoding="utf-8") as file:
        known = json.load(file)
    known["auths"][token_registry.host] = known["auths"][tls_registry.host]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(known, file)
    words = ["copy", at(tls_registry, repository), at(token_registry, repository),
             "--ca-file", private_ca.ca, "--realm", token_service.url, *plain(token_registry)]
    ran = run(*words, "--auth-file", path)
    assert ran.code == 0, ran
    assert images.tags(token_registry.client(), repository) == {"v1": pushed}
    assert "geheim-wort" not in ran.out + ran.err
    home = tmp_path / "home"
    (home / ".docker").mkdir(parents=True)
    os.rename(path, home / ".docker" / "config.json")
    ran = run("inspect", at(token_registry, repository), "--realm", token_service.url,
              *plain(token_registry), env={"HOME": str(home)})
    assert ran.code == 0 and pushed in ran.out, ran
    # A wrong password is said and not shown.
    path = auth_file(str(tmp_path), tls_registry, password="falsches-wort")
    ran = run("inspect", at(tls_registry, repository), "--ca-file", private_ca.ca,
              "--auth-file", path)
    assert ran.code == 5, ran
    assert "falsches-wort" not in ran.err and "Basic" not in ran.out


# --- inspect ------------------------------------------------------------------------------------

def test_inspect(registry, repository):
    pushed = push_index(registry.client(), repository, "v1")
    ran = run("inspect", at(registry, repository), *plain(registry))
    assert ran.code == 0 and ran.err == "", ran
    for part in (pushed, *pushed.manifests, "linux/amd64", "linux/arm64", at(registry, repository)):
        assert part in ran.out, ran
    shown = run("inspect", at(registry, repository), "--format", "json", *plain(registry)).json
    assert shown["digest"] == pushed and [c["platform"] for c in shown["children"]] == [
        "linux/amd64", "linux/arm64"]
    raw = run("inspect", "--raw", at(registry, repository), *plain(registry))
    assert raw.out.encode() == pushed.bytes
    child = run("inspect", at(registry, repository, pushed.manifests[0]), *plain(registry))
    assert "linux/amd64" in child.out and child.out.count("sha256:") >= 4, child
    config = run("inspect", "--image-config", at(registry, repository, pushed.manifests[0]),
                 *plain(registry))
    assert json.loads(config.out)["os"] == "linux"
    of_index = run("inspect", "--image-config", at(registry, repository), *plain(registry))
    assert of_index.code == 1 and "children" in of_index.err
    tags = run("inspect", "--tags", at(registry, repository, ""), *plain(registry))
    assert tags.out == "v1\n"
    tags = run("inspect", "--tags", at(registry, repository, ""), "--format", "json",
               *plain(registry))
    assert tags.json["tags"] == ["v1"]
    none = run("inspect", "--tags", at(registry, repository + "/none", ""), *plain(registry))
    assert none.code == 4, none


def test_signed_after_it_was_copied(registry, twin, repository, tmp_path):
    key, _ = signing_key(str(tmp_path))
    pushed = push_image(registry.client(), repository, "v1")
    words = ["copy", at(registry, repository), at(twin, repository), "--format", "json",
             *plain(registry, twin)]
    assert run(*words).code == 0
    signature = push_cosign_signature(registry.client(), repository, pushed, key)
    copy = run(*words).json["copies"][0]
    assert copy["companions"] == 1 and copy["bytes_moved"] > 0
    assert signature in images.tags(twin.client(), repository).values()


def test_inspect_shows_no_control_characters(registry, repository):
    config = {"config": {"Labels": {"evil": "\x1b[2J\x07red\nline"}}}
    push_image(registry.client(), repository, "v1", config=config)
    ran = run("inspect", at(registry, repository), *plain(registry))
    assert ran.code == 0 and "evil=" in ran.out and "\x1b" not in ran.out and "\x07" not in ran.out
    shown = run("inspect", at(registry, repository), "--format", "json", *plain(registry)).json
    assert shown["labels"] == {"evil": "\x1b[2J\x07red\nline"}


# --- what is said on the way --------------------------------------------------------------------

def test_bars_on_a_terminal_only(fake, twin, repository):
    layers = [images.random_layer(200000, n) for n in range(2)]
    pushed = push_image(fake.client(), repository, "v1", layers=layers)
    fake.rule("GET", f"/blobs/{list(pushed.blobs)[2]}", mangle={"stall": 0.5})
    words = ["copy", at(fake, repository), *plain(fake, twin)]
    seen, code = on_terminal(*words, at(twin, repository))
    assert code == 0 and "\x1b[1A\x1b[2K" in seen and "#" in seen and "done" in seen, seen
    last = seen.replace("\r", "").split("\x1b[2K")[-1]
    assert re.search(r"^copied +\S+ -> \S+  390\.\d KiB in 3 of 3 blobs\n$", last), repr(last)
    seen, code = on_terminal(*words, at(twin, repository + "-2"), env={"TERM": "dumb"})
    assert code == 0 and "\x1b" not in seen and seen.count("\n") == 1, seen
    ran = run(*words, at(twin, repository + "-3"))
    assert "\x1b" not in ran.err and ran.err.count("\n") == 1 and "copied" in ran.err, ran


# --- requests, and the same as others do --------------------------------------------------------

def test_other_repository_of_the_same_registry(registry, repository):
    pushed = push_index(registry.client(), repository, "v1", layers=3)
    mark = registry.mark()
    ran = run("copy", at(registry, repository), at(registry, repository + "/to"),
              "--no-companions", "--format", "json", *plain(registry))
    copy = ran.json["copies"][0]
    assert ran.code == 0 and copy["bytes_moved"] == 0 and copy["blobs_mounted"] == 8, ran
    assert images.whole(registry.client(), repository + "/to", "v1") == {
        *pushed.manifests, *pushed.blobs}
    counts = registry.count(mark)
    assert counts.get("GET blobs", 0) == 0 and counts.get("PUT uploads", 0) == 0, counts
    assert sum(counts.values()) <= 16, counts


def test_same_as_skopeo(registry, twin, repository):
    """Twin repositories: one filled by slipway, the other by skopeo."""
    client = registry.client()
    layers = [images.gzip_layer(3000, f"{repository} {n}") for n in range(3)]
    push_image(client, repository, "plain", layers=layers[:2])
    push_image(client, repository, "docker", layers=layers, docker=True)
    push_index(client, repository, "index", layers=layers)
    push_index(client, repository, "list", layers=layers[1:], docker=True)
    for tag in ("plain", "docker", "index", "list"):
        ran = run("copy", at(registry, repository, tag), at(twin, repository + "/ours", tag), "-q",
                  *plain(registry, twin))
        assert ran.code == 0, ran
        done = subprocess.run(
            [tool("skopeo"), "--insecure-policy", "copy", "--all", "-q", "--src-tls-verify=false",
             "--dest-tls-verify=false", "docker://" + at(registry, repository, tag),
             "docker://" + at(twin, repository + "/theirs", tag)],
            capture_output=True, env=environment({"HOME": "/nonexistent"}), check=False)
        assert done.returncode == 0, done.stderr
    ours = images.tags(twin.client(), repository + "/ours")
    assert ours == images.tags(twin.client(), repository + "/theirs")
    assert ours == images.tags(client, repository)
    for tag in ours:
        assert images.whole(twin.client(), repository + "/ours", tag) == images.whole(
            twin.client(), repository + "/theirs", tag)
