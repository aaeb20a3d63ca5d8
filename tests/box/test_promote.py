"""The main job: a merge comes in, and the final tags are live."""

import json

from lib.net import wait_until
from lib.project import Project, new_project
from lib.registry import ACCEPT


def paths(registry, since, name):
    """Requests as "METHOD reference status"."""
    return [f"{method} {path.rsplit('/', 1)[1]} {status}"
            for method, path, status in registry.requests(since, name)]


def test_promotes_and_cleans_with_seven_requests(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    commit = project.list((repository, ["latest"]))
    old = registry.push(repository, "latest", "old")
    for change in (6, 7):
        digest = registry.push(repository, f"change_{change}_latest", f"new {change}")
        project.staged(change, commit, [(repository, f"change_{change}_latest", digest)])
        since = registry.mark()
        project.merged(change, commit)
        task = project.ended(change)
        assert task["state"] == "done", task
        assert registry.digest(repository, "latest") == digest != old
        wait_until(lambda: registry.tags(repository) == ["latest"], what="the staged tag is gone")
        commit = project.git.commit()
    log = paths(registry, since, repository)[:7]
    assert log[0].startswith("GET change_7_latest 200") or log[1].startswith("GET change_7_latest")
    assert sorted(log[:2]) == ["GET change_7_latest 200", "HEAD latest 200"], log
    assert log[2:5] == ["PUT latest 201", "HEAD latest 200", "PUT change_7_latest 201"], log
    assert log[5].startswith("DELETE sha256:") and log[5].endswith(" 202"), log
    assert log[6] == "HEAD latest 200", log


def test_index_travels_whole(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    commit = project.list((repository, ["latest", "stable"]))
    for tag in ("latest", "stable"):
        digest = registry.push_index(repository, f"change_1_{tag}")
    project.merged(1, commit)
    assert project.ended(1)["state"] == "done"
    for tag in ("latest", "stable"):
        answer = registry.manifest(repository, tag)
        assert registry.digest(repository, tag) == digest
        for child in json.loads(answer.body)["manifests"]:
            got = registry.call("GET", f"/v2/{repository}/manifests/{child['digest']}",
                                headers={"Accept": ACCEPT})
            assert got.status == 200
    wait_until(lambda: registry.tags(repository) == ["latest", "stable"],
               what="the staged tags are gone")


def test_repeat_is_suppressed_and_moves_nothing(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    commit = project.list((repository, ["latest"]))
    registry.push(repository, "change_1_latest", "one")
    project.merged(1, commit)
    assert project.ended(1)["state"] == "done"
    since = registry.mark()
    assert project.merged(1, commit).status == 200
    assert project.merged(1, commit, title="other bytes: only `work` can tell").status == 202
    assert project.send("change.merged", ident="msg_same", branch="main", change="1",
                        commit=commit).status in (200, 202)
    wait_until(lambda: project.untouched() == 0, what="the repeats are looked at")
    assert [t["state"] for t in project.tasks()] == ["done"]
    assert not [r for r in registry.requests(since, repository)
                if r[0] == "PUT" and r[1].endswith("/latest")]


def test_waits_for_the_staged_image(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    commit = project.list((repository, ["latest"]))
    project.merged(3, commit)
    task = project.ended(3, ("waiting",))
    assert "nothing is staged" in task["reason"] and "change_3_latest" in task["reason"]
    digest = registry.push(repository, "change_3_latest", "late")
    project.staged(3, commit, [(repository, "change_3_latest", digest)])
    assert project.ended(3)["state"] == "done"
    assert registry.digest(repository, "latest") == digest


def test_never_staged_is_skipped_with_the_remedy(new_slipway, registry, repository):
    project = new_project(new_slipway, registry, wait_for_staged=1)
    commit = project.list((repository, ["latest"]))
    project.merged(3, commit)
    task = project.ended(3)
    assert task["state"] == "skipped", task
    assert "gate" in task["reason"] and "queue retry" in task["reason"]
    digest = registry.push(repository, "change_3_latest")
    assert project.slipway.cli("queue", "retry", str(task["id"])).returncode == 0
    assert project.ended(3, ("done",))["state"] == "done"
    assert registry.digest(repository, "latest") == digest


def test_some_staged_and_not_all_publishes_none(new_slipway, registry, repository):
    project = new_project(new_slipway, registry, wait_for_staged=1)
    commit = project.list((repository, ["latest"]), (repository + "/tools", ["latest"]))
    registry.push(repository, "change_4_latest")
    project.merged(4, commit)
    task = project.ended(4)
    assert task["state"] == "dead" and "1 of 2" in task["reason"], task
    assert registry.digest(repository, "latest") is None


def test_the_recorded_digest_is_published(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    commit = project.list((repository, ["latest"]))
    digest = registry.push(repository, "change_5_latest", "tested")
    project.staged(5, commit, [(repository, "change_5_latest", digest)])
    other = registry.push(repository, "change_5_latest", "untested")
    project.merged(5, commit)
    task = project.ended(5)
    assert task["state"] == "done" and "another digest" in task["reason"], task
    assert registry.digest(repository, "latest") == digest
    assert registry.digest(repository, "change_5_latest") == other  # not ours to remove


def test_another_patchset_than_the_recorded_one_waits(new_slipway, registry, repository):
    project = new_project(new_slipway, registry, wait_for_staged=1)
    first = project.list((repository, ["latest"]))
    second = project.git.commit(message="second")
    digest = registry.push(repository, "change_5_latest", "first")
    project.staged(5, first, [(repository, "change_5_latest", digest)])
    project.merged(5, second)
    task = project.ended(5)
    assert task["state"] == "skipped" and first[:12] in task["reason"], task
    assert registry.digest(repository, "latest") is None


def test_stale_tree_is_refused(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    built = project.list((repository, ["latest"]))
    tree = project.git.tree()
    merged = project.git.commit({"other": "somebody else's change"})
    digest = registry.push(repository, "change_5_latest")
    project.staged(5, built, [(repository, "change_5_latest", digest)], tree=tree)
    project.merged(5, merged, staged_commit=built)
    task = project.ended(5)
    assert task["state"] == "dead" and "tree" in task["reason"], task
    assert registry.digest(repository, "latest") is None


def test_labels_of_another_change_are_refused(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    commit = project.list((repository, ["latest"]))
    registry.push(repository, "change_7_latest", labels={"org.zuul-ci.change": "8"})
    project.merged(7, commit)
    task = project.ended(7)
    assert task["state"] == "dead" and "built for change 8" in task["reason"], task


def test_change_number_of_another_project_is_refused(new_slipway, registry, repository):
    one = new_slipway()
    first = Project(one, registry, "team/one")
    second = Project(one, registry, "team/two")
    one.start()
    for project in (first, second):
        commit = project.list((repository, ["latest"]))
    digest = registry.push(repository, "change_7_latest")
    first.staged(7, commit, [(repository, "change_7_latest", digest)])
    second.merged(7, commit)
    task = second.ended(7)
    assert task["state"] == "dead" and "team/one" in task["reason"], task
    assert registry.digest(repository, "latest") is None
    assert registry.digest(repository, "change_7_latest") == digest


def test_unrecorded_may_be_refused(new_slipway, registry, repository):
    project = new_project(new_slipway, registry, unrecorded="refuse", wait_for_staged=1)
    commit = project.list((repository, ["latest"]))
    registry.push(repository, "change_7_latest")
    project.merged(7, commit)
    task = project.ended(7)
    assert task["state"] == "skipped" and "image.staged" in task["reason"], task
    assert registry.tags(repository) == ["change_7_latest"]


def test_registry_without_deletion_keeps_the_staged_tag(new_slipway, registry_without_deletion,
                                                        repository):
    registry = registry_without_deletion
    project = new_project(new_slipway, registry)
    commit = project.list((repository, ["latest"]))
    digest = registry.push(repository, "change_7_latest")
    project.merged(7, commit)
    assert project.ended(7)["state"] == "done"
    assert registry.digest(repository, "latest") == digest
    assert registry.digest(repository, "change_7_latest") == digest
    wait_until(lambda: project.slipway.query("SELECT tag FROM cleanup WHERE attempt > 0") ==
               [("change_7_latest",)], what="the staged tag is listed as left")
    assert registry.digest(repository, "change_7_latest") == digest


def test_immutable_tag_is_made_but_never_moved(new_slipway, registry, repository):
    project = new_project(new_slipway, registry, immutable=["v*"])
    commit = project.list((repository, ["v1", "latest"]))
    old = registry.push(repository, "v1", "old")
    for tag in ("v1", "latest"):
        registry.push(repository, f"change_7_{tag}", "new")
    project.merged(7, commit)
    task = project.ended(7)
    assert task["state"] == "dead" and "immutable" in task["reason"], task
    assert registry.digest(repository, "v1") == old
    assert registry.digest(repository, "latest") is None


def test_git_tag_promotes_what_its_commit_published(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    text = json.dumps({
        "container_images": [{"context": "app", "registry": registry.host,
                              "repository": f"{registry.host}/{repository}",
                              "tags": ["{{ zuul.tag | default('latest') }}"]}],
        "pipelines": {"tag": ["promote-container-image"],
                      "release": ["promote-container-image"]}})
    commit = project.git.commit({".slipway.yaml": text})
    digest = registry.push(repository, "change_7_latest")
    project.merged(7, commit)
    assert project.ended(7)["state"] == "done"
    project.git.run("tag", "-a", "-m", "first", "v1.0.0")
    project.send("tag.pushed", ref="refs/tags/v1.0.0",
                 commit=project.git.run("rev-parse", "v1.0.0"))
    task = project.ended("v1.0.0")
    assert task["state"] == "done", task
    assert registry.digest(repository, "v1.0.0") == digest


def test_shadow_mode_writes_nothing(new_slipway, registry, repository):
    project = new_project(new_slipway, registry, mode="shadow")
    commit = project.list((repository, ["latest"]))
    registry.push(repository, "change_7_latest")
    project.merged(7, commit)
    task = project.ended(7)
    assert task["state"] == "skipped" and "shadow" in task["reason"], task
    assert registry.tags(repository) == ["change_7_latest"]
