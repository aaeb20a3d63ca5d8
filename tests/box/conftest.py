"""Fixtures of the box tests. One registry a run; a Slipway for each test."""

import itertools
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

from lib.fakes import FaultyRegistry, TokenServer  # noqa: E402
from lib.pki import PrivateCA  # noqa: E402
from lib.registry import Registry  # noqa: E402
from lib.slipway import Slipway  # noqa: E402

numbers = itertools.count(1)


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    """docker-registry where tags can be deleted by digest."""
    server = Registry(str(tmp_path_factory.mktemp("registry")))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def registry_without_deletion(tmp_path_factory):
    server = Registry(str(tmp_path_factory.mktemp("registry-keep")), deletion=False)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def twin(tmp_path_factory):
    """A second docker-registry, to copy to."""
    server = Registry(str(tmp_path_factory.mktemp("twin")))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def token_service(tmp_path_factory):
    server = TokenServer(str(tmp_path_factory.mktemp("token-service")))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def token_registry(tmp_path_factory, token_service):
    """docker-registry that wants tokens of token_service."""
    server = Registry(str(tmp_path_factory.mktemp("token-registry")), tokens=token_service)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def private_ca(tmp_path_factory):
    return PrivateCA(str(tmp_path_factory.mktemp("private-ca")))


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory, private_ca):
    """docker-registry over TLS, with one account."""
    server = Registry(str(tmp_path_factory.mktemp("tls-registry")), users={"ci": "geheim-wort"},
                      tls=private_ca.server("tls-registry"), ca=private_ca.ca)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def one_fake(tmp_path_factory):
    server = FaultyRegistry(str(tmp_path_factory.mktemp("fake")))
    yield server
    server.stop()


@pytest.fixture
def fake(one_fake):
    """The registry fake, empty and with good manners."""
    one_fake.reset()
    return one_fake


@pytest.fixture
def repository(request):
    """A name that no other test uses."""
    base = "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:60].strip("-")
    while "--" in base:
        base = base.replace("--", "-")
    return f"box/{base}-{next(numbers)}"


@pytest.fixture
def new_slipway():
    """Makes Slipways: new_slipway(config={...}). All are stopped and checked at the end."""
    made = []

    def make(config=None):
        made.append(Slipway(config))
        return made[-1]

    yield make
    try:
        for one in made:
            one.stop()
    finally:
        for one in made:
            one.remove()


@pytest.fixture
def slipway(new_slipway):
    """One Slipway with `serve` running."""
    one = new_slipway()
    one.start_serve()
    return one
