"""Registries and token services that mean harm: each attack ends soon, in little memory, with a
clear error; nothing wrong becomes visible, no stranger's server is asked, and no secret and no
control character is shown. Helpers and layouts: test_hostile_local.py."""

import base64
import gzip
import re

import pytest

from lib.hostile import (WORD, Canary, Evil, answer, auth_file, copy, error, forever, inspect,
                         plain, together, watch)
from lib.images import digest_of
from lib.oci import INDEX, MANIFEST

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def evil():
    one = Evil()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def one_canary():
    one = Canary()
    yield one
    one.stop()


@pytest.fixture
def canary(one_canary):
    """Whatever comes here is a failure."""
    one_canary.seen.clear()
    yield one_canary
    assert one_canary.seen == []


# --- bytes --------------------------------------------------------------------------------------

GZIP_BOMB = gzip.compress(bytes(64 << 20))
ANSWERS = {
    "headers without end": lambda r: forever(b"X-A: " + b"y" * 1000 + b"\r\n"),
    "one header line without end": lambda r: forever(b"y" * 1000, HEAD + b"X-A: "),
    "interim answers without end": lambda r: forever(b"HTTP/1.1 103 Early\r\nX: y\r\n\r\n", b""),
    "a body without end": lambda r: forever(b"y" * 1000, HEAD + b"\r\n"),
    "a refusal without end": lambda r: forever(b"y" * 1000, b"HTTP/1.1 403 No\r\n\r\n"),
    "a gzip bomb": answer(200, GZIP_BOMB, ["Content-Encoding: gzip"]),
    "no HTTP": lambda r: [b"\x16\x03\x01\0\x05hello\x1b[2J\r\n\r\n"],
    "a redirect to itself": lambda r: answer(307, b"", ["Location: " + r.path]),
    "other bytes": answer(200, b"z" * 40),
    "fewer bytes": answer(200, b"z"),
    "a lie about length": lambda r: [HEAD + b"Content-Length: 99999999999\r\n\r\n", b"y" * 90000],
    "a negative length": lambda r: [HEAD + b"Content-Length: -1\r\n\r\n", b"y" * 90000],
    "two lengths": lambda r: [HEAD + b"Content-Length: 3\r\nContent-Length: 40\r\n\r\n", b"y" * 40],
}


def test_answers_that_are_none(fake):
    def attack(pair):
        where, what = pair
        one = Evil()
        one.image("v1", layers=[b"y" * 500])
        one.trick(where, ANSWERS[what], method="GET")
        ran = inspect(one, "--tags", ref="") if where == "tags/list" else copy(one, fake)
        one.stop()
        assert ran.code in (1, 5, 75) and ran.err and ran.seconds < 60, (pair, ran)
        assert len(one.requests) < 50
    together(attack, [(where, what) for where in ("manifests/v1", "blobs/sha", "tags/list")
                      for what in ANSWERS])


def test_retry_after(fake):
    """Absurd ones: at once or after a few tries, never a wait without end; a long one is told."""
    def attack(value):
        one = Evil()
        one.image("v1")
        one.trick("manifests", error(429, "TOOMANYREQUESTS", "slow", ["Retry-After: " + value]),
                  times=1 if value == "6" else 1000)
        ran = copy(one, fake) if value == "6" else inspect(one)
        one.stop()
        if value == "6":
            assert ran.code == 0 and "waiting, as the registry asks" in ran.err, ran
            return
        assert ran.code == 75 and "429" in ran.err and ran.seconds < 15, ran
        assert len(one.requests) <= 6
    together(attack, ["6", "-5", "9" * 30, "Fri, 31 Dec 9999 23:59:59 GMT", "1e9", "0x10", "\xff",
                      "Thu, 01 Jan 1970 00:00:01 GMT", "10000000000", "3600"])


# --- documents ----------------------------------------------------------------------------------

def descriptor(**more):
    return {"mediaType": MANIFEST, "digest": digest_of(b"x"), "size": 1, **more}


def image(**more):
    return {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
            "config": descriptor(mediaType="a/b"), **more}


DOCUMENTS = {
    "schema 1": ({"schemaVersion": 1, "fsLayers": []}, "schema 1"),
    "layers and manifests": (image(manifests=[]), "different things"),
    "index with layers": ({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "layers": []},
                          "different things"),
    "huge size": (image(layers=[descriptor(size=1 << 62)]), "size"),
    "negative size": (image(layers=[descriptor(size=-1)]), "size"),
    "size is text": (image(layers=[descriptor(size="1")]), "size"),
    "path as digest": (image(layers=[descriptor(digest="sha256:../../../../etc/passwd")]),
                       "digest"),
    "long type": (image(layers=[descriptor(mediaType="a/" + "b" * 300)]), "mediaType"),
    "deep": (b'{"a":' + b"[" * 100000, "deep"),
    "many values": (b'{"schemaVersion":2,"x":[' + b"{}," * 900000 + b"0]}", "values"),
    "many layers": (image(layers=[descriptor()] * 10001), "10000"),
    "twice the same key": (b'{"schemaVersion":2,"layers":[],"layers":[]}', "duplicate"),
    "no JSON": (b"\x1b]0;owned\x07\xc2\x9b31m", "JSON"),
    "type with escapes": ({"schemaVersion": 2, "mediaType": "\x1b[2J\x9b31m"}, "type"),
}


@pytest.mark.parametrize("what", DOCUMENTS)
def test_documents(evil, fake, what):
    value, word = DOCUMENTS[what]
    evil.add(value, "v1", kind="application/json" if what == "type with escapes" else MANIFEST
             if not isinstance(value, dict) else value.get("mediaType", MANIFEST))
    ran = copy(evil, fake)
    assert ran.code == 1 and word in ran.err, ran


def test_digests_that_lie(evil, fake):
    good = evil.image("v1")
    wrong = digest_of(b"other")
    kind, data, _ = evil.manifests["v1"]
    for header in (f"Docker-Content-Digest: {wrong}", "Docker-Content-Digest: sha512:" + "0" * 128,
                   "Docker-Content-Digest: \x1b[2J"):
        evil.tricks.clear()
        evil.trick("manifests/v1", answer(200, data, [header], kind))
        ran = copy(evil, fake)
        if wrong in header:
            assert ran.code == 1 and "wrong bytes" in ran.err, ran
        else:
            assert ran.code == 0 and good["digest"] in ran.out, ran
        fake.reset()
    # HEAD says one thing, GET another; and the tag moves.
    evil.tricks.clear()
    evil.trick("manifests/v1", answer(200, b"", [f"Docker-Content-Digest: {wrong}"], kind), "HEAD")
    fake.store("b", "v1", b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % INDEX.encode(),
               INDEX)
    ran = watch("copy", f"{evil.host}/a:v1", f"{fake.host}/b:v1", *plain(evil, fake))
    assert ran.code in (1, 4, 75), ran
    assert fake.digest("b", "v1") not in (wrong, good["digest"])


def test_sizes_that_lie(evil, fake):
    child = evil.image(layers=[b"one"])
    evil.index([{**child, "size": child["size"] + 1}], "v1")
    assert "wrong" in copy(evil, fake).err
    evil.image("v1", layers=[{**evil.blob(b"one"), "size": 4}])
    assert "wrong bytes" in copy(evil, fake).err
    # Right in one image and wrong in another: each gets its own answer.
    layer = evil.blob(b"shared")
    evil.index([evil.image(layers=[layer]), evil.image(layers=[{**layer, "size": 7}])], "v1")
    assert copy(evil, fake).code == 1
    # The config as a layer, and the same layer many times, is odd and legal.
    config = evil.blob(b"{}")
    evil.image("v1", layers=[config, *[evil.blob(b"twice")] * 500], config={})
    assert copy(evil, fake).code == 0


def test_a_child_is_larger_than_said(evil, fake):
    child = evil.image(more={"annotations": {"a": "y" * 3000000}})
    evil.index([{**child, "size": 100}], "v1")
    ran = copy(evil, fake)
    assert ran.code == 1 and "exceeds" in ran.err, ran


def test_many_and_large_children(evil, fake):
    """Bounded requests and memory, whatever an index lists."""
    child = evil.image()
    same = evil.index([{**child, "annotations": {"n": str(n)}} for n in range(10000)], "v1")
    assert copy(evil, fake).code == 0
    assert evil.count("GET", child["digest"]) == 1
    evil.requests.clear()
    assert inspect(evil).out.count(child["digest"]) == 10000
    assert len(evil.requests) < 20
    fake.reset()
    evil.index([evil.image(more={"annotations": {"a": "y" * 4000000, "n": str(n)}})
                for n in range(5)], "v1")
    assert copy(evil, fake).code == 0
    assert inspect(evil).code == 0
    fake.reset()
    evil.index([evil.image(layers=[evil.blob(b"one")] * 9000, more={"annotations": {"n": str(n)}})
                for n in range(5)], "v1")
    assert copy(evil, fake).code == 0
    assert inspect(evil).code == 0
    assert same


def test_indexes_in_indexes(evil, fake):
    level = [evil.image()]
    for depth in range(3):
        level = [evil.index(level, annotations={"n": f"{depth} {n}"}) for n in range(100)]
    evil.index(level, "v1")
    ran = copy(evil, fake)  # 1 + 100 + 100 * 100 + ...
    assert ran.code == 1 and "10000 manifests" in ran.err, ran
    assert len(evil.requests) < 1000
    one = evil.image()
    for _ in range(6):
        one = evil.index([one])
    ran = copy(evil, fake, ref="@" + one["digest"])
    assert ran.code == 1 and "4 deep" in ran.err, ran


def test_layers_elsewhere(evil, fake, canary):
    evil.image("v1", layers=[{**evil.blob(), "urls": [canary.url, "file:///etc/passwd",
                                                      "gopher://x"]}])
    ran = copy(evil, fake)
    assert ran.code == 0 and "stays where it is" in ran.err, ran


# --- lists --------------------------------------------------------------------------------------

def pages(make):
    """A list whose every page has one thing that is new, and a next page."""
    count = [0]

    def trick(request):
        count[0] += 1
        return answer(200, make(count[0]),
                      [f'Link: <{request.path.split("?")[0]}?page={count[0]}>; rel="next"'], INDEX)
    return trick


FILLER = "y" * (3 << 20)
LISTS = {
    "long pages": pages(lambda n: {"name": "a", "tags": [f"t{n}"], "x": FILLER}),
    "short pages": pages(lambda n: {"name": "a", "tags": [f"t{n}"]}),
    "the same page": lambda r: answer(200, {"name": "a", "tags": ["one"]},
                                      [f'Link: <{r.path}>; rel="next"']),
    "many objects": answer(200, b'{"name":"a","tags":[' + b"{}," * 400000 + b"{}]}"),
    "many tags": answer(200, b'{"name":"a","tags":[' + b'"t",' * 900000 + b'"t"]}'),
    "different tags": answer(200, {"name": "a", "tags": [f"tag-{n}" for n in range(200000)]}),
    "a long tag": answer(200, {"name": "a", "tags": ["t" * (4 << 20), "ok", "\x1b[2J", "../x"]}),
}


@pytest.mark.parametrize("what", LISTS)
def test_lists_of_tags(evil, what):
    evil.trick("tags/list", LISTS[what])
    ran = inspect(evil, "--tags", ref="")
    assert ran.code == (0 if what in ("the same page", "a long tag") else 1), ran
    assert ran.code or ran.out in ("one\n", "ok\n"), ran


def referrers(evil, subject, n):
    return [evil.image(more={"subject": {**subject, "mediaType": MANIFEST},
                             "annotations": {"n": f"{subject} {i}"}}) for i in range(n)]


def test_lists_of_referrers(evil, fake):
    root = evil.image("v1")
    evil.trick("/referrers/", pages(lambda n: {
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [descriptor(digest=digest_of(b"%d" % n), annotations={"a": FILLER})]}))
    for ran in (copy(evil, fake), inspect(evil)):
        assert ran.code == 1 and "bytes" in ran.err, ran
    # Each is referred to by others, without end.
    evil.tricks.clear()
    evil.trick("/referrers/", lambda r: answer(200, {
        "schemaVersion": 2, "mediaType": INDEX, "manifests": referrers(
            evil, {"digest": re.search("sha256:[0-9a-f]{64}", r.path).group(), "size": 1}, 1)},
        kind=INDEX))
    evil.requests.clear()
    assert copy(evil, fake).code == 0
    assert len(evil.requests) < 100
    # They refer to what they are listed for only by the list; the tags show the image itself.
    fake.reset()
    evil.tricks.clear()
    hexes = root["digest"][7:]
    for end in ("sig", "att", "sbom"):
        evil.manifests[f"sha256-{hexes}.{end}"] = evil.manifests["v1"]
    evil.index([root, descriptor(), *[evil.image(layers=[b"other"])] * 900], f"sha256-{hexes}")
    ran = copy(evil, fake)
    assert ran.code == 0 and "but does not" in ran.err and "not there" in ran.err, ran


# --- addresses ----------------------------------------------------------------------------------

def elsewhere(canary):
    port = canary.port
    return [canary.url + "/x", f"http://localhost:{port}/x", f"https://127.0.0.1:{port}/x",
            f"//127.0.0.1:{port}/x", f"http://[::ffff:127.0.0.1]:{port}/x",
            f"https://2130706433:{port}/x", f"https://0x7f.1:{port}/x",
            f"https://localhost.:{port}/x", f"http://ci:{WORD}@127.0.0.1:{port}/x",
            "http://169.254.169.254/latest/meta-data", "https://169.254.169.254/",
            "https://[fe80::1]/", "https://[64:ff9b::a9fe:a9fe]/", "file:///etc/passwd",
            "gopher://127.0.0.1/_x", "http://\x1b[2J/", "https:///", "http://%zz/"]


@pytest.mark.parametrize("number", range(18))
def test_nobody_is_sent_elsewhere(evil, fake, canary, tmp_path, number):
    """By redirects, Locations, Links and realms: the canary sees no connection at all."""
    where = elsewhere(canary)[number]
    words = ["--auth-file", auth_file(tmp_path, evil)]
    evil.image("v1")
    evil.trick("/blobs/sha256", answer(307, b"", [f"Location: {where}"]), method="GET")
    ran = copy(evil, fake, *words)
    assert ran.code == 1 and ran.seconds < 5, ran
    evil.tricks.clear()
    evil.trick("tags/list", lambda r: answer(200, {"name": "a", "tags": ["x"]},
                                             [f'Link: <{where}>; rel="next"']))
    ran = inspect(evil, "--tags", *words, ref="")
    assert ran.seconds < 5 and "root:" not in ran.out, ran
    evil.tricks.clear()
    evil.trick("", error(401, headers=[f'WWW-Authenticate: Bearer realm="{where}",service="x"']))
    for more in (words, []):
        ran = inspect(evil, *more)
        assert ran.code in (2, 5) and ran.seconds < 5, ran
    # An upload that is to go elsewhere.
    push = Evil()
    try:
        push.trick("/blobs/uploads", answer(202, b"", [f"Location: {where}"]), method="POST")
        fake.push("a", "v1")
        ran = watch("copy", f"{fake.host}/a:v1", f"{push.host}/b:v1", *plain(fake, push),
                    "--auth-file", auth_file(tmp_path, push))
        assert ran.code == 1 and WORD not in ran.err and push.count("PUT") == 0, ran
    finally:
        push.stop()


# --- tokens, texts and secrets ------------------------------------------------------------------

def challenge(one, realm="/token", more=""):
    """Everything but the token service is refused."""
    realm = one.url + realm if realm.startswith("/") else realm
    one.trick("^/v2/", lambda r: None if r.headers.get("authorization") == "Bearer good" else error(
        401, headers=[f'WWW-Authenticate: Bearer realm="{realm}",service="x"{more}']))


TOKENS = {
    "without end": lambda r: forever(b"y" * 1000, HEAD + b"\r\n"),
    "large": answer(200, {"token": "t" * (1 << 20)}),
    "with a line break": answer(200, {"token": "t\r\nX-Evil: 1"}),
    "with escapes": answer(200, {"token": "\x1b[2J"}),
    "empty": answer(200, {"token": ""}),
    "a number": answer(200, {"token": 5}),
    "none": answer(200, b"[]"),
    "deep": answer(200, b"[" * 60000),
    "a redirect": lambda r: answer(307, b"", ["Location: " + r.path]),
    "its own challenge": error(401, headers=['WWW-Authenticate: Bearer realm="x"']),
    "refused in colour": error(403, "DENIED", "\x1b[31m\x9b0m"),
    "good for ever": answer(200, {"token": "good", "expires_in": 1 << 62}),
    "good since ever": answer(200, {"token": "good", "expires_in": -(1 << 62)}),
    "good for text": answer(200, {"token": "good", "expires_in": "a"}),
}


def test_tokens(tmp_path):
    def attack(what):
        one = Evil()
        one.image("v1")
        one.trick("^/token", TOKENS[what])
        challenge(one)
        (tmp_path / what).mkdir()
        ran = inspect(one, "--auth-file", auth_file(tmp_path / what, one))
        one.stop()
        assert (ran.code == 0) == what.startswith("good"), (what, ran)
        assert ran.seconds < 20 and len(one.requests) < 60
        assert not [r for r in one.requests if "x-evil" in r.headers]
    together(attack, TOKENS)


def test_what_a_challenge_may_ask_for(evil, tmp_path):
    """Scopes are made here: what the challenge says reaches the token service only as a value."""
    evil.image("v1")
    evil.trick("^/token", answer(200, {"token": "good"}))
    challenge(evil, more=',scope="repository:victim:pull,push registry:catalog:*",'
                         'error="insufficient_scope"')
    evil.tricks[-1][2] = lambda r, old=evil.tricks[-1][2]: (
        (said := old(r)) and said.replace(b'service="x"', b'service="x&scope=repository:victim:*"'))
    assert inspect(evil, "--auth-file", auth_file(tmp_path, evil)).code == 0
    asked = [r.path for r in evil.requests if r.path.startswith("/token")]
    assert asked and not [p for p in asked if "&scope=repository:victim" in p], asked
    assert not [p for p in asked if "catalog" in p], asked


EVIL_TEXT = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\r\n"


def test_texts_are_shown_without_control_characters(evil, fake):
    labels = {EVIL_TEXT + "key": EVIL_TEXT}
    config = {"os": EVIL_TEXT, "architecture": EVIL_TEXT, "created": EVIL_TEXT,
              "config": {"Labels": labels}}
    child = evil.image("v1", config=config, more={"artifactType": "a/" + EVIL_TEXT})
    evil.trick("/referrers/", answer(200, {
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [
            descriptor(artifactType=EVIL_TEXT, annotations={EVIL_TEXT: EVIL_TEXT})]}, kind=INDEX))
    for words in ([], ["--format", "json"]):
        assert inspect(evil, *words).code == 0
    evil.index([{**child, "platform": {"os": EVIL_TEXT, "architecture": EVIL_TEXT},
                 "artifactType": EVIL_TEXT}], "v2")
    assert inspect(evil, ref=":v2").code == 0
    ran = copy(evil, fake, "--platform", "linux/amd64", ref=":v2")
    assert ran.code == 1 and "there is" in ran.err, ran
    for headers in ([], ["Warning: 299 - \"\x1b[2J\x9b31m\xc2\x9b31m\""]):
        evil.tricks.clear()
        evil.trick("manifests", error(403, EVIL_TEXT, EVIL_TEXT * 9, headers))
        assert inspect(evil).code == 5
        assert copy(evil, fake).code == 5
        assert copy(evil, fake, "--format", "json").code == 5


def test_secrets_that_are_said_back(evil, fake, tmp_path):
    evil.image("v1")
    basic = base64.b64encode(f"ci:{WORD}".encode()).decode()
    texts = [basic, f"Basic {basic}", WORD, f"user ci password {WORD}!", WORD.encode().hex(" ")[:0]]

    def echo(request):
        if "authorization" not in request.headers:
            return error(401, headers=['WWW-Authenticate: Basic realm="x"'])
        text = " ".join([*texts, request.headers["authorization"]])
        return error(403, "DENIED " + text, text, [f'Warning: 299 - "{text}"',
                                                   f"Docker-Content-Digest: {text}"])
    evil.trick("", echo)
    path = auth_file(tmp_path, evil)
    for ran in (inspect(evil, "--auth-file", path), copy(evil, fake, "--auth-file", path),
                copy(evil, fake, "--auth-file", path, "--format", "json"),
                inspect(evil, "--auth-file", path, env={"SLIPWAY_LOG": "debug"})):
        assert ran.code == 5 and basic not in ran.out + ran.err, ran
    # A proxy's password, when the proxy says it back or is not there at all.
    proxy = Evil()
    proxy.trick("", error(407, headers=[f"Proxy-Authenticate: Basic realm=\"{WORD}\""]))
    for where in (proxy.host, "127.0.0.1:1", f"127.0.0.1:1/{WORD}"):
        ran = watch("inspect", f"{evil.host}/a:v1", *plain(evil), "--proxy",
                    f"http://ci:{WORD}@{where}")
        assert ran.code != 0 and WORD not in ran.out + ran.err, ran
    proxy.stop()
