"""The commands: what they print, and what they end with."""

import json
import os
import time

import pytest

from lib import signing
from lib.net import wait_until
from lib.project import SECRET, new_project

COMMIT = "c" * 40


def run(slipway, *argv, status=0, **more):
    done = slipway.cli(*argv, **more)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done


def as_json(slipway, *argv, **more):
    return json.loads(run(slipway, *argv, "--format", "json", **more).stdout)


def plan_flags(project, change, commit):
    return ("plan", "--forge", "code", "--project", project.name, "--change", str(change),
            "--commit", commit)


def test_plan_says_from_where_to_where_and_writes_nothing(new_slipway, registry, repository):
    project = new_project(new_slipway, registry, started=False)
    commit = project.list((repository, ["latest", "stable"]))
    registry.push(repository, "change_7_latest")
    since = registry.mark()
    slipway = project.slipway
    plan = as_json(slipway, *plan_flags(project, 7, commit))
    assert plan["verdict"] == "go" and plan["pipeline"] == "promote", plan
    assert [(t["repository"], t["staged_tag"], t["tag"]) for t in plan["tags"]] == [
        (repository, "change_7_latest", "latest"), (repository, "change_7_stable", "stable")]
    text = run(slipway, *plan_flags(project, 7, commit)).stdout.decode()
    assert "change_7_latest" in text and f"{repository}:stable" in text, text
    run(slipway, *plan_flags(project, 7, commit), "--exit-code", status=3)
    assert registry.requests(since) == []
    assert not os.path.exists(os.path.join(slipway.folder, "cache"))  # that is the worker's
    assert registry.tags(repository) == ["change_7_latest"]


def test_plan_of_a_saved_webhook(new_slipway, registry, repository, tmp_path):
    project = new_project(new_slipway, registry, started=False)
    commit = project.list((repository, ["latest"]))
    body = json.dumps({"kind": "change.merged", "project": project.name, "branch": "main",
                       "change": "9", "commit": commit})
    saved = tmp_path / "hook"
    saved.write_text(f"Content-Type: application/json\nwebhook-id: msg_1\n\n{body}")
    for argv, stdin in ((str(saved), b""), ("-", body.encode())):
        plan = as_json(project.slipway, "plan", "--forge", "code", argv, stdin=stdin)
        assert plan["change"] == "9" and plan["tags"][0]["staged_tag"] == "change_9_latest"


def test_plan_shows_what_policy_refuses_and_ends_with_5(new_slipway, registry):
    project = new_project(new_slipway, registry, started=False)
    commit = project.list(("elsewhere/app", ["latest"]))
    done = run(project.slipway, *plan_flags(project, 7, commit), status=5)
    assert b"elsewhere/app" in done.stdout and b"may_publish" in done.stdout, done.stdout


def test_plan_with_a_list_that_lies_here(new_slipway, registry, repository, tmp_path):
    project = new_project(new_slipway, registry, started=False)
    here = tmp_path / "list.yaml"
    here.write_text("container_images:\n  - contxt: a\n")
    done = run(project.slipway, *plan_flags(project, 7, COMMIT), "--list", str(here), status=2)
    assert b"list.yaml:2:5" in done.stderr and b"context" in done.stderr, done.stderr
    here.write_text("container_images:\n  - context: app\n"
                    f"    registry: {registry.host}\n    repository: {repository}\n")
    plan = as_json(project.slipway, *plan_flags(project, 7, COMMIT), "--list", str(here))
    assert plan["tags"][0]["tag"] == "latest"


@pytest.mark.parametrize("argv", [
    ("plan",), ("plan", "--forge", "code"), ("plan", "--forge", "nobody", "--project", "a",
                                             "--change", "1", "--commit", COMMIT),
    ("queue", "explode"), ("queue", "show", "x"), ("queue", "ls", "--state", "fine"),
    ("queue", "ls", "--frmat", "json"), ("send-test-hook",), ("work", "--threads", "0"),
    ("check", "--as", "king"), ("serve", "more")])
def test_wrong_usage_ends_with_2_and_says_why(new_slipway, registry, argv):
    project = new_project(new_slipway, registry, started=False)
    done = run(project.slipway, *argv, status=2)
    assert done.stderr.startswith(b"slipway"), done.stderr
    assert b"\n" in done.stderr and done.stdout == b""


def test_queue_shows_a_task_with_every_step(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    commit = project.list((repository, ["latest"]))
    old = registry.push(repository, "latest", "old")
    new = registry.push(repository, "change_7_latest", "new")
    project.merged(7, commit)
    task = project.ended(7)
    slipway = project.slipway
    [row] = as_json(slipway, "queue", "ls")["tasks"]
    assert (row["state"], row["ref"], row["commit"]) == ("done", "change/7", commit)
    shown = as_json(slipway, "queue", "show", str(task["id"]))
    [step] = shown["steps"]
    assert (step["former_digest"], step["new_digest"], step["state"]) == (old, new, "done")
    assert shown["event"]["project"] == project.name
    text = run(slipway, "queue", "show", str(task["id"])).stdout.decode()
    assert old in text and new in text and "change_7_latest" in text
    run(slipway, "queue", "show", "99", status=4)
    assert as_json(slipway, "queue", "ls", "--state", "dead")["tasks"] == []


def test_queue_holds_releases_cancels_and_retries(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    commit = project.list((repository, ["latest"]))
    project.merged(7, commit)
    task = str(project.ended(7, ("waiting",))["id"])
    slipway = project.slipway
    run(slipway, "queue", "hold", task, "--reason", "wait for the release")
    held = project.task(7)
    assert held["state"] == "held" and "wait for the release" in held["reason"], held
    digest = registry.push(repository, "change_7_latest")
    run(slipway, "queue", "hold", task, status=1)
    run(slipway, "queue", "release", task)
    assert project.ended(7, ("done",))["state"] == "done"
    assert registry.digest(repository, "latest") == digest
    run(slipway, "queue", "cancel", task, status=1)
    run(slipway, "queue", "retry", task)
    assert project.ended(7, ("done",), timeout=20)["state"] == "done"
    run(slipway, "queue", "retry", "99", status=4)


def test_an_ignored_delivery_is_taken_up_once_the_policy_is_mended(new_slipway, registry,
                                                                   repository):
    project = new_project(new_slipway, registry)
    slipway = project.slipway
    entry = slipway.config["projects"].pop()
    slipway.write_config()
    slipway.work.stop()
    slipway.start_work()
    commit = project.list((repository, ["latest"]))
    digest = registry.push(repository, "change_7_latest")
    project.merged(7, commit)
    wait_until(lambda: not project.untouched(), what="the delivery is looked at")
    [row] = as_json(slipway, "queue", "ls", "--ignored")["deliveries"]
    assert "projects" in row["reason"], row
    slipway.config["projects"].append(entry)
    slipway.write_config()
    slipway.work.stop()
    slipway.start_work()
    run(slipway, "queue", "retry", "--ignored", str(row["id"]))
    assert project.ended(7)["state"] == "done"
    assert registry.digest(repository, "latest") == digest


def test_send_test_hook_plays_every_forge(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    slipway = project.slipway
    commit = project.list((repository, ["latest"]))
    url = ("--url", slipway.nginx.url)
    digest = registry.push(repository, "change_7_latest")
    image = f"{registry.host}/{repository}:change_7_latest@{digest}"
    run(slipway, "send-test-hook", "--forge", "code", "--event", "staged", "--project",
        project.name, "--change", "7", "--commit", commit, "--image", image, *url)
    run(slipway, "send-test-hook", "--forge", "code", "--project", project.name, "--change", "7",
        "--commit", commit, *url)
    assert project.ended(7)["state"] == "done"
    assert registry.digest(repository, "latest") == digest
    for forge in ("hub", "review"):
        done = run(slipway, "send-test-hook", "--forge", forge, "--project", "a/b", "--change",
                   "1", "--commit", COMMIT, *url)
        assert b"202" in done.stdout, done.stdout
        done = run(slipway, "send-test-hook", "--forge", forge, "--event", "ping", *url)
        assert b"20" in done.stdout
    secrets = [SECRET] + [open(ref.split(":", 1)[1], encoding="utf-8").read().strip()
                          for ref in (slipway.hub_secret, slipway.review_secret)]
    for forge in ("hub", "review", "code"):
        done = run(slipway, "send-test-hook", "--forge", forge, "--project", "a/b", "--change",
                   "1", "--commit", COMMIT, "--dry-run", *url)
        assert not any(s.encode() in done.stdout + done.stderr for s in secrets)
    slipway.serve.stop()
    run(slipway, "send-test-hook", "--forge", "code", "--event", "ping", "--url",
        "http://127.0.0.1:9", status=75)


def test_check_prints_what_is_in_force_without_secrets(new_slipway, registry):
    project = new_project(new_slipway, registry, started=False)
    done = run(project.slipway, "check")
    assert b"code" in done.stdout and b"***" in done.stdout
    assert SECRET.encode() not in done.stdout + done.stderr
    project.slipway.config["projects"][0]["may_publsh"] = []
    project.slipway.config["forges"]["code"]["type"] = "gitub"
    project.slipway.write_config()
    done = run(project.slipway, "check", status=2)
    assert b"may_publish" in done.stderr and b"gitub" in done.stderr, done.stderr
    assert done.stderr.count(b"slipway.yaml:") >= 2


def test_the_log_says_why_a_request_was_not_proven(new_slipway, registry):
    project = new_project(new_slipway, registry)
    slipway = project.slipway
    body, now = b'{"kind": "ping"}', int(time.time())

    def post(forge, headers, stamp=None, secret=SECRET):
        if stamp:
            headers = {"webhook-id": "msg_1", "webhook-timestamp": str(stamp),
                       "webhook-signature": signing.standard(secret, "msg_1", stamp, body)}
        headers = {"Content-Type": "application/json", **headers}
        assert slipway.post(body, path="/hooks/" + forge, headers=headers).status == 401

    other = "whsec_" + "b3RoZXItc2VjcmV0LW90aGVyLXNlY3JldC1vdGhlcg=="
    for said, forge, more in (
            ("carries no signature", "code", {"headers": {}}),
            ("this machine's clock", "code", {"headers": {}, "stamp": now - 400}),
            ("matches no hook secret", "code", {"headers": {}, "stamp": now, "secret": other}),
            ("carries no signature", "hub", {"headers": {"X-GitHub-Event": "push"}}),
            ("matches no hook secret", "hub",
             {"headers": {"X-Hub-Signature-256": "sha256=" + "0" * 64}}),
            ("holds no hook secret", "review", {"headers": {}})):
        before = slipway.serve.said().count(said)
        post(forge, **more)
        assert slipway.serve.said().count(said) == before + 1, (said, slipway.serve.said())


def test_a_second_work_is_refused(new_slipway, registry):
    project = new_project(new_slipway, registry)
    wait_until(lambda: "working" in project.slipway.work.said(), what="work is up")
    done = run(project.slipway, "work", status=2)
    assert b"another" in done.stderr, done.stderr


def test_once_ends_when_nothing_is_left(new_slipway, registry, repository):
    project = new_project(new_slipway, registry, started=False)
    project.slipway.start_serve()
    commit = project.list((repository, ["latest"]))
    digest = registry.push(repository, "change_7_latest")
    body = json.dumps({"kind": "change.merged", "project": project.name, "branch": "main",
                       "change": "7", "commit": commit}).encode()
    assert project.send("ping").status == 202
    assert project.slipway.post(body, headers={}).status == 401
    project.merged(7, commit)
    run(project.slipway, "work", "--once")
    assert registry.digest(repository, "latest") == digest
