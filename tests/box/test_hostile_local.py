"""What lies on this machine and means harm: credential helpers and files, OCI layouts."""

import json
import os
import stat

import pytest

from lib.hostile import Evil, error, inspect, plain, together, watch
from lib.images import digest_of


@pytest.fixture
def evil():
    one = Evil()
    yield one
    one.stop()


# --- credentials --------------------------------------------------------------------------------

HELPERS = {
    "a gigabyte": "head -c 1000000000 /dev/zero",
    "a child that keeps the pipe": """sleep 30 & echo '{"Username":"ci","Secret":"geheim-wort"}'""",
    "a line break": r"""printf %s '{"Username":"ci\nX","Secret":"geheim\r\nX-Evil: 1"}'""",
    "deep": "head -c 60000 /dev/zero | tr '\\0' '['",
    "escapes": r"""printf '\033[2Jno'; exit 1""",
}


def test_helpers(tmp_path):
    def attack(what):
        one, folder = Evil(), tmp_path / what.replace(" ", "-")
        one.image("v1")
        one.trick("^/v2/", lambda r: None if "authorization" in r.headers else error(
            401, headers=['WWW-Authenticate: Basic realm="x"']))
        folder.mkdir()
        (folder / "docker-credential-bad").write_text(f"#!/bin/sh\n{HELPERS[what]}\n")
        os.chmod(folder / "docker-credential-bad", 0o755)
        path = folder / "auth.json"
        path.write_text(json.dumps({"credHelpers": {one.host: "bad"}}))
        os.chmod(path, 0o600)
        ran = inspect(one, "--auth-file", path, env={"PATH": f"{folder}:{os.environ['PATH']}"})
        one.stop()
        assert ran.seconds < 20 and not [r for r in one.requests if "x-evil" in r.headers]
        assert (ran.code == 0) == (what == "a child that keeps the pipe"), (what, ran)
    together(attack, HELPERS)


@pytest.mark.parametrize("text", [
    b'{"auths":' + b"[" * 500000, b'{"auths":{"a":' + b'{"a":' * 3000, b'{"auths":"\x1b[2J"}',
    b"\x1b[2J", b'{"auths":{"%s":{}}}' % (b"a" * 900000), b'{"auths":{"x":{"auth":"\x00"}}}',
    b'{"credHelpers":{"HOST":"../../bin/sh"}}', b'{"credsStore":"a b;c"}', b"x" * (2 << 20)])
def test_files_of_credentials(evil, tmp_path, text):
    evil.image("v1")
    path = tmp_path / "auth.json"
    path.write_bytes(text.replace(b"HOST", evil.host.encode()))
    os.chmod(path, 0o600)
    evil.trick("^/v2/", error(401, headers=['WWW-Authenticate: Basic realm="x"']))
    ran = inspect(evil, "--auth-file", path)
    assert ran.code in (2, 5) and ran.seconds < 10, ran


# --- layouts ------------------------------------------------------------------------------------

def layout(folder, fake, **index):
    fake.push("a", "v1")
    path = folder / "l"
    assert watch("copy", f"{fake.host}/a:v1", f"oci:{path}", *plain(fake)).code == 0
    if index:
        (path / "index.json").write_text(json.dumps({
            **json.loads((path / "index.json").read_text()), **index}))
    return path


def special(kind, path, tmp_path):
    path.unlink()
    if kind == "symlink":
        (tmp_path / "secret").write_text("root:x:0:0")
        path.symlink_to(tmp_path / "secret")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "huge":
        with open(path, "wb") as file:
            file.truncate(1 << 40)
    else:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory", "huge", "device"])
def test_layouts_of_odd_files(fake, tmp_path, kind):
    if kind == "device" and os.geteuid() != 0:
        pytest.skip("only root makes devices")
    for part in ("oci-layout", "index.json", "manifest", "config"):
        folder = tmp_path / part
        folder.mkdir()
        path = layout(folder, fake)
        blobs = sorted((path / "blobs" / "sha256").iterdir(), key=lambda p: b"config" in
                       p.read_bytes() and b"schemaVersion" in p.read_bytes())
        file = {"manifest": blobs[-1], "config": blobs[0]}.get(part, path / part)
        special(kind, file, folder)
        for argv in (("copy", f"oci:{path}", f"{fake.host}/b:v1"), ("inspect", f"oci:{path}"),
                     ("copy", f"{fake.host}/a:v1", f"oci:{path}:w")):
            ran = watch(*argv, *(plain(fake) if argv[0] == "copy" else ()), timeout=20)
            assert "root:" not in ran.out + ran.err, ran
            assert part in ("manifest", "config") or ran.code in (1, 2), ran
        assert "b" not in fake.dump()["tags"]


def test_layouts_that_lie(fake, tmp_path):
    path = layout(tmp_path, fake)
    root = json.loads((path / "index.json").read_text())["manifests"][0]
    bad = [{**root, "digest": "sha256:../../../../etc/passwd"}, {**root, "size": 1 << 62},
           {**root, "size": root["size"] + 1}, {**root, "digest": digest_of(b"nobody")},
           {**root, "mediaType": "\x1b[2J"}, *[{**root, "annotations": {
               "org.opencontainers.image.ref.name": name}} for name in
               ("../../x", "\x1b[2J\x9b", "a" * 100000)]]
    for entry in bad:
        for entries in ([entry, root], [entry] * 2000):
            (path / "index.json").write_text(json.dumps({"schemaVersion": 2,
                                                         "manifests": entries}))
            for argv in (("copy", f"oci:{path}:../../x", f"{fake.host}/c:v1", *plain(fake)),
                         ("inspect", f"oci:{path}"), ("inspect", "--tags", f"oci:{path}")):
                ran = watch(*argv, timeout=20)
                assert ran.code in (0, 1, 2, 4) and "root:" not in ran.out, ran
    assert not (tmp_path / "x").exists() and sorted(os.listdir(tmp_path)) == ["l"]
    with open(path / "index.json", "wb") as file:
        file.truncate(1 << 40)
    assert watch("inspect", f"oci:{path}").code in (1, 2)
