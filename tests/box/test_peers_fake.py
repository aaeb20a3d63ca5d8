"""The registry fake does what it claims, switch by switch: plain Python, and skopeo as a stranger
who knows nothing of fakes, talk to it."""

import email.utils
import http.client
import json
import ssl
import subprocess
import time
import zlib

import pytest

from lib import images
from lib.fakes import FaultyRegistry
from lib.images import digest_of, gzip_layer, push_index
from lib.oci import ACCEPT, INDEX, MANIFEST, Client
from lib.pki import PrivateCA
from lib.process import environment, tool

NAME = "team/app"
UPLOADS = f"/v2/{NAME}/blobs/uploads/"
DATA = b"0123456789abcdef" * 64
DIGEST = digest_of(DATA)
BLOB = f"/v2/{NAME}/blobs/{DIGEST}"
TAGS = f"/v2/{NAME}/tags/list"
IMAGE = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": {
    "mediaType": "x", "digest": DIGEST, "size": 1}, "layers": []}).encode()
LATEST = f"/v2/{NAME}/manifests/latest"


@pytest.fixture(scope="module")
def shared_fake(tmp_path_factory):
    server = FaultyRegistry(str(tmp_path_factory.mktemp("fake")))
    yield server
    server.stop()


@pytest.fixture
def fake(shared_fake):
    shared_fake.reset()
    return shared_fake


# --- the registry fake: the protocol ------------------------------------------------------------

def test_fake_as_a_registry(fake):
    fake.config(check_blobs=True, check_type=True, accept_strict=True)
    pushed = push_index(fake.url, NAME, "v1", seed=2)
    assert images.whole(fake.url, NAME, "v1") == {*pushed.manifests, *pushed.blobs}
    assert fake.dump()["tags"] == {NAME: {"v1": pushed}} and not fake.dump()["uploads"]
    one = images.push_artifact(fake.url, NAME, subject=pushed)
    two = images.push_artifact(fake.url, NAME, subject=pushed, artifact_type="application/y")
    assert not any(tag.startswith("sha256-") for tag in fake.dump()["tags"][NAME])
    path = f"/v2/{NAME}/referrers/{pushed}"
    listed = json.loads(fake.call("GET", path).body)["manifests"]
    assert {m["digest"] for m in listed} == {one, two}
    answer = fake.call("GET", path + "?artifactType=application/y")
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    assert [m["digest"] for m in json.loads(answer.body)["manifests"]] == [two]
    assert fake.call("GET", f"/v2/{NAME}/manifests/v1").status == 404, "no Accept, no index"
    assert fake.call("PUT", LATEST, IMAGE, {"Content-Type": INDEX}).status == 400
    assert fake.call("PUT", LATEST, IMAGE, {"Content-Type": MANIFEST}).status == 400
    assert fake.call("PUT", LATEST[:-6] + pushed, b"{}").status == 400
    assert fake.call("GET", f"/v2/other/tags/list").status == 404
    assert fake.call("POST", UPLOADS[:-1]).status == 404
    assert fake.call("DELETE", f"/v2/{NAME}/blobs/{pushed.blobs[0]}").status == 202


def begin(fake, query=""):
    """(answer, where to go on)"""
    answer = fake.call("POST", UPLOADS + query, b"")
    return answer, answer.headers["Location"]


def chunk(fake, where, data, at):
    return fake.call("PATCH", where, data, {"Content-Range": f"{at}-{at + len(data) - 1}"})


def test_fake_chunks(fake):
    _, first = begin(fake)
    answer = chunk(fake, first, DATA[:100], 0)
    assert answer.status == 202 and answer.headers["Range"] == "0-99"
    assert fake.call("GET", first).status == 404, "an old Location is no more"
    where = answer.headers["Location"]
    answer = chunk(fake, where, DATA[:100], 0)
    assert answer.status == 416 and answer.headers["Range"] == "0-99"
    answer = fake.call("GET", where)
    assert answer.status == 204 and answer.headers["Range"] == "0-99"
    wrong = f"{where}&digest={digest_of(b'x')}"
    done = fake.call("PUT", f"{where}&digest={DIGEST}", DATA[100:], {"Content-Range": "100-1023"})
    assert done.status == 201 and done.headers["Docker-Content-Digest"] == DIGEST
    assert fake.call("GET", BLOB).body == DATA
    assert fake.call("PUT", wrong, DATA).status == 404, "the upload has ended"
    _, where = begin(fake)
    assert fake.call("PUT", f"{where}&digest={DIGEST}", b"other").status == 400
    _, where = begin(fake)
    assert fake.call("DELETE", where).status == 204 and fake.call("GET", where).status == 404
    assert fake.call("POST", f"/v2/b/blobs/uploads/?digest={DIGEST}", DATA).status == 201


def test_fake_ranges(fake):
    fake.store_blob(NAME, DATA)
    table = [
        ({}, "bytes=10-19", 206, DATA[10:20]), ({}, "bytes=1000-", 206, DATA[1000:]),
        ({}, "bytes=-4", 206, DATA[-4:]), ({}, "bytes=5000-", 416, b""),
        ({"blob_range": "ignored"}, "bytes=10-", 200, DATA),
        ({"blob_range": "refused"}, "bytes=10-", 416, b""),
        ({"blob_range": "lying"}, "bytes=10-", 206, DATA[:-10]),
    ]
    for switches, wanted, status, body in table:
        fake.config(**switches)
        answer = fake.call("GET", BLOB, headers={"Range": wanted})
        assert (answer.status, answer.body) == (status, body), (switches, wanted)
    assert answer.headers["Content-Range"] == "bytes 10-1023/1024"


# --- the registry fake: manners, a row each -----------------------------------------------------

def upload_of(fake, size=10):
    _, where = begin(fake)
    return chunk(fake, where, DATA[:size], 0)


def mount_of(fake):
    return begin(fake, f"?mount={DIGEST}&from=team/other")[0]


def get(path, **headers):
    return lambda fake: fake.call("GET", path, headers={k.replace("_", "-"): v
                                                        for k, v in headers.items()})


def head(path):
    return lambda fake: fake.call("HEAD", path)


def put(path, **headers):
    return lambda fake: fake.call("PUT", path, IMAGE, {"Content-Type": MANIFEST, **headers})


def location(answer):
    return answer.headers["Location"]


MANNERS = [
    # switches, what is asked, status, what else is true of the answer
    ({"patch_status": 204}, upload_of, 204, lambda a: a.headers["Range"] == "0-9"),
    ({"patch_status": 201}, upload_of, 201, location),
    ({"upload_range": "off_by_one"}, upload_of, 202, lambda a: a.headers["Range"] == "0-10"),
    ({"upload_range": "bytes"}, upload_of, 202, lambda a: a.headers["Range"] == "bytes=0-9"),
    ({"upload_range": "missing"}, upload_of, 202, lambda a: "Range" not in a.headers),
    ({}, mount_of, 201, lambda a: location(a) == BLOB),
    ({"mount": 202}, mount_of, 202, lambda a: "/uploads/" in location(a)),
    ({"mount": 404}, mount_of, 404, None),
    ({"mount": 405}, mount_of, 405, None),
    ({"single_post": 202}, lambda f: f.call("POST", f"{UPLOADS}?digest={DIGEST}", DATA), 202,
     location),
    ({"digest_header": False}, head(LATEST), 200, lambda a: no_digest(a) and not a.body),
    ({"digest_header": ["GET"]}, head(LATEST), 200, lambda a: no_digest(a)),
    ({"digest_header": ["GET"]}, put(LATEST), 201, lambda a: no_digest(a)),
    ({"digest_header": ["HEAD"]}, head(LATEST), 200, lambda a: not no_digest(a)),
    ({"get_digest": "sha256:0"}, get(LATEST), 200,
     lambda a: a.headers["Docker-Content-Digest"] == "sha256:0"),
    ({"put_digest": "sha256:0"}, put(LATEST), 201,
     lambda a: a.headers["Docker-Content-Digest"] == "sha256:0"),
    ({"corrupt": True}, get(LATEST), 200, lambda a: a.body == IMAGE + b" "),
    ({"need_accept": 500}, get(LATEST), 500, None),
    ({"need_accept": 500}, get(LATEST, Accept=ACCEPT), 200, None),
    ({"manifest_limit": 10}, put(LATEST), 413, None),
    ({"put_tags": "yes"}, put(f"{LATEST}?tag=a&tag=b"), 201,
     lambda a: a.headers.get_all("OCI-Tag") == ["a", "b"]),
    ({}, put(f"{LATEST}?tag=a"), 201, lambda a: "OCI-Tag" not in a.headers),
    ({"put_tags": "refuse"}, put(f"{LATEST}?tag=a"), 400, None),
    ({"immutable": "v.*", "immutable_same": False}, put(LATEST[:-6] + "v1"), 400, None),
    ({"immutable": "v.*"}, put(LATEST[:-6] + "v1"), 201, None),
    ({"readonly": 405}, put(LATEST), 405, None),
    ({"tag_delete": 405}, lambda f: f.call("DELETE", LATEST), 405, None),
    ({"blob_head": 404}, head(BLOB), 404, None),
    ({"post_needs_length": True}, lambda f: bare_post(f), 411, None),
    ({}, lambda f: bare_post(f), 202, None),
    ({"chunk_min": 100}, lambda f: begin(f)[0], 202,
     lambda a: a.headers["OCI-Chunk-Min-Length"] == "100"),
    ({"chunk_min": 100, "chunk_min_strict": True}, upload_of, 416, lambda a: "Range" in a.headers),
    ({"chunk_max": 5}, upload_of, 413, None),
    ({"body_limit": 5}, upload_of, 413, None),
    ({"body_limit": 5, "body_limit_status": 416, "refuse_early": True}, upload_of, 416, None),
    ({"range_416": "wrong", "chunk_min": 99, "chunk_min_strict": True}, upload_of, 416,
     lambda a: a.headers["Range"] == "0-4095"),
    ({"blob_redirect": "http://127.0.0.1:{storage}/{name}/{digest}?sig=x"}, get(BLOB), 307,
     lambda a: location(a).endswith(f"/{NAME}/{DIGEST}?sig=x")),
    ({"upload_location": "http://10.1.2.3/{id}"}, lambda f: begin(f)[0], 202,
     lambda a: location(a).startswith("http://10.1.2.3/")),
    ({"tags_null": True}, get("/v2/untagged/tags/list"), 200,
     lambda a: json.loads(a.body)["tags"] is None),
    ({"n_max": 1000}, get(TAGS + "?n=1001"), 400, None),
    ({"n_max": 1000}, get(TAGS + "?n=1000"), 200, None),
    ({"referrers": "404"}, get(f"/v2/{NAME}/referrers/{DIGEST}"), 404,
     lambda a: a.headers["Content-Type"] == "text/plain"),
    ({"referrers": "https://example.org/x"}, get(f"/v2/{NAME}/referrers/{DIGEST}"), 303,
     lambda a: location(a) == "https://example.org/x"),
    ({"ratelimit": "100;w=21600"}, get(LATEST), 200,
     lambda a: a.headers["RateLimit-Remaining"] == "99;w=21600"),
    ({"ratelimit": "100;w=21600", "ratelimit_remaining": 0}, get(LATEST), 429,
     lambda a: a.headers["Retry-After"] == "1"),
    ({"auth": "bearer", "challenge": 'Bearer realm="http://169.254.169.254/token"'}, get(LATEST),
     401, lambda a: "169.254" in a.headers["WWW-Authenticate"]),
    ({"auth": "basic"}, get("/v2/"), 401, None),
    ({"digest_delete": "tagged403"}, lambda f: f.call("DELETE", LATEST[:-6] + digest_of(IMAGE)),
     403, None),
]


def no_digest(answer):
    return "Docker-Content-Digest" not in answer.headers


def bare_post(fake):
    """A POST that says nothing of its length."""
    connection = http.client.HTTPConnection(fake.host, timeout=10)
    connection.putrequest("POST", UPLOADS)
    connection.endheaders()
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


@pytest.mark.parametrize("switches, ask, status, also", MANNERS,
                         ids=[f"{n}-" + "-".join(row[0]) for n, row in enumerate(MANNERS)])
def test_fake_manners(fake, switches, ask, status, also):
    fake.store_blob(NAME, DATA)
    fake.store_blob("team/other", DATA)
    fake.store_blob("untagged", DATA)
    fake.store(NAME, "latest", IMAGE)
    fake.store(NAME, "v1", IMAGE)
    fake.config(**switches)
    answer = ask(fake)
    assert answer.status == status
    assert also is None or also(answer)


# --- the registry fake: what takes more than one request ----------------------------------------

def test_fake_without_effect(fake):
    fake.config(put_moves=False, blob_put_moves=False)
    assert put(LATEST)(fake).status == 201 and fake.digest(NAME, "latest") is None
    assert fake.call("POST", f"{UPLOADS}?digest={DIGEST}", DATA).status == 201
    assert fake.call("HEAD", BLOB).status == 404


def test_fake_lag(fake):
    old = fake.store(NAME, "latest", IMAGE)
    fake.config(lag=2)
    assert fake.call("PUT", LATEST, IMAGE + b"\n", {"Content-Type": MANIFEST}).status == 201
    new = digest_of(IMAGE + b"\n")
    assert [fake.digest(NAME, "latest") for _ in range(3)] == [old, old, new]
    fake.call("DELETE", LATEST)
    assert [fake.digest(NAME, "latest") for _ in range(3)] == [new, new, None]


def pages(fake, path):
    """What following Link finds, page by page."""
    found = []
    while path and len(found) < 20:
        answer = fake.call("GET", path)
        found.append(json.loads(answer.body).get("tags"))
        link = answer.headers.get("Link") or ""
        path = link.partition(";")[0].strip("<> ")
    return found


def test_fake_lists(fake):
    for tag in "abcde":
        fake.store(NAME, tag, IMAGE)
    for form in ("angle", "bare", "unquoted", "absolute"):
        fake.config(link=form)
        assert pages(fake, TAGS + "?n=2") == [["a", "b"], ["c", "d"], ["e"]], form
    fake.config(link="loop")
    assert pages(fake, TAGS + "?n=2")[:3] == [["a", "b"]] * 3
    fake.config(link="angle", page_cap=3)
    assert pages(fake, TAGS + "?n=1000") == [["a", "b", "c"], ["d", "e"]]
    assert pages(fake, TAGS) == [["a", "b", "c"], ["d", "e"]]
    fake.config(page_cap=0, tags_n="ignored")
    assert pages(fake, TAGS + "?n=2&last=b") == [list("abcde")]
    fake.config(tags_n="nolink")
    assert pages(fake, TAGS + "?n=2") == [["a", "b"]]
    assert pages(fake, TAGS + "?n=2&last=d") == [["e"]]
    fake.config(tags_n="yes", tags_order="reverse")
    assert pages(fake, TAGS + "?n=3") == [["e", "d", "c"], ["b", "a"]]
    fake.config(referrers_page=1)
    for number in range(3):
        images.push_artifact(fake.url, NAME, subject=digest_of(IMAGE), data=b"%d" % number)
    assert len(pages(fake, f"/v2/{NAME}/referrers/{digest_of(IMAGE)}")) == 3


def test_fake_small_chunks(fake):
    fake.config(chunk_min=100)
    answer = upload_of(fake, 100)
    answer = chunk(fake, location(answer), DATA[100:150], 100)
    assert answer.status == 202, "it could be the last one"
    where = location(answer)
    assert chunk(fake, where, DATA[150:260], 150).status == 416, "it was not"
    done = fake.call("PUT", f"{where}&digest={digest_of(DATA[:150])}", b"")
    assert done.status == 201


def test_fake_broken_upload(fake):
    fake.config(upload_cut=300)
    _, where = begin(fake)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        chunk(fake, where, DATA, 0)
    answer = fake.call("GET", where)
    assert answer.status == 204 and answer.headers["Range"] == "0-299"
    assert chunk(fake, where, DATA[300:], 300).status == 202
    fake.config(upload_range="stale", upload_cut=0)
    answer = upload_of(fake, 10)
    assert chunk(fake, location(answer), DATA[10:30], 10).headers["Range"] == "0-9"


def test_fake_storage(fake):
    """Signed in at the registry, and not at the storage."""
    fake.store_blob(NAME, DATA)
    fake.config(blob_redirect="http://127.0.0.1:{storage}/{name}/{digest}?sig=x")
    where = location(fake.call("GET", BLOB))
    assert fake.call("GET", where).body == DATA
    assert fake.call("GET", where, headers={"Range": "bytes=1000-"}).body == DATA[1000:]
    refused = fake.call("GET", where, headers={"Authorization": "Bearer x"})
    assert refused.status == 400 and b"InvalidArgument" in refused.body
    assert [(r["server"], r["status"], r["authorization"]) for r in fake.log()] == [
        ("registry", 307, ""), ("storage", 200, ""), ("storage", 206, ""),
        ("storage", 400, "Bearer x")]
    fake.config(upload_location="http://127.0.0.1:{storage}/v2/{name}/blobs/uploads/{id}?s={state}")
    _, where = begin(fake)
    assert fake.call("PUT", f"{where}&digest={DIGEST}", DATA).status == 201


def test_fake_tokens(fake):
    fake.store(NAME, "latest", IMAGE)
    fake.config(auth="bearer", token_post=200)
    client = fake.client(auth=("ci", "geheim"))
    assert client.call("GET", LATEST).status == 200
    assert fake.client(auth=None).send("GET", fake.url + "/v2/").status == 401
    scopes = "scope=repository:a:pull&scope=repository:b:push%20repository:c:pull"
    token = json.loads(fake.call("GET", "/token?" + scopes, headers={
        "Authorization": client.basic_header()}).body)["token"]
    sent = {"Authorization": "Bearer " + token}
    assert fake.call("GET", "/v2/c/manifests/x", headers=sent).status == 404
    assert fake.call("GET", "/v2/b/manifests/x", headers=sent).status == 401
    mount = f"/v2/b/blobs/uploads/?mount={DIGEST}&from=a"
    assert fake.call("POST", mount, b"", sent).status == 202, "the blob is not there"
    assert fake.call("POST", mount.replace("=a", "=d"), b"", sent).status == 401
    fake.config(mount_unread=202)
    assert fake.call("POST", mount.replace("=a", "=d"), b"", sent).status == 202
    body = b"grant_type=refresh_token&refresh_token=%s&scope=repository:" + NAME.encode() + b":pull"
    assert fake.call("POST", "/token", body % b"dauerhaft").status == 200
    assert fake.call("POST", "/token", body % b"other").status == 401


# --- the registry fake: rules -------------------------------------------------------------------

def test_fake_rules(fake):
    fake.store_blob(NAME, DATA)
    ask = get(BLOB)
    fake.rule("GET", "/blobs/", status=500, times=2, skip=1)
    assert [ask(fake).status for _ in range(4)] == [200, 500, 500, 200]
    for form, read in (("seconds:7", int), ("timestamp:7", lambda t: int(t) - int(time.time())),
                       ("date:7", lambda t: email.utils.parsedate_to_datetime(t).timestamp()
                        - time.time())):
        fake.rule("GET", "/blobs/", status=429, retry_after=form)
        answer = ask(fake)
        assert answer.status == 429 and 5 <= read(answer.headers["Retry-After"]) <= 8, form
    fake.rule("GET", "/blobs/", status=307, headers=[["Location", "{path}"]], times=3)
    assert [location(ask(fake)) for _ in range(3)] == [BLOB] * 3
    fake.rule("GET", "/blobs/", close=True)
    with pytest.raises(http.client.RemoteDisconnected):
        ask(fake)
    fake.rule("PUT", "/manifests/", early=True, status=503)
    assert put(LATEST)(fake).status == 503 and fake.digest(NAME, "latest") is None


def test_fake_mangled(fake):
    fake.store_blob(NAME, DATA)
    ask = get(BLOB)
    fake.rule("GET", "/blobs/", mangle={"short": 100})
    with pytest.raises(http.client.IncompleteRead) as error:
        ask(fake)
    assert error.value.partial == DATA[:100]
    assert ask(fake).body == DATA
    fake.rule("GET", "/blobs/", mangle={"long": 10})
    assert ask(fake).headers["Content-Length"] == "1034"
    fake.rule("GET", "/blobs/", mangle={"flip": 5})
    answer = ask(fake).body
    assert len(answer) == len(DATA) and answer != DATA
    fake.rule("GET", "/blobs/", mangle={"chunked": True})
    answer = ask(fake)
    assert answer.body == DATA and "Content-Length" not in answer.headers
    fake.rule("GET", "/blobs/", mangle={"gzip": True, "drop": ["ETag"], "add": [["X", "y"]]})
    answer = ask(fake)
    assert zlib.decompress(answer.body, 31) == DATA and answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["X"] == "y" and "ETag" not in answer.headers
    fake.rule("GET", "/blobs/", mangle={"drop": ["Content-Length"]})
    assert ask(fake).body == DATA


def test_fake_hostile(fake):
    fake.rule("GET", "/x", bomb=64)
    answer = fake.call("GET", "/x")
    assert len(answer.body) < 100_000 and len(zlib.decompress(answer.body, 31)) == 64 << 20
    fake.rule("GET", "/x", endless="headers")
    with pytest.raises(http.client.HTTPException):
        fake.call("GET", "/x")
    fake.rule("GET", "/x", endless="body")
    connection = http.client.HTTPConnection(fake.host, timeout=10)
    connection.request("GET", "/x")
    assert len(connection.getresponse().read(1 << 20)) == 1 << 20
    connection.close()
    assert fake.call("GET", "/v2/").status == 200, "it lives on"


def test_fake_log(fake):
    fake.call("PUT", LATEST, IMAGE, {"Content-Type": MANIFEST, "User-Agent": "box"})
    row = fake.log()[-1]
    assert (row["method"], row["path"], row["size"], row["status"]) == (
        "PUT", LATEST, len(IMAGE), 201)
    assert row["headers"]["content-type"] == MANIFEST and row["headers"]["user-agent"] == "box"
    assert fake.log() == []


def test_fake_over_tls(tmp_path):
    authority = PrivateCA(str(tmp_path / "ca"))
    server = FaultyRegistry(str(tmp_path / "fake"), tls=authority.server("fake"),
                            ca=authority.ca, client_ca=authority.ca,
                            client_cert=authority.client("tester"))
    try:
        assert server.call("GET", "/v2/").status == 200 and server.storage.startswith("https://")
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            Client(server.url, ca=authority.ca).call("GET", "/v2/")
    finally:
        server.stop()


# --- a stranger ---------------------------------------------------------------------------------

@pytest.mark.parametrize("switches", [
    {}, {"auth": "bearer"}, {"auth": "basic"}, {"patch_status": 204}, {"digest_header": ["GET"]},
    {"blob_redirect": "http://127.0.0.1:{storage}/{name}/{digest}?sig=x"},
    {"upload_location": "http://127.0.0.1:{port}/v2/{name}/blobs/uploads/{id}?_state={state}"},
], ids=lambda row: "-".join(row) or "plain")
def test_skopeo_copies(fake, registry, tmp_path, switches):
    layers = [gzip_layer(1000, seed) for seed in (1, 2, 3)]
    pushed = push_index(registry.url, "peers/source", "v1", layers=layers)
    fake.config(check_blobs=True, check_type=True, **switches)
    auth = ["--src-creds=ci:geheim", "--dest-creds=ci:geheim"] if "auth" in switches else []
    for source, target in ((f"{registry.host}/peers/source:v1", f"{fake.host}/{NAME}:v1"),
                           (f"{fake.host}/{NAME}:v1", f"{fake.host}/team/other:v2")):
        mine = [a for a in auth if not (a.startswith("--src") and registry.host in source)]
        done = subprocess.run(
            [tool("skopeo"), "copy", "--all", "--insecure-policy", "--src-tls-verify=false",
             "--dest-tls-verify=false", *mine, f"docker://{source}", f"docker://{target}"],
            env=environment({"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}),
            capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
    dump = fake.dump()
    assert dump["tags"] == {NAME: {"v1": pushed}, "team/other": {"v2": pushed}}
    assert set(dump["blobs"]["team/other"]) == set(pushed.blobs) and not dump["uploads"]
    assert not [row for row in fake.log() if row["aborted"] or row["status"] >= 500]
