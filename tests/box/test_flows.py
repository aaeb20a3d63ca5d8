"""All flows from a webhook: builds, staged and direct uploads, the intermediate registry."""

import contextlib
import json
import os

import pytest

from lib.building import (building, config_of, image, left_behind, tool, write_image, write_list)
from lib.net import wait_until
from lib.zuul import ZuulFake

# --- direct upload ------------------------------------------------------------------------------

def test_a_git_tag_builds_and_publishes(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    write_image(project.git, "app", "one", run="echo built > /app/ran")
    write_list(project.git, image(registry, repository,
                                  ["latest", "{{ zuul.tag | default('latest') }}"]),
               container_command=tool())
    commit = project.git.commit()
    project.git.run("tag", "1.2.3")
    project.send("tag.pushed", ref="refs/tags/1.2.3", commit=commit)
    task = project.ended("1.2.3", timeout=120)
    assert task["state"] == "done", task
    assert registry.tags(repository) == ["1.2.3"]
    labels = config_of(registry, repository, "1.2.3")["config"].get("Labels") or {}
    assert "org.zuul-ci.change" not in labels
    assert left_behind(project) == []
    log = project.slipway.cli("queue", "log", str(task["id"]))
    assert log.returncode == 0 and b"RUN echo built" in log.stdout, log
    assert project.slipway.cli("queue", "log", "99").returncode == 4
    # The same tag again, as another delivery: nothing is built, nothing moves.
    digest = registry.digest(repository, "1.2.3")
    project.send("tag.pushed", ref="refs/tags/1.2.3", commit=commit, title="again")
    wait_until(lambda: project.untouched() == 0, what="the repeat is looked at")
    assert registry.digest(repository, "1.2.3") == digest


def test_a_branch_publishes_by_full_release(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    write_image(project.git, "base", "base")
    write_image(project.git, "app", "app", base=f"{registry.host}/{repository}/base:latest")
    write_list(project.git, image(registry, repository + "/base", context="base"),
               image(registry, repository), container_command=tool(),
               pipelines={"post": [{"upload-container-image": {}}]})
    commit = project.git.commit()
    # What is published under the base's name is not what this commit's images are FROM.
    registry.push(repository + "/base", "latest", "a stranger")
    project.send("branch.pushed", branch="main", commit=commit)
    wait_until(lambda: project.tasks() and project.tasks()[0]["state"] in ("done", "dead"), 120,
               "the build ends")
    assert project.tasks()[0]["state"] == "done", project.tasks()
    base = config_of(registry, repository + "/base", "latest")
    app = config_of(registry, repository, "latest")
    assert app["rootfs"]["diff_ids"][:1] == base["rootfs"]["diff_ids"]


VERSIONS = ("{{ zuul.tag is defined | ternary([zuul.get('tag', '').split('.')[0], "
            "'.'.join(zuul.get('tag', '').split('.')[:2]), zuul.get('tag', '')], ['latest']) }}")


def test_a_git_tag_publishes_its_shorter_versions(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    write_image(project.git, "app", "versions")
    write_list(project.git, image(registry, repository, VERSIONS), container_command=tool())
    commit = project.git.commit()
    project.git.run("tag", "1.2.3")
    project.send("tag.pushed", ref="refs/tags/1.2.3", commit=commit)
    task = project.ended("1.2.3", timeout=120)
    assert task["state"] == "done" and "3 tags" in task["reason"], task
    assert sorted(registry.tags(repository)) == ["1", "1.2", "1.2.3"]
    assert len({registry.digest(repository, tag) for tag in ("1", "1.2", "1.2.3")}) == 1


def test_a_merge_is_a_push_where_nobody_tells_of_it(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    write_image(project.git, "app", "merged")
    write_list(project.git, image(registry, repository), container_command=tool(),
               pipelines={"promote": [], "post": ["upload-container-image"]})
    commit = project.git.commit()
    project.merged(5, commit)
    project.send("branch.pushed", branch="main", commit=commit)
    wait_until(lambda: len(project.tasks()) == 2 and
               all(task["state"] in ("done", "skipped", "dead") for task in project.tasks()), 120,
               "both tasks end")
    states = {task["ref"]: task["state"] for task in project.tasks()}
    assert states == {"change/5": "skipped", "refs/heads/main": "done"}, project.tasks()
    wait_until(lambda: project.untouched() == 0, what="the push is looked at")
    assert registry.tags(repository) == ["latest"] and len(project.tasks()) == 2


# --- staged, then promoted ----------------------------------------------------------------------

def test_gate_stages_and_the_merge_promotes_the_same_bytes(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    write_image(project.git, "app", "seven")
    write_list(project.git, image(registry, repository, ["latest", "stable"]),
               container_command=tool())
    commit = project.git.commit()
    url = "https://code.example.org/team/app/pull/7"
    project.send("change.gated", change="7", branch="main", commit=commit, patchset="2", url=url)
    task = project.ended(7, timeout=120)
    assert task["state"] == "done" and "2 tags staged" in task["reason"], task
    staged = registry.digest(repository, "change_7_latest")
    assert sorted(registry.tags(repository)) == ["change_7_latest", "change_7_stable"]
    labels = config_of(registry, repository, "change_7_latest")["config"]["Labels"]
    assert labels["org.zuul-ci.change"] == "7" and labels["org.zuul-ci.change_url"] == url
    row = project.slipway.query("SELECT change, commit_id, tree, digest FROM staged JOIN"
                                " staged_image ON staged = id")
    assert row[0] == ("7", commit, project.git.tree(commit), staged), row
    project.merged(7, commit)
    wait_until(lambda: project.task(7)["state"] == "done" and len(project.tasks()) == 2,
               what="the promotion")
    assert registry.digest(repository, "latest") == staged == registry.digest(repository, "stable")
    wait_until(lambda: sorted(registry.tags(repository)) == ["latest", "stable"],
               what="the staged tags are gone")


def test_check_only_builds(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    write_image(project.git, "app", "check")
    write_list(project.git, image(registry, repository), container_command=tool())
    commit = project.git.commit()
    project.send("change.opened", change="3", branch="main", commit=commit)
    task = project.ended(3, timeout=120)
    assert task["state"] == "done" and "1 image built" in task["reason"], task
    assert registry.tags(repository) in ([], None)


def test_unreviewed_code_is_not_built_unless_policy_says_so(new_slipway, registry, repository):
    project = building(new_slipway, registry, may_build=["tag"])
    write_image(project.git, "app", "no")
    write_list(project.git, image(registry, repository))
    commit = project.git.commit()
    for kind in ("change.opened", "change.gated"):
        project.send(kind, change="3", branch="main", commit=commit)
    wait_until(lambda: project.untouched() == 0, what="both are looked at")
    assert project.tasks() == []
    reasons = project.slipway.query("SELECT reason FROM delivery")
    assert all("may_build" in reason for reason, in reasons), reasons


def test_closed_unmerged_is_cleaned_at_once(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    write_image(project.git, "app", "closed")
    write_list(project.git, image(registry, repository), container_command=tool())
    commit = project.git.commit()
    registry.push(repository, "latest", "what is live")
    registry.push(repository, "change_8_latest", "of another change")
    project.send("change.gated", change="9", branch="main", commit=commit)
    assert project.ended(9, timeout=120)["state"] == "done"
    project.send("change.closed", change="9")
    wait_until(lambda: len(project.tasks()) == 2 and project.task(9)["state"] == "done",
               what="the clean-up")
    assert "1 staged tag removed" in project.task(9)["reason"], project.task(9)
    assert sorted(registry.tags(repository)) == ["change_8_latest", "latest"]


# --- through an intermediate registry -----------------------------------------------------------

def test_through_the_intermediate_registry(new_slipway, registry, twin, repository):
    project = building(new_slipway, registry, twin, intermediate=f"{twin.host}/gate")
    write_image(project.git, "app", "between")
    write_list(project.git, image(registry, repository, ["latest", "edge"]),
               container_command=tool(), promote_container_image_method="intermediate-registry")
    commit = project.git.commit()
    project.send("change.gated", change="5", branch="main", commit=commit)
    task = project.ended(5, timeout=120)
    assert task["state"] == "done", task
    assert registry.tags(repository) in ([], None)
    inner = f"gate/{registry.host.replace(':', '_')}/{repository}"
    tags = twin.tags(inner)
    assert len(tags) == 2 and all(tag.endswith(("_latest", "_edge")) for tag in tags), tags
    digest = twin.digest(inner, tags[0])
    project.merged(5, commit)
    wait_until(lambda: len(project.tasks()) == 2 and project.task(5)["state"] == "done", 30,
               "the promotion")
    assert registry.digest(repository, "latest") == digest == registry.digest(repository, "edge")
    wait_until(lambda: not twin.tags(inner), what="the run's tags are gone")
    # What is live already is not asked of the intermediate registry again.
    assert twin.call("DELETE", f"/v2/{inner}/manifests/{digest}").status == 202
    registry.push(repository, "latest", "a stranger")
    assert project.slipway.cli("queue", "retry", str(project.task(5)["id"])).returncode == 0

    def is_live():
        with contextlib.suppress(AssertionError):  # 500 for a moment, while the tag is written
            return registry.digest(repository, "latest") == digest
        return False
    wait_until(is_live, what="it is live again")


def test_what_a_run_left_in_the_intermediate_registry_goes(new_slipway, registry, twin,
                                                           repository):
    """With a newer patchset's run, and with the change; another change's stays."""
    project = building(new_slipway, registry, twin, intermediate=f"{twin.host}/gate")
    write_image(project.git, "app", "one")
    write_list(project.git, image(registry, repository), container_command=tool(),
               promote_container_image_method="intermediate-registry")
    inner = f"gate/{registry.host.replace(':', '_')}/{repository}"
    seen = []
    for change, patchset in ((5, 1), (6, 1), (5, 2)):
        write_image(project.git, "app", f"{change} {patchset}")
        commit = project.git.commit()
        project.send("change.gated", change=str(change), branch="main", commit=commit,
                     patchset=str(patchset))
        wait_until(lambda: len(project.tasks()) == len(seen) + 1 and
                   project.tasks()[0]["state"] == "done", 60, "the gate's upload")
        seen.append(set(twin.tags(inner)))
    wait_until(lambda: len(twin.tags(inner)) == 2, what="the first run's tag is gone")
    assert not set(twin.tags(inner)) & seen[0]
    project.send("change.closed", change="5")
    wait_until(lambda: set(twin.tags(inner)) == seen[1] - seen[0], what="only change 6 is left")
    wait_until(lambda: project.tasks()[0]["state"] == "done", what="the clean-up ends")
    assert "1 staged tag removed" in project.tasks()[0]["reason"], project.tasks()[0]


def test_nothing_in_the_intermediate_registry_waits(new_slipway, registry, twin, repository):
    project = building(new_slipway, registry, twin, intermediate=f"{twin.host}/gate")
    write_list(project.git, image(registry, repository),
               promote_container_image_method="intermediate-registry")
    commit = project.git.commit()
    project.merged(5, commit)
    task = project.ended(5, ("waiting",))
    assert "no gate recorded an upload of change 5" in task["reason"], task


@pytest.fixture(name="zuul")
def fixture_zuul(tmp_path):
    server = ZuulFake(str(tmp_path))
    yield server
    server.stop()


def through_zuul(new_slipway, registry, twin, zuul, repository, **more):
    project = building(new_slipway, registry, twin, zuul={"main": {"api": zuul.api, **more}})
    write_list(project.git, image(registry, repository, ["latest", "edge"]),
               promote_container_image_method="intermediate-registry",
               promote_container_image_api=zuul.api, promote_container_image_pipeline="gate",
               promote_container_image_job="build-container-image")
    return project, project.git.commit()


def test_what_zuul_built_is_promoted(new_slipway, registry, twin, zuul, repository):
    """The merge beats Zuul's report; an older, a failed and a foreign build are not taken."""
    project, commit = through_zuul(new_slipway, registry, twin, zuul, repository,
                                   intermediate=twin.host)
    full = f"{registry.host}/{repository}"
    inner = f"inner/{repository}"
    where = {"intermediate": twin.host,
             "images": [(full, "latest", inner), (full, "edge", inner)]}
    project.merged(6, commit, patchset="2")
    task = project.ended(6, ("waiting",))
    assert "Zuul" in task["reason"], task
    zuul.add("team/other", 6, 2, **where)
    zuul.add("team/app", 6, 2, result="FAILURE", **where)
    build = zuul.add("team/app", 6, 2, **where)
    for tag in ("latest", "edge"):
        digest = twin.push(inner, f"{build['uuid']}_{tag}", "from zuul")
    assert project.ended(6, ("done", "dead"))["state"] == "done", project.tasks()
    assert registry.digest(repository, "latest") == digest == registry.digest(repository, "edge")


def test_an_artifact_that_is_not_ours_to_read(new_slipway, registry, twin, zuul, repository):
    """Without `intermediate` an artifact may lie in any registry that is configured."""
    project, commit = through_zuul(new_slipway, registry, twin, zuul, repository)
    inner = f"private/{repository}"
    build = zuul.add("team/app", 6, 2, intermediate=twin.host, images=[
        (f"{registry.host}/{repository}", tag, inner) for tag in ("latest", "edge")])
    for tag in ("latest", "edge"):
        twin.push(inner, f"{build['uuid']}_{tag}", "of somebody else")
    project.merged(6, commit, patchset="2")
    task = project.ended(6)
    assert task["state"] == "dead" and "may_read" in task["reason"], task
    assert registry.tags(repository) in ([], None)


def test_an_artifact_that_zuul_lacks_publishes_nothing(new_slipway, registry, twin, zuul,
                                                      repository):
    project, commit = through_zuul(new_slipway, registry, twin, zuul, repository,
                                   intermediate=twin.host)
    inner = f"inner/{repository}"
    build = zuul.add("team/app", 6, 2, intermediate=twin.host,
                     images=[(f"{registry.host}/{repository}", "latest", inner)])
    twin.push(inner, f"{build['uuid']}_latest", "from zuul")
    project.merged(6, commit, patchset="2")
    task = project.ended(6)
    assert task["state"] == "dead" and "made no artifact" in task["reason"], task
    assert registry.tags(repository) in ([], None)


# --- platforms ----------------------------------------------------------------------------------

def test_platforms_become_one_index(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    write_image(project.git, "app", "many")
    write_list(project.git, image(registry, repository, ["latest"],
                                  arch=["linux/amd64", "linux/arm64"]),
               container_command=tool(), pipelines={"post": ["upload-container-image"]})
    commit = project.git.commit()
    project.send("branch.pushed", branch="main", commit=commit)
    wait_until(lambda: project.tasks() and project.tasks()[0]["state"] in ("done", "dead"), 120,
               "the build ends")
    assert project.tasks()[0]["state"] == "done", project.tasks()
    index = json.loads(registry.manifest(repository, "latest").body)
    shown = [child["platform"] for child in index["manifests"]]
    assert [p["architecture"] for p in shown] == ["amd64", "arm64"], index
    for child in index["manifests"]:
        assert registry.manifest(repository, child["digest"]).status == 200


# --- what goes wrong ----------------------------------------------------------------------------

@pytest.mark.parametrize("what, says", [
    ("fails", "exit"), ("no file", "Containerfile"), ("no folder", "nowhere"),
    ("out by a link", "link"), ("tool", "podman, docker or buildah"),
])
def test_nothing_is_published_or_left(new_slipway, registry, repository, what, says):
    project = building(new_slipway, registry)
    run = "exit 3" if what == "fails" else None
    context = "nowhere" if what == "no folder" else "app"
    write_image(project.git, "app", "bad", run=run)
    write_image(project.git, "good", "good")
    if what == "no file":
        os.unlink(os.path.join(project.git.folder, "app", "Containerfile"))
    if what == "out by a link":
        os.symlink("/etc", os.path.join(project.git.folder, "out"))
        context = "out"
    write_list(project.git, image(registry, repository + "/good", context="good"),
               image(registry, repository, context=context),
               container_command="kaniko" if what == "tool" else tool(),
               pipelines={"post": ["upload-container-image"]})
    commit = project.git.commit()
    project.send("branch.pushed", branch="main", commit=commit)
    wait_until(lambda: project.tasks() and project.tasks()[0]["state"] in ("done", "dead"), 120,
               "the build ends")
    task = project.tasks()[0]
    assert task["state"] == "dead" and says in task["reason"], task
    for name in (repository, repository + "/good"):
        assert registry.tags(name) in ([], None)
    assert left_behind(project) == []


def test_a_tag_that_is_gone_before_its_build(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    write_image(project.git, "app", "gone")
    write_list(project.git, image(registry, repository, ["{{ zuul.tag }}"]))
    commit = project.git.commit()
    project.send("tag.pushed", ref="refs/tags/9.9.9", commit=commit)
    task = project.ended("9.9.9")
    assert task["state"] in ("dead", "skipped") and "9.9.9" in task["reason"], task
    assert registry.tags(repository) in ([], None)


# --- superseded ---------------------------------------------------------------------------------

def test_a_newer_push_supersedes_a_waiting_build(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    pipelines = {"post": ["upload-container-image"]}
    commits = []
    for text, pause in (("one", "sleep 4"), ("two", "true"), ("three", "true")):
        write_image(project.git, "app", text, run=pause)
        write_list(project.git, image(registry, repository), container_command=tool(),
                   pipelines=pipelines)
        commits.append(project.git.commit())
    for commit in commits:
        project.send("branch.pushed", branch="main", commit=commit)
        wait_until(lambda: project.untouched() == 0, what="the push is looked at")
    wait_until(lambda: len(project.tasks()) == 3 and
               project.tasks()[0]["state"] in ("done", "dead"), 120, "the newest build ends")
    states = [task["state"] for task in reversed(project.tasks())]
    assert states == ["done", "superseded", "done"], project.tasks()
    assert "is newer and writes the same tags" in project.tasks()[1]["reason"]
    assert registry.tags(repository) == ["latest"]
