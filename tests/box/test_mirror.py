"""`slipway mirror`, the operator's `mirrors` by the clock, and mirroring as a job."""

import base64
import contextlib
import json
import os
import sqlite3
import time
import types

import pytest
import yaml

from lib import images
from lib.byhand import run
from lib.images import push_artifact, push_cosign_signature, push_image, push_index
from lib.net import free_port, wait_until
from lib.pki import signing_key
from lib.project import Project


def plain(*servers):
    return [word for s in servers for word in ("--plain-http", s.host)]


def write(folder, items, name="list.yaml"):
    path = os.path.join(str(folder), name)
    with open(path, "w", encoding="utf-8") as file:
        yaml.safe_dump({"mirror_container_images_images": items}, file)
    return path


def mirror(folder, items, *argv, servers=(), code=0):
    """The rows of a run as {target: row}, and all of its output."""
    ran = run("mirror", write(folder, items), "--format", "json", *argv, *plain(*servers))
    assert ran.code == code, ran
    return {row.get("target") or row["source"]: row for row in ran.json["rows"]}, ran


def states(rows):
    return {target.rsplit("/", 1)[1]: row["state"] for target, row in rows.items()}


# --- by hand ------------------------------------------------------------------------------------

def test_the_seeds_list(registry, twin, repository, tmp_path):
    one = push_image(registry.client(), repository, "v1")
    two = push_index(registry.client(), repository, "v2")
    rows, ran = mirror(tmp_path, [
        {"src_repository": f"{registry.host}/{repository}", "src_tag": "v1",
         "dest_repository": repository + "/a", "dest_tag": "one", "dest_registry": twin.host},
        {"src_repository": f"{registry.host}/{repository}", "src_tag": "v2",
         "dest_repository": f"{twin.host}/{repository}/a", "dest_tag": "two"},
    ], servers=(registry, twin))
    assert states(rows) == {"a:one": "copied", "a:two": "copied"}
    assert rows[f"{twin.host}/{repository}/a:one"]["digest"] == one
    assert ran.json["count"]["copied"] == 2
    assert images.tags(twin.client(), repository + "/a") == {"one": one, "two": two}
    images.whole(twin.client(), repository + "/a", "two")


TAGS = ["v1.0.0", "v1.1.0", "v1.2.0-rc.1", "v2.0.0", "latest", "nightly-1", "nightly-2"]


@pytest.mark.parametrize("wanted, skipped, found", [
    (["v1.*"], [], ["v1.0.0", "v1.1.0", "v1.2.0-rc.1"]),
    (["^nightly-[0-9]$", "latest"], ["nightly-2"], ["latest", "nightly-1"]),
    (["semver:>=1.1 <3"], [], ["v1.1.0", "v2.0.0"]),
    (["*"], ["nightly-*", "semver:>=0"], ["latest", "v1.2.0-rc.1"]),
    (["v1.0.0", "latest"], [], ["latest", "v1.0.0"]),
])
def test_tags_by_pattern(registry, twin, repository, tmp_path, wanted, skipped, found):
    for tag in TAGS:
        push_image(registry.client(), repository, tag, layers=(b"same",))
    item = {"src_repository": f"{registry.host}/{repository}", "src_tags": wanted,
            "dest_repository": [f"{twin.host}/{repository}/x", f"{twin.host}/{repository}/y"]}
    if skipped:
        item["skip_tags"] = skipped
    rows, _ = mirror(tmp_path, [item], servers=(registry, twin))
    assert len(rows) == 2 * len(found)
    for name in ("x", "y"):
        assert sorted(images.tags(twin.client(), f"{repository}/{name}")) == found


def test_digests_and_platforms(registry, fake, repository, tmp_path):
    pushed = push_index(registry.client(), repository, "v1")
    source = f"{registry.host}/{repository}"
    mirror(tmp_path, [
        {"src_repository": source, "src_tag": str(pushed), "dest_tag": "pinned",
         "dest_repository": f"{fake.host}/{repository}"},
        {"src_repository": source, "src_tag": "v1", "platforms": ["linux/arm64"],
         "dest_repository": f"{fake.host}/{repository}/arm"},
    ], servers=(registry, fake))
    assert fake.digest(repository, "pinned") == fake.digest(repository + "/arm", "v1") == pushed
    assert fake.digest(repository + "/arm", pushed.manifests[0]) is None
    assert fake.digest(repository + "/arm", pushed.manifests[1]) == pushed.manifests[1]


def test_same_costs_one_head_on_each_side(registry, twin, repository, tmp_path):
    tags = [f"v{n}" for n in range(20)]
    for tag in tags:
        push_image(registry.client(), repository, tag, layers=(tag.encode(),))
    items = [{"src_repository": f"{registry.host}/{repository}", "src_tags": tags,
              "dest_repository": f"{twin.host}/{repository}"}]
    mirror(tmp_path, items, servers=(registry, twin))
    marks = registry.mark(), twin.mark()
    rows, _ = mirror(tmp_path, items, servers=(registry, twin))
    assert {row["state"] for row in rows.values()} == {"same"}
    assert registry.count(marks[0]) == {"HEAD manifests": 20}
    assert twin.count(marks[1]) == {"HEAD manifests": 20}


def test_failures_stop_nobody(registry, twin, repository, tmp_path):
    push_image(registry.client(), repository, "v1")
    source, target = f"{registry.host}/{repository}", f"{twin.host}/{repository}"
    items = [
        {"src_repository": source, "src_tag": "absent", "dest_repository": target},
        {"src_repository": source, "src_tags": ["none-*"], "dest_repository": target},
        {"src_repository": source + "/none", "src_tags": ["*"], "dest_repository": target},
        {"src_repository": source, "src_tag": "v1", "dest_repository": target},
        {"src_repository": source, "src_tags": ["v*"], "dest_repository": target},
    ]
    ran = run("mirror", write(tmp_path, items), "--format", "json", *plain(registry, twin))
    assert ran.code == 1, ran
    assert ran.json["count"]["failed"] == 4 and ran.json["count"]["copied"] == 1
    reasons = [row.get("reason", "") for row in ran.json["rows"]]
    for says in ("is not there", "none of its tags", "no such repository", "another item"):
        assert any(says in reason for reason in reasons), (says, ran)
    assert list(images.tags(twin.client(), repository)) == ["v1"]
    # For people each failure is told once, on stderr, and the sum on stdout.
    ran = run("mirror", write(tmp_path, items), *plain(registry, twin))
    assert ran.code == 1 and ran.out == "1 same, 4 failed\n", ran
    assert ran.err.count("failed") == 4, ran


def test_registry_that_is_down(twin, repository, tmp_path):
    item = {"src_repository": f"127.0.0.1:9/{repository}", "src_tag": "v1",
            "dest_repository": f"{twin.host}/{repository}"}
    ran = run("mirror", write(tmp_path, [item]), "--plain-http", "127.0.0.1:9", *plain(twin))
    assert ran.code == 75, ran


def test_prune(registry, twin, repository, tmp_path):
    key, _ = signing_key(str(tmp_path))
    for tag in ("v1", "v2"):
        push_image(registry.client(), repository, tag, layers=(tag.encode(),))
    for tag in ("v1", "v3", "other", "change_7_v1"):
        old = push_image(twin.client(), repository, tag, layers=(b"old " + tag.encode(),))
    push_cosign_signature(twin.client(), repository, old, key)
    push_artifact(twin.client(), repository, subject=old)
    before = images.tags(twin.client(), repository)
    items = [{"src_repository": f"{registry.host}/{repository}", "src_tags": ["*"],
              "skip_tags": ["other"], "dest_repository": f"{twin.host}/{repository}"}]
    mark = twin.mark()
    rows, _ = mirror(tmp_path, items, "--prune", "-n", "--exit-code", servers=(registry, twin),
                     code=3)
    assert states(rows)[repository.rsplit("/", 1)[1] + ":v3"] == "would-prune"
    assert {m for m, _, _ in twin.requests(mark)} <= {"GET", "HEAD"}
    assert images.tags(twin.client(), repository) == before
    rows, _ = mirror(tmp_path, items, servers=(registry, twin))
    assert "pruned" not in states(rows).values()
    assert "v3" in images.tags(twin.client(), repository)
    rows, _ = mirror(tmp_path, items, "--prune", servers=(registry, twin))
    assert [t for t, s in states(rows).items() if s == "pruned"] == [
        repository.rsplit("/", 1)[1] + ":v3"]
    after = images.tags(twin.client(), repository)
    assert after.keys() == {*before, "v2"} - {"v3"}
    # A source that lists nothing that is meant empties no target.
    items[0]["src_tags"] = ["v3*", "x*"]
    mirror(tmp_path, items, "--prune", servers=(registry, twin), code=1)
    assert images.tags(twin.client(), repository) == after


def test_prune_where_no_safe_way_is(registry, registry_without_deletion, repository, tmp_path):
    push_image(registry.client(), repository, "v1")
    kept = registry_without_deletion
    push_image(kept.client(), repository, "v2")
    items = [{"src_repository": f"{registry.host}/{repository}", "src_tags": ["v*"], "prune": True,
              "dest_repository": f"{kept.host}/{repository}"}]
    rows, _ = mirror(tmp_path, items, servers=(registry, kept))
    row = rows[f"{kept.host}/{repository}:v2"]
    assert row["state"] == "left" and row["reason"], rows
    assert sorted(images.tags(kept.client(), repository)) == ["v1", "v2"]


def test_rate_limit(fake, twin, repository, tmp_path):
    push_image(fake.client(), repository, "v1")
    items = [{"src_repository": f"{fake.host}/{repository}", "src_tag": "v1",
              "dest_repository": f"{twin.host}/{repository}"}]
    fake.config(ratelimit="100;w=21600", ratelimit_remaining=7)
    fake.log()
    rows, _ = mirror(tmp_path, items, "--rate-min", "10", servers=(fake, twin), code=75)
    row = rows[f"{twin.host}/{repository}:v1"]
    assert "7 of 100 requests left" in row["reason"] and row["temporary"], rows
    assert [r[0] for r in fake.requests()] == ["HEAD"]
    assert images.tags(twin.client(), repository) == {}
    mirror(tmp_path, items, "--rate-min", "5", servers=(fake, twin))
    assert list(images.tags(twin.client(), repository)) == ["v1"]


WRONG = [
    ([{"src_repository": "r.example.org/a", "src_tag": "v1",
       "dest_repository": "r.example.org/b:v1"}],
     "list.yaml:2:20: error: dest_repository is a name"),
    ([{"src_repository": "http://r.example.org/a", "src_tag": "v1",
       "dest_repository": "r.example.org/b"}], "src_repository"),
    ([{"src_repository": "r.example.org/a", "src_tag": "v1", "dest_repository": "b"}],
     "name its host in dest_registry"),
    ([{"src_repository": "r.example.org/a", "dest_repository": "r.example.org/b"}], "src_tag"),
    ([{"src_repository": "r.example.org/a", "src_tags": ["v[0-9]*"],
       "dest_repository": "r.example.org/b"}], "in a glob here [..] means nothing"),
    ("x", "must be a list"),
]


@pytest.mark.parametrize("items, says", WRONG)
def test_lists_that_are_wrong(tmp_path, items, says):
    ran = run("mirror", write(tmp_path, items))
    assert ran.code == 2 and says in ran.err and "list.yaml:" in ran.err and not ran.out, ran


def test_wrong_words(tmp_path):
    for words, says in ((["/no/such.yaml"], "/no/such.yaml"), (["a", "b"], "it takes one list"),
                        (["--name", "x"], "no configuration"), (["--exit-code", "a"], "--dry-run"),
                        (["--name", "x", "a"], "one list"), (["--format", "xml"], "text or json"),
                        (["--rate-min", "x"], "rate-min")):
        ran = run("mirror", *words)
        assert ran.code == 2 and says in ran.err, ran
    ran = run("mirror", cwd=tmp_path)
    assert ran.code == 2 and ".slipway.yaml" in ran.err and "slipway mirror FILE" in ran.err, ran
    ran = run("mirror", "-", stdin=b"mirror_container_images_images: []\n")
    assert ran.code == 0 and ran.out == "nothing to mirror\n", ran


# --- the operator's lists -----------------------------------------------------------------------

def with_mirrors(new_slipway, *servers, **mirrors):
    return new_slipway({"registries": {s.host: {"plain_http": True} for s in servers},
                        "mirrors": mirrors})


def item_of(source, target, repository, **more):
    return {"src_repository": f"{source.host}/{repository}", "src_tags": ["v*"],
            "dest_repository": f"{target.host}/{repository}", **more}


def tasks(slipway):
    rows = slipway.query("SELECT id, state, project, attempt, reason FROM task ORDER BY id")
    return [dict(zip(("id", "state", "project", "attempt", "reason"), row)) for row in rows]


def ended(slipway, count=1, states=("done",)):
    def look():
        found = tasks(slipway) if slipway.work_is_up() else []
        return found if len(found) >= count and found[-1]["state"] in states else None
    return wait_until(look, 20, f"{count} tasks, the last {states}", every=0.05)


def test_by_name(new_slipway, registry, twin, repository, tmp_path):
    pushed = push_image(registry.client(), repository, "v1")
    one = with_mirrors(
        new_slipway, registry, twin,
        here={"every": "1h", "images": [item_of(registry, twin, repository)]},
        elsewhere={"every": "1d", "rate_limit": 5,
                   "file": write(tmp_path, [item_of(registry, twin, repository)])})
    assert one.cli("check").returncode == 0
    done = one.cli("mirror", "--name", "here")
    assert done.returncode == 0 and done.stdout == b"1 copied\n", done
    assert b"unfenced: " in done.stderr, done
    assert images.tags(twin.client(), repository) == {"v1": pushed}
    done = one.cli("mirror", "--name", "elsewhere")
    assert done.stdout == b"1 same\n", done
    done = one.cli("mirror", "--name", "nowhere")
    assert done.returncode == 2 and b"no list 'nowhere'" in done.stderr


@pytest.mark.parametrize("conf, says", [
    ({"every": "59s", "images": []}, "every"),
    ({"every": "1h"}, "needs one of `images` and `file`"),
    ({"images": []}, "every is missing"),
    ({"every": "1h", "images": [], "file": "x"}, "not both"),
    ({"every": "6", "images": []}, "a time like"),
    ({"every": "1h", "timeout": "0s", "images": []}, "mirrors.m.timeout must be a time like"),
    ({"every": "1h", "timeout": "8d", "images": []}, "mirrors.m.timeout must be a time like"),
    ({"every": "1h", "file": "/no/such.yaml"}, "/no/such.yaml"),
    ({"every": "1h", "imagse": []}, "did you mean 'images'"),
    ({"every": "1h", "images": [], "rate_limit": -1}, "rate_limit"),
    ({"every": "1h", "images": [{"src_repository": "r.example.org/a", "src_tag": "v1",
                                 "dest_repository": "r.example.org/b"}]},
     "add r.example.org under `registries`"),
    ({"every": "1h", "images": [{"src_repository": "r.example.org/a"}]}, "dest_repository"),
])
def test_configuration_errors_with_places(new_slipway, conf, says):
    one = new_slipway({"mirrors": {"m": conf}})
    done = one.cli("check")
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 2 and says in said and "slipway.yaml:" in said, said


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

def job(project, items, images_list=()):
    """Commits a list of images and of mirrors, the latter under promote."""
    host = project.registry.host
    rows = [{"context": "app", "registry": host, "repository": f"{host}/{name}", "tags": tags}
            for name, tags in images_list]
    text = {"mirror_container_images_images": items,
            "pipelines": {"promote": (["promote-container-image"] if rows else [])
                          + ["mirror-container-images"]}}
    if rows:
        text["container_images"] = rows
    return project.git.commit({".slipway.yaml": json.dumps(text)})


def project_with(new_slipway, registry, *others, config=None, **policy):
    one = new_slipway(config)
    for other in others:
        one.config["registries"][other.host] = {"plain_http": True}
    project = Project(one, registry, **policy)
    one.start()
    return project


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


def test_many_at_once_into_a_registry_that_speaks_http2(registry, tls_registry, private_ca,
                                                        repository, tmp_path):
    """Streams and multiplexed questions take turns: a handle of one must not serve the other,
    since libcurl may keep its smaller buffer."""
    for n in range(12):
        push_image(registry.client(), repository, f"v{n}", layers=[70000, 70000])
    login = base64.b64encode(b"ci:geheim-wort").decode()
    auth = tmp_path / "auth.json"
    auth.write_text(json.dumps({"auths": {tls_registry.host: {"auth": login}}}))
    auth.chmod(0o600)
    path = write(tmp_path, [{"src_repository": f"{registry.host}/{repository}", "src_tags": ["v*"],
                             "dest_repository": f"{tls_registry.host}/{repository}"}])
    ran = run("mirror", path, "--format", "json", "--plain-http", registry.host,
              "--ca-file", private_ca.ca, "--auth-file", auth)
    assert ran.code == 0, ran
    assert ran.json["count"]["copied"] == 12
