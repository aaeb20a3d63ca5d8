"""What is made from a merge or a git tag when the staged image won't do: built anew, or taken from
what the commit published; and tags that never move."""

import json

import pytest

from lib.building import (building, files_of, gated, image, left_behind, promoted, pushed, tool,
                          write_image, write_list)
from lib.net import wait_until


# --- on_stale: rebuild --------------------------------------------------------------------------

def stale(project, *images, **variables):
    """Change 5 was gated; main has moved on under it when it merges: (built, merged)."""
    write_image(project.git, "app", "five")
    write_list(project.git, *images, container_command=tool(), **variables)
    built = project.git.commit()
    task = gated(project, 5, built)
    assert task["state"] == "done", task
    return built, project.git.commit({"app/other": "another change's\n"})


def test_a_stale_change_is_built_from_its_merge(new_slipway, registry, repository):
    project = building(new_slipway, registry, on_stale="rebuild")
    built, merged = stale(project, image(registry, repository, ["latest", "edge"]))
    staged = registry.digest(repository, "change_5_latest")
    task = promoted(project, 5, merged, staged_commit=built)
    assert task["state"] == "done", task
    assert "2 tags moved" in task["reason"] and "built anew" in task["reason"], task
    assert f"{project.git.tree(built)[:12]}" in task["reason"], task
    live = registry.digest(repository, "latest")
    assert live == registry.digest(repository, "edge") != staged
    assert files_of(registry, repository, "latest")["app/other"] == b"another change's\n"
    # What the gate staged is superseded, and goes.
    wait_until(lambda: registry.tags(repository) == ["edge", "latest"], what="the staged tags go")
    assert left_behind(project) == []


def test_what_is_not_stale_is_promoted_and_not_built(new_slipway, registry, repository):
    project = building(new_slipway, registry, on_stale="rebuild")
    write_image(project.git, "app", "five")
    write_list(project.git, image(registry, repository), container_command=tool())
    commit = project.git.commit()
    assert gated(project, 5, commit)["state"] == "done"
    staged = registry.digest(repository, "change_5_latest")
    merged = project.git.commit()       # a merge commit with the very same tree
    task = promoted(project, 5, merged, staged_commit=commit)
    assert task["state"] == "done" and "built anew" not in task["reason"], task
    assert registry.digest(repository, "latest") == staged


def test_without_leave_to_build_a_stale_change_is_refused(new_slipway, registry, repository):
    project = building(new_slipway, registry, on_stale="rebuild", may_build=["gate"])
    built, merged = stale(project, image(registry, repository))
    task = promoted(project, 5, merged, staged_commit=built)
    assert task["state"] == "dead" and "is not what merged: its tree is" in task["reason"], task
    assert registry.tags(repository) == ["change_5_latest"]


def test_a_rebuild_that_fails_publishes_nothing(new_slipway, registry, repository):
    project = building(new_slipway, registry, on_stale="rebuild")
    built, _ = stale(project, image(registry, repository))
    write_image(project.git, "app", "five", run="echo broken by the merge; exit 4")
    merged = project.git.commit()
    task = promoted(project, 5, merged, staged_commit=built)
    assert task["state"] == "dead" and "exit" in task["reason"], task
    assert "built anew" in task["reason"], task
    assert registry.tags(repository) == ["change_5_latest"]
    assert left_behind(project) == []


def test_a_stale_change_of_the_intermediate_registry(new_slipway, registry, twin, repository):
    project = building(new_slipway, registry, twin, on_stale="rebuild",
                       intermediate=f"{twin.host}/gate")
    built, merged = stale(project, image(registry, repository),
                          promote_container_image_method="intermediate-registry")
    task = promoted(project, 5, merged, staged_commit=built)
    assert task["state"] == "done" and "built anew" in task["reason"], task
    assert "app/other" in files_of(registry, repository, "latest")


# --- a git tag: promoted, not built -------------------------------------------------------------

def versions(project, registry, repository):
    """One image whose git tags get what their commit published; its commit, published by a push."""
    write_image(project.git, "app", "once")
    write_list(project.git, image(registry, repository, ["{{ zuul.tag | default('latest') }}"]),
               container_command=tool(),
               pipelines={"post": ["upload-container-image"], "tag": ["promote-container-image"],
                          "release": ["promote-container-image"]})
    commit = project.git.commit()
    assert pushed(project, commit)["state"] == "done"
    return commit, registry.digest(repository, "latest")


def tagged(project, name, commit, again=""):
    project.git.run("tag", "-f", name, commit)
    before = len(project.tasks())
    project.send("tag.pushed", ref=f"refs/tags/{name}", commit=commit, title=again)
    wait_until(lambda: len(project.tasks()) > before, 30, "the tag has a task")
    return project.ended(name, timeout=120)


def test_a_git_tag_gets_what_its_commit_published(new_slipway, registry, twin, repository):
    project = building(new_slipway, registry, may_build=["post"])
    commit, digest = versions(project, registry, repository)
    task = tagged(project, "1.0.0", commit)
    assert task["state"] == "done" and "1 tag moved" in task["reason"], task
    assert registry.digest(repository, "1.0.0") == digest
    assert left_behind(project) == []


def test_a_commit_that_published_nothing_is_named(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    versions(project, registry, repository)
    commit = project.git.commit({"app/more": "never published"})
    task = tagged(project, "1.1.0", commit)
    assert task["state"] == "dead" and "nothing was published for commit" in task["reason"], task
    assert registry.tags(repository) == ["latest"]


@pytest.mark.parametrize("same", [True, False])
def test_a_full_version_that_is_there_already(new_slipway, registry, repository, same):
    project = building(new_slipway, registry)
    commit, digest = versions(project, registry, repository)
    if same:
        shown = registry.manifest(repository, "latest")
        registry.put(repository, "2.0.0", shown.body, shown.headers["Content-Type"])
    else:
        digest = registry.push(repository, "2.0.0", "somebody else's")
    task = tagged(project, "2.0.0", commit)
    if same:
        assert task["state"] == "done" and "1 already right" in task["reason"], task
    else:
        assert task["state"] == "dead" and "2.0.0 is immutable" in task["reason"], task
    assert registry.digest(repository, "2.0.0") == digest


def test_a_version_that_was_built_for_this_commit_stays(new_slipway, registry, repository):
    """Built once more for the same commit, its digest is another; the tag does not move."""
    project = building(new_slipway, registry)
    write_image(project.git, "app", "version", run="cat /proc/uptime > /app/when")
    write_list(project.git, image(registry, repository, ["{{ zuul.tag }}"]),
               container_command=tool())
    commit = project.git.commit()
    task = tagged(project, "3.0.0", commit)
    assert task["state"] == "done", task
    digest = registry.digest(repository, "3.0.0")
    assert project.slipway.cli("queue", "retry", str(task["id"])).returncode == 0
    said = "was made for this commit already and stays"
    wait_until(lambda: said in (project.task("3.0.0")["reason"] or ""), 120, "the second run ends")
    assert project.task("3.0.0")["state"] == "done"
    assert registry.digest(repository, "3.0.0") == digest


# --- what a git tag is --------------------------------------------------------------------------

def test_only_releases_run_the_release_pipeline(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    write_image(project.git, "app", "release")
    write_list(project.git, image(registry, repository, ["{{ zuul.tag }}"]),
               container_command=tool(),
               pipelines={"tag": [], "release": ["upload-container-image"]})
    commit = project.git.commit()
    task = tagged(project, "nightly-7", commit)
    assert task["state"] == "skipped", task
    assert registry.tags(repository) == []
    task = tagged(project, "4.1", commit)
    assert task["state"] == "done", task
    assert registry.tags(repository) == ["4.1"]
    assert json.loads(registry.manifest(repository, "4.1").body)["schemaVersion"] == 2
