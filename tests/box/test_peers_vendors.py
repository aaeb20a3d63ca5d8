"""The vendors' fakes do what those document: deletion and times of tags, pages, refusals, and what
each registry says to DELETE."""

import json
import time
import urllib.parse

import pytest

from lib.fakes import VendorFake
from lib.images import digest_of
from lib.oci import MANIFEST, Client

NAME = "team/app"
VENDORS = ("hub", "quay", "harbor", "ghcr", "gitlab", "acr")
BASIC = {"Authorization": Client("", ("ci", "geheim")).basic_header()}
BEARER = {"Authorization": "Bearer api-geheim"}


def image(text):
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "about": text,
                       "config": {"mediaType": "x", "digest": digest_of(b""), "size": 0}}).encode()


@pytest.fixture(scope="module")
def fakes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vendors")
    made = {vendor: VendorFake(str(folder / vendor), vendor) for vendor in VENDORS}
    yield made
    for one in made.values():
        one.stop()


@pytest.fixture
def vendor(fakes, request):
    """Three tags on two manifests; v1 and old show the same, old was pushed 30 days ago."""
    fake = fakes[request.param]
    fake.reset()
    for tag, text in (("v1", "a"), ("old", "a"), ("v2", "b")):
        fake.store(NAME, tag, image(text))
    fake.age(NAME, "old", 30 * 86400)
    return fake


def of(*names):
    return pytest.mark.parametrize("vendor", names, indirect=True)


def ask(vendor, method, path, headers=None, value=None, status=200):
    """The answer's JSON, or the answer without any."""
    headers = dict(headers or {})
    body = None
    if value is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(value).encode()
    answer = vendor.call(method, vendor.api + path, body, headers)
    assert answer.status == status, f"{method} {path}: {answer.status} {answer.text[:300]}"
    return json.loads(answer.body) if answer.body.startswith((b"{", b"[")) else answer


def left(vendor):
    return sorted(vendor.dump()["tags"].get(NAME, {}))


# status of DELETE by tag, by digest of a manifest that a tag shows, and what is left of the tags
DELETIONS = {"hub": (405, 403, ["old", "v1", "v2"]), "quay": (202, 202, ["v1"]),
             "harbor": (400, 202, ["old", "v1"]), "ghcr": (405, 405, ["old", "v1", "v2"]),
             "gitlab": (202, 202, ["v1"]), "acr": (405, 202, ["old", "v1"])}


@of(*VENDORS)
def test_oci_deletion(vendor, request):
    name = request.node.callspec.params["vendor"]
    by_tag, by_digest, rest = DELETIONS[name]
    path = f"/v2/{NAME}/manifests/"
    assert vendor.call("DELETE", path + "old").status == by_tag
    assert vendor.call("DELETE", path + digest_of(image("b"))).status == by_digest
    assert left(vendor) == rest
    if name in ("hub", "ghcr", "gitlab"):
        assert vendor.api != vendor.url
    else:
        assert vendor.api == vendor.url


@of("hub")
def test_hub(vendor):
    tags = f"/v2/repositories/{NAME}/tags/"
    ask(vendor, "DELETE", tags + "old/", status=401)
    ask(vendor, "POST", "/v2/users/login", value={"username": "ci", "password": "x"}, status=401)
    ask(vendor, "POST", "/v2/users/login", value={"username": "ci"}, status=400)
    ask(vendor, "GET", "/v2/users/login", status=405)
    one = ask(vendor, "POST", "/v2/users/login", value={"username": "ci", "password": "geheim"})
    two = ask(vendor, "POST", "/v2/auth/token", value={"identifier": "ci", "secret": "geheim"})
    ask(vendor, "DELETE", tags + "old/", {"Authorization": "Bearer x"}, status=401)
    ask(vendor, "DELETE", tags + "old", {"Authorization": "JWT " + one["token"]}, status=301)
    ask(vendor, "DELETE", tags + "old/", {"Authorization": "JWT " + one["token"]}, status=204)
    signed_in = {"Authorization": "Bearer " + two["access_token"]}
    ask(vendor, "DELETE", tags + "old/", signed_in, status=404)
    ask(vendor, "DELETE", "/v2/repositories/other/app/tags/x/", signed_in, status=403)
    assert left(vendor) == ["v1", "v2"]
    page = ask(vendor, "GET", f"/v2/namespaces/team/repositories/app/tags?page_size=1")
    assert page["count"] == 2 and page["results"][0]["name"] == "v2" and page["previous"] is None
    page = ask(vendor, "GET", page["next"].replace(vendor.api, ""))
    assert page["next"] is None and page["results"][0]["tag_last_pushed"].endswith("Z")
    ask(vendor, "GET", "/v2/repositories/team/none/tags", status=404)


@of("quay")
def test_quay(vendor):
    base = f"/api/v1/repository/{NAME}/tag/"
    ask(vendor, "DELETE", base + "old", status=401)
    ask(vendor, "DELETE", base + "old", BASIC, status=401)
    vendor.vendor(scopes="repo:read")
    ask(vendor, "DELETE", base + "old", BEARER, status=403)
    vendor.vendor(scopes="repo:read repo:write repo:create repo:admin")
    page = ask(vendor, "GET", base + "?limit=2&onlyActiveTags=true", BEARER)
    assert page["has_additional"] and [t["name"] for t in page["tags"]] == ["v2", "v1"]
    page = ask(vendor, "GET", base + "?limit=2&page=2&onlyActiveTags=true", BEARER)
    assert not page["has_additional"] and page["tags"][0]["name"] == "old"
    assert abs(page["tags"][0]["start_ts"] - time.time() + 30 * 86400) < 60
    ask(vendor, "DELETE", base + "old", BEARER, status=204)
    ask(vendor, "DELETE", base + "old", BEARER, status=404)
    assert left(vendor) == ["v1", "v2"] and vendor.digest(NAME, "old") is None
    dead = ask(vendor, "GET", base, BEARER)["tags"][-1]
    assert dead["name"] == "old" and dead["end_ts"]
    assert len(ask(vendor, "GET", base + "?onlyActiveTags=true", BEARER)["tags"]) == 2


@of("quay")
def test_quay_creates(vendor):
    new = {"namespace": "team", "repository": "fresh", "visibility": "public",
           "description": "x", "repo_kind": "image"}
    ask(vendor, "POST", "/api/v1/repository", BEARER, {"repository": "fresh"}, status=400)
    ask(vendor, "POST", "/api/v1/repository", BEARER, {**new, "visibility": "open"}, status=400)
    ask(vendor, "POST", "/api/v1/repository", BEARER, {**new, "repository": "A B"}, status=400)
    made = ask(vendor, "POST", "/api/v1/repository", BEARER, new, status=201)
    assert made == {"namespace": "team", "name": "fresh", "kind": "image"}
    again = ask(vendor, "POST", "/api/v1/repository", BEARER, new, status=400)
    assert "already exists" in again["error_message"]
    path = f"/api/v1/repository/{NAME}"
    ask(vendor, "GET", path, status=401)
    ask(vendor, "PUT", path + "/changevisibility", BEARER, {"visibility": "public"}, status=405)
    ask(vendor, "POST", path + "/changevisibility", BEARER, {"visibility": "public"})
    assert ask(vendor, "GET", path)["is_public"] is True


@of("harbor")
def test_harbor(vendor):
    vendor.store("team/a/b", "x", image("a"))
    vendor.config(immutable="v.*")
    base = "/api/v2.0/projects/team/repositories/app/artifacts"
    ask(vendor, "GET", base, status=401)
    rows = ask(vendor, "GET", base + "?with_tag=true", BASIC)
    assert [sorted(t["name"] for t in row["tags"]) for row in rows] == [["v2"], ["old", "v1"]]
    times = {t["name"]: t["push_time"] for row in rows for t in row["tags"]}
    assert times["old"] < times["v1"] and rows[0]["push_time"] == times["v2"]
    page = vendor.call("GET", base + "?page_size=1", headers=BASIC)
    assert page.headers["X-Total-Count"] == "2" and 'rel="next"' in page.headers["Link"]
    ask(vendor, "DELETE", base + "/old/tags/v2", BASIC, status=404)
    ask(vendor, "DELETE", base + "/v1/tags/v1", BASIC, status=412)
    ask(vendor, "DELETE", base + "/old/tags/old", BASIC)
    assert left(vendor) == ["v1", "v2"]
    deep = "/api/v2.0/projects/team/repositories/a{}b/artifacts/x/tags/x"
    ask(vendor, "DELETE", deep.format("/"), BASIC, status=404)
    ask(vendor, "DELETE", deep.format("%252F"), BASIC)
    assert "team/a/b" not in vendor.dump()["tags"]


@of("ghcr")
def test_ghcr(vendor):
    base = "/orgs/team/packages/container/app/versions"
    agent = {"User-Agent": "box"}
    signed_in = {**BEARER, **agent}
    ask(vendor, "GET", base, BEARER, status=403)
    ask(vendor, "GET", base, agent, status=401)
    ask(vendor, "GET", base.replace("orgs", "users"), signed_in, status=404)
    rows = ask(vendor, "GET", base, signed_in)
    ids = {tuple(sorted(row["metadata"]["container"]["tags"])): row["id"] for row in rows}
    assert list(ids) == [("v2",), ("old", "v1")] or list(ids) == [("old", "v1"), ("v2",)]
    page = vendor.call("GET", vendor.api + base + "?per_page=1", headers=signed_in)
    assert f'{base}?per_page=1&page=2>; rel="next"' in page.headers["Link"]
    ask(vendor, "DELETE", f"{base}/1", signed_in, status=404)
    ask(vendor, "DELETE", f"{base}/{ids['old', 'v1']}", signed_in, status=204)
    assert left(vendor) == ["v2"], "every tag on that manifest"
    refused = ask(vendor, "DELETE", f"{base}/{ids['v2',]}", signed_in, status=400)
    assert "last tagged version" in refused["message"] and left(vendor) == ["v2"]
    vendor.store("team/a/b", "x", image("a"))
    assert ask(vendor, "GET", "/orgs/team/packages/container/a%2Fb/versions", signed_in)
    big = vendor.call("POST", f"/v2/{NAME}/blobs/uploads/", b"").headers["Location"]
    assert vendor.call("PATCH", big, bytes((4 << 20) + 1)).status == 416
    assert vendor.call("PATCH", big, bytes(4 << 20)).status == 202


@of("gitlab")
def test_gitlab(vendor):
    vendor.vendor(protected="v1")
    vendor.store(NAME + "/worker", "x", image("w"))
    key = {"PRIVATE-TOKEN": "api-geheim"}
    project = "/api/v4/projects/" + urllib.parse.quote(NAME, safe="")
    ask(vendor, "GET", project + "/registry/repositories", status=401)
    ask(vendor, "GET", "/api/v4/projects/team/app/registry/repositories", key, status=404)
    rows = ask(vendor, "GET", project + "/registry/repositories?tags=true", key)
    assert [row["path"] for row in rows] == [NAME, NAME + "/worker"]
    assert [tag["name"] for tag in rows[0]["tags"]] == ["old", "v1", "v2"]
    assert "tags" not in ask(vendor, "GET", project + "/registry/repositories", BEARER)[0]
    base = f"/api/v4/projects/5/registry/repositories/{rows[0]['id']}/tags"
    shown = ask(vendor, "GET", base + "/old", key)
    assert shown["digest"] == digest_of(image("a")) and shown["created_at"].endswith("+00:00")
    page = vendor.call("GET", vendor.api + base + "?per_page=2", headers=key)
    assert page.headers["X-Next-Page"] == "2" and 'rel="next"' in page.headers["Link"]
    ask(vendor, "DELETE", base + "/v1", key, status=403)
    ask(vendor, "DELETE", base + "/old", key)
    ask(vendor, "DELETE", base + "/old", key, status=404)
    assert left(vendor) == ["v1", "v2"]


@of("acr")
def test_acr(vendor):
    vendor.vendor(locked=["v1"])
    base = f"/acr/v1/{NAME}/_tags"
    ask(vendor, "GET", base, status=401)
    page = vendor.call("GET", base + "?n=2&orderby=timedesc", headers=BASIC)
    rows = json.loads(page.body)["tags"]
    assert [row["name"] for row in rows] == ["v2", "v1"]
    rest = page.headers["Link"].partition(">")[0].strip("<")
    rows = ask(vendor, "GET", rest, BASIC)["tags"]
    assert rows[0]["name"] == "old" and rows[0]["lastUpdateTime"].endswith("Z")
    assert ask(vendor, "GET", base + "/old", BASIC)["tag"]["digest"] == digest_of(image("a"))
    ask(vendor, "DELETE", base + "/v1", BASIC, status=405)
    ask(vendor, "DELETE", base + "/old", BASIC, status=202)
    ask(vendor, "DELETE", base + "/old", BASIC, status=404)
    ask(vendor, "GET", "/acr/v1/team/none/_tags", BASIC, status=404)
    assert left(vendor) == ["v1", "v2"]


@of(*VENDORS)
def test_vendor_in_trouble(vendor):
    vendor.vendor(fail_times=1, fail_status=429, fail_headers=[["X-Retry-After", "17"]])
    for path in ("/v2/x", "/api/v1/x", "/api/v2.0/x", "/api/v4/x", "/acr/v1/x"):
        answer = vendor.call("GET", vendor.api + path)
        if answer.status == 429:
            assert answer.headers["X-Retry-After"] == "17"
            break
    else:
        raise AssertionError("it never failed")
    assert vendor.call("GET", vendor.api + path).status != 429
