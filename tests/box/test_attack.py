"""Attacks: what a stranger, or a project that reaches beyond its own, may try."""

import json
import os
import socket
import struct
import time

import pytest

from lib import signing
from lib.net import wait_until
from lib.project import new_project
from lib.slipway import GERRIT_SECRET, SECRET
from lib.web import ROOT

FORM = "application/x-www-form-urlencoded"
COMMIT = "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3"


# ---- proofs --------------------------------------------------------------------------------------

def verdict(one, ident):
    def look():
        rows = one.query("SELECT verdict, reason FROM delivery WHERE forge_id = ?"
                         " AND verdict != 'new'", ident)
        return rows[0] if rows else None
    return wait_until(look, what="the delivery is taken")


def test_a_title_cannot_become_the_payload(new_slipway):
    """Who may see a signature of his own project's hook may not speak for another project by
    sending the same bytes under another Content-Type."""
    one = new_slipway().start()
    forged = json.dumps({"ref": "refs/tags/v9", "after": COMMIT, "deleted": False,
                         "repository": {"full_name": "victim/app"}})
    quoted = "".join(f"%{byte:02x}" for byte in forged.encode())
    body = json.dumps({"ref": "refs/heads/mine", "after": COMMIT,
                       "head_commit": {"message": f"x&payload={quoted}&y"},
                       "repository": {"full_name": "attacker/app"}}).encode()
    headers = signing.github_headers(SECRET, body, delivery="forged-1")
    answer = one.post(body, headers={**headers, "Content-Type": FORM})
    assert answer.status in (202, 401)
    said, reason = verdict(one, "forged-1")
    assert said == "malformed" and "victim" not in reason, reason


# ---- the socket, spoken to directly --------------------------------------------------------------

def record(kind, data=b"", ident=1):
    return struct.pack("!BBHHBx", 1, kind, ident, len(data), 0) + data


def stream(kind, data):
    parts = [data[at:at + 65535] for at in range(0, len(data), 65535)]
    return b"".join(record(kind, part) for part in parts) + record(kind)


def pairs(params):
    out = b""
    for name, value in params:
        for text in (name, value):
            size = len(text)
            out += struct.pack("!I", size | 0x80000000) if size > 127 else bytes([size])
        out += name + value
    return out


def request(params, body=b"", role=1):
    rows = [(k.encode(), v if isinstance(v, bytes) else str(v).encode()) for k, v in params]
    return record(1, struct.pack("!HB5x", role, 0)) + stream(4, pairs(rows)) + stream(5, body)


def speak(one, data, shut=False, timeout=10):
    """Sends bytes, returns what FCGI_STDOUT said until the end."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout)
        sock.connect(one.socket)
        try:
            sock.sendall(data)
            if shut:
                sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        said = b""
        try:
            while chunk := sock.recv(65536):
                said += chunk
        except ConnectionResetError:
            pass
    out = b""
    while len(said) >= 8:
        _, kind, _, size, pad = struct.unpack("!BBHHB", said[:7])
        out += said[8:8 + size] if kind == 6 else b""
        said = said[8 + size + pad:]
    return out


def hook(body=b"{}", length=None, more=(), path="/hooks/hub"):
    good = signing.github(SECRET, body)
    return [("REQUEST_METHOD", "POST"), ("DOCUMENT_URI", path), ("QUERY_STRING", ""),
            ("CONTENT_TYPE", "application/json"), ("HTTP_X_GITHUB_EVENT", "push"),
            ("CONTENT_LENGTH", len(body) if length is None else length),
            ("HTTP_X_HUB_SIGNATURE_256", good), *more]


def status(said):
    return int(said.split(b" ", 2)[1]) if said.startswith(b"Status: ") else None


def is_well(one, body):
    return status(speak(one, request(hook(body), body))) == 202


@pytest.fixture
def serve(new_slipway):
    one = new_slipway()
    one.start_serve()
    return one


LENGTHS = {"-1": 400, "+2": 400, "2x": 400, " 2": 400, "0x2": 400, "": 411, "3": 400,
           "99999999999999999999999": 413, "18446744073709551615": 413,
           "9223372036854775807": 413, "4194305": 413, "2": 202, "02": 200}


def test_content_lengths_that_lie(serve):
    got = {length: status(speak(serve, request(hook(length=length), b"{}"), shut=True))
           for length in LENGTHS}
    assert got == LENGTHS


def test_only_the_announced_bytes_count(serve):
    assert status(speak(serve, request(hook(b"{}"), b"{}{\"more\": 1}"))) == 202
    assert serve.bodies() == [b"{}"]


@pytest.mark.parametrize("more", [
    [("HTTP_X", b"x" * 2**20)], [(f"HTTP_X{i}", "y") for i in range(500)],
    [("HTTP_" + "X" * 70000, "y")], [("HTTP_USER_AGENT", b"a" * 20000)],
], ids=["long value", "many", "long name", "long kept header"])
def test_too_many_headers(serve, more):
    assert status(speak(serve, request(hook(more=more), b"{}"))) == 431
    assert is_well(serve, b'{"n": 1}')


@pytest.mark.parametrize("path,want", [
    ("/hooks/hub/../review", 401), ("/hooks/../hooks/hub", 404), ("//hooks/hub", 404),
    ("/hooks/hub/", 202), ("/hooks/hub%2f", 404), ("/hooks/hub\0x", 202), ("hooks/hub", 400),
    ("/hooks/" + "a" * 60000, 404), ("/HOOKS/hub", 404), ("", 400), ("/hooks/..", 404),
], ids=lambda value: str(value)[:20].replace("\0", "%00"))
def test_paths(serve, path, want):
    assert status(speak(serve, request(hook(path=path), b"{}"))) == want


@pytest.mark.parametrize("more", [
    [("HTTP_CONTENT_LENGTH", "1")], [("HTTP_CONTENT_TYPE", "text/plain")],
    [("HTTP_PROXY", "http://127.0.0.1:9")], [("HTTP_X_HUB_SIGNATURE_256", "")],
    [("=", "x")], [("", "")], [("HTTP_", "x")], [("CONTENT_LENGTH", "1")],
], ids=str)
def test_doubled_and_odd_variables(serve, more):
    assert status(speak(serve, request(hook(more=more), b"{}"))) == 202
    assert serve.bodies() == [b"{}"]


def test_a_second_signature_does_not_help(serve):
    """The first of two counts, whichever is good, and an empty one is none."""
    body = b'{"a": 1}'
    bad = [("HTTP_X_HUB_SIGNATURE_256", "sha256=" + "0" * 64)]
    assert status(speak(serve, request(bad + hook(body), body))) == 401
    only_old = [row for row in hook(body) if row[0] != "HTTP_X_HUB_SIGNATURE_256"]
    assert status(speak(serve, request(only_old + [("HTTP_X_HUB_SIGNATURE", "sha1=0")],
                                       body))) == 401
    mixed = [("HTTP_WEBHOOK_ID", "msg_1")]
    assert status(speak(serve, request(hook(body, more=mixed), body))) == 401


def memory(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def test_broken_requests_leave_nothing_behind(serve):
    whole = request(hook(b"{}"), b"{}")
    begin = record(1, struct.pack("!HB5x", 1, 0))
    broken = [
        b"", b"\x01", b"\xff" * 100, whole[:30], whole[:-12], begin + record(2),
        begin + record(4), begin + record(4) + record(5), begin + begin + whole,
        record(9, pairs([(b"FCGI_MAX_CONNS", b"")])), record(77, b"x" * 1000),
        begin + record(4, b"\xff\xff\xff\xff\xff\xff\xff\xff" + b"x" * 100) + record(4),
        begin + record(4, b"\x01\xff\xff\xff\xf0n" + b"x" * 100) + record(4),
        request(hook(b"{}", length=4000000), b"{}"), request(hook(b"{}"), b"{}", role=2),
        request(hook(b"{}"), b"{}", role=3), request(hook(b"{}"), b"{}", role=9),
        whole[:8] + whole[16:],
    ]
    for data in broken:
        speak(serve, data, shut=True)
    before = memory(serve.serve.pid)
    for _ in range(30):
        for data in broken:
            speak(serve, data, shut=True)
    assert serve.serve.running
    if "san" not in serve.bin:
        assert memory(serve.serve.pid) - before < 12000
    assert is_well(serve, b'{"after": 1}')


def test_truncated_bodies_give_their_budget_back(new_slipway):
    one = new_slipway({"body_limit": 25 * 2**20})
    one.start_serve()
    for _ in range(8):
        claim = request(hook(b"{}", length=25 * 2**20), b"{}")
        assert status(speak(one, claim, shut=True)) == 400
    wrong = [row for row in hook(b"{}") if "SIGNATURE" not in row[0]]
    assert status(speak(one, request(wrong, b"{}"))) == 401
    big = b'"' + b"x" * (25 * 2**20 - 2) + b'"'
    assert is_well(one, big)


def test_silent_connections_do_not_starve_others(serve):
    idle = []
    for _ in range(400):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(serve.socket)
        idle.append(sock)
    begun = time.monotonic()
    assert is_well(serve, b'{"n": 1}')
    assert time.monotonic() - begun < 5
    for sock in idle:
        sock.close()


# ---- what is told and kept -----------------------------------------------------------------------

def test_secrets_are_nowhere(new_slipway):
    one = new_slipway().start()
    for path in (f"/hooks/review/{GERRIT_SECRET}", f"/hooks/review/{GERRIT_SECRET}/x",
                 f"/hooks/review?secret={GERRIT_SECRET}",
                 f"/hooks/review%2f{GERRIT_SECRET}", f"//hooks/review/{GERRIT_SECRET}",
                 f"/hooks//review/{GERRIT_SECRET}", f"/hooks/review//{GERRIT_SECRET}"):
        one.post(json.dumps({"type": path.split("/", 2)[1]}).encode(), path,
                 {"Content-Type": "application/json", "Referer": "http://x/" + GERRIT_SECRET,
                  "User-Agent": "box", "Authorization": "Bearer " + GERRIT_SECRET})
    wait_until(lambda: not one.query("SELECT 1 FROM delivery WHERE verdict = 'new'"),
               what="all are taken")
    said = one.serve.said() + one.work.said()
    one.stop()
    for folder, _, names in os.walk(one.folder):
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(".secret") or not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                assert GERRIT_SECRET.encode() not in file.read(), path
    assert GERRIT_SECRET not in said


# ---- between projects ----------------------------------------------------------------------------

@pytest.mark.parametrize("url,goes", [
    ("https://hub.example.org/team/app/pull/7", True),
    ("https://review.example.org/c/team/app/+/7", True),
    ("https://hub.example.org/team/app-tools/pull/7", False),
    ("https://hub.example.org/other-team/app/pull/7", False),
    ("https://hub.example.org/x/team/apple/team/app-x/pull/7", False),
])
def test_an_image_of_another_project_is_not_promoted(new_slipway, registry, repository, url, goes):
    """Two projects share a repository, and each has a change 7."""
    project = new_project(new_slipway, registry)
    commit = project.list((repository, ["latest"]))
    registry.push(repository, "change_7_latest", "stranger",
                  labels={"org.zuul-ci.change": "7", "org.zuul-ci.change_url": url})
    project.merged(7, commit)
    assert (project.ended(7)["state"] == "done") == goes, project.task(7)
    assert bool(registry.digest(repository, "latest")) == goes


def test_a_clock_that_is_ahead_pins_nothing(new_slipway, registry, repository):
    """Branches that diverged are ordered by the time of the merge, unless that has yet to come."""
    project = new_project(new_slipway, registry, branches=["main", "side"])
    base = project.git.commit({".slipway.yaml": json.dumps({
        "branches": ["main", "side"], "container_images": [
            {"context": "app", "registry": registry.host, "tags": ["latest"],
             "repository": f"{registry.host}/{repository}"}]})})
    one = project.git.commit(message="one")
    project.git.run("checkout", "-q", "-b", "side", base)
    two = project.git.commit(message="two")
    registry.push(repository, "change_1_latest", "one")
    new = registry.push(repository, "change_2_latest", "two")
    project.merged(1, one, merged_at="9999-12-31T00:00:00Z")
    assert project.ended(1)["state"] == "done"
    project.merged(2, two, branch="side", merged_at=int(time.time()))
    assert project.ended(2)["state"] == "done", project.task(2)
    assert registry.digest(repository, "latest") == new


def test_no_child_of_the_worker_leaves_a_core_dump_or_sees_a_secret(new_slipway, tmp_path):
    one = new_slipway()
    seen = tmp_path / "seen"
    (tmp_path / "git").write_text(f"#!/bin/sh\n{{ ulimit -c; echo \"$@\"; "
                                  f"tr '\\0' '\\n' </proc/self/environ; }} >>{seen}\nexit 1\n")
    (tmp_path / "git").chmod(0o755)
    password = one.secret("password", "a password of the forge")
    one.config["forges"]["code"] = {"type": "git", "url": "http://127.0.0.1:9", "username": "ci",
                                    "password": password, "hook_secrets": [password]}
    one.config["projects"] = [{"match": "**", "forge": "code", "may_publish": []}]
    one.write_config()
    one.cli("plan", "--forge", "code", "--project", "a/b", "--change", "1", "--commit", COMMIT,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "AWS_SECRET_ACCESS_KEY": "leak-me",
                 "GIT_TRACE_CURL": "1"})
    text = seen.read_text()
    assert text.splitlines()[0] in ("0", "1"), text
    for bad in ("a password", "leak-me", "GIT_TRACE", "YSBwYXNzd29yZC"):
        assert bad not in text


def test_the_bootstrap_lock_is_out_of_reach():
    """Whoever may write there could put a link to any file of root's in its place."""
    with open(os.path.join(ROOT, "deploy", "bootstrap"), encoding="utf-8") as file:
        [lock] = [row[5:].strip() for row in file if row.startswith("lock=")]
    assert not os.stat(os.path.dirname(lock)).st_mode & 0o022, lock
