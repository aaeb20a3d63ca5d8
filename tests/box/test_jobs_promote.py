"""Promotion around the jobs as commands: by `slipway promote` on a CI node, and by a service that
an upload has told what it staged."""

import json
import os
import time

import pytest

from lib.building import building, image, left_behind, tool, write_image, write_list
from lib.jobs import (DENIED, DONE, FAILED, NOT_FOUND, TRY_LATER, USAGE, Node, reporting, targets)
from lib.net import free_port, wait_until
from lib.process import Process
from lib.project import Project

FLAGS = ["--project", "team/app", "--change", "7"]


@pytest.fixture(name="node")
def fixture_node(tmp_path, registry, twin):
    """Nothing but a working tree."""
    node = Node(tmp_path, registry, twin)
    write_image(node.git, "app", "one")
    return node


@pytest.fixture(name="served")
def fixture_served(new_slipway, registry, tmp_path):
    """A node, and a service at whose forge its repository is."""
    project = Project(new_slipway(), registry, wait_for_staged=2)
    project.slipway.start()
    project.node = Node(tmp_path, registry, git=project.git)
    write_image(project.git, "app", "one")
    return project


def listed(git, *images, **more):
    write_list(git, *images, container_command=tool(), **more)
    return git.commit()


def deliveries(project):
    return project.slipway.query("SELECT verdict, reason FROM delivery ORDER BY id")


def records(project):
    return project.slipway.query("SELECT project, change, patchset, commit_id, tree, run_id, tag,"
                                 " digest FROM staged JOIN staged_image ON staged = id"
                                 " ORDER BY tag")


def upload(project, *argv, code=DONE, patchset=2):
    flags, env = reporting(project)
    done = project.node.run("upload", *FLAGS, "--patchset", patchset, *flags, *argv, code=code,
                            env=env)
    if code == DONE:
        wait_until(lambda: project.untouched() == 0, what="the report is looked at")
    return done


# --- what an upload reports ---------------------------------------------------------------------

def test_reported_and_promoted_byte_for_byte(served, registry, repository):
    commit = listed(served.git, image(registry, repository, ["latest", "edge"]))
    done = upload(served, "--run-id", "build-9", "--format", "json", "--quiet")
    assert done.json["recorded"] == "reported" and done.err == "", done
    staged = registry.digest(repository, "change_7_latest")
    assert records(served) == [("team/app", "7", "2", commit, served.git.tree(commit), "build-9",
                                f"change_7_{tag}", staged) for tag in ("edge", "latest")]
    # Somebody else writes one of the staged tags: what was recorded is published, not that.
    stranger = registry.push(repository, "change_7_latest", "a stranger's")
    bytes_of = registry.manifest(repository, staged).body
    served.merged(7, commit)
    assert served.ended(7)["state"] == "done", served.tasks()
    for tag in ("latest", "edge"):
        assert registry.manifest(repository, tag).body == bytes_of
    # The stranger's tag is not ours to remove.
    wait_until(lambda: registry.tags(repository) == ["change_7_latest", "edge", "latest"],
               what="only the tag that is still ours is gone")
    assert registry.digest(repository, "change_7_latest") == stranger


def test_another_tree_is_refused(served, registry, repository):
    """The base moved under the change: what merged is not what was built."""
    listed(served.git, image(registry, repository))
    staged_commit = served.git.run("rev-parse", "HEAD")
    upload(served)
    merged = served.git.commit({"app/hello": "the base moved"})
    served.merged(7, merged, staged_commit=staged_commit)
    task = served.ended(7)
    assert task["state"] == "dead" and "is not what merged" in task["reason"], task
    assert registry.tags(repository) == ["change_7_latest"]


def test_another_patchset_is_waited_for(served, registry, repository):
    listed(served.git, image(registry, repository))
    upload(served)
    merged = served.git.commit({"app/hello": "patchset 3"})
    served.merged(7, merged, patchset="3")
    task = served.ended(7)
    assert task["state"] == "skipped" and "(patchset 2)" in task["reason"], task
    assert registry.tags(repository) == ["change_7_latest"]


def test_a_staged_tag_of_another_project_is_refused(served, registry, repository):
    other = Project(served.slipway, registry, "team/other")
    served.slipway.stop()
    served.slipway.start()
    digest = registry.push(repository, "change_7_latest", "of the other project")
    other.staged(7, other.git.commit(), [(repository, "change_7_latest", digest)])
    commit = listed(served.git, image(registry, repository))
    upload(served)
    verdict, reason = deliveries(served)[-1]
    assert verdict != "done" and "team/other" in reason, deliveries(served)
    assert {row[0] for row in records(served)} == {"team/other"}
    served.merged(7, commit)
    task = served.ended(7)
    assert task["state"] == "dead" and "team/other" in task["reason"], task
    assert registry.digest(repository, "latest") is None


def test_what_policy_does_not_let_the_project_publish_is_not_promoted(served, registry,
                                                                      repository):
    name = repository.replace("box/", "elsewhere/")
    listed(served.git, image(registry, name))
    upload(served)
    wait_until(lambda: deliveries(served)[-1][0] != "new", what="the report is looked at")
    served.merged(7, served.git.run("rev-parse", "HEAD"))
    wait_until(lambda: served.untouched() == 0, what="the merge is looked at")
    assert registry.tags(name) == ["change_7_latest"]


def test_a_wrong_secret_is_known_before_anything_is_built(served, registry, repository):
    listed(served.git, image(registry, repository))
    flags, env = reporting(served, "whsec_" + "d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmc=")
    done = served.node.run("upload", *FLAGS, *flags, code=DENIED, env=env)
    assert "401" in done.err and "STEP" not in done.err, done
    flags[1] = flags[1].replace("/hooks/code", "/hooks/nobody")
    done = served.node.run("upload", *FLAGS, *flags, code=FAILED, env=env)
    assert "404" in done.err and "no such source" in done.err, done
    assert registry.tags(repository) == []
    assert all(secret not in done for secret in env.values()), done


def test_a_service_that_is_away_for_a_moment_is_waited_for(served, registry, repository):
    listed(served.git, image(registry, repository))
    flags, env = reporting(served)
    served.slipway.serve.stop()
    job = served.node.start("upload", *FLAGS, *flags, "--format", "json", env=env)
    wait_until(lambda: registry.tags(repository), 60, "it is staged", every=0.05)
    served.slipway.start_serve()
    assert job.wait(60) == DONE, job.said()
    assert '"recorded": "reported"' in job.said(), job.said()
    wait_until(lambda: len(records(served)) == 1, what="it is recorded")


def test_a_report_that_cannot_be_made_says_that_it_is_staged(node, registry, repository):
    """And a signal ends the waiting."""
    listed(node.git, image(registry, repository))
    job = node.start("upload", *FLAGS, "--report-to",
                     f"http://127.0.0.1:{free_port()}/hooks/code", "--report-secret",
                     "env:HOOK_SECRET", "--quiet", "--format", "json",
                     env={"HOOK_SECRET": "a secret of sixteen letters"})
    assert isinstance(job, Process)
    wait_until(lambda: registry.tags(repository), 60, "it is staged", every=0.05)
    time.sleep(0.5)
    begun = time.monotonic()
    assert job.stop() == TRY_LATER, job.said()
    assert time.monotonic() - begun < 5
    said = job.said()
    assert "staged, but not recorded" in said and '"recorded": "unrecorded"' in said, said
    assert "nothing was left behind" not in said, said
    assert node.left() == [] and registry.tags(repository) == ["change_7_latest"]


# --- promote, without a service -----------------------------------------------------------------

def test_promote_here_twice(node, registry, registry_without_deletion, repository):
    for server in (registry, registry_without_deletion):
        node.flags = ["--plain-http", server.host]
        listed(node.git, image(server, repository, ["latest", "edge"]))
        node.run("upload", "--change", 7)
        staged = server.digest(repository, "change_7_latest")
        done = node.run("promote", "--change", 7, "--format", "json")
        rows = targets(done)
        assert [rows[f"{server.host}/{repository}:{tag}"]["digest"]
                for tag in ("latest", "edge")] == [staged, staged], done
        assert done.json["unfenced"] is True and "unfenced" in done.err
        mark = server.mark()
        done = node.run("promote", "--change", 7)
        assert "PUT" not in {row[0] for row in server.requests(mark, repository)}, done
        assert server.digest(repository, "latest") == staged
        doc = node.run("promote", "--change", 7, "--format", "json", "--quiet").json
        assert doc["state"] in ("nothing", "done"), doc
    assert registry.tags(repository) == ["edge", "latest"]


def test_promote_here_finishes_what_was_left(node, registry, repository):
    listed(node.git, image(registry, repository, ["latest", "edge"]))
    node.run("upload", "--change", 7)
    staged = registry.manifest(repository, "change_7_latest")
    node.run("promote", "--change", 7)
    registry.put(repository, "change_7_edge", staged.body, staged.headers["Content-Type"])
    registry.push(repository, "edge", "somebody moved it")
    done = node.run("promote", "--change", 7)
    assert f"{repository}:latest is of change 7 already" in done.err, done
    assert registry.digest(repository, "edge") == registry.digest(repository, "latest")
    assert registry.tags(repository) == ["edge", "latest"]


def test_promote_here_of_what_another_change_has_replaced(node, registry, repository):
    listed(node.git, image(registry, repository))
    node.run("upload", "--change", 7)
    node.run("promote", "--change", 7)
    node.run("upload", "--change", 8)
    node.run("promote", "--change", 8)
    live = registry.digest(repository, "latest")
    done = node.run("promote", "--change", 7, code=NOT_FOUND)
    assert "change_7_latest is not there" in done.err and registry.digest(
        repository, "latest") == live, done


@pytest.mark.parametrize("what", ["tag", "blob"])
def test_promote_here_looks_first(node, registry, repository, what):
    write_image(node.git, "tools", "two")
    listed(node.git, image(registry, repository),
           image(registry, repository + "/tools", context="tools"))
    node.run("upload", "--change", 7)
    name = repository + "/tools"
    digest = registry.digest(name, "change_7_latest")
    gone, path = "change_7_latest is not there", f"manifests/{digest}"
    if what == "blob":
        layer = json.loads(registry.manifest(name, digest).body)["layers"][0]["digest"]
        gone, path = f"blob {layer} is not there", f"blobs/{layer}"
    assert registry.call("DELETE", f"/v2/{name}/{path}").status == 202
    for dry in ([], ["--dry-run"]):
        done = node.run("promote", "--change", 7, *dry, code=NOT_FOUND)
        assert gone in done.err and done.out == "", done
        assert registry.tags(repository) == ["change_7_latest"]


def test_promote_here_through_the_intermediate_registry(node, registry, twin, repository):
    listed(node.git, image(registry, repository, ["latest", "edge"]),
           promote_container_image_method="intermediate-registry")
    between = ["--change", 7, "--intermediate", f"{twin.host}/gate"]
    node.run("upload", *between, "--run-id", "r1")
    done = node.run("promote", *between, code=USAGE)
    assert "--run-id" in done.err and registry.tags(repository) == [], done
    done = node.run("promote", *between, "--run-id", "r2", code=NOT_FOUND)
    assert "r2_latest is not there" in done.err and registry.tags(repository) == [], done
    digest = twin.digest(f"gate/{registry.host.replace(':', '_')}/{repository}", "r1_edge")
    for _ in range(2):
        node.run("promote", *between, "--run-id", "r1")
        assert registry.tags(repository) == ["edge", "latest"]
        assert registry.digest(repository, "edge") == digest


# --- promote, through the service's store -------------------------------------------------------

def promote(project, *argv, code=DONE):
    done = project.node.run("promote", "--config", project.slipway.config_path, *FLAGS, *argv,
                            code=code)
    return done


@pytest.mark.parametrize("at_work", [True, False])
def test_promote_through_the_store_long_after(served, registry, repository, at_work):
    commit = listed(served.git, image(registry, repository))
    upload(served)
    staged = registry.digest(repository, "change_7_latest")
    if not at_work:
        served.slipway.work.stop()
        served.slipway.work = None
    # No webhook has told of the merge.
    done = promote(served, "--commit", commit, "--format", "json")
    assert done.json["state"] == "done" and done.json["unfenced"] is False, done
    assert registry.digest(repository, "latest") == staged
    # Once more, and again when a newer change is live: nothing moves back.
    assert registry.tags(repository) == ["latest"], "the staged tag is gone"
    assert "task" in promote(served).err and registry.digest(repository, "latest") == staged
    newer = listed(served.git, image(registry, repository), now="newer")
    digest = registry.push(repository, "change_8_latest", "newer")
    if at_work:
        served.merged(8, newer)
        assert served.ended(8)["state"] == "done"
        done = promote(served, "--format", "json")
        assert done.json["state"] == "superseded", done
        assert registry.digest(repository, "latest") == digest


@pytest.mark.parametrize("what", ["manifest", "blob"])
def test_promote_through_the_store_looks_first(served, registry, repository, what):
    commit = listed(served.git, image(registry, repository))
    upload(served)
    digest = registry.digest(repository, "change_7_latest")
    path, gone = f"manifests/{digest}", digest
    if what == "blob":
        gone = json.loads(registry.manifest(repository, digest).body)["layers"][0]["digest"]
        path = f"blobs/{gone}"
    assert registry.call("DELETE", f"/v2/{repository}/{path}").status == 202
    for dry in ([], ["--dry-run"]):
        done = promote(served, "--commit", commit, *dry, code=NOT_FOUND)
        assert f"{what} {gone}" in done.err and "gate the change again" in done.err, done
    assert registry.digest(repository, "latest") is None and served.tasks() == []


def test_promote_through_the_store_needs_to_know_the_merge(served, registry, repository):
    commit = listed(served.git, image(registry, repository))
    done = promote(served, code=USAGE)
    assert "--commit" in done.err, done
    done = promote(served, "--project", "team/stranger", "--commit", commit, code=DENIED)
    assert "team/stranger" in done.err, done
    done = promote(served, "--forge", "nobody", "--commit", commit, code=USAGE)
    assert "nobody" in done.err, done
    assert served.tasks() == []


def test_promote_of_what_nobody_staged_waits(served, registry, repository):
    commit = listed(served.git, image(registry, repository))
    done = promote(served, "--commit", commit, "--timeout", "1", "--format", "json",
                   code=TRY_LATER)
    assert done.json["state"] == "waiting" and "change_7_latest" in done.json["reason"], done
    assert os.path.exists(served.slipway.db)


# --- upload, where the store is at hand ---------------------------------------------------------

def test_upload_beside_the_store_is_recorded_in_it(served, registry, repository):
    commit = listed(served.git, image(registry, repository))
    config = ["--config", served.slipway.config_path]
    done = served.node.run("upload", *config, *FLAGS, "--run-id", "r1", "--format", "json")
    digest = registry.digest(repository, "change_7_latest")
    assert done.json["recorded"] == "store", done
    assert records(served) == [("team/app", "7", None, commit, served.git.tree(commit), "r1",
                                "change_7_latest", digest)]
    served.merged(7, commit)
    assert served.ended(7)["state"] == "done" and registry.digest(repository, "latest") == digest


def test_upload_of_what_policy_forbids(served, registry, repository):
    name = repository.replace("box/", "elsewhere/")
    listed(served.git, image(registry, name))
    done = served.node.run("upload", "--config", served.slipway.config_path, *FLAGS, code=DENIED)
    assert "may_publish" in done.err and "STEP" not in done.err, done
    assert registry.tags(name) == [] == records(served)


def test_direct_upload_beside_the_store_is_the_services(new_slipway, registry, repository,
                                                        tmp_path):
    """An order like a webhook's: the service builds the commit, fenced."""
    project = building(new_slipway, registry)
    node = Node(tmp_path, registry, git=project.git)
    write_image(project.git, "app", "one")
    commit = listed(project.git, image(registry, repository),
                    pipelines={"post": ["upload-container-image"]})
    flags = ["--config", project.slipway.config_path, "--project", "team/app"]
    done = node.run("upload", *flags, "--format", "json")
    assert done.json["state"] == "done" and done.json["unfenced"] is False, done
    assert f"commit {commit[:12]}" in done.err and done.json["task"] == project.tasks()[0]["id"]
    target = f"{registry.host}/{repository}:latest"
    assert targets(done)[target]["digest"] == registry.digest(repository, "latest")
    assert left_behind(project) == []
