"""Back to what a tag showed before: on an operator's word, all or nothing, and not by itself."""

import json
import time

import pytest

from lib.fakes import FaultyRegistry
from lib.net import wait_until
from lib.process import Process
from lib.project import new_project

DONE, FAILED, USAGE, CHANGES, NOT_FOUND, LATER = 0, 1, 2, 3, 4, 75


class Scene:
    """A project whose merges move the final tag `latest` of its repositories."""

    def __init__(self, new_slipway, registry, repositories, tags=("latest",), **policy):
        self.project = new_project(new_slipway, registry, **policy)
        self.slipway = self.project.slipway
        self.registry = registry
        self.repositories = repositories
        self.tags = tags
        self.commits = {}
        self.commit = self.project.list(*[(name, list(tags)) for name in repositories])

    @property
    def ref(self):
        return f"{self.registry.host}/{self.repositories[0]}:{self.tags[0]}"

    def merge(self, change, states=("done",)):
        """Stages and merges a change; returns its task's id and the digest of the first tag."""
        self.commits[change] = self.commit
        digests = [self.registry.push(name, f"change_{change}_{tag}", f"{change} {name}")
                   for name in self.repositories for tag in self.tags]
        self.project.merged(change, self.commit)
        task = self.project.ended(change)
        assert task["state"] in states, task
        self.commit = self.project.git.commit(message=f"after {change}")
        return task["id"], digests[0]

    def rollback(self, *argv, code=DONE):
        done = self.slipway.cli("rollback", *map(str, argv), timeout=150)
        text = done.stdout.decode() + done.stderr.decode()
        assert done.returncode == code, (done.returncode, text)
        return text

    def shows(self, name=None):
        return self.registry.digest(name or self.repositories[0], self.tags[0])

    def newest(self):
        return self.project.tasks()[0]

    def target(self, *columns):
        """Columns of the first tag's row in the store."""
        return self.slipway.query(f"SELECT {', '.join(columns)} FROM target WHERE name = ?"
                                  " AND tag = ?", self.repositories[0], self.tags[0])[0]

    def end_work(self):
        wait_until(self.slipway.work_is_up, what="work is up")
        assert self.slipway.work.stop() == 0
        self.slipway.work = None


@pytest.fixture
def scene(new_slipway, registry, repository):
    return Scene(new_slipway, registry, [repository])


def rows(text):
    return {row["target"]: row for row in json.loads(text)["rows"]}


def test_goes_back_and_only_a_newer_merge_moves_on(scene):
    _, first = scene.merge(1)
    task, second = scene.merge(2)
    order = scene.target("order_project", "order_commit", "order_at", "order_seq")
    said = scene.rollback(task)
    assert "reverted" in said and scene.ref in said, said
    assert scene.shows() == first
    assert scene.target("applied", "desired") == (first, first)
    assert scene.target("order_project", "order_commit", "order_at", "order_seq") == order
    assert "pipeline=rollback" in scene.slipway.work.said()
    # A repeat of what was rolled back, and the one before it, in other bytes.
    for change in (2, 1):
        scene.project.merged(change, scene.commits[change], title="again")
    wait_until(lambda: scene.project.untouched() == 0, what="the repeats are looked at")
    assert scene.shows() == first
    _, third = scene.merge(3)
    assert scene.shows() == third != second


def test_a_repeat_under_another_key_does_not_undo_it(scene):
    """The task that would say the same was reopened, as after a deletion of the ref."""
    _, first = scene.merge(1)
    task, second = scene.merge(2)
    scene.rollback(task)
    scene.end_work()
    # Another event of the same commit: another change number, so another key.
    scene.registry.push(scene.repositories[0], "change_22_latest", "2 again")
    scene.project.merged(22, scene.commits[2])
    scene.slipway.start_work()
    again = scene.project.ended(22)
    assert again["state"] == "superseded", again
    assert "put it back" in again["reason"] and "queue retry" in again["reason"], again
    assert scene.shows() == first
    # Said by an operator it is a wish.
    assert scene.slipway.cli("queue", "retry", str(task)).returncode == 0
    wait_until(lambda: scene.target("applied", "rolled_back") == (second, None),
               what="the retried task is live")
    assert scene.shows() == second


def test_by_name_and_only_once(scene):
    _, first = scene.merge(1)
    scene.merge(2)
    assert "1 reverted" in scene.rollback(scene.ref)
    assert scene.shows() == first
    back = scene.newest()
    said = scene.rollback("docker://" + scene.ref)
    assert "1 same" in said and f"slipway rollback {back['id']}" in said, said
    assert scene.shows() == first
    assert scene.newest()["id"] == back["id"]


def test_a_rollback_can_be_taken_back(scene):
    _, first = scene.merge(1)
    task, second = scene.merge(2)
    scene.rollback(task)
    assert scene.shows() == first
    assert "1 same" in scene.rollback(task)
    scene.rollback(scene.newest()["id"])
    assert scene.shows() == second


def test_dry_run_writes_nothing(scene, registry, repository):
    _, first = scene.merge(1)
    task, second = scene.merge(2)
    since, before = registry.mark(), scene.slipway.query("SELECT * FROM target")
    said = scene.rollback("--dry-run", "--exit-code", task, code=CHANGES)
    assert "would-revert" in said and second[:19] in said and first[:19] in said, said
    assert scene.rollback("--dry-run", task) == said
    assert scene.shows() == second
    assert len(scene.project.tasks()) == 2
    assert scene.slipway.query("SELECT * FROM target") == before
    assert {method for method, _, _ in registry.requests(since, repository)} <= {"GET", "HEAD"}


def test_json(scene):
    _, first = scene.merge(1)
    task, second = scene.merge(2)
    want = {"state": "would-revert", "target": scene.ref, "from": second, "to": first}
    doc = json.loads(scene.rollback("--format", "json", "-n", task))
    assert doc["rows"] == [want] and "task" not in doc and doc["schema"] == 1, doc
    assert doc["count"]["would-revert"] == 1, doc
    doc = json.loads(scene.rollback("--format", "json", task))
    assert doc["rows"] == [{**want, "state": "reverted"}], doc
    assert doc["task_state"] == "done"
    shown = scene.slipway.cli("queue", "show", str(doc["task"]), "--format", "json")
    shown = json.loads(shown.stdout)
    assert shown["task"]["pipeline"] == "rollback" and shown["task"]["ref"] == f"task/{task}"
    assert shown["event"]["of_task"] == task
    assert [(s["new_digest"], s["former_digest"]) for s in shown["steps"]] == [(first, second)]
    text = scene.slipway.cli("queue", "show", str(doc["task"])).stdout.decode()
    assert f"task {task}" in text and "rolls back" in text, text
    assert f"task/{task}" in scene.slipway.cli("queue", "ls").stdout.decode()


def test_all_tags_of_a_task_and_what_was_moved_since_stays(new_slipway, registry, repository):
    names = [repository + "/a", repository + "/b"]
    scene = Scene(new_slipway, registry, names)
    scene.merge(1)
    before = {name: scene.shows(name) for name in names}
    task, _ = scene.merge(2)
    # A newer merge that is about one of them.
    commit = scene.project.list((names[1], ["latest"]))
    newer = registry.push(names[1], "change_3_latest", "newer")
    scene.project.merged(3, commit)
    third = scene.project.ended(3)
    assert third["state"] == "done", third
    found = rows(scene.rollback("--format", "json", task, code=FAILED))
    assert found[f"{registry.host}/{names[0]}:latest"]["state"] == "reverted", found
    left = found[f"{registry.host}/{names[1]}:latest"]
    assert left["state"] == "moved" and f"task {third['id']}" in left["reason"], left
    assert scene.shows(names[0]) == before[names[0]]
    assert scene.shows(names[1]) == newer
    assert "left:" in scene.newest()["reason"], scene.newest()


def test_a_stranger_was_there(scene, registry, repository):
    scene.merge(1)
    task, _ = scene.merge(2)
    foreign = registry.push(repository, "latest", "by hand")
    said = scene.rollback(task, code=FAILED)
    assert "moved" in said and foreign in said and "did not put there" in said, said
    assert scene.shows() == foreign


def test_absent_before(scene):
    task, first = scene.merge(1)
    said = scene.rollback(task, code=FAILED)
    assert "absent" in said and "no such tag before" in said, said
    assert scene.shows() == first
    assert scene.newest()["id"] == task


def test_a_missing_manifest_is_named_and_nothing_moves(new_slipway, registry, repository):
    names = [repository + "/a", repository + "/b"]
    scene = Scene(new_slipway, registry, names)
    _, gone = scene.merge(1)
    task, _ = scene.merge(2)
    now = {name: scene.shows(name) for name in names}
    assert registry.call("DELETE", f"/v2/{names[0]}/manifests/{gone}").status == 202
    found = rows(scene.rollback("--format", "json", task, code=FAILED))
    missing = found[f"{registry.host}/{names[0]}:latest"]
    assert missing["state"] == "missing" and gone in missing["reason"], missing
    assert found[f"{registry.host}/{names[1]}:latest"]["state"] == "would-revert", found
    assert {name: scene.shows(name) for name in names} == now
    assert scene.newest()["id"] == task


@pytest.mark.parametrize("what", ["blob", "child"])
def test_a_missing_part_of_an_index_is_named(new_slipway, registry, repository, what):
    scene = Scene(new_slipway, registry, [repository])
    index = registry.push_index(repository, "change_1_latest", "one")
    scene.project.merged(1, scene.commit)
    assert scene.project.ended(1)["state"] == "done"
    scene.commit = scene.project.git.commit(message="two")
    task, second = scene.merge(2)
    child = json.loads(registry.manifest(repository, index).body)["manifests"][1]["digest"]
    gone, path = child, "manifests"
    if what == "blob":
        layers = json.loads(registry.manifest(repository, child).body)["layers"]
        gone, path = layers[0]["digest"], "blobs"
    assert "would-revert" in scene.rollback("-n", task)
    assert registry.call("DELETE", f"/v2/{repository}/{path}/{gone}").status == 202
    said = scene.rollback(task, code=FAILED)
    assert "missing" in said and gone in said, said
    assert scene.shows() == second


def test_without_work_it_runs_here(scene):
    _, first = scene.merge(1)
    task, _ = scene.merge(2)
    scene.end_work()
    said = scene.rollback(task)
    assert "1 reverted" in said and "is done" in said, said
    assert scene.shows() == first
    scene.slipway.start_work()
    _, third = scene.merge(3)
    assert scene.shows() == third


def test_hold_pins_until_release(scene):
    _, first = scene.merge(1)
    task, _ = scene.merge(2)
    said = scene.rollback("--hold", "--reason", "broken login", task)
    assert "reverted" in said and "broken login" in said, said
    third, digest = scene.merge(3, ("held",))
    reason = scene.newest()["reason"]
    assert "broken login" in reason and f"slipway rollback --release {scene.ref}" in reason, reason
    assert scene.shows() == first
    assert "pinned" in scene.rollback("--dry-run", task)
    said = scene.rollback("--release", scene.ref)
    assert "released" in said and "broken login" in said, said
    scene.rollback("--release", scene.ref, code=NOT_FOUND)
    assert scene.slipway.cli("queue", "release", str(third)).returncode == 0
    assert scene.project.ended(3, ("done",))["id"] == third
    assert scene.shows() == digest


def test_a_pin_stands_before_a_rollback_too(scene):
    scene.merge(1)
    scene.merge(2)
    third, _ = scene.merge(3)
    scene.rollback("--hold", third)
    second = scene.shows()
    assert scene.target("held") == ("rolled back by an operator",)
    said = scene.rollback("--hold", scene.newest()["id"], code=FAILED)
    assert "--release" in said and scene.shows() == second, said
    assert "released" in scene.rollback("--release", third)
    assert scene.target("held") == (None,)


def test_what_is_back_already_can_still_be_pinned(scene):
    _, first = scene.merge(1)
    task, _ = scene.merge(2)
    scene.rollback(task)
    said = scene.rollback("--hold", "--reason", "later thought", scene.ref)
    assert "1 same" in said and "later thought" in said, said
    assert scene.target("held", "applied") == ("later thought", first)
    scene.merge(3, ("held",))
    assert scene.shows() == first


def test_says_what_it_does_not_know(scene, repository):
    scene.merge(1)
    assert "no task 99" in scene.rollback(99, code=NOT_FOUND)
    other = f"{scene.registry.host}/{repository}/other:latest"
    assert "no task" in scene.rollback(other, code=NOT_FOUND)
    assert "nothing of that is pinned" in scene.rollback("--release", other, code=NOT_FOUND)
    for bad in ("0", "-3", scene.ref.rsplit(":", 1)[0], scene.ref + "@sha256:" + "0" * 64,
                "oci:/tmp", "latest"):
        scene.rollback("--", bad, code=USAGE)
    scene.rollback(code=USAGE)
    scene.rollback(1, 2, code=USAGE)
    scene.rollback("--exit-code", 1, code=USAGE)
    scene.rollback("--reason", "x", 1, code=USAGE)
    scene.rollback("--release", "--hold", 1, code=USAGE)
    scene.rollback("--hold", "--reason", "x" * 300, 1, code=USAGE)


@pytest.fixture
def slow(tmp_path):
    server = FaultyRegistry(str(tmp_path))
    yield server
    server.stop()


def test_a_registry_that_refuses_to_be_asked(new_slipway, slow, repository):
    scene = Scene(new_slipway, slow, [repository])
    _, first = scene.merge(1)
    task, second = scene.merge(2)
    slow.rules(*[{"method": "GET", "path": first, "status": 403}])
    assert "failed" in scene.rollback("-n", task, code=FAILED)
    slow.rules()
    assert scene.shows() == second
    assert "reverted" in scene.rollback(task)
    assert scene.shows() == first


def test_all_or_nothing(new_slipway, slow, repository):
    names = [repository + "/a", repository + "/b"]
    scene = Scene(new_slipway, slow, names)
    scene.merge(1)
    task, _ = scene.merge(2)
    now = {name: scene.shows(name) for name in names}
    slow.rule("PUT", "/b/manifests/latest", times=1, status=403)
    said = scene.rollback("--hold", task, code=FAILED)
    assert "failed" in said and "nothing was published" in said, said
    assert {name: scene.shows(name) for name in names} == now
    assert scene.target("applied", "held", "locked_by") == (now[names[0]], None, None)
    assert "2 reverted" in scene.rollback(task)


def start_slowly(scene, slow, method, *argv):
    """`slipway rollback` in a process of its own, at the time of a request about /b."""
    slow.rule(method, "/b/manifests/latest", times=1, delay=60, status=500)
    slow.requests()
    run = Process("slipway rollback", [scene.slipway.bin, "rollback", "--config",
                                       scene.slipway.config_path, *map(str, argv)],
                  scene.slipway.log("rollback"))
    wait_until(lambda: any(m == method and p.endswith("/b/manifests/latest")
                           for m, p in slow.requests()), what=f"{method} is under way")
    time.sleep(0.1)
    return run


@pytest.mark.parametrize("method", ["PUT", "HEAD"])
def test_killed_in_the_midst_it_is_finished(new_slipway, slow, repository, method):
    names = [repository + "/a", repository + "/b"]
    scene = Scene(new_slipway, slow, names)
    scene.merge(1)
    before = {name: scene.shows(name) for name in names}
    task, _ = scene.merge(2)
    scene.end_work()
    run = start_slowly(scene, slow, method, "--hold", "--reason", "kill", task)
    run.kill()
    assert scene.newest()["state"] == "running"
    scene.slipway.start_work()
    wait_until(lambda: scene.newest()["state"] == "done", timeout=30, what="it is finished")
    assert {name: scene.shows(name) for name in names} == before
    assert scene.target("held", "locked_by") == ("kill", None)
    assert scene.slipway.query("SELECT DISTINCT order_seq FROM target") == \
        scene.slipway.query("SELECT order_seq FROM task WHERE id = ?", task)


def test_when_work_is_killed_the_command_goes_on_with_it(new_slipway, slow, repository):
    names = [repository + "/a", repository + "/b"]
    scene = Scene(new_slipway, slow, names)
    scene.merge(1)
    before = {name: scene.shows(name) for name in names}
    task, _ = scene.merge(2)
    run = start_slowly(scene, slow, "PUT", task)
    scene.slipway.work.kill()
    assert run.wait() == DONE
    assert "2 reverted" in run.said(), run.said()
    assert {name: scene.shows(name) for name in names} == before
    scene.slipway.work = None
