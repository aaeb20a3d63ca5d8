"""Signing in at real registries: tokens that docker-registry verifies, accounts behind TLS and
client certificates, credential files and helpers. Driven by `slipway inspect`."""

import base64
import json
import os
import time

import pytest
import yaml

from lib import pki
from lib.fakes import FaultyRegistry, TokenServer
from lib.images import push_image
from lib.registry import Registry

WORD = "geheim-wort"
NAME = "box/app"


class World:
    """A private CA, a token service, a registry of each kind, all over TLS."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = pki.PrivateCA(self.path("ca"))
        self.pair = self.ca.server()
        self.service = TokenServer(self.path("tokens"), tls=self.pair, ca=self.ca.ca)
        self.tokens = Registry(self.path("t"), tokens=self.service, tls=self.pair, ca=self.ca.ca)
        self.accounts = Registry(self.path("a"), users={"ci": WORD}, tls=self.pair, ca=self.ca.ca)
        for one in (self.tokens, self.accounts):
            push_image(one.client(), NAME, "latest")
        self.service.log()

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def stop(self):
        for one in (self.service, self.tokens, self.accounts):
            one.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(str(tmp_path_factory.mktemp("auth")))
    yield made
    made.stop()


@pytest.fixture
def box(new_slipway, world, tmp_path):
    return Box(new_slipway(), world, str(tmp_path))


class Box:
    """One configuration, a HOME and a PATH of its own."""

    def __init__(self, slipway, world, folder):
        self.slipway = slipway
        self.world = world
        self.folder = folder
        self.env = {"HOME": os.path.join(folder, "home"),
                    "PATH": os.path.join(folder, "bin") + ":" + os.environ["PATH"]}
        for name in ("home", "bin"):
            os.makedirs(os.path.join(folder, name))

    def registry(self, host, **keys):
        self.slipway.config["registries"][host] = {
            "ca_file": self.world.ca.ca, "realms": [self.world.service.url], **keys}
        self.slipway.write_config()

    def account(self, word=WORD, user="ci"):
        return {"username": user, "password": self.slipway.secret("word", word)}

    def helper(self, name, script):
        path = os.path.join(self.folder, "bin", "docker-credential-" + name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nread server\necho \"$1 $server\" >> {self.folder}/asked\n"
                       f"{script}\n")
        os.chmod(path, 0o755)

    def asked(self):
        with open(os.path.join(self.folder, "asked"), encoding="utf-8") as file:
            return file.read().splitlines()

    def file(self, name, value):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
                  encoding="utf-8") as file:
            json.dump(value, file)
        return path

    def inspect(self, host, *argv, name=NAME):
        done = self.slipway.cli("inspect", "--config", self.slipway.config_path, "--raw",
                                f"{host}/{name}:latest", *argv, env=self.env)
        text = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert WORD not in text, text
        return done

    def works(self, host, **more):
        done = self.inspect(host, **more)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["schemaVersion"] == 2

    def fails(self, host, *words, **more):
        done = self.inspect(host, **more)
        said = done.stderr.decode()
        assert done.returncode not in (0, 4), said
        for word in words:
            assert word in said, said
        return done


def basic(user="ci", word=WORD):
    return base64.b64encode(f"{user}:{word}".encode()).decode()


# --- tokens ---------------------------------------------------------------------------------------

def test_token_that_the_registry_verifies(box, world):
    for header in ("kid", "x5c"):
        world.service.config(header=header)
        box.registry(world.tokens.host, **box.account())
        world.service.log()
        box.works(world.tokens.host)
        log = world.service.log()
        assert len(log) == 1 and log[0]["how"] == "basic" and log[0]["user"] == "ci", log
        assert log[0]["service"] == "box-registry"
        assert all(scope.startswith(f"repository:{NAME}:pull") for scope in log[0]["scopes"]), log
    world.service.config(header="kid")


def test_realm_that_is_not_listed_sees_nothing(box, world):
    box.registry(world.tokens.host, **box.account(), realms=[])
    world.service.log()
    box.fails(world.tokens.host, "`realms`", world.service.url)
    assert world.service.log() == []


@pytest.mark.parametrize("account, said", [(("nobody", "x" * 20), "check the credentials"),
                                           (None, "no credentials are configured")])
def test_wrong_credentials(box, world, account, said):
    keys = box.account(account[1], account[0]) if account else {}
    box.registry(world.tokens.host, **keys)
    world.service.config(anonymous=None)
    try:
        box.fails(world.tokens.host, said)
    finally:
        world.service.config(anonymous=[])


def test_short_lived_tokens(box, world):
    """A token that says nothing of its life, or that is old before it is used."""
    box.registry(world.tokens.host, **box.account())
    for settings in ({"say_expires_in": 0}, {"field": "token"}, {"field": "access_token"},
                     {"say_issued_at": False}):
        former = world.service.config()
        world.service.config(**settings)
        try:
            box.works(world.tokens.host)
        finally:
            world.service.config(**{key: former[key] for key in settings})


def test_identity_token_by_post_and_by_get(box, world):
    grant = world.service.call("GET", "/token?service=box-registry&offline_token=true&client_id=x"
                               "&account=ci", headers={"Authorization": "Basic " + basic()})
    refresh = json.loads(grant.body)["refresh_token"]
    auths = {world.tokens.host: {"identitytoken": refresh, "auth": basic("ci", "")}}
    box.slipway.config["auth_file"] = box.file("auth.json", {"auths": auths})
    box.registry(world.tokens.host)
    world.service.log()
    box.works(world.tokens.host)
    log = world.service.log()
    assert [(row["method"], row["how"], row["client_id"]) for row in log] == [
        ("POST", "refresh_token", "slipway")], log
    # Where POST is not known the token goes by GET, as a password: nobody's here.
    for status in (404, 405):
        world.service.config(post_status=status)
        try:
            done = box.fails(world.tokens.host, "check the credentials", "auth.json")
            assert refresh.encode() not in done.stderr
            log = world.service.log()
            assert [row["method"] for row in log][:2] == ["POST", "GET"], log
        finally:
            world.service.config(post_status=200)


def test_registry_token_goes_as_it_is(box, world):
    token = world.service.token(f"repository:{NAME}:pull")["token"]
    auths = {world.tokens.host: {"registrytoken": token}}
    box.slipway.config["auth_file"] = box.file("auth.json", {"auths": auths})
    box.registry(world.tokens.host)
    world.service.log()
    box.works(world.tokens.host)
    assert world.service.log() == []
    box.file("auth.json", {"auths": {world.tokens.host: {"registrytoken": token[:-9]}}})
    done = box.fails(world.tokens.host, "auth.json")
    assert token[:-9].encode() not in done.stderr


def test_token_service_asks_to_wait(box, world):
    """By hand there is patience: the service is asked again when it said."""
    box.registry(world.tokens.host, **box.account())
    world.service.config(fail_times=1, fail_status=503, fail_retry_after="seconds:1")
    began = time.monotonic()
    box.works(world.tokens.host)
    assert time.monotonic() - began >= 1


def test_metadata_service_is_never_asked(box, world, tmp_path):
    registry = FaultyRegistry(str(tmp_path / "fake"), tls=world.pair, ca=world.ca.ca)
    try:
        registry.push(NAME, "latest")
        for where in ("http://169.254.169.254/latest", "https://169.254.169.254/token"):
            registry.config(auth="bearer", challenge=f'Bearer realm="{where}",service="x"')
            for keys in ({}, box.account()):
                box.registry(registry.host, **keys)
                began = time.monotonic()
                box.fails(registry.host, "169.254.169.254")
                assert time.monotonic() - began < 4, "nobody tries to connect there"
    finally:
        registry.stop()


# --- accounts, TLS and certificates ---------------------------------------------------------------

def test_accounts_over_tls(box, world):
    host = world.accounts.host
    box.registry(host, **box.account())
    box.works(host)
    box.registry(host, **box.account("falsch-falsch"))
    box.fails(host, "check the credentials")
    box.registry(host)
    box.fails(host, "none are configured")
    box.registry(host, **box.account(), ca_file=None)
    del box.slipway.config["registries"][host]["ca_file"]
    box.slipway.write_config()
    box.fails(host, "ca_file")


def test_client_certificate_and_certs_d(box, world, tmp_path):
    registry = Registry(str(tmp_path / "mtls"), tls=world.pair, ca=world.ca.ca,
                        client_ca=world.ca.ca)
    cert, key = world.ca.client()
    try:
        push_image(registry.client(cert=(cert, key)), NAME, "latest")
        box.registry(registry.host)
        box.fails(registry.host)
        box.registry(registry.host, client_cert=cert, client_key=key)
        box.works(registry.host)
        folder = tmp_path / "certs.d" / registry.host
        folder.mkdir(parents=True)
        for source, name in ((world.ca.ca, "ca.crt"), (cert, "me.cert"), (key, "me.key")):
            with open(source, "rb") as file:
                (folder / name).write_bytes(file.read())
        box.slipway.config["certs_dirs"] = [str(tmp_path / "absent"), str(tmp_path / "certs.d")]
        box.slipway.config["registries"][registry.host] = None
        box.slipway.write_config()
        box.works(registry.host)
        (folder / "me.key").unlink()
        box.fails(registry.host, "me.cert", "me.key")
    finally:
        registry.stop()


# --- files and helpers ----------------------------------------------------------------------------

def test_most_specific_path_wins(box, world):
    host = world.accounts.host
    wrong, right = {"auth": basic("ci", "falsch")}, {"auth": basic()}
    for auths, good in (({host: right}, True), ({host: wrong}, False),
                        ({host: wrong, f"{host}/box": right}, True),
                        ({host: right, f"{host}/box/app": wrong}, False),
                        ({host: right, f"{host}/bo": wrong, f"{host}/other": wrong}, True),
                        ({f"https://{host}/v2/": right}, True),
                        ({}, False)):
        box.slipway.config["auth_file"] = box.file("auth.json", {"auths": auths})
        box.registry(host)
        (box.works if good else box.fails)(host)


def test_files_of_the_user(box, world):
    host = world.accounts.host
    box.slipway.config["auth_file"] = "user"
    box.registry(host)
    box.fails(host)
    box.file("home/.docker/config.json", {"auths": {host: {"auth": basic()}}})
    box.works(host)
    box.file("home/.config/containers/auth.json",
             {"auths": {host: {"auth": basic("ci", "falsch")}}})
    box.fails(host, "auth.json")
    box.env["REGISTRY_AUTH_FILE"] = box.file("mine.json", {"auths": {host: {"auth": basic()}}})
    box.works(host)


def test_configuration_goes_before_files(box, world):
    host = world.accounts.host
    box.slipway.config["auth_file"] = box.file(
        "auth.json", {"auths": {host: {"auth": basic("ci", "falsch")}}})
    box.registry(host, **box.account())
    box.works(host)


GOOD = f"""echo '{{"ServerURL":"x","Username":"ci","Secret":"{WORD}"}}'"""


def test_helpers(box, world):
    host = world.accounts.host
    box.helper("good", GOOD)
    box.registry(host, credential_helper="good")
    box.works(host)
    assert set(box.asked()) == {f"get {host}"}
    for where in ({"credHelpers": {host: "good"}}, {"credsStore": "good", "auths": {host: {}}}):
        box.slipway.config["auth_file"] = box.file("auth.json", where)
        box.registry(host)
        box.works(host)


@pytest.mark.parametrize("script, said", [
    (f"echo {WORD}; echo {WORD} >&2; exit 2", "ended with status 2"),
    (f"echo {WORD}", "no JSON object"),
    ("head -c 300000 /dev/zero | tr '\\0' x", "docker-credential-bad"),
    ("echo '{\"Username\":\"ci\"}'", "no Secret"),
])
def test_helpers_that_fail(box, world, script, said):
    host = world.accounts.host
    box.helper("bad", script)
    box.registry(host, credential_helper="bad")
    box.fails(host, said)


def test_helper_that_hangs(box, world):
    host = world.accounts.host
    box.helper("slow", "sleep 100")
    box.registry(host, credential_helper="slow")
    began = time.monotonic()
    done = box.slipway.cli("check", "--config", box.slipway.config_path, env=box.env)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 5, "checking the configuration runs no helper"
    began = time.monotonic()
    done = box.fails(host, "docker-credential-slow")
    assert done.returncode == 75, done.stderr
    assert time.monotonic() - began < 15, "once is enough"
    assert box.asked() == [f"get {host}"]


def test_check_shows_what_is_in_force(box, world):
    host = world.accounts.host
    box.slipway.config["auth_file"] = box.file("auth.json", {"auths": {}})
    box.registry(host, **box.account(), transfers=2, chunk="1M")
    done = box.slipway.cli("check", "--config", box.slipway.config_path, env=box.env)
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)
    assert shown["registries"][host]["transfers"] == 2
    assert shown["auth_file"].endswith("auth.json")
    assert WORD.encode() not in done.stdout + done.stderr
    os.chmod(box.slipway.config["auth_file"], 0o644)
    done = box.slipway.cli("check", "--config", box.slipway.config_path, env=box.env)
    assert done.returncode == 2 and b"chmod o-rwx" in done.stderr
    os.unlink(box.slipway.config["auth_file"])
    done = box.slipway.cli("check", "--config", box.slipway.config_path, env=box.env)
    assert done.returncode == 2 and b"auth_file" in done.stderr
