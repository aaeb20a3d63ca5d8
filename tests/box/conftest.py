"""Fixtures of the box tests. One registry a run; a Slipway for each test."""

import itertools
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

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
