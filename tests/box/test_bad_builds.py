"""Builds that must not happen: each is refused with a clear reason, nothing is published, nothing
is left behind; and what can be refused without a build is refused before the first one."""

import json
import os

import pytest

from lib.building import (building, gated, image, left_behind, promoted, push_base, pushed, tool,
                          write_image, write_list)
from lib.fakes import FaultyRegistry, VendorFake
from lib.net import wait_until
from lib.zuul import ZuulFake

POST = {"post": ["upload-container-image"]}


def refused(project, registry, repository, words, task):
    assert task["state"] == "dead", task
    for word in [words] if isinstance(words, str) else words:
        assert word in task["reason"], (word, task)
    assert registry.tags(repository) == []
    assert left_behind(project) == []


# --- what a list may not say --------------------------------------------------------------------

@pytest.mark.parametrize("key, value", [
    ("context", "-app"), ("context", "app/../../etc"), ("context", "/etc"),
    ("container_filename", "-f"), ("container_filename", "../Containerfile"),
    ("path", "-"), ("target", "--help"), ("build_args", ["-v=/:/host"]),
    ("build_args", ["--volume=/:/host"]), ("build_args", ["NO_VALUE"]),
    ("labels", ["--volume=/:/host"]), ("siblings", ["-x/y"]), ("siblings", ["../../etc"]),
    ("arch", ["--help"]),
])
def test_names_that_would_be_options_or_lead_out(new_slipway, registry, repository, key, value):
    project = building(new_slipway, registry)
    write_image(project.git, "app", "bad")
    write_list(project.git, image(registry, repository, **{key: value}),
               container_command=tool(), pipelines=POST)
    task = pushed(project)
    refused(project, registry, repository, [".slipway.yaml:1:", key], task)


def test_a_context_below_a_link_that_leads_out(new_slipway, registry, repository, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "Containerfile").write_text("FROM scratch\nCOPY . /\n")
    project = building(new_slipway, registry)
    os.symlink(tmp_path, os.path.join(project.git.folder, "out"))
    write_list(project.git, image(registry, repository, context="out/inner"),
               container_command=tool(), pipelines=POST)
    refused(project, registry, repository, "context out/inner leads out of the source",
            pushed(project))


def test_a_container_file_that_is_a_link_out(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    write_image(project.git, "app", "linked")
    place = os.path.join(project.git.folder, "app", "Containerfile")
    os.unlink(place)
    os.symlink("/etc/passwd", place)
    write_list(project.git, image(registry, repository), container_command=tool(), pipelines=POST)
    refused(project, registry, repository, "leads out of the source", pushed(project))


def test_a_tag_too_long_with_its_prefix(new_slipway, registry, repository):
    """128 characters are a tag; with `change_7_` before them they are none."""
    project = building(new_slipway, registry)
    write_image(project.git, "app", "long")
    for length, says in ((119, None), (120, "128")):
        write_list(project.git, image(registry, repository, ["x" * length]),
                   container_command=tool())
        commit = project.git.commit()
        task = gated(project, 7, commit)
        if not says:
            assert task["state"] == "done", task
            assert registry.tags(repository) == ["change_7_" + "x" * length]
        else:
            assert task["state"] == "dead" and says in task["reason"], task
            assert "change_7_xxx" in task["reason"] and len(registry.tags(repository)) == 1
    assert left_behind(project) == []


def test_two_images_for_one_final_tag(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    for folder in ("app", "tools"):
        write_image(project.git, folder, folder)
    write_list(project.git, image(registry, repository), image(registry, repository, ["edge"]),
               image(registry, repository, ["stable", "latest"], context="tools"),
               container_command=tool(), pipelines=POST)
    refused(project, registry, repository, ["two publications for one tag", f"{repository}:latest"],
            pushed(project))


# --- refused before the first build -------------------------------------------------------------

@pytest.fixture(name="closed")
def fixture_closed(tmp_path):
    """A registry in which nobody may write."""
    server = FaultyRegistry(str(tmp_path / "closed"))
    yield server
    server.stop()


def builds_seen(twin, mark):
    """Images here are FROM one of twin's, who hears of a build by its pull."""
    return [row for row in twin.requests(mark, who="") if "/box/base/" in row[1]]


def two_images(project, registry, other, twin, repository):
    """The first may be pushed; whether the second may is what a test is about."""
    base = f"{twin.host}/box/base:latest"
    write_image(project.git, "app", "first", base=base)
    write_image(project.git, "tools", "second", base=base)
    write_list(project.git, image(registry, repository),
               image(other, repository + "/tools", context="tools"),
               container_command=tool(), pipelines=POST)
    return project.git.commit()


@pytest.mark.parametrize("why", ["fine", "denied", "read only", "wrong password"])
def test_every_right_to_push_is_proven_before_the_first_build(new_slipway, registry, twin, closed,
                                                              repository, why):
    push_base(twin, "box/base")
    project = building(new_slipway, registry, twin, closed, started=False)
    one = project.slipway
    one.config["projects"][0]["may_publish"].append(closed.host + "/box/**")
    if why == "wrong password":
        closed.config(auth="basic")
        one.config["registries"][closed.host].update(
            username="ci", password=one.secret("closed", "another"))
    one.write_config()
    one.start()
    if why == "denied":
        closed.rules({"method": "POST", "path": "/v2/.*/blobs/uploads/", "status": 403,
                      "times": 100})
    if why == "read only":
        closed.config(readonly=405)
    commit = two_images(project, registry, closed, twin, repository)
    mark = twin.mark()
    task = pushed(project, commit)
    if why == "fine":
        assert task["state"] == "done" and builds_seen(twin, mark), task
        return
    refused(project, registry, repository,
            [f"proving the right to push to {closed.host}/{repository}/tools"], task)
    assert builds_seen(twin, mark) == []


def test_a_registry_that_nobody_configured(new_slipway, registry, twin, closed, repository):
    project = building(new_slipway, registry, twin)
    commit = two_images(project, registry, closed, twin, repository)
    mark = twin.mark()
    refused(project, registry, repository,
            f"registry {closed.host} is not one of the operator's", pushed(project, commit))
    assert builds_seen(twin, mark) == [] and closed.requests() == []


# --- a repository that has to be made -----------------------------------------------------------

@pytest.fixture(name="quay")
def fixture_quay(tmp_path):
    fake = VendorFake(str(tmp_path / "quay"), "quay")
    yield fake
    fake.stop()


def at_quay(new_slipway, registry, quay, twin, short, **item):
    """A project whose one image goes to Quay, as box/<short>."""
    project = building(new_slipway, registry, twin, started=False)
    one = project.slipway
    one.config["registries"][quay.host] = {
        "plain_http": True, "type": "quay", "api": quay.url,
        "api_password": one.secret("quay", "api-geheim")}
    one.config["projects"][0]["may_publish"].append(quay.host + "/box/**")
    one.write_config()
    one.start()
    push_base(twin, "box/base")
    write_image(project.git, "app", "one", base=f"{twin.host}/box/base:latest")
    write_list(project.git, image(quay, f"box/{short}", **item), container_command=tool(),
               pipelines=POST)
    return project


KEYS = {"namespace": "box", "repo_shortname": "open", "repo_description": "For all"}


def shown(quay, name, token=None):
    answer = quay.call("GET", f"/api/v1/repository/{name}", None,
                       {"Authorization": f"Bearer {token}"} if token else {})
    return json.loads(answer.body) if answer.status == 200 else answer.status


def creations(quay):
    return [row for row in quay.requests() if row == ("POST", "/api/v1/repository")]


@pytest.mark.parametrize("visibility", ["public", "private", None])
def test_a_repository_is_made_once(new_slipway, registry, quay, twin, visibility):
    more = {"visibility": visibility} if visibility else {}
    project = at_quay(new_slipway, registry, quay, twin, "open", **KEYS, **more)
    assert pushed(project)["state"] == "done", project.tasks()
    assert len(creations(quay)) == 1
    if visibility == "private":
        assert shown(quay, "box/open") == 401
    about = shown(quay, "box/open", "api-geheim")
    assert about["is_public"] == (visibility != "private") and about["description"] == "For all"
    first = quay.digest("box/open", "latest")
    # It is there: said by Quay once more at most, and no failure.
    write_image(project.git, "app", "two", base=f"{twin.host}/box/base:latest")
    assert pushed(project)["state"] == "done", project.tasks()
    assert quay.digest("box/open", "latest") not in (None, first)
    assert shown(quay, "box/open", "api-geheim") == about


def test_a_repository_that_is_there_is_left_as_it_is(new_slipway, registry, quay, twin):
    project = at_quay(new_slipway, registry, quay, twin, "open", **KEYS, visibility="public")
    quay.push("box/open", "old")
    assert pushed(project)["state"] == "done", project.tasks()
    assert len(creations(quay)) == 1
    assert shown(quay, "box/open", "api-geheim")["is_public"] is False


def test_without_the_keys_nothing_is_made(new_slipway, registry, quay, twin):
    project = at_quay(new_slipway, registry, quay, twin, "plain", namespace="box",
                      repo_shortname="plain")
    assert pushed(project)["state"] == "done", project.tasks()
    assert creations(quay) == []


@pytest.mark.parametrize("what, says", [("scopes", "403"), ("token", "401"),
                                        ("another name", "is called box/elsewhere")])
def test_a_repository_that_cannot_be_made_stops_before_any_build(new_slipway, registry, quay, twin,
                                                                 what, says):
    keys = {**KEYS, "repo_shortname": "elsewhere"} if what == "another name" else KEYS
    project = at_quay(new_slipway, registry, quay, twin, "open", **keys)
    if what == "scopes":
        quay.vendor(scopes="repo:read repo:write")
    if what == "token":
        quay.vendor(token="renewed")
    mark = twin.mark()
    task = pushed(project)
    assert task["state"] == "dead" and says in task["reason"], task
    assert f"making repository {quay.host}/box/open" in task["reason"], task
    assert builds_seen(twin, mark) == [] and quay.dump()["tags"].get("box/open", {}) == {}
    assert left_behind(project) == []


# --- artifacts of Zuul that are not this project's -----------------------------------------------

@pytest.fixture(name="zuul")
def fixture_zuul(tmp_path):
    server = ZuulFake(str(tmp_path / "zuul"))
    yield server
    server.stop()


def asking_zuul(new_slipway, registry, twin, zuul, repository, **variables):
    project = building(new_slipway, registry, twin, zuul={"main": {
        "api": zuul.api, "intermediate": twin.host}}, wait_for_staged=2)
    write_list(project.git, image(registry, repository),
               promote_container_image_method="intermediate-registry",
               promote_container_image_api=zuul.api, promote_container_image_pipeline="gate",
               promote_container_image_job="build-container-image", **variables)
    return project, project.git.commit()


def test_artifacts_of_another_project_are_not_taken(new_slipway, registry, twin, zuul, repository):
    """Even when Zuul's answer holds nothing else, and they name our very repository."""
    project, commit = asking_zuul(new_slipway, registry, twin, zuul, repository)
    zuul.config(filter=False)
    inner = f"inner/{repository}"
    build = zuul.add("team/other", 6, 2, intermediate=twin.host,
                     images=[(f"{registry.host}/{repository}", "latest", inner)])
    twin.push(inner, f"{build['uuid']}_latest", "another project's")
    task = promoted(project, 6, commit, patchset="2")
    assert task["state"] == "skipped" and "Zuul" in task["reason"], task
    assert registry.tags(repository) == []


def test_artifacts_elsewhere_are_not_fetched(new_slipway, registry, twin, zuul, closed, repository):
    project, commit = asking_zuul(new_slipway, registry, twin, zuul, repository)
    zuul.add("team/app", 6, 2, intermediate=closed.host,
             images=[(f"{registry.host}/{repository}", "latest", "inner/x")])
    task = promoted(project, 6, commit, patchset="2")
    assert task["state"] == "dead" and closed.host in task["reason"], task
    assert closed.requests() == [] and registry.tags(repository) == []


def test_an_api_that_the_operator_does_not_know_is_not_asked(new_slipway, registry, twin, zuul,
                                                             repository):
    project = building(new_slipway, registry, twin)
    write_list(project.git, image(registry, repository),
               promote_container_image_method="intermediate-registry",
               promote_container_image_api=zuul.api, promote_container_image_pipeline="gate",
               promote_container_image_job="build-container-image")
    task = promoted(project, 6, project.git.commit(), patchset="2")
    assert task["state"] == "dead" and "zuul" in task["reason"], task
    assert zuul.asked() == []


# --- what a build may not do --------------------------------------------------------------------

def test_a_build_that_hangs_or_floods(new_slipway, registry, repository):
    project = building(new_slipway, registry, started=False)
    one = project.slipway
    one.config["builder"].update({"timeout": 3})
    one.write_config()
    one.start()
    write_image(project.git, "app", "slow",
                run="/app/busybox yes flood | /app/busybox head -c 9000000; "
                    "/app/busybox sleep 600")
    write_list(project.git, image(registry, repository), container_command=tool(), pipelines=POST)
    refused(project, registry, repository, "timed out", pushed(project))
    wait_until(lambda: project.slipway.work.running, what="work is up")
