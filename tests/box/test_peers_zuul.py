"""The fake Zuul does what Zuul's interface does: filters, order, pages, refusals, both forms."""

import json

import pytest

from lib.net import wait_until
from lib.zuul import ZuulFake

IMAGES = [("quay.io/team/app", "latest")]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    fake = ZuulFake(str(tmp_path_factory.mktemp("zuul")))
    yield fake
    fake.stop()


@pytest.fixture
def zuul(server):
    server.reset()
    return server


def ask(zuul, query="", status=200):
    answer = zuul.call("GET", f"{zuul.api}/builds{'?' if query else ''}{query}")
    assert answer.status == status, answer.text
    return json.loads(answer.body) if status == 200 else answer.text


def uuids(zuul, query=""):
    return [build["uuid"] for build in ask(zuul, query)]


def test_newest_first(zuul):
    assert ask(zuul) == []
    for uuid in ("a", "b", "c"):
        zuul.add("team/app", 7, 2, uuid=uuid)
    assert uuids(zuul) == ["c", "b", "a"]
    assert uuids(zuul, "limit=1") == ["c"]
    assert uuids(zuul, "limit=1&skip=1") == ["b"]
    assert uuids(zuul, "idx_min=2") == ["c", "b"]
    assert uuids(zuul, "idx_max=1") == ["a"]


def test_a_page_has_50(zuul):
    for _ in range(53):
        zuul.add("team/app", 7, 2)
    assert len(uuids(zuul)) == 50
    assert len(uuids(zuul, "skip=50")) == 3
    assert len(uuids(zuul, "limit=52")) == 52


@pytest.mark.parametrize("query, found", [
    ("project=team/app", "dba"), ("project=team%2Fapp&change=7", "ba"),
    ("project=team/*", "dcba"), ("project=team/ap", ""), ("change=7", "cba"),
    ("change=7&change=8", "dcba"), ("patchset=2", "dcb"), ("pipeline=gate", "dcb"),
    ("pipeline=*", "dcba"), ("job_name=other", "d"), ("result=FAILURE", "c"),
    ("result=SUCCESS&final=true", "da"), ("final=false", "b"), ("exclude_result=SUCCESS", "c"),
    ("uuid=a", "a"), ("branch=main", "dcba"), ("branch=mai*", ""), ("newrev=abc", "d"),
    ("complete=true", "dcba"), ("held=true", ""), ("voting=true", "dcba"),
])
def test_filters(zuul, query, found):
    zuul.add("team/app", 7, 1, uuid="a", pipeline="check")
    zuul.add("team/app", 7, 2, uuid="b", final=False)
    zuul.add("team/other", 7, 2, uuid="c", result="FAILURE")
    zuul.add("team/app", 8, 2, uuid="d", job_name="other", newrev="abc")
    assert "".join(uuids(zuul, query)) == found


def test_refusals(zuul):
    assert "Unexpected query string parameters: jobname" in ask(zuul, "jobname=x", 404)
    ask(zuul, "limit=many", 400)
    for path, status in (("/api/tenant/u/builds", 404), ("/api/tenant/t/jobs", 404),
                         ("/api/tenant/t/build/none", 404)):
        assert zuul.call("GET", path).status == status
    assert zuul.call("POST", "/api/tenant/t/builds", b"{}").status == 405


def test_forms(zuul):
    made = zuul.add("team/app", 7, 2, images=IMAGES, intermediate="ir.example.org:5000")
    build, = ask(zuul)
    assert build["ref"]["project"] == "team/app" and "project" not in build
    assert build["ref"]["change"] == 7 and build["ref"]["patchset"] == "2"
    assert build["artifacts"] == [{
        "name": "quay.io/team/app:latest",
        "url": f"docker://ir.example.org:5000/team/app:{made['uuid']}_latest",
        "metadata": {"type": "container_image", "repository": "quay.io/team/app",
                     "tag": "latest"}}]
    zuul.config(flat=True)
    build, = ask(zuul)
    assert (build["project"], build["change"], build["ref"]) == ("team/app", 7, "")
    assert "_id" not in build and build["final"] is True
    alone = json.loads(zuul.call("GET", f"{zuul.api}/build/{made['uuid']}").body)
    assert alone == build


def test_faults(zuul):
    zuul.config(fail_times=1, fail_retry_after="seconds:7")
    answer = zuul.call("GET", zuul.api + "/builds")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
    assert ask(zuul) == []
    zuul.config(redirect="https://elsewhere.example.org/")
    assert zuul.call("GET", zuul.api + "/builds").status == 302
    zuul.config(redirect="", body="<html>")
    assert zuul.call("GET", zuul.api + "/builds").text == "<html>"
    zuul.config(body="", filter=False)
    zuul.add("team/other")
    assert len(uuids(zuul, "project=team/app")) == 1


def test_what_was_asked(zuul):
    ask(zuul, "change=7&project=team%2Fapp")
    ask(zuul)
    assert zuul.asked() == [{"change": "7", "project": "team/app"}, {}]
    assert zuul.asked() == []


def test_a_build_under_way(zuul):
    build = zuul.add("team/app", 7, 2, uuid="a", result=None, end_time=None)
    assert uuids(zuul, "result=SUCCESS") == []
    zuul.update(build["uuid"], result="SUCCESS", end_time="2026-11-23T16:41:00")
    assert wait_until(lambda: uuids(zuul, "result=SUCCESS")) == ["a"]
