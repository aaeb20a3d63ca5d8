"""Mirroring as work of the service: by the clock, and as a job of a project."""

import contextlib
import json
import os
import sqlite3
import time
import types

from lib import images
from lib.images import push_image
from lib.mirroring import ended, item_of, job, project_with, tasks, with_mirrors, write
from lib.net import free_port, wait_until
from lib.project import Project


# --- by the clock ---------------------------------------------------------------------------------

def test_by_the_clock(new_slipway, registry, twin, repository):
    pushed = push_image(registry.client(), repository, "v1")
    one = with_mirrors(new_slipway, registry, twin,
                       upstream={"every": "1d", "images": [item_of(registry, twin, repository)]})
    one.start_work()
    found = ended(one)
    assert found[0]["project"] == "mirrors/upstream" and "1 copied" in found[0]["reason"]
    assert images.tags(twin.client(), repository) == {"v1": pushed}
    shown = one.cli("queue", "ls").stdout.decode()
    assert "mirrors/upstream" in shown and "done" in shown, shown
    shown = one.cli("queue", "show", str(found[0]["id"])).stdout.decode()
    assert "1 copied" in shown and "periodic" in shown, shown
    # Once a span, over restarts.
    assert one.work.stop() == 0
    push_image(registry.client(), repository, "v2", layers=(b"two",))
    one.start_work()
    wait_until(one.work_is_up, what="work is up")
    time.sleep(1.5)
    assert len(tasks(one)) == 1
    assert list(images.tags(twin.client(), repository)) == ["v1"]
    # Another span: another run.
    one.stop()
    one.config["mirrors"]["upstream"]["every"] = "2h"
    one.write_config()
    one.start_work()
    ended(one, 2)
    assert sorted(images.tags(twin.client(), repository)) == ["v1", "v2"]


def test_time_limit(new_slipway, fake, twin, repository):
    """What was copied by then stays, the rest is done by the next run."""
    slow = push_image(fake.client(), repository, "v2", layers=(b"two" * 9999,))
    push_image(fake.client(), repository, "v1")
    fake.rule("GET", f"/blobs/{list(slow.blobs)[-1]}", times=9, mangle={"stall": 20})
    one = with_mirrors(new_slipway, fake, twin,
                       m={"every": "1d", "timeout": "3s",
                          "images": [item_of(fake, twin, repository)]})
    assert b"timeout: 3s" in one.cli("check").stdout
    one.start_work()
    found = ended(one, states=("failed",))
    assert "1 copied, 1 failed" in found[0]["reason"], found
    assert "not done within the time limit" in found[0]["reason"], found
    assert list(images.tags(twin.client(), repository)) == ["v1"]
    fake.rules()
    ran = one.cli("mirror", "--name", "m", "--timeout", "1m")
    assert ran.returncode == 0 and ran.stdout == b"1 same, 1 copied\n", ran


def test_source_that_fails(new_slipway, fake, twin, repository):
    push_image(fake.client(), repository, "v1")
    push_image(fake.client(), repository, "v2", layers=(b"two",))
    fake.config(readonly=0)
    fake.rule("GET", "/tags/list", times=50, status=503)
    fake.rule("HEAD", "/manifests/", times=50, status=503)
    one = with_mirrors(new_slipway, fake, twin,
                       upstream={"every": "1d", "images": [item_of(fake, twin, repository)]})
    one.start_work()
    found = ended(one, states=("failed",))
    assert "503" in found[0]["reason"], found
    fake.rules()
    assert one.cli("queue", "retry", str(found[0]["id"])).returncode == 0
    assert "2 copied" in ended(one)[0]["reason"]


def test_a_crash_counts_as_an_attempt(new_slipway, fake, twin, repository):
    push_image(fake.client(), repository, "v1")
    fake.rule("GET", "/tags/list", times=50, delay=5, status=503)
    one = with_mirrors(new_slipway, fake, twin,
                       upstream={"every": "1d", "images": [item_of(fake, twin, repository)]})
    for attempt in (1, 2):
        one.start_work()
        wait_until(lambda: one.work_is_up() and tasks(one) and
                   tasks(one)[0]["attempt"] == attempt, 20,
                   f"attempt {attempt} is counted before it ends", every=0.05)
        one.work.kill()
        assert tasks(one)[0]["state"] == "queued"
    # The last one that is allowed ends by a crash, too.
    with contextlib.closing(sqlite3.connect(one.db)) as db:
        db.execute("UPDATE task SET attempt = 1000, run_at = 0")
        db.commit()
    one.start_work()
    found = ended(one, states=("dead",))[0]
    assert "the process ended before" in found["reason"], found
    fake.rules()
    assert one.cli("queue", "cancel", str(found["id"])).returncode == 0
    assert tasks(one)[0]["state"] == "cancelled"


def test_dead_with_the_reason(new_slipway, registry, twin, repository):
    push_image(registry.client(), repository, "v1")
    items = [item_of(registry, twin, repository),
             item_of(registry, twin, repository + "/none")]
    one = with_mirrors(new_slipway, registry, twin, m={"every": "1d", "images": items})
    one.start_work()
    task = ended(one, states=("dead",))[0]
    assert "1 copied, 1 failed" in task["reason"] and "/none: there is no such" in task["reason"]
    assert list(images.tags(twin.client(), repository)) == ["v1"]


def test_a_forges_project_of_the_same_name(new_slipway, registry, twin, repository):
    """A group called mirrors is no rare one: its tasks don't hold up the clock's."""
    push_image(registry.client(), repository, "v1")
    one = with_mirrors(new_slipway, registry, twin,
                       m={"every": "1d", "images": [item_of(registry, twin, repository)]})
    project = Project(one, registry, name="mirrors/m", mode="publish")
    commit = project.list((repository + "/app", ["latest"]))
    one.start_serve()
    project.merged(1, commit)
    one.start_work()
    wait_until(lambda: any(t["state"] == "done" for t in tasks(one)), 20, "the mirror ran")


# --- as a job -----------------------------------------------------------------------------------

def test_job_mirrors(new_slipway, registry, twin, repository):
    pushed = push_image(twin.client(), repository, "v1")
    project = project_with(new_slipway, registry, twin)
    project.merged(1, job(project, [item_of(twin, registry, repository)]))
    task = project.ended(1)
    assert task["state"] == "done" and "1 copied" in task["reason"], task
    assert images.tags(registry.client(), repository) == {"v1": pushed}


def test_tags_are_published_though_the_source_is_down(new_slipway, registry, repository):
    down = types.SimpleNamespace(host=f"127.0.0.1:{free_port()}")
    project = project_with(new_slipway, registry, down)
    commit = job(project, [item_of(down, registry, repository)], [(repository + "/app",
                                                                  ["latest"])])
    staged = registry.push(repository + "/app", "change_1_latest", "new")
    project.staged(1, commit, [(repository + "/app", "change_1_latest", staged)])
    project.merged(1, commit)
    rows = wait_until(lambda: [t for t in project.tasks() if t["state"] == "failed"], 20,
                      "the mirror failed", every=0.05)
    wait_until(lambda: [t for t in project.tasks() if t["state"] == "done"], 20, "published")
    assert registry.digest(repository + "/app", "latest") == staged
    assert down.host in rows[0]["reason"], rows
    assert [t["state"] for t in project.tasks() if t["id"] != rows[0]["id"]] == ["done"]
    shown = project.slipway.cli("queue", "show", str(rows[0]["id"])).stdout.decode()
    assert "mirror" in shown and down.host in shown, shown


def test_policy_of_the_source(new_slipway, fake, repository):
    """What a project may not read, our credentials do not read for it."""
    fake.config(auth="bearer")
    client = fake.client(("ci", "geheim"))
    pushed = push_image(client, repository + "/secret", "v1")
    one = new_slipway()
    one.config["registries"][fake.host] = {
        "plain_http": True, "username": "ci", "password": one.secret("reg", "geheim")}
    target = f"{fake.host}/{repository}"
    both = [Project(one, fake, name=f"team/{name}",
                    may_publish=[f"{target}/{name}/**"],
                    may_read=[f"{target}/{name}/**", *([f"{target}/secret"] if name == "a" else [])
                              ]) for name in ("a", "b")]
    one.start()
    for project, name in zip(both, ("a", "b")):
        project.merged(1, job(project, [{
            "src_repository": f"{target}/secret", "src_tag": "v1",
            "dest_repository": f"{target}/{name}/copy"}]))
    task = both[0].ended(1)
    assert task["state"] == "done", task
    assert images.tags(client, f"{repository}/a/copy") == {"v1": pushed}
    task = both[1].ended(1)
    assert task["state"] == "dead" and "secret" in task["reason"], task
    assert images.tags(client, f"{repository}/b/copy") == {}


def test_policy_of_the_target(new_slipway, registry, twin, repository):
    push_image(registry.client(), repository, "v1")
    project = project_with(new_slipway, registry, twin)
    commit = job(project, [item_of(registry, twin, repository)])
    project.merged(1, commit)
    task = project.ended(1)
    assert task["state"] == "dead" and "(may_publish)" in task["reason"], task
    assert ".slipway.yaml:1:" in task["reason"], task
    path = os.path.join(project.git.folder, ".slipway.yaml")
    done = project.slipway.cli("plan", path, "--event", "promote")
    said = (done.stdout + done.stderr).decode()
    assert "may_publish" in said or done.returncode == 2, said


def test_tags_of_promotions_and_immutable_ones_stay(new_slipway, registry, twin, repository):
    project = project_with(new_slipway, registry, twin, immutable=["v1"])
    name = repository + "/app"
    commit = project.list((name, ["latest"]))
    staged = registry.push(name, "change_1_latest", "ours")
    project.staged(1, commit, [(name, "change_1_latest", staged)])
    project.merged(1, commit)
    assert project.ended(1)["state"] == "done"
    for tag in ("latest", "v1", "v2"):
        push_image(twin.client(), name, tag, layers=(b"theirs " + tag.encode(),))
    was = push_image(registry.client(), name, "v1", layers=(b"ours",))
    project.merged(2, job(project, [{
        "src_repository": f"{twin.host}/{name}", "src_tags": ["latest", "v*"], "prune": True,
        "dest_repository": f"{registry.host}/{name}"}]))
    task = project.ended(2)
    assert task["state"] == "dead" and "1 copied, 2 failed" in task["reason"], task
    assert "this tag is published from" in task["reason"], task["reason"]
    assert "that this tag is immutable" in task["reason"], task["reason"]
    shown = images.tags(registry.client(), name)
    assert shown["latest"] == staged and shown["v1"] == was and "v2" in shown


def test_shadow_writes_nothing(new_slipway, registry, twin, repository):
    push_image(twin.client(), repository, "v1")
    project = project_with(new_slipway, registry, twin, mode="shadow")
    project.merged(1, job(project, [item_of(twin, registry, repository)]))
    task = project.ended(1)
    assert task["state"] == "skipped" and "shadow" in task["reason"], task
    assert images.tags(registry.client(), repository) == {}


def test_immutable_while_the_source_cannot_be_asked(new_slipway, registry, fake, repository):
    """What cannot be compared is not moved, though the next request might go well."""
    was = push_image(registry.client(), repository, "v1", layers=(b"ours",))
    push_image(fake.client(), repository, "v1", layers=(b"theirs",))
    fake.rule("HEAD", "/manifests/v1", times=1, status=403)
    project = project_with(new_slipway, registry, fake, immutable=["v1"])
    item = item_of(fake, registry, repository, src_tag="v1")
    del item["src_tags"]
    project.merged(1, job(project, [item]))
    task = project.ended(1)
    assert task["state"] == "dead" and "403" in task["reason"], task
    assert images.tags(registry.client(), repository) == {"v1": was}


# --- tags that are somebody's -------------------------------------------------------------------

def pinned(project, name):
    """Publishes `latest` twice, goes back and pins it; what it shows."""
    for change in (1, 2):
        commit = project.list((name, ["latest"]))
        digest = project.registry.push(name, f"change_{change}_latest", f"ours {change}")
        project.staged(change, commit, [(name, f"change_{change}_latest", digest)])
        project.merged(change, commit)
        assert project.ended(change)["state"] == "done"
    done = project.slipway.cli("rollback", "--hold", "--reason", "broken login",
                               str(project.task(2)["id"]))
    assert done.returncode == 0, done
    return project.registry.digest(name, "latest")


def test_a_pinned_tag_stays_and_others_go_on(new_slipway, registry, twin, repository):
    project = project_with(new_slipway, registry, twin)
    name = repository + "/app"
    shown = pinned(project, name)
    for tag in ("latest", "v1"):
        push_image(twin.client(), name, tag, layers=(b"theirs " + tag.encode(),))
    item = {"src_repository": f"{twin.host}/{name}", "src_tags": ["latest", "v1"],
            "dest_repository": f"{registry.host}/{name}"}
    project.merged(3, job(project, [item]))
    task = project.ended(3)
    assert task["state"] == "dead" and "1 copied, 1 failed" in task["reason"], task
    assert "pinned (broken login)" in task["reason"], task
    assert registry.digest(name, "latest") == shown and "v1" in registry.tags(name)


def test_by_hand_the_store_is_asked_where_it_is_at_hand(new_slipway, registry, twin, repository):
    project = project_with(new_slipway, registry, twin)
    name = repository + "/app"
    shown = pinned(project, name)
    commit = project.list((name, ["stable"]))
    stable = registry.push(name, "change_4_stable", "ours, not pinned")
    project.staged(4, commit, [(name, "change_4_stable", stable)])
    project.merged(4, commit)
    assert project.ended(4)["state"] == "done"
    for tag in ("latest", "stable", "v1"):
        push_image(twin.client(), name, tag, layers=(b"theirs " + tag.encode(),))
    path = write(project.slipway.folder, [
        {"src_repository": f"{twin.host}/{name}", "src_tags": ["latest", "stable", "v1"],
         "dest_repository": f"{registry.host}/{name}", "prune": True}])
    registry.push(name, "latest-not", "no tag that is meant")
    for argv in (("--dry-run",), ()):
        done = project.slipway.cli("mirror", *argv, "--format", "json", path)
        rows = {row["target"].rsplit(":", 1)[1]: row for row in json.loads(done.stdout)["rows"]}
        assert done.returncode == 1, done
        assert rows["v1"]["state"] == ("would-copy" if argv else "copied"), rows
        assert "pinned (broken login)" in rows["latest"]["reason"], rows
        assert "published from code/team/app" in rows["stable"]["reason"], rows
    assert registry.digest(name, "latest") == shown and registry.digest(name, "stable") == stable


def test_by_hand_what_is_published_is_not_pruned(new_slipway, registry, twin, repository):
    project = project_with(new_slipway, registry, twin)
    name = repository + "/app"
    shown = pinned(project, name)
    push_image(twin.client(), name, "v1")
    path = write(project.slipway.folder, [
        {"src_repository": f"{twin.host}/{name}", "src_tags": ["latest", "v1"],
         "dest_repository": f"{registry.host}/{name}", "prune": True}])
    for argv in (("--dry-run",), ()):
        done = project.slipway.cli("mirror", *argv, path)
        assert done.returncode == 1 and b"pinned (broken login)" in done.stderr, done
    assert registry.digest(name, "latest") == shown
