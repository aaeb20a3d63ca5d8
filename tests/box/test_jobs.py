"""The jobs as commands, as the author of a CI's job uses them: build and upload, no service."""

import json
import os
import re
import signal
import subprocess
import tarfile

import pytest

from lib.building import (config_of, files_of, image, push_base, tool, write_image, write_list)
from lib.fakes import FaultyRegistry
from lib.jobs import (CHANGES, DENIED, FAILED, TRY_LATER, USAGE, Node, targets, write_auth)
from lib.net import wait_until

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@pytest.fixture(name="node")
def fixture_node(tmp_path, registry, twin):
    """A working tree with one image, `app`, and its list yet to be written."""
    node = Node(tmp_path, registry, twin)
    write_image(node.git, "app", "one")
    return node


def listed(node, *images, **more):
    write_list(node.git, *images, container_command=tool(), **more)
    return node.git.commit()


def hello_of(layout):
    """What the image in an OCI layout has in app/hello."""
    for name in os.listdir(layout / "blobs" / "sha256"):
        blob = layout / "blobs" / "sha256" / name
        if tarfile.is_tarfile(blob):
            with tarfile.open(blob) as tar:
                return tar.extractfile("app/hello").read().decode()
    return None


# --- build --------------------------------------------------------------------------------------

def test_build_says_what_it_builds_by_the_names_of_the_list(node, registry, repository):
    write_image(node.git, "tools", "two", base=f"{registry.host}/{repository}:latest")
    listed(node, image(registry, repository), image(registry, repository + "/tools",
                                                    context="tools"))
    done = node.run("build")
    names = [f"{registry.host}/{repository}", f"{registry.host}/{repository}/tools"]
    rows = [line.split(" ") for line in done.out.splitlines()]
    assert [row[1] for row in rows] == names, done
    assert all(DIGEST.fullmatch(row[0]) for row in rows), done
    for name, context in zip(names, ("app", "tools")):
        assert f"slipway: image {name}: {tool()} build, {context}\n" in done.err, done
    assert registry.tags(repository) == []
    assert not re.search("image image-", done.err), done


def test_build_of_an_image_without_a_repository_is_named_by_its_context(node):
    with open(os.path.join(node.git.folder, ".slipway.yaml"), "w", encoding="utf-8") as file:
        json.dump({"container_images": [{"context": "app", "tags": []}],
                   "vars": {"container_command": tool()}}, file)
    node.git.commit()
    done = node.run("build")
    assert done.out.split()[1] == "app" and "slipway: image app: " in done.err, done


def test_build_takes_the_working_tree_or_a_commit(node, registry, repository, tmp_path):
    first = listed(node, image(registry, repository))
    node.git.commit({"app/hello": "two"})
    node.git.run("tag", "v2")
    with open(os.path.join(node.git.folder, "app", "hello"), "w", encoding="utf-8") as file:
        file.write("three")
    out = tmp_path / "images"
    for argv, text in (([], "three"), (["--commit", first], "one"), (["--commit", "v2"], "two"),
                       (["--commit", first[:10]], "one")):
        done = node.run("build", "--out", out, *argv)
        assert hello_of(out / repository.rsplit("/", 1)[1]) == text, done
        assert ("has changes that commit" in done.err) == (text == "three"), done
    assert node.git.run("status", "--porcelain").split() == ["M", "app/hello"]


def test_build_keeps_layouts_by_name(node, registry, repository, tmp_path):
    out = tmp_path / "images"
    write_image(node.git, "lib/app", "another")
    listed(node, image(registry, repository + "/app"),
           image(registry, repository + "/other/app", context="lib/app"),
           image(registry, repository + "/many", arch=["linux/amd64", "linux/arm64"]))
    for _ in range(2):
        done = node.run("build", "--out", out, "--format", "json", "--quiet")
        assert sorted(os.listdir(out)) == ["app", "app-2", "many-linux-amd64", "many-linux-arm64"]
        rows = done.json["images"]
        assert [row["path"] for row in rows] == [str(out / name) for name in sorted(
            os.listdir(out))]
        assert [row.get("platform") for row in rows] == [None, None, "linux/amd64", "linux/arm64"]
        assert done.err == ""
    for row in rows:
        index = json.loads((out / row["path"] / "index.json").read_text())
        assert [m["digest"] for m in index["manifests"]] == [row["digest"]]
    stranger = out / "app"
    subprocess.run(["rm", "-r", stranger], check=True)
    stranger.mkdir()
    (stranger / "mine").write_text("precious")
    done = node.run("build", "--out", out, "--quiet", code=USAGE)
    assert "no OCI layout" in done.err and (stranger / "mine").read_text() == "precious"


def test_build_that_fails_shows_why(node, registry, repository):
    write_image(node.git, "bad", "bad", run="echo so far so good; exit 7")
    listed(node, image(registry, repository), image(registry, repository + "/bad", context="bad"))
    for quiet in ([], ["--quiet"]):
        done = node.run("build", *quiet, code=FAILED)
        assert done.err.count("so far so good\n") == 1, done
        assert f"image {registry.host}/{repository}/bad: the build failed" in done.err, done
        assert done.out == "", done


# --- upload: staged -----------------------------------------------------------------------------

def test_staged_upload(node, registry, repository):
    commit = listed(node, image(registry, repository, ["latest", "edge"]))
    url = "https://code.example.org/team/app/pull/7"
    done = node.run("upload", "--change", 7, "--patchset", 2, "--change-url", url)
    assert registry.tags(repository) == ["change_7_edge", "change_7_latest"]
    digest = registry.digest(repository, "change_7_latest")
    assert done.out.splitlines() == [
        f"{digest} {registry.host}/{repository}:change_7_{tag}" for tag in ("latest", "edge")]
    labels = config_of(registry, repository, "change_7_edge")["config"]["Labels"]
    assert labels["org.zuul-ci.change"] == "7" and labels["org.zuul-ci.change_url"] == url
    assert "unrecorded" in done.err and "--report-to" in done.err, done
    doc = node.run("upload", "--change", 7, "--commit", commit, "--format", "json", "--quiet",
                   "--run-id", "run-1")
    assert doc.err == "" and doc.json == {
        "schema": 1, "state": "staged", "run_id": "run-1", "recorded": "unrecorded",
        "unfenced": False, "images": [
            {"target": f"{registry.host}/{repository}:change_7_{tag}", "state": "staged",
             "digest": registry.digest(repository, f"change_7_{tag}")}
            for tag in ("latest", "edge")]}, doc


def test_upload_at_a_commit(node, registry, repository):
    first = listed(node, image(registry, repository))
    node.git.commit({"app/hello": "two"})
    node.run("upload", "--change", 7, "--commit", first)
    node.run("upload", "--change", 8)
    assert files_of(registry, repository, "change_7_latest")["app/hello"] == b"one"
    assert files_of(registry, repository, "change_8_latest")["app/hello"] == b"two"


def test_through_the_intermediate_registry(node, registry, twin, repository):
    listed(node, image(registry, repository),
           promote_container_image_method="intermediate-registry")
    to = f"{twin.host}/gate"
    done = node.run("upload", "--change", 7, "--intermediate", to, "--run-id", "abc",
                    "--format", "json")
    inner = f"gate/{registry.host.replace(':', '_')}/{repository}"
    assert twin.tags(inner) == ["abc_latest"] and registry.tags(repository) == []
    assert targets(done)[f"{twin.host}/{inner}:abc_latest"]["digest"] == twin.digest(
        inner, "abc_latest")
    for command in ("upload", "promote"):
        assert "--intermediate HOST" in node.run(command, "--change", 7, code=USAGE).err
    assert twin.tags(inner) == ["abc_latest"]


# --- upload: direct -----------------------------------------------------------------------------

def test_direct_upload_of_a_git_tag(node, registry, repository):
    listed(node, image(registry, repository, ["{{ zuul.tag }}", "newest"]),
           image(registry, repository + "/other", ["latest"]))
    done = node.run("upload", "--tag", "v1.2.3", "--format", "json")
    target = f"{registry.host}/{repository}:v1.2.3"
    digest = registry.digest(repository, "v1.2.3")
    assert targets(done) == {target: {"target": target, "digest": digest, "state": "done"}}, done
    assert done.json["state"] == "done" and done.json["unfenced"] is True
    labels = config_of(registry, repository, "v1.2.3")["config"].get("Labels") or {}
    assert "org.zuul-ci.change" not in labels
    # Literal tags are not moved by somebody's git tag.
    assert registry.tags(repository) == ["v1.2.3"] and registry.tags(repository + "/other") == []
    assert "skipped: app (tag newest)" in done.err, done


def test_a_git_tag_that_the_tree_knows_is_what_is_built(node, registry, repository):
    first = listed(node, image(registry, repository, ["{{ zuul.tag }}"]))
    node.git.run("tag", "-a", "-m", "one", "1.0")
    last = node.git.commit({"app/hello": "two"})
    for argv, text in (([], b"one"), (["--commit", last], b"two"), (["--commit", first], b"one")):
        node.run("upload", "--tag", "1.0", *argv)
        assert files_of(registry, repository, "1.0")["app/hello"] == text
    node.run("upload", "--tag", "1.1")
    assert files_of(registry, repository, "1.1")["app/hello"] == b"two"


def test_direct_upload_by_the_variable(node, registry, repository):
    listed(node, image(registry, repository), upload_container_image_promote=False)
    node.run("upload")
    before = registry.digest(repository, "latest")
    node.git.commit({"app/hello": "two"})
    done = node.run("upload", "--change", 7, "--pipeline", "promote", "--format", "json")
    assert registry.tags(repository) == ["latest"], done
    row = targets(done)[f"{registry.host}/{repository}:latest"]
    assert row["former"] == before and row["digest"] == registry.digest(repository, "latest")
    assert row["digest"] != before
    # Not before the merge.
    done = node.run("upload", "--change", 8, "--format", "json", code=DENIED)
    assert done.json["state"] == "refused" and "has not merged" in done.err, done
    assert registry.digest(repository, "latest") == row["digest"]


def test_nothing_to_do_is_said_in_json_too(node, registry, repository):
    listed(node, image(registry, repository))
    done = node.run("upload", "--tag", "v1.2.3", "--format", "json")
    assert done.json["state"] == "nothing" and "zuul.tag" in done.json["reason"], done
    assert done.json["images"] == [] and registry.tags(repository) == []


@pytest.mark.parametrize("pipeline, argv, tags", [
    ("gate", ["--change", "7"], ["change_7_latest"]),
    ("post", [], ["latest"]),
    ("tag", ["--tag", "1.0"], []),
])
def test_pipeline(node, registry, repository, pipeline, argv, tags):
    """Each pipeline has its jobs; the row of the one that was named is taken."""
    listed(node, image(registry, repository), image(registry, repository + "/sub", ["nightly"]),
           pipelines={"post": [{"upload-container-image": {"container_images": [
               image(registry, repository)]}}]})
    node.run("upload", "--pipeline", pipeline, *argv)
    assert registry.tags(repository) == tags
    assert registry.tags(repository + "/sub") == (["change_7_nightly"] if pipeline == "gate"
                                                  else [])


# --- all or nothing -----------------------------------------------------------------------------

@pytest.fixture(name="closed")
def fixture_closed(tmp_path):
    server = FaultyRegistry(str(tmp_path / "closed"))
    yield server
    server.stop()


@pytest.mark.parametrize("why", ["fine", "denied", "no credentials", "unknown host"])
def test_nothing_is_built_before_all_may_be_pushed(node, registry, twin, closed, repository, why,
                                                   tmp_path):
    push_base(twin, repository)
    base = f"{twin.host}/{repository}:latest"
    write_image(node.git, "app", "one", base=base)
    write_image(node.git, "tools", "two", base=base)
    node.flags += ["--plain-http", closed.host]
    listed(node, image(registry, repository), image(closed, repository, context="tools"))
    code, argv = {"fine": (0, [])}.get(why, (DENIED, []))
    if why == "denied":
        closed.rules({"method": "POST", "path": "/v2/.*/blobs/uploads/", "status": 403,
                      "times": 100})
    if why == "no credentials":
        closed.config(auth="basic")
        argv = ["--auth-file", write_auth(tmp_path / "auth.json", {closed.host: ("ci", "wrong")})]
    if why == "unknown host":
        closed.stop()
        code = TRY_LATER
    mark = twin.mark()
    done = node.run("upload", "--change", 7, *argv, code=code)
    pulls = [row for row in twin.requests(mark, who="") if f"/{repository}/" in row[1]]
    if why == "fine":
        assert pulls and registry.tags(repository) == ["change_7_latest"], done
        return
    assert f"proving the right to push to {closed.host}/{repository}" in done.err, done
    assert pulls == [] and "STEP" not in done.err and done.out == "", done
    assert registry.tags(repository) == [], done


@pytest.mark.parametrize("argv", [["--change", "7"], []])
def test_a_second_build_that_fails_publishes_nothing(node, registry, repository, argv):
    write_image(node.git, "bad", "bad", run="echo the last words; exit 7")
    listed(node, image(registry, repository), image(registry, repository + "/bad", context="bad"))
    done = node.run("upload", "--quiet", *argv, code=FAILED)
    assert "the last words\n" in done.err and "status 7" in done.err, done
    assert registry.tags(repository) == [] == registry.tags(repository + "/bad")
    assert done.out == "", done


def test_a_push_that_fails_takes_the_others_back(node, registry, closed, repository):
    write_image(node.git, "tools", "two")
    node.flags += ["--plain-http", closed.host]
    listed(node, image(registry, repository), image(closed, repository, context="tools"))
    closed.rules({"method": "PUT", "path": "/manifests/change_7_latest", "status": 403,
                  "times": 100})
    done = node.run("upload", "--change", 7, code=DENIED)
    assert f"writing {closed.host}/{repository}:change_7_latest" in done.err, done
    assert registry.tags(repository) == [] and done.out == "", done


# --- dry runs, mistakes -------------------------------------------------------------------------

@pytest.mark.parametrize("argv", [["build"], ["upload", "--change", "7"], ["upload"],
                                  ["promote", "--change", "7"]])
def test_dry_run(node, registry, repository, argv):
    listed(node, image(registry, repository))
    registry.push(repository, "change_7_latest", "of the gate")
    mark = registry.mark()
    text = node.run(*argv, "--dry-run")
    doc = node.run(*argv, "-n", "--format", "json", "--exit-code", code=CHANGES)
    assert doc.json["verdict"] == "go" and f"{registry.host}/{repository}" in text.out
    assert {row[0] for row in registry.requests(mark, repository)} <= {"GET", "HEAD"}
    assert registry.tags(repository) == ["change_7_latest"] and "STEP" not in text.err


@pytest.mark.parametrize("argv, code, says", [
    (["build", "--builder", "kaniko"], USAGE, "buildah, podman or docker"),
    (["build", "--format", "yaml"], USAGE, "text or json"),
    (["build", "--file", "no.yaml"], USAGE, "no.yaml"),
    (["build", "--file", "no.yaml", "--commit", "HEAD"], USAGE, "no.yaml"),
    (["build", "--commit", "nowhere"], USAGE, "no such commit"),
    (["build", "--commit", "--help"], USAGE, "--help"),
    (["build", "--timeout", "0"], USAGE, "timeout"),
    (["build", "--patchset", "1"], USAGE, "--change"),
    (["build", "--exit-code"], USAGE, "--dry-run"),
    (["build", "extra"], USAGE, "flags only"),
    (["build", "--chnage", "7"], USAGE, "--change"),
    (["upload", "--change", "7", "--tag", "1"], USAGE, "exclude"),
    (["upload", "--pipeline", "nightly"], USAGE, "check, gate"),
    (["upload", "--pipeline", "gate"], USAGE, "--change"),
    (["upload", "--pipeline", "tag"], USAGE, "--tag"),
    (["upload", "--pipeline", "post", "--tag", "v1"], USAGE, "--tag"),
    (["upload", "--change", "-7"], USAGE, "change"),
    (["upload", "--change", "7;reboot"], USAGE, "change"),
    (["upload", "--change", "../../7"], USAGE, "change"),
    (["upload", "--change", ""], USAGE, "change"),
    (["upload", "--change", "9" * 400], USAGE, "change"),
    (["upload", "--project", "/etc/passwd", "--change", "7"], USAGE, "project"),
    (["upload", "--project", "../x", "--change", "7"], USAGE, "project"),
    (["upload", "--change", "7", "--report-to", "https://ci.example.org"], USAGE, "/hooks/"),
    (["upload", "--change", "7", "--report-to", "https://ci.example.org/hooks/x"], USAGE,
     "--report-secret"),
    (["upload", "--change", "7", "--report-secret", "env:X"], USAGE, "--report-to"),
    (["upload", "--change", "7", "--report-to", "https://ci.example.org/hooks/x",
      "--report-secret", "env:NOT_THERE"], USAGE, "NOT_THERE"),
    (["promote"], USAGE, "--change"),
    (["promote", "--tag", "v1"], USAGE, "configuration"),
    (["promote", "--change", "x y"], USAGE, "change"),
    (["promote", "--change", "7", "--out", "x"], USAGE, "--out"),
])
def test_mistakes(node, registry, repository, argv, code, says):
    listed(node, image(registry, repository))
    done = node.run(*argv, code=code)
    assert says in done.err and done.out == "", done
    assert len(done.err.splitlines()) <= 2 and "STEP" not in done.err, done


@pytest.mark.parametrize("command", ["build", "upload", "promote"])
def test_help(node, command):
    done = node.run(command, "--help")
    assert "Examples:" in done.out and "--dry-run" in done.out and done.err == "", done


def test_mistakes_of_the_place(node, registry, repository, tmp_path):
    done = node.run("build", code=USAGE)
    assert ".slipway.yaml" in done.err, done
    done = node.run("build", "--source", tmp_path / "nowhere", code=USAGE)
    assert "nowhere" in done.err, done
    listed(node, image(registry, repository, bulid_args=[]))
    done = node.run("build", code=USAGE)
    assert ".slipway.yaml:1:" in done.err and "mean 'build_args'" in done.err, done


def test_outside_of_git(node, registry, repository, tmp_path):
    """A build needs no repository; an upload has to know its commit."""
    listed(node, image(registry, repository))
    plain = tmp_path / "plain"
    subprocess.run(["cp", "-r", node.git.folder, plain], check=True)
    subprocess.run(["rm", "-rf", plain / ".git"], check=True)
    assert node.run("build", "--source", plain).out.startswith("sha256:")
    done = node.run("upload", "--source", plain, "--change", 7, "--branch", "main", code=USAGE)
    assert "--commit" in done.err, done
    done = node.run("upload", "--source", plain, "--change", 7, code=USAGE)
    assert "--branch" in done.err, done


# --- ended by a signal --------------------------------------------------------------------------

@pytest.mark.parametrize("command, argv, number", [
    ("build", [], signal.SIGINT), ("build", ["--out"], signal.SIGTERM),
    ("upload", ["--change", "7"], signal.SIGTERM),
])
def test_a_signal_leaves_nothing(node, registry, repository, tmp_path, command, argv, number):
    write_image(node.git, "slow", "slow", run="echo 'under way'; sleep 300")
    listed(node, image(registry, repository), image(registry, repository + "/slow",
                                                    context="slow"))
    out = tmp_path / "images"
    job = node.start(command, *argv, *([out] if argv == ["--out"] else []))
    wait_until(lambda: "\nunder way" in job.said(), 60, "the build is under way", every=0.05)
    assert any("sleep" in line for line in node.processes())
    assert job.stop(number) == TRY_LATER, job.said()
    assert "ended by a signal, nothing was left behind" in job.said(), job.said()
    assert node.left() == [] and registry.tags(repository) == []
    assert not out.exists() or os.listdir(out) == []


def test_what_a_kill_leaves_the_next_one_takes_away(node, registry, repository, tmp_path):
    out = tmp_path / "images"
    write_image(node.git, "app", "slow", run="echo 'under way'; sleep 300")
    listed(node, image(registry, repository))
    job = node.start("build", "--out", out)
    wait_until(lambda: "\nunder way" in job.said(), 60, "the build is under way", every=0.05)
    job.kill()
    wait_until(lambda: not node.processes(), 20, "the builder sees it", every=0.05)
    assert os.listdir(out) != []
    write_image(node.git, "app", "quick")
    node.run("build", "--out", out)
    assert os.listdir(out) == [repository.rsplit("/", 1)[1]]
