"""Newest wins, for ever: nothing moves a tag back."""

import json

from lib.net import wait_until
from lib.project import new_project


def stage(project, repository, change, content=None):
    return project.registry.push(repository, f"change_{change}_latest", content or f"c{change}")


def test_late_delivery_of_an_older_merge_is_stale(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    older = project.list((repository, ["latest"]))
    newer = project.git.commit(message="newer")
    stage(project, repository, 1)
    second = stage(project, repository, 2)
    project.merged(2, newer)
    assert project.ended(2)["state"] == "done"
    project.merged(1, older)
    task = project.ended(1)
    assert task["state"] == "superseded", task
    assert "newer" in task["reason"] and older[:7] in task["reason"], task
    assert registry.digest(repository, "latest") == second
    wait_until(lambda: registry.tags(repository) == ["latest"], what="both staged tags are gone")


def test_stale_tags_are_named_and_the_others_move(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    first = project.list((repository, ["latest", "extra"]))
    second = project.list((repository, ["latest"]))
    for tag in ("latest", "extra"):
        one = registry.push(repository, f"change_1_{tag}", "one")
    two = registry.push(repository, "change_2_latest", "two")
    project.merged(2, second)
    assert project.ended(2)["state"] == "done"
    project.merged(1, first)
    task = project.ended(1)
    assert task["state"] == "done" and ":latest stays" in task["reason"], task
    assert registry.digest(repository, "latest") == two
    assert registry.digest(repository, "extra") == one


def test_replays_of_many_merges_move_nothing(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    commits = [project.list((repository, ["latest"]))]
    for change in range(2, 13):
        commits.append(project.git.commit(message=str(change)))
    for change, commit in enumerate(commits, 1):
        last = stage(project, repository, change)
        project.merged(change, commit)
    for change in range(1, len(commits) + 1):
        project.ended(change, timeout=60)
    assert registry.digest(repository, "latest") == last
    for change, commit in reversed(list(enumerate(commits, 1))):
        project.merged(change, commit, title="sent again")
    wait_until(lambda: project.untouched() == 0, timeout=60, what="all replays are looked at")
    states = {task["state"] for task in project.tasks()}
    assert states <= {"done", "superseded"}, states
    assert registry.digest(repository, "latest") == last


def test_a_burst_in_any_order_ends_at_the_tip(new_slipway, registry, repository):
    project = new_project(new_slipway, registry, started=False)
    commits = [project.list((repository, ["latest"]))]
    for change in range(2, 9):
        commits.append(project.git.commit(message=str(change)))
    project.slipway.start_serve()
    for change in (3, 8, 1, 6, 2, 7, 5, 4):
        digest = stage(project, repository, change)
        if change == len(commits):
            last = digest
        project.merged(change, commits[change - 1])
    project.slipway.start_work()
    for change in range(1, len(commits) + 1):
        assert project.ended(change, timeout=60)["state"] in ("done", "superseded")
    assert registry.digest(repository, "latest") == last


def test_a_stranger_before_us_is_reported_or_held(new_slipway, registry, repository):
    project = new_project(new_slipway, registry, on_foreign="hold")
    commit = project.list((repository, ["latest"]))
    stage(project, repository, 1)
    project.merged(1, commit)
    assert project.ended(1)["state"] == "done"
    foreign = registry.push(repository, "latest", "by hand")
    stage(project, repository, 2)
    project.merged(2, project.git.commit(message="two"))
    task = project.ended(2)
    assert task["state"] == "held" and "did not put there" in task["reason"], task
    assert registry.digest(repository, "latest") == foreign


def test_a_deleted_git_tag_may_be_made_again(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    text = json.dumps({
        "container_images": [{"context": "app", "registry": registry.host,
                              "repository": f"{registry.host}/{repository}",
                              "tags": ["{{ zuul.tag | default('latest') }}"]}],
        "pipelines": {"tag": ["promote-container-image"], "release": []}})
    commit = project.git.commit({".slipway.yaml": text})
    stage(project, repository, 1)
    project.merged(1, commit)
    assert project.ended(1)["state"] == "done"
    project.git.run("tag", "v1")
    for _ in range(2):
        project.send("tag.pushed", ref="refs/tags/v1", commit=commit)
        assert project.ended("v1")["state"] == "done"
    assert len([t for t in project.tasks() if t["ref"] == "refs/tags/v1"]) == 1
    project.send("tag.deleted", ref="refs/tags/v1")
    project.send("tag.pushed", ref="refs/tags/v1", commit=commit)
    wait_until(lambda: len([t for t in project.tasks() if t["ref"] == "refs/tags/v1"]) == 2,
               what="the tag is looked at again")
    assert project.ended("v1")["state"] == "done"


def test_versions_decide_about_the_tags_of_a_series(new_slipway, registry, repository):
    """A fix of an older series moves its own tags alone, however late it is made."""
    project = new_project(new_slipway, registry)
    text = ("{{ [zuul.tag.split('.')[0], '.'.join(zuul.tag.split('.')[:2]), zuul.tag]"
            " if zuul.tag is defined else ['latest'] }}")
    project.git.commit({".slipway.yaml": json.dumps({
        "pipelines": {"tag": ["promote-container-image"]},
        "container_images": [{"context": "app", "registry": registry.host,
                              "repository": f"{registry.host}/{repository}", "tags": text}]})})

    def release(version, message):
        commit = project.git.commit(message=message)
        change = len(project.tasks()) + 1
        digest = stage(project, repository, change, message)
        project.merged(change, commit)
        assert project.ended(change)["state"] == "done"
        project.git.run("tag", version)
        project.send("tag.pushed", ref=f"refs/tags/{version}", commit=commit)
        return digest, project.ended(version)

    older, task = release("v1.2.3", "one")
    assert task["state"] == "done" and registry.digest(repository, "v1") == older, task
    newer, task = release("v1.3.0", "two")
    assert task["state"] == "done" and registry.digest(repository, "v1") == newer, task
    late, task = release("v1.2.4", "three")
    assert task["state"] == "done" and "v1 stays" in task["reason"], task
    assert "v1.2.4" in task["reason"] and "lower version than" in task["reason"], task
    assert registry.digest(repository, "v1") == newer == registry.digest(repository, "v1.3")
    assert registry.digest(repository, "v1.2") == late == registry.digest(repository, "v1.2.4")
    candidate, task = release("v1.4.0-rc.1", "four")
    assert task["state"] == "done", task
    assert registry.digest(repository, "v1.4.0-rc.1") == candidate
    assert registry.digest(repository, "v1") == newer
    assert "v1.4" not in registry.tags(repository)
