"""Staged tags that were left behind: what `slipway gc` removes, what it keeps and why, and the
sweep after a promotion."""

import contextlib
import json
import sqlite3
import subprocess
import threading
import time

import pytest

from fakes.forge_fake import GerritFake, GitHubFake
from lib.fakes import FaultyRegistry, VendorFake
from lib.images import digest_of
from lib.net import wait_until
from lib.oci import CONFIG, INDEX, LAYER, MANIFEST
from lib.process import environment
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


@pytest.fixture
def review():
    with GerritFake("ci", "box-password-of-review") as fake:
        fake.project("team/app", private=True)
        yield fake
        assert not fake.violations, fake.violations


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    server = FaultyRegistry(str(tmp_path_factory.mktemp("gc")))
    yield server
    server.stop()


def on_hub(new_slipway, registry, hub, match="team/app", start=False, **policy):
    one = new_slipway()
    one.config["forges"]["hub"].update({"api": hub.url, "token": one.secret("token", TOKEN)})
    one.config["registries"][registry.host] = {"plain_http": True}
    one.config["projects"].append({"match": match, "forge": "hub", "branches": ["main"],
                                   "may_publish": [registry.host + "/box/**"], **policy})
    one.write_config()
    one.start_serve()
    if start:
        one.start_work()
    return one


def gc(slipway, *argv, code=0):
    """{tag: row} of what gc says."""
    done = slipway.cli("gc", "--format", "json", *argv)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    doc = json.loads(done.stdout)
    assert doc["schema"] == 1
    for state, n in doc["count"].items():
        assert n == sum(row["state"] == state for row in doc["rows"]), doc
    return {row.get("tag"): row for row in doc["rows"]}


def states(rows):
    return {tag: row["state"] for tag, row in rows.items()}


def change_store(slipway, sql, *args):
    with contextlib.closing(sqlite3.connect(slipway.db, timeout=10)) as db:
        db.execute(sql, args)
        db.commit()


def closed(hub, number):
    hub.pull("team/app", number, HEAD, merged=False, state="closed")


def built(registry, name, tag, created, content="x"):
    """An image whose config says when it was built."""
    config = {"architecture": "amd64", "os": "linux", "config": {}, "about": [tag, content],
              "rootfs": {"type": "layers", "diff_ids": []}}
    if created:
        config["created"] = created
    data = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, **registry.blob(name, json.dumps(config).encode())},
        "layers": [{"mediaType": LAYER, **registry.blob(name, content.encode())}]}).encode()
    return registry.put(name, tag or digest_of(data), data, MANIFEST), len(data)


def built_index(registry, name, tag, *times):
    children = []
    for i, created in enumerate(times):
        digest, size = built(registry, name, None, created, f"{tag} {i}")
        children.append({"mediaType": MANIFEST, "digest": digest, "size": size})
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).encode()
    return registry.put(name, tag, data, INDEX)


def ago(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(time.time() - seconds))


def test_github_says_what_may_go(new_slipway, registry, hub, repository):
    slipway = on_hub(new_slipway, registry, hub, start=True)
    text = image_list(registry.host, (repository, ["latest"])).encode()
    hub.commit("team/app", MERGED, files={".slipway.yaml": text}, parents=[BASE])
    hub.commit("team/app", BASE)
    live = registry.push(repository, "change_7_latest", "seven")
    body = json.dumps({
        "action": "closed", "number": 7,
        "pull_request": {"number": 7, "merged": True, "merge_commit_sha": MERGED,
                         "merged_at": LATE, "title": "x",
                         "base": {"ref": "main", "repo": {"full_name": "team/app"}},
                         "head": {"ref": "topic", "sha": HEAD}},
        "repository": {"full_name": "team/app", "default_branch": "main"}}).encode()
    assert slipway.post(body, event="pull_request").status == 202
    wait_until(lambda: registry.tags(repository) == ["latest"], what="change 7 is promoted")
    slipway.stop()
    hub.pull("team/app", 1, HEAD, merged=False, state="closed")
    hub.pull("team/app", 2, HEAD, merge_commit=OTHER, merged_at="2026-11-25T00:00:00Z")
    hub.pull("team/app", 3, HEAD, merge_commit=OTHER, merged_at="2026-11-25T00:00:00Z")
    hub.pull("team/app", 4, HEAD, merged=False)
    hub.pull("team/app", 5, HEAD, merge_commit=BASE, merged_at=EARLY)
    hub.pull("team/app", 6, HEAD, merged=False, state="closed")
    registry.push(repository, "change_1_latest", "one")
    registry.push(repository, "change_2_latest", "seven")  # the same digest as latest
    for number, tag in ((3, "latest"), (4, "latest"), (5, "latest"), (5, "stable"), (6, "x")):
        registry.push(repository, f"change_{number}_{tag}", f"{number} {tag}")
    registry.push(repository, "change_859940", "no staged tag")
    change_store(slipway, "INSERT INTO target (registry, name, tag, applied, fence)"
                 " VALUES (?, ?, 'change_6_x', ?, 1)", registry.host, repository,
                 "sha256:" + "0" * 64)
    rows = gc(slipway)
    assert states(rows) == {
        "change_1_latest": "removed", "change_2_latest": "removed", "change_3_latest": "kept",
        "change_4_latest": "kept", "change_5_latest": "removed", "change_5_stable": "kept",
        "change_6_x": "kept"}, rows
    for tag, says in (("change_1_latest", "closed without merging"),
                      ("change_2_latest", "is promoted"), ("change_3_latest", "not promoted yet"),
                      ("change_4_latest", "is open"), ("change_5_latest", "superseded"),
                      ("change_5_stable", "not promoted yet"), ("change_6_x", "final tag")):
        assert says in rows[tag]["reason"], rows[tag]
        assert rows[tag]["project"] == "hub/team/app"
    assert registry.tags(repository) == ["change_3_latest", "change_4_latest", "change_5_stable",
                                         "change_6_x", "change_859940", "latest"]
    assert registry.digest(repository, "latest") == live
    assert hub.count(r"/pulls/5$") == 1  # once a change, however many tags
    assert set(states(gc(slipway)).values()) == {"kept"}


def test_gerrit_says_what_may_go(new_slipway, registry, review, repository):
    one = new_slipway()
    one.config["forges"]["review"].update({
        "url": review.url, "username": "ci",
        "password": one.secret("password", "box-password-of-review")})
    one.config["registries"][registry.host] = {"plain_http": True}
    one.config["projects"].append({"match": "team/app", "forge": "review",
                                   "may_publish": [f"{registry.host}/{repository}"]})
    one.write_config()
    one.start_serve()
    revision = [(HEAD, "REWORK", "2026-11-23 16:10:00.000000000")]
    for number, status in ((1, "ABANDONED"), (2, "MERGED"), (3, "MERGED"), (4, "NEW")):
        review.change("team/app", number, revision, status=status)
    registry.push(repository, "latest", "live")
    registry.push(repository, "change_2_latest", "live")
    for number in (1, 3, 4, 5):
        registry.push(repository, f"change_{number}_latest", str(number))
    rows = gc(one, f"{registry.host}/{repository}")
    assert states(rows) == {"change_1_latest": "removed", "change_2_latest": "removed",
                            "change_3_latest": "kept", "change_4_latest": "kept",
                            "change_5_latest": "kept"}, rows
    assert "nobody knows how old" in rows["change_5_latest"]["reason"]  # 404, and no `created`
    assert registry.tags(repository) == ["change_3_latest", "change_4_latest", "change_5_latest",
                                         "latest"]


@pytest.mark.parametrize("status,code", [(502, 75), (429, 75), (401, 1)])
def test_a_forge_that_does_not_answer_removes_nothing(new_slipway, registry, hub, repository,
                                                      status, code):
    slipway = on_hub(new_slipway, registry, hub)
    for number in range(1, 6):
        closed(hub, number)
        built(registry, repository, f"change_{number}_latest", ago(99 * DAY))
    hub.inject(status=status, times=99)
    rows = gc(slipway, f"{registry.host}/{repository}", "--older-than", "1s", code=code)
    assert set(states(rows).values()) == {"kept"} and len(rows) == 5, rows
    assert all(row["unsure"] and row["temporary"] == (code == 75 or "too often" in row["reason"])
               for row in rows.values()), rows
    assert len(registry.tags(repository)) == 5
    assert hub.count() == 3  # then it is left alone
    said = slipway.cli("gc", f"{registry.host}/{repository}")
    assert TOKEN.encode() not in said.stdout + said.stderr


def test_a_forge_that_is_gone(new_slipway, registry, hub, repository):
    slipway = on_hub(new_slipway, registry, hub)
    registry.push(repository, "change_1_latest")
    hub.stop()
    rows = gc(slipway, f"{registry.host}/{repository}", code=75)
    assert "could not ask" in rows["change_1_latest"]["reason"], rows
    assert registry.tags(repository) == ["change_1_latest"]


def test_without_a_forge_to_ask_age_decides(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    slipway = project.slipway
    commit = project.list((repository, ["latest"]))
    for change in (1, 2, 3):
        digest = registry.push(repository, f"change_{change}_latest", f"recorded {change}")
        project.staged(change, commit, [(repository, f"change_{change}_latest", digest)])
    slipway.stop()
    for change in (1, 3):
        change_store(slipway, "UPDATE staged SET recorded_at = ? WHERE change = ?",
                     int((time.time() - 15 * DAY) * 1000), str(change))
    built(registry, repository, "change_3_latest", ago(DAY))  # not what was recorded
    built(registry, repository, "change_4_latest", ago(15 * DAY))
    built(registry, repository, "change_5_latest", ago(13 * DAY))
    built(registry, repository, "change_6_latest", "1970-01-01T00:00:00Z")
    built(registry, repository, "change_7_latest", "0001-01-01T00:00:00Z")
    built(registry, repository, "change_8_latest", None)
    built_index(registry, repository, "change_9_latest", ago(99 * DAY), ago(15 * DAY))
    built_index(registry, repository, "change_10_latest", ago(99 * DAY), ago(2 * DAY))
    built(registry, repository, "change_11_latest", "2199-01-01T00:00:00Z")
    rows = gc(slipway)
    assert states(rows) == {
        "change_1_latest": "removed", "change_2_latest": "kept", "change_3_latest": "kept",
        "change_4_latest": "removed", "change_5_latest": "kept", "change_6_latest": "kept",
        "change_7_latest": "kept", "change_8_latest": "kept", "change_9_latest": "removed",
        "change_10_latest": "kept", "change_11_latest": "kept"}, rows
    assert rows["change_1_latest"]["age_of"] == "recorded"
    assert rows["change_3_latest"]["age_of"] == rows["change_4_latest"]["age_of"] == "built"
    assert 13 * DAY <= rows["change_5_latest"]["age_s"] < 13 * DAY + 600
    assert "age_s" not in rows["change_6_latest"]
    assert set(states(gc(slipway, "--older-than", "never")).values()) == {"kept"}
    rows = gc(slipway, "--older-than", "36h")
    assert [tag for tag, row in rows.items() if row["state"] == "removed"] == \
        ["change_5_latest", "change_10_latest"], rows


def test_sweep_after_of_the_project(new_slipway, registry, repository):
    for after, state in (("never", "kept"), ("2d", "removed")):
        project = new_project(new_slipway, registry, started=False, sweep_after=after)
        project.slipway.start_serve()
        built(registry, repository, "change_4_latest", ago(3 * DAY))
        rows = gc(project.slipway, f"{registry.host}/{repository}")
        assert states(rows) == {"change_4_latest": state}, rows


def test_a_task_that_waits_keeps_its_tags(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    commit = project.list((repository, ["latest", "stable"]))
    built(registry, repository, "change_3_latest", ago(30 * DAY))
    project.merged(3, commit)
    project.ended(3, ("failed", "waiting"))
    rows = gc(project.slipway, f"{registry.host}/{repository}")
    assert "may still promote it" in rows["change_3_latest"]["reason"], rows
    assert registry.tags(repository) == ["change_3_latest"]


def test_times_of_the_registry_come_before_the_image(new_slipway, tmp_path, hub):
    vendor = VendorFake(str(tmp_path / "harbor"), "harbor")
    try:
        slipway = on_hub(new_slipway, vendor, hub)  # change 1 and 2: 404
        slipway.config["registries"][vendor.host].update({
            "type": "harbor", "api": vendor.api, "username": "ci",
            "password": slipway.secret("harbor", "geheim")})
        slipway.write_config()
        for number in (1, 2):
            vendor.push("box/app", f"change_{number}_latest", str(number))
        vendor.age("box/app", "change_1_latest", 15 * DAY)
        rows = gc(slipway, f"{vendor.host}/box/app")
        assert states(rows) == {"change_1_latest": "removed", "change_2_latest": "kept"}, rows
        assert rows["change_1_latest"]["age_of"] == "pushed"
        assert list(vendor.dump()["tags"]["box/app"]) == ["change_2_latest"]
    finally:
        vendor.stop()


def test_every_page_of_tags(new_slipway, faulty, hub):
    faulty.reset()
    faulty.config(page_cap=3)
    slipway = on_hub(new_slipway, faulty, hub)
    for number in range(1, 26):
        faulty.push("box/app", f"change_{number}_latest", str(number))
        hub.pull("team/app", number, HEAD, merged=False, state="open" if number == 13 else "closed")
    rows = gc(slipway, f"{faulty.host}/box/app")
    assert len(rows) == 25
    assert list(faulty.dump()["tags"]["box/app"]) == ["change_13_latest"]


def test_dry_run_changes_nothing(new_slipway, registry, hub, repository):
    slipway = on_hub(new_slipway, registry, hub)
    where = f"{registry.host}/{repository}"
    for number in (1, 2):
        registry.push(repository, f"change_{number}_latest", str(number))
    closed(hub, 1)
    hub.pull("team/app", 2, HEAD, merged=False)
    since = registry.mark()
    assert states(gc(slipway, "-n", where)) == {"change_1_latest": "would-remove",
                                                "change_2_latest": "kept"}
    assert states(gc(slipway, "--dry-run", "--exit-code", where, code=3))
    assert {r[0] for r in registry.requests(since, repository)} <= {"GET", "HEAD"}
    said = slipway.cli("gc", "-n", where)
    assert said.returncode == 0
    line = said.stdout.decode().splitlines()[0].split()
    assert line[:2] == ["would-remove", where + ":change_1_latest"], said.stdout
    assert said.stdout.endswith(b"\n1 would-remove, 1 kept\n") and not said.stderr, said
    assert registry.tags(repository) == ["change_1_latest", "change_2_latest"]


def test_a_tag_that_is_staged_again_meanwhile_stays(new_slipway, registry, hub, repository):
    slipway = on_hub(new_slipway, registry, hub)
    closed(hub, 1)
    registry.push(repository, "change_1_latest", "first")
    hub.inject(r"/pulls/1$", delay=1.5)
    run = threading.Thread(target=lambda: seen.append(gc(slipway, f"{registry.host}/{repository}")))
    seen = []
    run.start()
    wait_until(lambda: hub.count(r"/pulls/1$"), what="the forge is asked")
    again = registry.push(repository, "change_1_latest", "again")
    run.join()
    assert "staged again" in seen[0]["change_1_latest"]["reason"], seen
    assert registry.digest(repository, "change_1_latest") == again


def test_two_at_once(new_slipway, registry, hub, repository):
    slipway = on_hub(new_slipway, registry, hub)
    live = registry.push(repository, "latest", "same")
    for number in range(1, 9):
        registry.push(repository, f"change_{number}_latest", "same" if number % 2 else str(number))
        closed(hub, number)
    argv = [slipway.bin, "gc", "--config", slipway.config_path, f"{registry.host}/{repository}"]
    runs = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=environment()) for _ in range(2)]
    for run in runs:
        _, said = run.communicate(timeout=60)
        assert run.returncode in (0, 75) and b"Sanitizer" not in said, said
    assert gc(slipway, f"{registry.host}/{repository}") is not None
    # docker-registry may go on listing a name that two clients write and delete at once.
    shown = {tag: registry.digest(repository, tag) for tag in registry.tags(repository)}
    assert {tag for tag, digest in shown.items() if digest} == {"latest"}, shown
    assert registry.digest(repository, "latest") == live


def test_no_safe_way_is_no_failure(new_slipway, registry_without_deletion, hub, repository):
    registry = registry_without_deletion
    slipway = on_hub(new_slipway, registry, hub)
    closed(hub, 1)
    digest = registry.push(repository, "change_1_latest")
    rows = gc(slipway, f"{registry.host}/{repository}")
    assert states(rows) == {"change_1_latest": "left"}, rows
    assert "no safe way" in rows["change_1_latest"]["reason"]
    assert registry.digest(repository, "change_1_latest") == digest


def test_a_pattern_does_not_tell_whose_tag_it_is(new_slipway, registry, hub, repository):
    """team/** may publish here: the closed change 1 of one of them says nothing."""
    slipway = on_hub(new_slipway, registry, hub, match="team/**")
    closed(hub, 1)
    built(registry, repository, "change_1_latest", ago(DAY))
    where = f"{registry.host}/{repository}"
    rows = gc(slipway, where)
    assert states(rows) == {"change_1_latest": "kept"} and hub.count() == 0, rows
    change_store(slipway, "INSERT INTO target (registry, name, tag, applied, order_project, fence)"
                 " VALUES (?, ?, 'latest', ?, 'hub/team/app', 1)", registry.host, repository,
                 "sha256:" + "0" * 64)
    assert states(gc(slipway)) == {"change_1_latest": "removed"}


def test_all_who_know_the_change_must_agree(new_slipway, registry, hub, repository):
    slipway = on_hub(new_slipway, registry, hub)
    slipway.config["projects"].append({"match": "team/tools", "forge": "hub",
                                       "may_publish": [f"{registry.host}/{repository}"]})
    slipway.write_config()
    for number in (1, 2):
        closed(hub, number)
        registry.push(repository, f"change_{number}_latest", str(number))
    hub.pull("team/tools", 1, HEAD, merged=False)  # open, and 2 is unknown there
    where = f"{registry.host}/{repository}"
    rows = gc(slipway, "--project", "team/tools", where)
    assert states(rows) == {"change_1_latest": "kept", "change_2_latest": "removed"}, rows
    assert "team/tools is open" in rows["change_1_latest"]["reason"]


def test_what_may_not_be_swept_is_refused(new_slipway, registry, hub, repository):
    slipway = on_hub(new_slipway, registry, hub)
    registry.push("elsewhere/app", "change_1_latest")
    for argv, code, says in (
            ([f"{registry.host}/elsewhere/app"], 5, "may publish there"),
            (["--project", "team/other", f"{registry.host}/{repository}"], 5, "may publish there"),
            (["--project", "team/other"], 4, "no repository"),
            (["other.example.org/app"], 2, "configured"),
            ([f"{registry.host}/{repository}:latest"], 2, "without tag"),
            (["not a name"], 2, "not?a?name"),
            (["--forge", "nobody"], 2, "nobody"),
            (["--older-than", "soon"], 2, "soon"),
            (["--older-than", "14"], 2, "a time like 90s"),
            (["http://" + registry.host + "/a"], 2, "docker://HOST"),
            (["--exit-code"], 2, "--dry-run"),
            (["--format", "xml"], 2, "xml"),
            ([f"{registry.host}/{repository}"], 0, "there are no staged tags")):
        done = slipway.cli("gc", *argv)
        told = (done.stdout + done.stderr).decode()
        assert done.returncode == code and says in told, (argv, done)
    assert registry.digest("elsewhere/app", "change_1_latest")


def test_a_repository_that_cannot_be_listed(new_slipway, faulty, hub):
    faulty.reset()
    slipway = on_hub(new_slipway, faulty, hub)
    faulty.rule("GET", "/tags/list", status=404, times=1)
    faulty.rules({"method": "GET", "path": "/tags/list", "status": 403, "times": 99})
    rows = gc(slipway, f"{faulty.host}/box/app", code=1)
    assert rows[None]["state"] == "failed" and rows[None]["temporary"] is False, rows


@pytest.mark.parametrize("sweep", [True, False])
def test_sweep_after_a_promotion(new_slipway, registry, hub, repository, sweep):
    slipway = on_hub(new_slipway, registry, hub, start=True, sweep=sweep)
    text = image_list(registry.host, (repository, ["latest"])).encode()
    hub.commit("team/app", MERGED, files={".slipway.yaml": text}, parents=[BASE])
    closed(hub, 1)
    hub.pull("team/app", 4, HEAD, merged=False)
    for number in (1, 4, 7):
        registry.push(repository, f"change_{number}_latest", str(number))
    body = json.dumps({
        "action": "closed", "number": 7,
        "pull_request": {"number": 7, "merged": True, "merge_commit_sha": MERGED,
                         "merged_at": LATE, "title": "x",
                         "base": {"ref": "main", "repo": {"full_name": "team/app"}},
                         "head": {"ref": "topic", "sha": HEAD}},
        "repository": {"full_name": "team/app", "default_branch": "main"}}).encode()
    assert slipway.post(body, event="pull_request").status == 202
    if sweep:
        wait_until(lambda: "msg=swept" in slipway.work.said(), 20, "the sweep")
        assert registry.tags(repository) == ["change_4_latest", "latest"]
    else:
        wait_until(lambda: registry.digest(repository, "latest"), what="it is promoted")
        time.sleep(8)
        assert registry.tags(repository) == ["change_1_latest", "change_4_latest", "latest"]
        assert hub.count("/pulls/") == 0
