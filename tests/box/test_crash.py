"""kill -9 of either process at any moment: nothing accepted is lost, nothing stays half done."""

import random
import time

import pytest

from lib.fakes import FaultyRegistry
from lib.net import wait_until
from lib.project import new_project


@pytest.fixture
def slow(tmp_path):
    server = FaultyRegistry(str(tmp_path))
    yield server
    server.stop()


@pytest.mark.parametrize("method,ref", [
    ("GET", "change_1_latest"), ("PUT", "/b/manifests/latest"), ("HEAD", "/b/manifests/latest"),
    ("DELETE", "change_1_latest")])
def test_work_killed_at_a_request_is_finished_at_restart(new_slipway, slow, repository, method,
                                                         ref):
    project = new_project(new_slipway, slow)
    names = [repository + "/a", repository + "/b"]
    commit = project.list(*[(name, ["latest"]) for name in names])
    staged = {name: slow.push(name, "change_1_latest", name) for name in names}
    for name in names:
        slow.push(name, "latest", "old")
    slow.rule(method, ref, times=1, delay=60, status=500)
    slow.requests()
    project.merged(1, commit)
    seen = []

    def reached():
        seen.extend(slow.requests())
        return [r for r in seen if r[0] == method and ref in r[1]]

    wait_until(reached, what=f"{method} {ref} is under way")
    time.sleep(0.1)
    project.slipway.work.kill()
    project.slipway.start_work()
    assert project.ended(1)["state"] == "done"
    assert {name: slow.digest(name, "latest") for name in names} == staged
    wait_until(lambda: all(slow.digest(name, "change_1_latest") is None for name in names),
               what="the staged tags are gone")


def test_an_undo_that_was_killed_is_finished(new_slipway, slow, repository):
    project = new_project(new_slipway, slow)
    names = [repository + "/a", repository + "/b"]
    commit = project.list(*[(name, ["latest"]) for name in names])
    for name in names:
        slow.push(name, "change_1_latest", name)
    former = {name: slow.push(name, "latest", "old") for name in names}
    slow.rule("PUT", "/b/manifests/latest", times=1, status=403)
    slow.rule("PUT", "/a/manifests/latest", times=1, status=201)  # answered, then undone
    slow.rule("HEAD", "/a/manifests/latest", times=1, status=404)
    # Long enough to be killed in; whichever worker meets it, it is over soon.
    slow.rule("HEAD", "/a/manifests/latest", times=1, delay=3, status=500)
    project.merged(1, commit)
    project.ended(1, ("undoing", "dead"), timeout=30)
    project.slipway.work.kill()
    project.slipway.start_work()
    assert project.ended(1)["state"] in ("dead", "partial")
    assert {name: slow.digest(name, "latest") for name in names} == former


def test_kills_at_random_lose_nothing(new_slipway, registry, repository):
    dice = random.Random(7)
    project = new_project(new_slipway, registry)
    commits = [project.list((repository, ["latest"]))]
    for change in range(2, 16):
        commits.append(project.git.commit(message=str(change)))
    for change, commit in enumerate(commits, 1):
        last = registry.push(repository, f"change_{change}_latest", f"c{change}")
        project.merged(change, commit)
        if dice.random() < 0.6:
            time.sleep(dice.random() * 0.08)
            project.slipway.work.kill()
            project.slipway.start_work()
        if dice.random() < 0.3:
            project.slipway.serve.kill()
            project.slipway.start_serve()
    for change in range(1, len(commits) + 1):
        assert project.ended(change, timeout=60)["state"] in ("done", "superseded")
    assert registry.digest(repository, "latest") == last
