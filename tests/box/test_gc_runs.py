"""What runs of gates left in an intermediate registry: what `slipway gc`, the sweep after a
promotion and a closed change take away there, and whose tags they never touch."""

import contextlib
import json
import sqlite3
import time

import pytest

from fakes.forge_fake import GitHubFake
from lib.net import wait_until
from lib.project import image_list, new_project

TOKEN = "box-token-of-the-hub"
BASE, HEAD, MERGED, OTHER = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)
DAY = 86400
EARLY, LATE = "2026-11-20T10:00:00Z", "2026-11-23T16:40:10Z"


@pytest.fixture
def hub():
    with GitHubFake(token=TOKEN) as fake:
        fake.project("team/app", private=True)
        yield fake
        assert not fake.violations, fake.violations


class Between:
    """The repository of an intermediate registry that stands for one of `registry`."""

    def __init__(self, slipway, registry, twin, repository, source="hub"):
        self.slipway, self.registry, self.twin = slipway, registry, twin
        self.source = source
        self.name = f"gate/{registry.host.replace(':', '_')}/{repository}"
        self.full = f"{twin.host}/{self.name}"

    def sql(self, text, *args):
        with contextlib.closing(sqlite3.connect(self.slipway.db, timeout=10)) as db:
            row = db.execute(text, args).lastrowid
            db.commit()
            return row

    def left(self, change, tag="latest", content=None, recorded=None, promoted=0, age=0):
        """What the run of a change left, and its record; the tag and its digest."""
        full = f"run{change}_{tag}"
        digest = self.twin.push(self.name, full, content or f"of {change}")
        row = self.sql(
            "INSERT INTO staged (forge, project, change, run_id, happened_at, recorded_at,"
            " delivery, promoted) VALUES (?, 'team/app', ?, ?, 0, ?, 0, ?)", self.source,
            str(change), f"run{change}", int((time.time() - age) * 1000), promoted)
        self.sql("INSERT INTO staged_image (staged, at, repository, tag, digest)"
                 " VALUES (?, 0, ?, ?, ?)", row, self.full, full, recorded or digest)
        return full, digest

    def tags(self):
        return self.twin.tags(self.name) or []

    def gc(self, *argv, code=0):
        done = self.slipway.cli("gc", "--format", "json", *argv)
        assert done.returncode == code, done
        return {row.get("tag"): row for row in json.loads(done.stdout)["rows"]}


def states(rows):
    return {tag: row["state"] for tag, row in rows.items()}


def on_hub(new_slipway, registry, twin, hub, repository, match="team/*", **policy):
    one = new_slipway()
    one.config["forges"]["hub"].update({"api": hub.url, "token": one.secret("token", TOKEN)})
    for server in (registry, twin):
        one.config["registries"][server.host] = {"plain_http": True}
    one.config["projects"].append({
        "match": match, "forge": "hub", "branches": ["main"],
        "may_publish": [registry.host + "/box/**"], "intermediate": f"{twin.host}/gate", **policy})
    one.write_config()
    one.start_serve()
    return Between(one, registry, twin, repository)


def pull_event(number, merged):
    pull = {"number": number, "merged": merged, "title": "x",
            "base": {"ref": "main", "repo": {"full_name": "team/app"}},
            "head": {"ref": "topic", "sha": HEAD}, "closed_at": LATE}
    if merged:
        pull.update({"merge_commit_sha": MERGED, "merged_at": LATE})
    return json.dumps({"action": "closed", "number": number, "pull_request": pull, "repository": {
        "full_name": "team/app", "default_branch": "main"}}).encode()


def promote(between, hub, repository, number=7):
    """A change is promoted from its staged tag beside the final one."""
    text = image_list(between.registry.host, (repository, ["latest"])).encode()
    hub.commit("team/app", MERGED, files={".slipway.yaml": text}, parents=[BASE])
    hub.commit("team/app", BASE)
    between.registry.push(repository, f"change_{number}_latest", "seven")
    between.slipway.start_work()
    assert between.slipway.post(pull_event(number, True), event="pull_request").status == 202
    wait_until(lambda: between.registry.tags(repository) == ["latest"], what="it is promoted")


def test_the_forge_says_what_may_go(new_slipway, registry, twin, hub, repository):
    between = on_hub(new_slipway, registry, twin, hub, repository)
    promote(between, hub, repository)
    between.slipway.stop()
    hub.pull("team/app", 1, HEAD, merged=False, state="closed")
    hub.pull("team/app", 2, HEAD, merge_commit=OTHER, merged_at="2026-11-25T00:00:00Z")
    hub.pull("team/app", 3, HEAD, merge_commit=OTHER, merged_at="2026-11-25T00:00:00Z")
    hub.pull("team/app", 4, HEAD, merged=False)
    hub.pull("team/app", 5, HEAD, merge_commit=BASE, merged_at=EARLY)
    hub.pull("team/app", 6, HEAD, merged=False, state="closed")
    between.left(1)
    between.left(2, promoted=1)
    for change in (3, 4, 5):
        between.left(change)
    between.left(6, recorded="sha256:" + "0" * 64)
    zuuls = "0123456789abcdef0123456789abcdef_latest"
    for tag in (zuuls, "change_1_latest", "run1", "run1_other", "latest"):
        twin.push(between.name, tag, f"not ours {tag}")
    rows = between.gc("--dry-run")
    assert rows["run1_latest"]["state"] == "would-remove" and len(between.tags()) == 11, rows
    rows = between.gc()
    assert states(rows) == {"run1_latest": "removed", "run2_latest": "removed",
                            "run3_latest": "kept", "run4_latest": "kept",
                            "run5_latest": "removed", "run6_latest": "kept"}, rows
    for change, says in ((1, "closed without merging"), (2, "is promoted"),
                         (3, "not promoted yet"), (4, "is open"), (5, "superseded"),
                         (6, "somebody moved it")):
        row = rows[f"run{change}_latest"]
        assert says in row["reason"] and row["change"] == str(change), row
        assert row["repository"] == between.full
    assert rows["run1_latest"]["project"] == "hub/team/app"
    assert between.tags() == sorted(["run3_latest", "run4_latest", "run6_latest", zuuls,
                                     "change_1_latest", "run1", "run1_other", "latest"])
    assert registry.tags(repository) == ["latest"]
    assert set(states(between.gc(between.full)).values()) == {"kept"}


def test_where_no_forge_can_be_asked_age_decides(new_slipway, registry, twin, repository):
    project = new_project(new_slipway, registry, started=False, intermediate=f"{twin.host}/gate")
    project.slipway.config["registries"][twin.host] = {"plain_http": True}
    project.slipway.write_config()
    project.slipway.start_serve()
    between = Between(project.slipway, registry, twin, repository, "code")
    between.left(1, age=15 * DAY)
    between.left(2, age=13 * DAY)
    between.left("", age=15 * DAY)
    between.left(3, age=15 * DAY)
    between.left(4, age=15 * DAY, promoted=1)
    between.sql("INSERT INTO task (state, forge, project, pipeline, lane, key, ref, event,"
                " order_at, order_seq, received_at, run_at, updated_at, live_at, attempt, fence,"
                " open) VALUES ('waiting', 'code', 'team/app', 'promote', 'l', 'k', 'change/3',"
                " '{}', 0, 0, 0, 9999999999999, 0, 0, 0, 0, 0)")
    assert set(states(between.gc("--older-than", "never")).values()) == {"kept"}
    rows = between.gc()
    assert states(rows) == {"run1_latest": "removed", "run2_latest": "kept", "run_latest":
                            "removed", "run3_latest": "kept", "run4_latest": "removed"}, rows
    assert rows["run1_latest"]["age_of"] == "recorded", rows
    assert "change" not in rows["run_latest"], rows
    assert "may still promote it" in rows["run3_latest"]["reason"], rows
    assert between.tags() == ["run2_latest", "run3_latest"]


def test_what_policy_does_not_name_is_left(new_slipway, registry, twin, hub, repository):
    """A record alone is no right: the project's intermediate registry is where it says."""
    between = on_hub(new_slipway, registry, twin, hub, repository,
                     intermediate=f"{twin.host}/elsewhere")
    hub.pull("team/app", 1, HEAD, merged=False, state="closed")
    between.left(1)
    assert between.gc() == {}
    assert between.slipway.cli("gc", between.full).returncode == 5
    assert between.tags() == ["run1_latest"]


def test_sweep_after_a_promotion(new_slipway, registry, twin, hub, repository):
    between = on_hub(new_slipway, registry, twin, hub, repository)
    hub.pull("team/app", 1, HEAD, merged=False, state="closed")
    hub.pull("team/app", 4, HEAD, merged=False)
    between.left(1)
    between.left(4)
    promote(between, hub, repository)
    wait_until(lambda: "msg=swept" in between.slipway.work.said(), 20, "the sweep")
    assert between.tags() == ["run4_latest"]


def test_sweep_asks_nothing_where_no_run_was_recorded(new_slipway, registry, twin, hub,
                                                      repository):
    between = on_hub(new_slipway, registry, twin, hub, repository)
    between.slipway.config["registries"][twin.host] = {"plain_http": False}
    between.slipway.write_config()
    promote(between, hub, repository)
    wait_until(lambda: "msg=swept" in between.slipway.work.said(), 20, "the sweep")
    assert "could not be swept" not in between.slipway.work.said()


@pytest.mark.parametrize("state", ["closed", "open"])
def test_a_closed_change_is_asked_about(new_slipway, registry, twin, hub, repository, state):
    """Its run's tags go once the forge, and not the event alone, says so."""
    between = on_hub(new_slipway, registry, twin, hub, repository)
    hub.pull("team/app", 1, HEAD, merged=False, state=state)
    between.left(1)
    between.slipway.start_work()
    assert between.slipway.post(pull_event(1, False), event="pull_request").status == 202
    query = "SELECT state, reason FROM task"
    wait_until(lambda: between.slipway.query(query) and
               between.slipway.query(query)[0][0] in ("done", "failed", "dead"), 20, "it ends")
    reason = between.slipway.query(query)[0][1]
    if state == "closed":
        assert between.tags() == [] and "1 staged tag removed" in reason, reason
    else:
        assert between.tags() == ["run1_latest"] and "is open" in reason, reason


# --- repositories that the store never saw ------------------------------------------------------

def ended(between, states=("done", "failed", "dead")):
    query = "SELECT state, reason FROM task"
    wait_until(lambda: between.slipway.query(query) and
               between.slipway.query(query)[0][0] in states, 20, "it ends")
    return between.slipway.query(query)[0]


def test_a_closed_change_names_its_repositories(new_slipway, registry, twin, hub, repository):
    """A CI that pushes by itself tells nobody; the list that it built from names the places."""
    between = on_hub(new_slipway, registry, twin, hub, repository, match="team/app")
    hub.pull("team/app", 1, HEAD, merged=False, state="closed")
    text = image_list(registry.host, (repository, ["latest"]), (repository + "/b", ["latest"]))
    hub.commit("team/app", HEAD, files={".slipway.yaml": text.encode()})
    for name in (repository, repository + "/b"):
        for tag in ("change_1_latest", "change_2_latest", "change_1_gone-from-the-list"):
            registry.push(name, tag, f"{name} {tag}")
    between.slipway.start_work()
    assert between.slipway.post(pull_event(1, False), event="pull_request").status == 202
    state, reason = ended(between)
    assert state == "done" and reason == "4 staged tags removed", reason
    assert registry.tags(repository) == registry.tags(repository + "/b") == ["change_2_latest"]


def test_whose_it_is_may_not_be_known(new_slipway, registry, twin, hub, repository):
    """A pattern does not tell: change 1 of another project of it may be open."""
    between = on_hub(new_slipway, registry, twin, hub, repository)
    hub.pull("team/app", 1, HEAD, merged=False, state="closed")
    hub.commit("team/app", HEAD, files={".slipway.yaml": image_list(
        registry.host, (repository, ["latest"])).encode()})
    registry.push(repository, "change_1_latest", "somebody's")
    between.slipway.start_work()
    assert between.slipway.post(pull_event(1, False), event="pull_request").status == 202
    state, reason = ended(between)
    assert state == "done" and "change_1_latest kept: no forge" in reason, reason
    assert registry.tags(repository) == ["change_1_latest"]
    rows = between.gc("--project", "team/app", f"{registry.host}/{repository}")
    assert states(rows) == {"change_1_latest": "kept"}, rows
    done = between.slipway.cli("gc", "--project", "other/app", f"{registry.host}/{repository}")
    assert done.returncode == 5, done


@pytest.mark.parametrize("content, says", [
    (None, "no .slipway.yaml"), (b"container_images: 7", "1 error"),
], ids=["none", "broken"])
def test_a_closed_change_says_where_it_could_not_look(new_slipway, registry, twin, hub,
                                                      repository, content, says):
    between = on_hub(new_slipway, registry, twin, hub, repository)
    hub.pull("team/app", 1, HEAD, merged=False, state="closed")
    hub.commit("team/app", HEAD, files={".slipway.yaml": content} if content else {})
    between.left(1)
    registry.push(repository, "change_1_latest", "nobody knows of it")
    between.slipway.start_work()
    assert between.slipway.post(pull_event(1, False), event="pull_request").status == 202
    state, reason = ended(between)
    assert state == "done" and "1 staged tag removed" in reason, reason
    assert "looked only into repositories that the store knows" in reason and says in reason
    assert between.tags() == [] and registry.tags(repository) == ["change_1_latest"]


def test_a_closed_change_without_a_commit(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    project.send("change.closed", change="1")
    task = project.ended(1)
    assert task["state"] == "done" and "names no commit" in task["reason"], task


def test_a_list_that_cannot_be_read_is_tried_again(new_slipway, registry, twin, hub, repository):
    between = on_hub(new_slipway, registry, twin, hub, repository, match="team/app")
    hub.pull("team/app", 1, HEAD, merged=False, state="closed")
    text = image_list(registry.host, (repository, ["latest"]))
    registry.push(repository, "change_1_latest", "nobody knows of it")
    between.slipway.start_work()
    hub.inject("/contents/", status=503)
    assert between.slipway.post(pull_event(1, False), event="pull_request").status == 202
    state, reason = ended(between)
    assert state == "failed" and "503" in reason, (state, reason)
    hub.commit("team/app", HEAD, files={".slipway.yaml": text.encode()})
    assert between.slipway.cli("queue", "retry", "1").returncode == 0
    state, reason = ended(between, ("done", "dead"))
    assert state == "done" and registry.tags(repository) in ([], None), reason
