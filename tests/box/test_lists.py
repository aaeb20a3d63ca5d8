"""What repositories write wrong: each gets a clear answer with its place, and nothing is lost."""

import json
import time

import pytest

from lib import signing
from lib.net import call, wait_until
from lib.project import SECRET, ids, image_list, new_project


@pytest.mark.parametrize("name,text,words", [
    ("broken", "container_images: [", ["slipway.yaml:"]),
    ("unknown key", "container_images:\n  - context: a\n    registy: r\n    repository: H/box/x\n",
     [".slipway.yaml:3:5", "did you mean", "registry"]),
    ("number", "container_images:\n  - {context: a, registry: H, repository: H/box/x,\n"
               "     tags: [1.10]}\n", [".slipway.yaml:3:", "quote"]),
    ("duplicate key", "container_images: []\ncontainer_images: []\n", [".slipway.yaml:2:1"]),
    ("bomb", "a: &a [x,x,x,x,x,x,x,x,x]\n"
             + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n"
                       for i in range(8)), [".slipway.yaml:", "expand"]),
    ("nesting", "[" * 20000, [".slipway.yaml:1:", "deep"]),
    ("template", "container_images:\n  - {context: a, registry: H, repository: H/box/x,\n"
                 "     tags: ['{{ zuul.whatever }}']}\n", [".slipway.yaml:3:", "zuul.whatever"]),
])
def test_a_broken_list_is_dead_with_its_place(new_slipway, registry, name, text, words):
    project = new_project(new_slipway, registry)
    commit = project.git.commit({".slipway.yaml": text.replace("H", registry.host)})
    project.merged(1, commit)
    task = project.ended(1)
    assert task["state"] == "dead", task
    for word in words:
        assert word in task["reason"], (name, word, task["reason"])


def test_all_errors_of_a_file_are_told_at_once(new_slipway, registry):
    project = new_project(new_slipway, registry)
    commit = project.git.commit({".slipway.yaml":
                                 "imags: []\ncontainer_images:\n  - contxt: a\n    tags: 7\n"})
    project.merged(1, commit)
    reason = project.ended(1)["reason"]
    assert ".slipway.yaml:1:1" in reason and ".slipway.yaml:3:5" in reason, reason


def test_no_list_is_nothing_to_do(new_slipway, registry):
    project = new_project(new_slipway, registry)
    project.merged(1, project.git.commit({"README": "no list"}))
    task = project.ended(1)
    assert task["state"] == "skipped" and ".slipway.yaml" in task["reason"], task


@pytest.mark.parametrize("repository,words", [
    ("elsewhere/app", ["policy"]),
    ("box/UPPER", ["name"]),
])
def test_what_policy_or_the_grammar_forbids_is_refused(new_slipway, registry, repository, words):
    project = new_project(new_slipway, registry)
    project.merged(1, project.list((repository, ["latest"])))
    task = project.ended(1)
    assert task["state"] == "dead", task
    for word in words:
        assert word in task["reason"].lower(), task


def test_another_registry_is_refused_before_any_request(new_slipway, registry):
    project = new_project(new_slipway, registry)
    commit = project.git.commit({".slipway.yaml": image_list("127.0.0.1:9", ("box/x", ["latest"]))})
    project.merged(1, commit)
    task = project.ended(1)
    assert task["state"] == "dead" and "127.0.0.1:9" in task["reason"], task


def test_one_refusal_stops_the_whole_plan(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    registry.push(repository, "change_1_latest")
    project.merged(1, project.list((repository, ["latest"]), ("elsewhere/app", ["latest"])))
    assert project.ended(1)["state"] == "dead"
    assert registry.digest(repository, "latest") is None


def test_another_branch_publishes_nothing(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    registry.push(repository, "change_1_latest")
    project.merged(1, project.list((repository, ["latest"])), branch="wild")
    task = project.ended(1)
    assert task["state"] == "skipped" and "branch" in task["reason"], task


def test_a_project_without_policy_is_kept_and_can_be_taken_up(new_slipway, registry, repository):
    project = new_project(new_slipway, registry)
    project.name = "team/unknown"
    project.merged(1, "1" * 40)
    project.name = "team/app"
    wait_until(lambda: project.untouched() == 0, what="the delivery is looked at")
    done = project.slipway.cli("queue", "ls", "--ignored", "--format", "json")
    rows = json.loads(done.stdout)["deliveries"]
    assert rows and "team/unknown" in rows[0]["reason"], rows


@pytest.mark.parametrize("body,verdict", [
    (b"", "malformed"), (b"not json", "malformed"), (b"[" * 5000, "malformed"),
    (b'{"kind":"change.merged","kind":"change.merged"}', "malformed"),
    (b'{"kind":"change.merged"}', "malformed"),
    (b'{"kind":"change.merged","project":"../etc","branch":"main","change":"1","commit":"'
     + b"1" * 40 + b'"}', "malformed"),
    (b'{"kind":"change.merged","project":"team/app","branch":"--upload-pack=x","change":"1",'
     b'"commit":"' + b"1" * 40 + b'"}', "malformed"),
    (b'{"kind":"change.invented","project":"team/app"}', "ignored")])
def test_odd_bodies_are_kept_with_their_verdict(new_slipway, registry, body, verdict):
    project = new_project(new_slipway, registry)
    ident, stamp = f"msg_odd_{next(ids)}", str(int(time.time()))
    answer = call("POST", project.slipway.nginx.url + "/hooks/code", body, {
        "Content-Type": "application/json", "webhook-id": ident, "webhook-timestamp": stamp,
        "webhook-signature": signing.standard(SECRET, ident, stamp, body)})
    assert answer.status == 202, answer
    wait_until(lambda: project.untouched() == 0, what="the delivery is looked at")
    [(was, reason)] = project.slipway.query("SELECT verdict, reason FROM delivery")
    assert was == verdict and reason, (was, reason)
    assert project.slipway.bodies() == [body]
