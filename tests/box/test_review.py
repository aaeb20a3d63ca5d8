"""Found by reading with an attacker's eyes: what must hold where two things meet."""

import json
import sqlite3
import time

import pytest

from lib.fakes import FaultyRegistry
from lib.net import wait_until
from lib.project import Project, new_project
from lib.slipway import GERRIT_SECRET


@pytest.fixture
def faulty(tmp_path):
    server = FaultyRegistry(str(tmp_path))
    yield server
    server.stop()


def cleanups(project):
    return project.slipway.query("SELECT tag, attempt, is_left, reason FROM cleanup ORDER BY id")


# ---- clean-up ------------------------------------------------------------------------------------

def test_a_staged_tag_that_is_gone_is_not_asked_for_again(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    commit = project.list((repository, ["latest"]))
    for change in (1, 2):  # the first one teaches what this registry can
        registry.push(repository, f"change_{change}_latest")
        since = registry.mark()
        project.merged(change, commit)
        assert project.ended(change)["state"] == "done"
        wait_until(lambda: not cleanups(project), what="no clean-up is open")
        commit = project.git.commit()
    rows = [(m, s) for m, p, s in registry.requests(since, repository)
            if p.endswith("/change_2_latest")]
    assert rows == [("GET", 200), ("PUT", 201)], rows


def test_a_late_clean_up_is_content_with_a_newer_final_tag(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    faulty.config(tag_delete=405)
    first = project.list((repository, ["latest"]))
    second = project.git.commit(message="two")
    faulty.rule("DELETE", "/manifests/", status=503, times=2)
    faulty.push(repository, "change_1_latest", "one")
    new = faulty.push(repository, "change_2_latest", "two")
    project.merged(1, first)
    assert project.ended(1)["state"] == "done"
    project.merged(2, second)
    assert project.ended(2)["state"] == "done"
    wait_until(lambda: not [row for row in cleanups(project) if not row[1]],
               what="each clean-up was tried")
    wait_until(lambda: not cleanups(project), timeout=15, what="no clean-up is open")
    assert faulty.digest(repository, "latest") == new
    assert faulty.digest(repository, "change_1_latest") is None


def test_a_stale_change_takes_no_staged_tag_of_another_change(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    older = project.list((repository, ["latest"]))
    newer = project.git.commit(message="newer")
    registry.push(repository, "change_2_latest", "two")
    project.merged(2, newer)
    assert project.ended(2)["state"] == "done"
    other = registry.push(repository, "change_1_latest", "other",
                          labels={"org.zuul-ci.change": "1",
                                  "org.zuul-ci.change_url": "https://code.example.org/team/x/1"})
    project.merged(1, older)
    assert project.ended(1)["state"] == "superseded"
    time.sleep(1)
    assert registry.digest(repository, "change_1_latest") == other


def test_clean_up_of_a_stale_tag_fails_no_publication(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    first = project.list((repository, ["latest", "extra"]))
    second = project.list((repository, ["latest"]))
    for tag in ("latest", "extra"):
        one = faulty.push(repository, f"change_1_{tag}", "one")
    two = faulty.push(repository, "change_2_latest", "two")
    project.merged(2, second)
    assert project.ended(2)["state"] == "done"
    for method in ("GET", "HEAD"):
        faulty.rule(method, "/manifests/change_1_latest", status=403, times=99)
    project.merged(1, first)
    task = project.ended(1)
    assert task["state"] == "done", task
    assert faulty.digest(repository, "extra") == one
    assert faulty.digest(repository, "latest") == two


def test_a_placeholder_is_no_staged_image(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    commit = project.list((repository, ["latest"]))
    faulty.config(tag_delete=405)
    digest = faulty.push(repository, "change_1_latest", "one")
    faulty.config(digest_delete="broken")  # the right is proved, then the disk is away
    faulty.rule("DELETE", "/manifests/sha256:", status=404, times=1,
                body='{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
    project.merged(1, commit)
    task = project.ended(1)
    assert task["state"] == "done", task
    wait_until(lambda: faulty.digest(repository, "change_1_latest") not in (None, digest),
               what="a placeholder is left behind")
    assert project.slipway.cli("queue", "retry", str(task["id"])).returncode == 0
    wait_until(lambda: project.task(1)["state"] not in ("queued", "running"), what="it ran again")
    assert project.ended(1)["state"] == "done"
    assert faulty.digest(repository, "latest") == digest


# ---- what was there ------------------------------------------------------------------------------

def test_an_undo_is_read_back(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    a, b = repository + "/a", repository + "/b"
    commit = project.list((a, ["latest"]), (b, ["latest"]))
    for name in (a, b):
        faulty.push(name, "change_1_latest", name)
        faulty.push(name, "latest", "old " + name)
    former = faulty.digest(a, "latest")
    faulty.rule("PUT", f"/{b}/manifests/latest", status=403, delay=1)
    faulty.requests()
    project.merged(1, commit)
    wait_until(lambda: ("PUT", f"/v2/{a}/manifests/latest") in faulty.requests(), every=0.01,
               what="the first tag is written")
    faulty.rule("PUT", f"/{a}/manifests/latest", status=201)  # says so, and does nothing
    task = project.ended(1)
    assert task["state"] == "dead" and "as it was" in task["reason"], task
    assert faulty.digest(a, "latest") == former


def test_an_undo_in_trouble_says_so_and_backs_off(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    a, b = repository + "/a", repository + "/b"
    commit = project.list((a, ["latest"]), (b, ["latest"]))
    former = {}
    for name in (a, b):
        faulty.push(name, "change_1_latest", name)
        former[name] = faulty.push(name, "latest", "old " + name)
    faulty.rule("PUT", f"/{b}/manifests/latest", status=403, delay=1)
    faulty.requests()
    project.merged(1, commit)
    wait_until(lambda: ("PUT", f"/v2/{a}/manifests/latest") in faulty.requests(), every=0.01,
               what="the first tag is written")
    faulty.rule("PUT", f"/{a}/manifests/latest", status=503, times=2)
    task = project.ended(1, ("undoing",))
    wait_until(lambda: "503" in (project.task(1)["reason"] or ""), what="the trouble is told")
    task = project.ended(1)
    assert task["state"] == "dead" and "as it was" in task["reason"], task
    assert {name: faulty.digest(name, "latest") for name in former} == former
    assert "could not be stored" not in project.slipway.work.said()


def test_a_stranger_after_a_crash_is_left_where_policy_says_hold(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty, on_foreign="hold")
    commit = project.list((repository, ["latest"]))
    faulty.push(repository, "change_1_latest", "new")
    faulty.push(repository, "latest", "old")
    faulty.rule("PUT", "/manifests/latest", delay=60, status=500)
    faulty.requests()
    project.merged(1, commit)
    wait_until(lambda: ("PUT", f"/v2/{repository}/manifests/latest") in faulty.requests(),
               every=0.01, what="the flip is under way")
    project.slipway.work.kill()
    foreign = faulty.push(repository, "latest", "by hand")
    project.slipway.start_work()
    task = project.ended(1)
    assert task["state"] == "partial" and "somebody else" in task["reason"], task
    assert faulty.digest(repository, "latest") == foreign


def test_every_tag_that_is_not_as_before_is_named(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    names = [f"{repository}/a-rather-long-name-for-an-image-{i}" for i in range(25)]
    commit = project.list(*[(name, ["latest"]) for name in names])
    for name in names:
        faulty.push(name, "change_1_latest", name)
    faulty.config(tag_delete=405)
    faulty.rule("PUT", f"/{names[7]}/manifests/latest", status=403)
    project.merged(1, commit)
    task = project.ended(1)
    assert task["state"] == "partial", task
    missing = [name for name in names[:7] + names[8:] if f"{name}:latest" not in task["reason"]]
    assert not missing, missing


# ---- which bytes ---------------------------------------------------------------------------------

def test_two_images_of_one_repository_are_not_mixed_up_on_a_git_tag(new_slipway, registry,
                                                                    repository):
    project = new_project(new_slipway, registry)
    rows = [{"context": name, "registry": registry.host,
             "repository": f"{registry.host}/{repository}",
             "tags": [name + "-{{ zuul.tag | default('latest') }}"]} for name in ("app", "tools")]
    row = ["promote-container-image"]
    commit = project.git.commit({".slipway.yaml": json.dumps(
        {"container_images": rows, "pipelines": {"tag": row, "release": row}})})
    digests = {name: registry.push(repository, f"change_1_{name}-latest", name)
               for name in ("app", "tools")}
    project.merged(1, commit)
    assert project.ended(1)["state"] == "done"
    project.git.run("tag", "v1.0.0")
    project.send("tag.pushed", ref="refs/tags/v1.0.0", commit=commit)
    task = project.ended("v1.0.0")
    got = {name: registry.digest(repository, f"{name}-v1.0.0") for name in digests}
    refused = task["state"] == "dead" and set(got.values()) == {None}
    assert got == digests or refused, (task, got, digests)


# ---- nothing lost, nothing stuck -----------------------------------------------------------------

def test_a_delivery_of_many_refs_is_kept_until_all_is_written_down(new_slipway):
    one = new_slipway()
    one.config["projects"].append({"match": "team/app", "forge": "review"})
    one.write_config()
    one.start_serve()
    zeros, some = "0" * 40, "ab" * 20
    refs = [{"refName": "refs/tags/v1", "oldRev": some, "newRev": zeros, "project": "team/app"},
            {"refName": "refs/tags/v2", "oldRev": zeros, "newRev": some, "project": "team/app"}]
    body = {"type": "batch-ref-updated", "project": {"name": "team/app"}, "refUpdates": refs}
    answer = one.post(json.dumps(body).encode(), f"/hooks/review/{GERRIT_SECRET}",
                      {"Content-Type": "application/json"})
    assert answer.status == 202
    with sqlite3.connect(one.db) as db:
        db.execute("CREATE TRIGGER full BEFORE INSERT ON task"
                   " BEGIN SELECT raise(ABORT, 'no room'); END")
    one.start_work()
    wait_until(lambda: "could not be settled" in one.work.said(), what="the store refuses")
    one.work.kill()
    with sqlite3.connect(one.db) as db:
        db.execute("DROP TRIGGER full")
    one.start_work()
    wait_until(lambda: one.query("SELECT ref FROM task") == [("refs/tags/v2",)],
               what="the new tag is taken up")


def test_a_task_behind_another_lanes_journal_does_not_use_up_its_attempts(new_slipway, faulty,
                                                                          repository):
    one = new_slipway()
    first = Project(one, faulty, "team/one")
    second = Project(one, faulty, "team/two")
    one.start()
    for change, project in ((1, first), (2, second)):
        commit = project.list((repository, ["latest"]))
        last = faulty.push(repository, f"change_{change}_latest", f"c{change}")
        if project is first:
            faulty.config(put_moves=False)
        project.merged(change, commit)
        if project is first:
            project.ended(1, ("failed",), timeout=60)
    task = second.ended(2, ("failed",))
    wait_until(lambda: second.task(2)["state"] == "failed", what="it is tried again")
    time.sleep(4)
    task = second.task(2)
    assert task["attempt"] == 0 and "publishing this tag" in task["reason"], task
    faulty.config(put_moves=True)
    assert one.cli("queue", "retry", str(first.task(1)["id"])).returncode == 0
    assert first.ended(1)["state"] == "done"
    assert second.ended(2, timeout=60)["state"] == "done"
    assert faulty.digest(repository, "latest") == last


def test_a_long_queue_of_one_lane_starves_no_other(new_slipway, faulty, repository):
    one = new_slipway()
    slow, quick = Project(one, faulty, "team/slow"), Project(one, faulty, "team/quick")
    one.start_serve()
    for change in range(1, 26):
        slow.merged(change, slow.list((repository + "/slow", [f"t{change}"])))
        faulty.push(repository + "/slow", f"change_{change}_t{change}")
    faulty.rule("GET", "/slow/manifests/change_", delay=1.5, status=500, times=99)
    commit = quick.list((repository + "/quick", ["latest"]))
    quick.merged(99, commit)
    one.start_work()
    quick.ended(99, ("waiting",))
    digest = faulty.push(repository + "/quick", "change_99_latest")
    quick.staged(99, commit, [(repository + "/quick", "change_99_latest", digest)])
    assert quick.ended(99, timeout=6)["state"] == "done"


# ---- operators -----------------------------------------------------------------------------------

def order(project, what, change):
    task = project.task(change)
    return project.slipway.cli("queue", what, str(task["id"])).returncode


def test_a_task_that_is_held_while_it_runs_stays_held(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    commit = project.list((repository, ["latest"]))
    project.merged(1, commit)
    project.ended(1, ("waiting",))
    digest = faulty.push(repository, "change_1_latest")
    faulty.rule("GET", "/manifests/change_1_latest", delay=2, status=500)
    faulty.requests()
    project.staged(1, commit, [(repository, "change_1_latest", digest)])
    wait_until(lambda: ("GET", f"/v2/{repository}/manifests/change_1_latest") in faulty.requests(),
               what="it reads")
    assert order(project, "hold", 1) == 0
    time.sleep(3)
    assert project.task(1)["state"] == "held"
    assert faulty.digest(repository, "latest") is None
    assert order(project, "release", 1) == 0
    assert project.ended(1, ("done",))["state"] == "done"
    assert faulty.digest(repository, "latest") == digest


def test_an_open_journal_may_be_held_and_not_cancelled(new_slipway, faulty, repository):
    project = new_project(new_slipway, faulty)
    commit = project.list((repository, ["latest"]))
    digest = faulty.push(repository, "change_1_latest")
    faulty.config(put_moves=False)
    project.merged(1, commit)
    project.ended(1, ("failed",), timeout=60)
    assert order(project, "cancel", 1) != 0
    assert order(project, "hold", 1) == 0
    faulty.config(put_moves=True)
    time.sleep(3)
    assert project.task(1)["state"] == "held" and faulty.digest(repository, "latest") is None
    assert order(project, "release", 1) == 0
    assert project.ended(1, ("done",))["state"] == "done"
    assert faulty.digest(repository, "latest") == digest


def test_a_cancelled_task_comes_back_with_its_event(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    commit = project.list((repository, ["latest"]))
    project.merged(1, commit)
    project.ended(1, ("waiting",))
    assert order(project, "cancel", 1) == 0
    assert project.ended(1)["state"] == "cancelled"
    digest = registry.push(repository, "change_1_latest")
    time.sleep(2)
    assert registry.digest(repository, "latest") is None
    assert project.merged(1, commit).status == 202
    assert project.ended(1, ("done",))["state"] == "done"
    assert registry.digest(repository, "latest") == digest


def test_a_done_task_that_is_tried_again_moves_nothing_back(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    commits = [project.list((repository, ["latest"])), project.git.commit(message="two")]
    for change, commit in enumerate(commits, 1):
        last = registry.push(repository, f"change_{change}_latest", f"c{change}")
        project.merged(change, commit)
        assert project.ended(change)["state"] == "done"
    wait_until(lambda: registry.tags(repository) == ["latest"], what="the staged tags are gone")
    for change, state in ((1, "superseded"), (2, "done")):
        assert order(project, "retry", change) == 0
        assert project.ended(change, (state,))["state"] == state
    assert registry.digest(repository, "latest") == last


# ---- two projects --------------------------------------------------------------------------------

def test_two_projects_with_one_final_tag_end_at_the_newest_merge(new_slipway, registry, repository):
    one = new_slipway()
    projects = [Project(one, registry, "team/one"), Project(one, registry, "team/two")]
    one.start_serve()
    for turn, minute in enumerate((10, 20, 40, 30)):
        project, change = projects[turn % 2], turn + 1
        commit = project.list((repository, ["latest"]))
        digest = registry.push(repository, f"change_{change}_latest", f"m{minute}")
        newest = digest if minute == 40 else newest if turn else None
        project.merged(change, commit, merged_at=f"2026-11-23T16:{minute}:10Z")
    one.start_work()
    for turn in range(4):
        state = projects[turn % 2].ended(turn + 1)["state"]
        assert state in ("done", "superseded"), (turn, state)
    assert registry.digest(repository, "latest") == newest
