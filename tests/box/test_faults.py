"""Registries in trouble: all or nothing, clear words, nothing lost."""

import pytest

from lib.fakes import FaultyRegistry
from lib.project import new_project


@pytest.fixture
def faulty(tmp_path):
    server = FaultyRegistry(str(tmp_path))
    yield server
    server.stop()


def merge_two_tags(project, repository):
    """Two images, one tag each, staged; returns {repository: digest}."""
    names = [repository + "/a", repository + "/b"]
    commit = project.list(*[(name, ["latest"]) for name in names])
    staged = {name: project.registry.push(name, "change_1_latest", name) for name in names}
    return staged, commit


def test_a_refused_push_restores_what_was_there(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    staged, commit = merge_two_tags(project, repository)
    a, b = staged
    former = {name: faulty.push(name, "latest", "old " + name) for name in staged}
    faulty.rule("PUT", f"/{b}/manifests/latest", status=403, times=99,
                body='{"errors":[{"code":"DENIED","message":"read only"}]}')
    project.merged(1, commit)
    task = project.ended(1)
    assert task["state"] == "dead", task
    assert "DENIED" in task["reason"] and "as it was" in task["reason"], task
    assert {name: faulty.digest(name, "latest") for name in staged} == former
    assert faulty.digest(a, "change_1_latest") == staged[a]  # kept for the next try


def test_a_refused_push_takes_a_new_tag_away_again(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    staged, commit = merge_two_tags(project, repository)
    a, b = staged
    faulty.rule("PUT", f"/{b}/manifests/latest", status=403, times=99)
    project.merged(1, commit)
    assert project.ended(1)["state"] == "dead"
    assert faulty.digest(a, "latest") is None


def test_what_cannot_be_restored_is_partial(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    staged, commit = merge_two_tags(project, repository)
    a, b = staged
    faulty.config(tag_delete=405)
    faulty.rule("PUT", f"/{b}/manifests/latest", status=403, times=99)
    project.merged(1, commit)
    task = project.ended(1)
    assert task["state"] == "partial", task
    assert f"{a}:latest" in task["reason"] and "cannot delete a tag" in task["reason"], task


def test_no_right_to_push_is_found_before_the_first_flip(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    staged, commit = merge_two_tags(project, repository)
    a, b = staged
    faulty.rule("PUT", f"/{b}/manifests/", status=403, times=99)
    faulty.requests()
    project.merged(1, commit)
    task = project.ended(1)
    assert task["state"] == "dead" and "right to push" in task["reason"], task
    assert not [r for r in faulty.requests() if r[0] == "PUT" and r[1].endswith("/latest")]


@pytest.mark.parametrize("fault", [
    {"status": 500}, {"status": 503}, {"status": 429, "headers": [["Retry-After", "1"]]},
    {"close": True}, {"status": 502, "body": "<html>bad gateway"}])
def test_passing_trouble_is_rolled_forward(new_slipway, faulty, repository, fault):
    project = new_project(new_slipway, faulty)
    staged, commit = merge_two_tags(project, repository)
    faulty.rule("PUT", "/manifests/latest", times=2, **fault)
    project.merged(1, commit)
    assert project.ended(1)["state"] == "done"
    assert {name: faulty.digest(name, "latest") for name in staged} == staged


def test_trouble_while_reading_is_tried_again(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    staged, commit = merge_two_tags(project, repository)
    faulty.rule("GET", "change_1_latest", status=500, times=2)
    project.merged(1, commit)
    task = project.ended(1, ("failed", "done"))
    assert project.ended(1)["state"] == "done", task
    assert {name: faulty.digest(name, "latest") for name in staged} == staged


def test_201_that_moved_nothing_is_not_believed(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    staged, commit = merge_two_tags(project, repository)
    faulty.config(put_moves=False)
    project.merged(1, commit)
    task = project.ended(1, ("failed",), timeout=60)
    assert "still shows" in task["reason"], task
    faulty.config(put_moves=True)
    assert project.slipway.cli("queue", "retry", str(task["id"])).returncode == 0
    assert project.ended(1)["state"] == "done"
    assert {name: faulty.digest(name, "latest") for name in staged} == staged


@pytest.mark.parametrize("setting,word", [
    ({"auth": "basic"}, "credentials"), ({"corrupt": True}, "sha256")])
def test_what_will_not_mend_itself_is_dead(new_slipway, faulty, repository, setting, word):
    project = new_project(new_slipway, faulty)
    _, commit = merge_two_tags(project, repository)
    faulty.config(**setting)
    project.merged(1, commit)
    task = project.ended(1)
    assert task["state"] == "dead" and word in task["reason"], task


def test_a_tag_moved_by_a_stranger_meanwhile_is_written_again(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    commit = project.list((repository, ["latest"]))
    digest = faulty.push(repository, "change_1_latest", "new")
    faulty.push(repository, "latest", "old")
    other = "sha256:" + "ab" * 32
    faulty.rule("HEAD", "/manifests/latest", times=1, status=200, headers=[
        ["Docker-Content-Digest", other],
        ["Content-Type", "application/vnd.oci.image.manifest.v1+json"]])
    project.merged(1, commit)
    task = project.ended(1)
    assert task["state"] == "done" and other in task["reason"], task
    assert faulty.digest(repository, "latest") == digest


def test_a_registry_that_is_down_is_waited_for(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    commit = project.list((repository, ["latest"]))
    project.slipway.config["registries"][faulty.host] = {"plain_http": True}
    faulty.stop()
    project.merged(1, commit)
    task = project.ended(1, ("failed",))
    assert "onnect" in task["reason"], task
