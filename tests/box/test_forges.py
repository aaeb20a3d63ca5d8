"""GitHub and Gerrit end to end: their webhooks, their REST, a real registry."""

import fcntl
import json
import time

import pytest

from fakes.forge_fake import GerritFake, GitHubFake
from lib.net import wait_until
from lib.project import ENDED, image_list
from lib.slipway import GERRIT_SECRET

TOKEN = "box-token-of-the-hub"
BASE, HEAD, MERGED, OTHER = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)


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


def configured(new_slipway, registry, source, forge, **policy):
    one = new_slipway()
    one.config["forges"][source].update(forge)
    one.config["registries"][registry.host] = {"plain_http": True}
    one.config["projects"].append({"match": "team/*", "forge": source,
                                   "may_publish": [registry.host + "/box/**"], **policy})
    one.write_config()
    return one


def on_github(new_slipway, registry, hub, **policy):
    one = configured(new_slipway, registry, "hub", {}, **policy)
    secret = one.secret("token", TOKEN)
    one.config["forges"]["hub"].update({"api": hub.url, "token": secret})
    one.write_config()
    return one.start()


def on_gerrit(new_slipway, registry, review, **policy):
    one = configured(new_slipway, registry, "review", {"url": review.url, "username": "ci"},
                     **policy)
    one.config["forges"]["review"]["password"] = one.secret("password", "box-password-of-review")
    one.write_config()
    return one.start()


def pull_request(number=7, merged=True, merge_commit=MERGED):
    return json.dumps({
        "action": "closed", "number": number,
        "pull_request": {"number": number, "merged": merged, "merge_commit_sha": merge_commit,
                         "merged_at": "2026-11-23T16:40:10Z" if merged else None,
                         "title": "Mend it", "merged_by": {"login": "kim"},
                         "html_url": f"https://hub.example.org/team/app/pull/{number}",
                         "base": {"ref": "main", "repo": {"full_name": "team/app"}},
                         "head": {"ref": "topic", "sha": HEAD}},
        "repository": {"full_name": "team/app", "default_branch": "main"},
        "sender": {"login": "kim"}}).encode()


def proposed(number=7):
    event = json.loads(pull_request(number, merged=False))
    event["action"] = "opened"
    event["pull_request"]["state"] = "open"
    return json.dumps(event).encode()


def ended(slipway, ref, states=ENDED):
    def look():
        rows = slipway.query("SELECT state, reason FROM task WHERE ref = ? ORDER BY id DESC", ref)
        return rows[0] if rows and rows[0][0] in states else None
    try:
        return wait_until(look, 10, f"the task of {ref} ends")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{slipway.work.said()[-3000:]}") from None


def commit_list(fake, registry, repository, sha=MERGED, tags=("latest",)):
    text = image_list(registry.host, (repository, list(tags))).encode()
    fake.commit("team/app", sha, files={".slipway.yaml": text}, parents=[BASE])


def test_github_merge_through_the_raw_file_api(new_slipway, registry, hub, repository):
    slipway = on_github(new_slipway, registry, hub)
    commit_list(hub, registry, repository)
    digest = registry.push(repository, "change_7_latest")
    assert slipway.post(pull_request(), event="pull_request", delivery="g1").status == 202
    assert ended(slipway, "change/7")[0] == "done"
    assert registry.digest(repository, "latest") == digest
    assert hub.count() == 1, [r.target for r in hub.requests]
    assert slipway.post(pull_request(), event="pull_request", delivery="g1").status == 200
    assert slipway.post(pull_request(), event="pull_request", delivery="g2").status == 200


def test_github_closed_without_merging_publishes_nothing(new_slipway, registry, hub, repository):
    slipway = on_github(new_slipway, registry, hub)
    registry.push(repository, "change_7_latest")
    assert slipway.post(pull_request(merged=False), event="pull_request").status == 202
    # The hub does not know of such a change, so its staged tag is not touched either.
    state, reason = ended(slipway, "change/7")
    assert state == "done" and reason.startswith("0 staged tags removed"), reason
    assert registry.tags(repository) == ["change_7_latest"]


def test_github_commit_that_is_not_visible_yet_is_waited_for(new_slipway, registry, hub,
                                                            repository):
    slipway = on_github(new_slipway, registry, hub)
    registry.push(repository, "change_7_latest")
    slipway.post(pull_request(), event="pull_request")
    assert MERGED[:12] in ended(slipway, "change/7", ("failed",))[1]
    commit_list(hub, registry, repository)
    assert ended(slipway, "change/7")[0] == "done"


def test_github_without_a_list_is_skipped(new_slipway, registry, hub):
    slipway = on_github(new_slipway, registry, hub)
    hub.commit("team/app", MERGED, files={"README": b"x"})
    slipway.post(pull_request(), event="pull_request")
    state, reason = ended(slipway, "change/7")
    assert state == "skipped" and ".slipway.yaml" in reason, reason


@pytest.mark.parametrize("status,state", [(500, "failed"), (401, "dead")])
def test_github_that_does_not_answer(new_slipway, registry, hub, status, state):
    slipway = on_github(new_slipway, registry, hub)
    hub.inject(status=status, times=99)
    slipway.post(pull_request(), event="pull_request")
    got, reason = ended(slipway, "change/7", (state,))
    assert str(status) in reason and TOKEN not in reason, reason


def tag_push(tag="v1.0.0", after=OTHER, commit=MERGED):
    return json.dumps({
        "ref": f"refs/tags/{tag}", "before": "0" * 40, "after": after, "created": True,
        "deleted": False, "forced": False, "head_commit": {"id": commit},
        "repository": {"full_name": "team/app", "default_branch": "main"},
        "pusher": {"name": "kim"}}).encode()


def test_github_annotated_tag_promotes_its_commit(new_slipway, registry, hub, repository):
    slipway = on_github(new_slipway, registry, hub, git_tags=["v*"], anywhere=True)
    text = json.dumps({
        "container_images": [{"context": "app", "registry": registry.host,
                              "repository": f"{registry.host}/{repository}",
                              "tags": ["{{ zuul.tag | default('latest') }}"]}],
        "pipelines": {"tag": ["promote-container-image"],
                      "release": ["promote-container-image"]}}).encode()
    hub.commit("team/app", MERGED, files={".slipway.yaml": text}, parents=[BASE])
    digest = registry.push(repository, "change_7_latest")
    slipway.post(pull_request(), event="pull_request")
    assert ended(slipway, "change/7")[0] == "done"
    assert slipway.post(tag_push(), event="push").status == 202
    assert ended(slipway, "refs/tags/v1.0.0")[0] == "done"
    assert registry.digest(repository, "v1.0.0") == digest


def change_merged(number=7, revision=HEAD, new_rev=MERGED):
    return json.dumps({
        "type": "change-merged", "eventCreatedOn": 1795452010,
        "project": {"name": "team/app"}, "refName": "refs/heads/main", "newRev": new_rev,
        "change": {"project": "team/app", "branch": "main", "id": "I" + "1" * 40,
                   "number": number, "url": f"https://review.example.org/{number}",
                   "status": "MERGED"},
        "patchSet": {"number": 2, "revision": revision}}).encode()


def post_gerrit(slipway, body, secret=GERRIT_SECRET):
    return slipway.post(body, path=f"/hooks/review/{secret}",
                        headers={"Content-Type": "application/json; charset=utf-8"})


def test_gerrit_merge_is_read_again_from_gerrit(new_slipway, registry, review, repository):
    slipway = on_gerrit(new_slipway, registry, review, branches=["main"])
    commit_list(review, registry, repository)
    review.branch("team/app", "main", MERGED)
    review.commit("team/app", HEAD, parents=[BASE])
    review.change("team/app", 7, [(OTHER, "REWORK", "2026-11-23 16:00:00.000000000"),
                                  (HEAD, "REWORK", "2026-11-23 16:10:00.000000000")])
    digest = registry.push(repository, "change_7_latest")
    assert post_gerrit(slipway, change_merged()).status == 202
    state, reason = ended(slipway, "change/7")
    assert state == "done", reason
    assert registry.digest(repository, "latest") == digest
    assert review.count("/changes/") == 1
    for _ in range(5):  # the plugin sends one event up to thirty times, byte by byte the same
        assert post_gerrit(slipway, change_merged()).status == 200


def test_gerrit_forged_merge_moves_nothing(new_slipway, registry, review, repository):
    slipway = on_gerrit(new_slipway, registry, review, branches=["main"])
    commit_list(review, registry, repository)
    review.branch("team/app", "main", MERGED)
    review.change("team/app", 7, [(HEAD, "REWORK", "2026-11-23 16:10:00.000000000")],
                  status="ABANDONED")
    registry.push(repository, "change_7_latest")
    assert post_gerrit(slipway, change_merged(), secret="x" * 32).status == 401
    assert post_gerrit(slipway, change_merged()).status == 202
    assert ended(slipway, "change/7")[0] == "dead"
    assert registry.digest(repository, "latest") is None


def test_gerrit_that_does_not_say_merged_yet(new_slipway, registry, review, repository):
    slipway = on_gerrit(new_slipway, registry, review, branches=["main"])
    commit_list(review, registry, repository)
    review.branch("team/app", "main", MERGED)
    revisions = [(HEAD, "REWORK", "2026-11-23 16:10:00.000000000")]
    review.change("team/app", 7, revisions, status="NEW")
    registry.push(repository, "change_7_latest")
    post_gerrit(slipway, change_merged())
    state, reason = ended(slipway, "change/7", ("failed",))
    assert "merged" in reason, reason
    review.change("team/app", 7, revisions)
    [(task,)] = slipway.query("SELECT id FROM task")
    assert slipway.cli("queue", "retry", str(task)).returncode == 0
    assert ended(slipway, "change/7")[0] == "done"


def test_gerrit_password_and_secret_show_nowhere(new_slipway, registry, review, repository):
    slipway = on_gerrit(new_slipway, registry, review, branches=["main"])
    commit_list(review, registry, repository)
    review.branch("team/app", "main", MERGED)
    review.change("team/app", 7, [(HEAD, "REWORK", "2026-11-23 16:10:00.000000000")])
    registry.push(repository, "change_7_latest")
    post_gerrit(slipway, change_merged())
    assert ended(slipway, "change/7")[0] == "done"
    with open(slipway.db, "rb") as file:
        stored = file.read()
    said = slipway.work.said() + slipway.serve.said()
    for secret in (GERRIT_SECRET, "box-password-of-review"):
        assert secret not in said and secret.encode() not in stored


def test_whoever_waits_for_the_builder_asks_and_tells_nobody(new_slipway, registry, hub,
                                                            repository, tmp_path):
    """One status a commit and context at most: the forge counts them."""
    hub.commit("team/app", HEAD, {".slipway.yaml": image_list(registry.host,
                                                              (repository, ["latest"])).encode()})
    hub.pull("team/app", 7, head=HEAD, merged=False)
    builds = tmp_path / "builds"
    builds.mkdir()
    with open(builds / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        slipway = configured(new_slipway, registry, "hub", {}, may_build=["check"])
        slipway.config["forges"]["hub"].update({"api": hub.url, "report": True,
                                                "token": slipway.secret("token", TOKEN)})
        slipway.config["builder"] = {"dir": str(builds), "scratch": str(tmp_path)}
        slipway.write_config()
        slipway.start()
        assert slipway.post(proposed(), event="pull_request").status == 202
        wait_until(lambda: ended(slipway, "change/7", ("queued",))[1] ==
                   "another build is running", what="it waits its turn")
        seen = hub.count()
        time.sleep(5)
        assert ended(slipway, "change/7", ("queued",))[1] == "another build is running"
        assert hub.count() == seen and not hub.statuses, hub.statuses
        slipway.stop()
