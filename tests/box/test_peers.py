"""The peers of the other tests do what they claim: docker-registry with tokens, accounts and TLS,
and the token service. Plain Python talks to them, so that a wrong peer is found before it misleads
anybody. The registry fake: test_peers_fake.py."""

import http.client
import json
import ssl
import time

import pytest

from lib import images
from lib.fakes import TokenServer
from lib.images import digest_of, push_image, push_index
from lib.oci import ACCEPT, Client
from lib.pki import PrivateCA, openssl, signing_key
from lib.registry import Registry

NAME = "team/app"
UPLOADS = f"/v2/{NAME}/blobs/uploads/"
LATEST = f"/v2/{NAME}/manifests/latest"
DATA = b"0123456789abcdef" * 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("peers")


@pytest.fixture(scope="module")
def authority(folder):
    return PrivateCA(str(folder / "ca"))


@pytest.fixture(scope="module")
def tokens(folder):
    server = TokenServer(str(folder / "tokens"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def guarded(folder, tokens):
    """docker-registry with token authentication."""
    server = Registry(str(folder / "guarded"), tokens=tokens)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def sealed(folder, authority):
    """docker-registry with accounts over TLS."""
    server = Registry(str(folder / "sealed"), users={"ci": "geheim-wort"}, tls=authority.server(),
                      ca=authority.ca)
    yield server
    server.stop()


# --- docker-registry: tokens --------------------------------------------------------------------

def test_token_of_two_scopes_mounts(guarded, tokens):
    pushed = push_index(guarded.client(), "team/from", "v1", seed=1)
    found = images.whole(guarded.client(), "team/from", "v1")
    assert found == {*pushed.manifests, *pushed.blobs}
    mark, layer = guarded.mark(), pushed.blobs[1]
    tokens.log()
    client = Client(guarded.url, tokens.account)
    path = f"/v2/team/to/blobs/uploads/?mount={layer}&from=team/from"
    refused = client.call("POST", path, b"")
    assert refused.status == 401 and "team/from:pull" in refused.headers["WWW-Authenticate"]
    answer = client.call("POST", path, b"", also=("repository:team/from:pull",))
    assert answer.status == 201 and answer.headers["Docker-Content-Digest"] == layer
    assert [sorted(row["granted"]) for row in tokens.log()] == [
        ["team/to:pull,push"], ["team/from:pull", "team/to:pull,push"]]
    assert guarded.count(mark, who="")["POST mount"] == 1


@pytest.mark.parametrize("header", ["kid", "x5c"])
def test_tokens_as_the_registry_verifies_them(guarded, tokens, header):
    tokens.config(header=header)
    try:
        answer = tokens.token(f"repository:{NAME}:pull,push")
        assert answer["token"] == answer["access_token"] and answer["expires_in"] == 300
        sent = {"Authorization": "Bearer " + answer["token"]}
        assert guarded.client().send("POST", guarded.url + UPLOADS, b"", sent).status == 202
        refused = guarded.client().send("DELETE", guarded.url + LATEST, None, sent)
        assert refused.status == 401 and "insufficient_scope" in refused.headers["WWW-Authenticate"]
        sent = {"Authorization": "Bearer " + answer["token"][:-8] + "AAAAAAAA"}
        refused = guarded.client().send("POST", guarded.url + UPLOADS, b"", sent)
        assert refused.status == 401 and "invalid_token" in refused.headers["WWW-Authenticate"]
    finally:
        tokens.config(header="kid")


def test_token_with_fewer_rights(guarded, tokens):
    push_image(guarded.client(), NAME, "latest")
    tokens.config(anonymous=[["public/**", "pull"]])
    tokens.log()
    scope = f"repository:{NAME}:pull,push,delete"
    for account, granted in ((("reader", "lese-wort"), [f"{NAME}:pull"]), (None, []),
                             (tokens.account, [f"{NAME}:pull,push,delete"])):
        answer = tokens.token(scope, account=account)
        row = tokens.log()[-1]
        assert row["granted"] == granted and row["scopes"] == [scope] and row["status"] == 200
        sent = {"Authorization": "Bearer " + answer["token"], "Accept": ACCEPT}
        status = guarded.client().send("GET", guarded.url + LATEST, None, sent).status
        assert status == (200 if granted else 401)
        status = guarded.client().send("POST", guarded.url + UPLOADS, b"", sent).status
        assert status == (202 if account == tokens.account else 401)
    assert tokens.token("repository:public/a:pull%20repository:b:pull", account=None)
    assert tokens.log()[-1]["granted"] == ["public/a:pull"]
    assert tokens.call("GET", "/token", headers={"Authorization": "Basic eDp5"}).status == 401


def form(tokens, text, kind="application/x-www-form-urlencoded"):
    return tokens.call("POST", "/token", text.encode(), {"Content-Type": kind})


def test_refresh_tokens(tokens):
    start = form(tokens, "grant_type=password&username=ci&password=geheim-wort&client_id=box"
                         f"&access_type=offline&service=s&scope=repository:{NAME}:pull")
    value = json.loads(start.body)
    assert start.status == 200 and value["refresh_token"] and value["access_token"]
    asking = f"grant_type=refresh_token&client_id=box&service=s&refresh_token="
    assert form(tokens, asking + value["refresh_token"]).status == 200
    assert form(tokens, asking + "wrong").status == 401
    assert form(tokens, "grant_type=refresh_token").status == 400
    tokens.config(refresh_on_post=True)
    again = json.loads(form(tokens, asking + value["refresh_token"]).body)
    assert again["refresh_token"] != value["refresh_token"]
    assert form(tokens, asking + value["refresh_token"]).status == 401
    tokens.config(refresh_on_post=False, post_status=404)
    assert form(tokens, asking + again["refresh_token"]).status == 404
    tokens.config(post_status=200)
    assert "refresh_token" in tokens.token("x", service="s&offline_token=true")
    assert "refresh_token" not in tokens.token("x", service="s&offline_token=true", account=None)


def test_token_service_in_trouble(tokens):
    tokens.config(fail_times=2, fail_retry_after="seconds:3")
    answers = [tokens.call("GET", "/token?service=s") for _ in range(3)]
    assert [a.status for a in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "3"
    tokens.config(body="<html>")
    assert tokens.call("GET", "/token").body == b"<html>"
    tokens.config(body="", field="access_token", say_expires_in=0, say_issued_at=False)
    assert list(tokens.token("x")) == ["access_token"]
    tokens.config(field="both", say_expires_in=None, say_issued_at=True, delay=0.2)
    start = time.monotonic()
    tokens.token("x")
    assert time.monotonic() - start >= 0.2
    tokens.config(delay=0, refuse="delete")
    assert tokens.call("GET", "/token?scope=repository:a:pull,delete").status == 403
    tokens.config(refuse="")
    assert tokens.call("PUT", "/_ctl/config", b'{"nonsense": 1}').status == 400


def test_token_service_over_tls(folder, authority):
    server = TokenServer(str(folder / "tokens-tls"), tls=authority.server("tokens"),
                         ca=authority.ca)
    try:
        assert server.token(f"repository:{NAME}:pull")["token"].count(".") == 2
    finally:
        server.stop()


# --- docker-registry: accounts, TLS, read-only --------------------------------------------------

def test_accounts_over_tls(sealed, authority):
    pushed = push_image(sealed.client(), NAME, "latest", layers=[DATA, 1000])
    assert images.tags(sealed.client(), NAME) == {"latest": pushed}
    assert sealed.digest(NAME, "latest") == pushed
    assert sealed.client(auth=("ci", "wrong")).call("GET", "/v2/").status == 401
    by_name = Client(sealed.url.replace("127.0.0.1", "localhost"), sealed.auth, authority.ca)
    assert by_name.call("GET", "/v2/").status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(sealed.url).call("GET", "/v2/")


def test_client_certificates_and_read_only(folder, authority, sealed):
    push_image(sealed.client(), "team/kept", "latest")
    server = Registry(str(folder / "mutual"), tls=authority.server("mutual"), ca=authority.ca,
                      client_ca=authority.ca, readonly=True, data=sealed.data)
    try:
        known = server.client(cert=authority.client())
        assert known.call("GET", "/v2/team/kept/tags/list").status == 200
        assert known.call("POST", "/v2/team/kept/blobs/uploads/", b"").status == 405
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            server.client().call("GET", "/v2/")
    finally:
        server.stop()


def test_what_is_pushed(registry, folder):
    """Artifacts and signatures, where there is no referrers interface: by the fallback tag."""
    name = "peers/pushed"
    key, public = signing_key(str(folder / "keys"))
    index = push_index(registry.url, name, "v1", platforms=("linux/amd64", "linux/arm/v7"),
                       docker=True)
    images.push_artifact(registry.url, name, subject=index, annotations={"a": "b"})
    images.push_cosign_signature(registry.url, name, index, key, by="bundle")
    listed = json.loads(images.manifest(registry.url, name, index.replace(":", "-")).body)
    assert [m["artifactType"] for m in listed["manifests"]] == ["application/x.box", images.BUNDLE]
    made = images.push_cosign_signature(registry.url, name, index, key)
    shown = json.loads(images.manifest(registry.url, name, index.replace(":", "-") + ".sig").body)
    layer = shown["layers"][0]
    assert digest_of(made.bytes) == made and index in layer_text(registry, name, layer)
    signature = folder / "signature"
    signature.write_bytes(images.base64.b64decode(
        layer["annotations"]["dev.cosignproject.cosign/signature"]))
    payload = images.blob(registry.url, name, layer["digest"])
    assert openssl("dgst", "-sha256", "-verify", public, "-signature", str(signature),
                   given=payload) == b"Verified OK\n"
    assert len(images.whole(registry.url, name, "v1")) == 1 + 2 * 5


def layer_text(registry, name, layer):
    return images.blob(registry.url, name, layer["digest"]).decode()
