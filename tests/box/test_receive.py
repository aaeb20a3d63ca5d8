"""What the receiver answers, and what it keeps: through nginx, and as plain CGI."""

import base64
import concurrent.futures
import gzip
import http.client
import json
import os
import time

import pytest

from lib import signing
from lib.slipway import GERRIT_SECRET, SECRET

BODY = b'{"ref": "refs/heads/main"}'
FORM = "application/x-www-form-urlencoded"


def signed(body=BODY, **changed):
    """Headers as GitHub sends them; None takes one away."""
    headers = signing.github_headers(SECRET, body)
    headers.update({k.replace("_", "-"): v for k, v in changed.items()})
    return {k: v for k, v in headers.items() if v is not None}


def test_kept_is_202_and_on_disk(slipway):
    answer = slipway.post(BODY, delivery="11111111-2222-3333-4444-555555555555")
    assert (answer.status, answer.text) == (202, "kept\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert slipway.bodies() == [BODY]
    [(source, ident, verdict)] = slipway.query("SELECT source, forge_id, verdict FROM delivery")
    assert (source, ident, verdict) == ("hub", "11111111-2222-3333-4444-555555555555", "new")


GOOD = signing.github(SECRET, BODY)
PROOFS = {
    "absent": None,
    "empty": "",
    "prefix only": "sha256=",
    "no prefix": GOOD[7:],
    "sha1 prefix": "sha1=" + GOOD[7:],
    "cut by one": GOOD[:-1],
    "longer by one": GOOD + "0",
    "first byte": GOOD[:9],
    "other body": signing.github(SECRET, BODY + b" "),
    "other secret": signing.github(SECRET + "x", BODY),
    "empty secret": signing.github("", BODY),
    "not hex": "sha256=" + "z" * 64,
    "two values": GOOD + "," + GOOD,
}


@pytest.mark.parametrize("value", PROOFS.values(), ids=PROOFS.keys())
def test_every_bad_proof_gets_the_same_401(slipway, value):
    answer = slipway.post(BODY, headers=signed(X_Hub_Signature_256=value))
    assert (answer.status, answer.text) == (401, "no valid proof\n")
    assert slipway.bodies() == []


def test_sha1_proves_nothing(slipway):
    answer = slipway.post(BODY, headers=signed(X_Hub_Signature_256=None,
                                               X_Hub_Signature="sha1=" + "0" * 40))
    assert answer.status == 401


@pytest.mark.parametrize("skew,status", [(0, 202), (-299, 202), (-302, 401), (302, 401)])
def test_standard_webhooks(new_slipway, skew, status):
    one = new_slipway()
    secret = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
    one.config["forges"]["hub"]["hook_secrets"] = [one.secret("standard", secret)]
    one.write_config()
    one.start_serve()
    stamp = str(int(time.time()) + skew)
    headers = {"Content-Type": "application/json", "webhook-id": "msg_1",
               "webhook-timestamp": stamp,
               "webhook-signature": "v1,AAAA " + signing.standard(secret, "msg_1", stamp, BODY)}
    assert one.post(BODY, headers=headers).status == status
    headers["webhook-id"] = "msg_2"
    assert one.post(BODY, headers=headers).status == 401


@pytest.mark.parametrize("path,status", [
    ("/hooks/review", 401),
    ("/hooks/review/", 401),
    ("/hooks/review/wrong-secret-of-good-length", 401),
    (f"/hooks/review/{GERRIT_SECRET}", 202),
    (f"/hooks/review/{GERRIT_SECRET}x", 401),
    (f"/hooks/review/{GERRIT_SECRET}/x", 401),
    (f"/hooks/review?secret={GERRIT_SECRET}", 202),
    (f"/hooks/review?a=b&token={GERRIT_SECRET}", 202),
    ("/hooks/review?secret=", 401),
    (f"/hooks/review?Secret={GERRIT_SECRET}", 401),
    (f"/hooks/hub/{GERRIT_SECRET}", 401),
    (f"/hooks/hub/{SECRET}", 401),
])
def test_gerrit_proves_itself_by_its_url(slipway, path, status):
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert slipway.post(b'{"type": "change-merged"}', path, headers).status == status


def test_two_secrets_are_active_during_rotation(new_slipway):
    one = new_slipway()
    one.config["forges"]["hub"]["hook_secrets"].insert(0, one.secret("new", "another " + SECRET))
    one.write_config()
    one.start_serve()
    assert one.post(BODY).status == 202
    other = b'{"n": 2}'
    headers = signed(other, X_Hub_Signature_256=signing.github("another " + SECRET, other))
    assert one.post(other, headers=headers).status == 202


def test_unknown_sources_and_paths(slipway):
    for path in ("/hooks/nobody", "/hooks/", "/hooks//", "/hooks/HUB", "/hooks/hub%00"):
        assert slipway.post(BODY, path, signed()).status in (400, 404), path
    assert slipway.post(BODY, "/hooks/%68ub", signed()).status == 202


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_post_is_a_delivery(slipway, method):
    connection = http.client.HTTPConnection("127.0.0.1", slipway.nginx.port, timeout=10)
    connection.request(method, "/hooks/hub")
    answer = connection.getresponse()
    answer.read()
    assert (answer.status, answer.getheader("Allow")) == (405, "POST")
    connection.close()


def test_size_limits(new_slipway):
    one = new_slipway({"body_limit": 25 * 2**20})
    one.start_serve()
    big = b'"' + b"x" * (25 * 2**20 - 2) + b'"'
    assert one.post(big).status == 202
    assert one.bodies() == [big]
    assert one.post(big + b" ").status == 413
    assert one.post(b"x" * (26 * 2**20 + 1), headers=signed(b"")).status == 413


def test_default_limit_is_four_mib(slipway):
    exact = b" " * (4 * 2**20)
    assert slipway.post(exact).status == 202
    answer = slipway.post(exact + b" ")
    assert (answer.status, answer.text) == (413, "the body is too large\n")


def test_size_comes_before_proof(slipway):
    assert slipway.post(b"x" * (4 * 2**20 + 1), headers=signed(b"")).status == 413


def test_empty_body_is_verified_like_any_other(slipway):
    assert slipway.post(b"", headers=signed(b"")).status == 202
    assert slipway.post(b"", headers=signed(b"", X_Hub_Signature_256=None)).status == 401
    assert slipway.bodies() == [b""]


def test_chunked_body_gets_a_length_from_nginx(slipway):
    connection = http.client.HTTPConnection("127.0.0.1", slipway.nginx.port, timeout=10)
    connection.request("POST", "/hooks/hub", iter([BODY[:5], BODY[5:]]), signed(),
                       encode_chunked=True)
    assert connection.getresponse().status == 202
    connection.close()
    assert slipway.bodies() == [BODY]


def test_form_is_kept_raw(slipway):
    body = b"payload=%7B%22zen%22%3A+1%7D"
    assert slipway.post(body, headers=signed(body, Content_Type=FORM)).status == 202
    assert slipway.bodies() == [body]


@pytest.mark.parametrize("kind,status", [
    ("application/json", 202), ("application/json; charset=utf-8", 202), (FORM, 202),
    ("application/cloudevents+json", 202), (None, 202), ("text/plain", 415),
    ("multipart/form-data; boundary=x", 415), ("application/jsonp", 415),
])
def test_content_types(slipway, kind, status):
    assert slipway.post(BODY, headers=signed(Content_Type=kind)).status == status


def test_compressed_bodies_are_refused(slipway):
    packed = gzip.compress(BODY)
    answer = slipway.post(packed, headers=signed(packed, Content_Encoding="gzip"))
    assert answer.status == 415 and "Content-Encoding" in answer.text
    assert slipway.post(BODY, headers=signed(Content_Encoding="identity")).status == 202


def test_ping_is_answered_and_not_kept(slipway):
    assert slipway.post(b'{"zen": "x"}', event="ping").status == 200
    assert slipway.post(b'{"zen": "x"}', headers=signed(b"", X_GitHub_Event="ping")).status == 401
    assert slipway.bodies() == []


def test_what_is_never_interesting_is_kept_as_ignored(slipway):
    assert slipway.post(BODY, event="star").status == 200
    [(verdict, reason)] = slipway.query("SELECT verdict, reason FROM delivery")
    assert verdict == "ignored" and reason


def test_repeats_are_200_and_kept_once(slipway):
    assert slipway.post(BODY, delivery="a").status == 202
    assert slipway.post(BODY, delivery="a").status == 200
    assert slipway.post(BODY, delivery="b").status == 200
    assert slipway.post(BODY + b" ", delivery="c").status == 202
    assert slipway.bodies() == [BODY, BODY + b" "]


def test_two_at_once_are_both_kept(slipway):
    bodies = [json.dumps({"n": n}).encode() for n in range(40)]
    assert slipway.nginx
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert {a.status for a in pool.map(slipway.post, bodies)} == {202}
    assert sorted(slipway.bodies()) == sorted(bodies)


def test_the_same_at_once_is_kept_once(slipway):
    assert slipway.nginx
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        statuses = sorted(a.status for a in pool.map(slipway.post, [BODY] * 16))
    assert statuses == [200] * 15 + [202]
    assert slipway.bodies() == [BODY]


def test_only_listed_headers_are_kept(slipway):
    headers = signed(Authorization="Bearer box-leak-1", Cookie="box-leak-2",
                     X_Github_Encoded_Secret="box-leak-3", Proxy="http://box-leak-4")
    assert slipway.post(BODY, headers=headers).status == 202
    [(kept,)] = slipway.query("SELECT headers FROM delivery")
    kept = kept if isinstance(kept, str) else bytes(kept).decode("utf-8", "replace")
    assert "push" in kept and "box-leak" not in kept
    assert GOOD not in kept


def test_header_bounds(slipway):
    many = signed(**{f"X_Nothing_{n}": "x" for n in range(120)})
    assert slipway.post(BODY, headers=many).status == 431


def test_the_log_holds_one_line_and_no_secret(slipway):
    slipway.post(BODY, delivery="the-forge-id")
    slipway.post(b"{}", f"/hooks/review/{GERRIT_SECRET}", {"Content-Type": "application/json"})
    slipway.post(b"[]", f"/hooks/review?secret={GERRIT_SECRET}",
                 {"Content-Type": "application/json"})
    said = slipway.serve.said()
    assert said.count("msg=delivery") == 3
    [line] = [row for row in said.splitlines() if "the-forge-id" in row]
    for part in ("source=hub", "verdict=kept", f"bytes={len(BODY)}", "ms=", "role=serve"):
        assert part in line, line
    assert SECRET not in said and GERRIT_SECRET not in said and GOOD not in said


def cgi(slipway, body, announced=None, **variables):
    env = {"REQUEST_METHOD": "POST", "PATH_INFO": "/hooks/hub", "QUERY_STRING": "",
           "CONTENT_TYPE": "application/json",
           "CONTENT_LENGTH": str(len(body)) if announced is None else announced,
           "HTTP_X_GITHUB_EVENT": "push",
           "HTTP_X_HUB_SIGNATURE_256": signing.github(SECRET, body), **variables}
    done = slipway.cli("cgi", env=env, stdin=body)
    assert done.returncode == 0, done.stderr
    head, _, text = done.stdout.decode().partition("\r\n\r\n")
    assert head.startswith("Status: ")
    return int(head.split()[1]), text


def test_plain_cgi_is_the_same_receiver(new_slipway):
    one = new_slipway()
    assert cgi(one, BODY) == (202, "kept\n")
    assert cgi(one, BODY)[0] == 200
    assert cgi(one, BODY, REQUEST_METHOD="GET")[0] == 405
    assert cgi(one, b"x", HTTP_X_HUB_SIGNATURE_256="")[0] == 401
    assert cgi(one, b"", "", PATH_INFO="/health/ready", REQUEST_METHOD="GET") == (200, "ready\n")
    assert one.bodies() == [BODY]


@pytest.mark.parametrize("announced,status", [
    ("", 411), ("-1", 400), ("1e3", 400), ("0x10", 400), ("+26", 400), ("99", 400),
    (str(2**64 + 26), 413), (str(4 * 2**20 + 1), 413),
])
def test_bad_lengths(new_slipway, announced, status):
    one = new_slipway()
    code, text = cgi(one, BODY, announced)
    assert code == status
    assert announced != "99" or "truncated" in text


def test_full_disk_is_503_and_later_accepted(slipway):
    assert slipway.post(BODY).status == 202
    slipway.limit_files(slipway.serve, os.path.getsize(slipway.db))
    big = b'"' + b"x" * 2**20 + b'"'
    answer = slipway.post(big)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    slipway.limit_files(slipway.serve, 2**40)
    assert slipway.post(big).status == 202
    assert slipway.bodies() == [BODY, big]
