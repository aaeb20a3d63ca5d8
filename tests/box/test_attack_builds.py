"""Attacks on builds and uploads: order, rights, what is left behind."""

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import time

import pytest

from lib.building import (building, config_of, files_of, image, left_behind, tool, write_image,
                          write_list)
from lib.builder import BUILDER, WORKER, ends, push, shown, start_worker
from lib.net import wait_until
from test_forges import HEAD, TOKEN, configured, ended, hub, proposed  # noqa: F401
from lib.project import Git
from test_builder_users import fixture_two_users, hand_over  # noqa: F401

two_users = fixture_two_users  # noqa: F811
POST = {"post": ["upload-container-image"]}


@contextlib.contextmanager
def busy_builder(project):
    """Somebody else's build runs."""
    path = os.path.join(project.slipway.folder, "builds", ".lock")
    with open(path, "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def commits(project, registry, repository, *texts, **more):
    """A commit for each text, one after another."""
    made = []
    for text in texts:
        write_image(project.git, "app", text)
        write_list(project.git, image(registry, repository), container_command=tool(), **more)
        made.append(project.git.commit())
    return made


def all_ended(project, count):
    done = ("done", "superseded", "dead", "skipped", "held", "partial")
    wait_until(lambda: len(project.tasks()) == count and
               all(task["state"] in done for task in project.tasks()), 120, "all tasks end")


def test_pushes_told_of_in_the_wrong_order(new_slipway, registry, repository):
    """P2: what was pushed last is live, whichever delivery came last."""
    project = building(new_slipway, registry)
    first, second = commits(project, registry, repository, "first", "second", pipelines=POST)
    with busy_builder(project):
        for commit in (second, first):
            project.send("branch.pushed", branch="main", commit=commit)
            wait_until(lambda: project.untouched() == 0, what="the push is looked at")
        wait_until(lambda: len(project.tasks()) == 2, what="both wait")
    all_ended(project, 2)
    assert files_of(registry, repository, "latest")["app/hello"] == b"second", project.tasks()


def test_patchsets_told_of_in_the_wrong_order(new_slipway, registry, repository):
    """A repeated delivery of an older patchset takes no turn from the newer one."""
    project = building(new_slipway, registry)
    first, second = commits(project, registry, repository, "first", "second")
    with busy_builder(project):
        for number, commit in ((2, second), (1, first)):
            project.send("change.gated", change="7", branch="main", commit=commit,
                         patchset=str(number))
            wait_until(lambda: project.untouched() == 0, what="it is looked at")
        wait_until(lambda: len(project.tasks()) == 2, what="both wait")
    all_ended(project, 2)
    shown = files_of(registry, repository, "change_7_latest")["app/hello"]
    assert shown == b"second", project.tasks()


def test_check_does_not_push(new_slipway, registry, repository):
    """may_build: [check] lets nobody's unreviewed code be pushed, whatever its list says."""
    project = building(new_slipway, registry, may_build=["check"])
    commit, = commits(project, registry, repository, "a stranger's",
                      pipelines={"check": ["upload-container-image"]})
    project.send("change.opened", change="3", branch="main", commit=commit)
    task = project.ended(3, timeout=120)
    assert registry.tags(repository) in ([], None), task
    assert project.slipway.query("SELECT count(*) FROM staged") == [(0,)]


def tagged(project, tag, commit):
    project.git.run("tag", tag, commit)
    project.send("tag.pushed", ref=f"refs/tags/{tag}", commit=commit)
    return project.ended(tag, timeout=120)


def test_a_version_by_mistake_is_no_end(new_slipway, registry, repository):
    """v99.0.0, deleted again, must not keep v1.2.4 from `latest` for ever."""
    project = building(new_slipway, registry)

    def release(tag):
        write_image(project.git, "app", tag)
        write_list(project.git, image(registry, repository, ["latest"]), container_command=tool(),
                   pipelines={"tag": ["upload-container-image"]})
        return tagged(project, tag, project.git.commit())

    assert release("v1.2.3")["state"] == "done"
    assert release("v99.0.0")["state"] == "done"
    project.git.run("tag", "-d", "v99.0.0")
    project.send("tag.deleted", ref="refs/tags/v99.0.0")
    project.slipway.cli("rollback", str(project.task("v99.0.0")["id"]))
    assert files_of(registry, repository, "latest")["app/hello"] == b"v1.2.3"
    task = release("v1.2.4")
    assert files_of(registry, repository, "latest")["app/hello"] == b"v1.2.4", task


def test_what_was_built_for_nothing_is_forgotten(new_slipway, registry, repository):
    """Also when all its tags turned out to be stale, or pinned, or the list is wrong by now."""
    project = building(new_slipway, registry)
    first, second = commits(project, registry, repository, "first", "second", pipelines=POST)
    for commit in (second, first):
        project.send("branch.pushed", branch="main", commit=commit)
        wait_until(lambda: project.tasks() and project.tasks()[0]["state"] in
                   ("done", "superseded") and project.untouched() == 0, 120, "it ends")
    all_ended(project, 2)
    assert [task["state"] for task in project.tasks()] == ["superseded", "done"]
    assert left_behind(project) == []


ESCAPE = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv) {
    mkdir("/esc", 0755);
    if (chroot("/esc") < 0) perror("chroot");
    for (int i = 0; i < 64; i++) if (chdir("..") < 0) break;
    if (chroot(".") < 0) perror("chroot2");
    char b[400];
    for (int i = 1; i < argc; i++) {
        int f = open(argv[i], O_RDONLY);
        ssize_t n = f < 0 ? -1 : read(f, b, 300);
        if (n > 0) { printf("READ %s: ", argv[i]); fflush(stdout); write(1, b, n); puts(""); }
        else perror(argv[i]);
    }
    return 1;
}
"""


WAYS = {
    "chroot": "/app/escape {secret}",
    "bind": "--mount=type=bind,source=/link,destination=/mnt,rw /app/busybox cat /mnt{secret}",
    "cache": "--mount=type=cache,id=../../../../../../../..,target=/mnt "
             "/app/busybox cat /mnt{secret}",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_step_does_not_leave_its_root(two_users, registry, repository, tmp_path, way):
    """Neither by what chroot leaves to root, nor by a mount that follows links (CVE-2024-11218) or
    climbs (CVE-2024-9675), which Debian 12's buildah lets a step do."""
    project, builder = two_users()
    kept = os.path.join(project.slipway.folder, "builds", "0" * 32)
    os.mkdir(kept, 0o750)
    secret = os.path.join(kept, "of-another-task")
    with open(secret, "w", encoding="utf-8") as file:
        file.write("a-secret-of-another-task")
    for path, mode in ((kept, 0o2750), (secret, 0o640)):  # as `work` makes them
        os.chown(path, WORKER, BUILDER)
        os.chmod(path, mode)
    write_image(project.git, "app", "text", run=WAYS[way].format(secret=secret) + "; exit 1"
                if way == "chroot" else WAYS[way].format(secret=secret) + " && exit 1")
    os.symlink("/", os.path.join(project.git.folder, "app", "link"))
    (tmp_path / "e.c").write_text(ESCAPE)
    subprocess.run(["gcc", "-static", "-o", os.path.join(project.git.folder, "app", "escape"),
                    str(tmp_path / "e.c")], check=True)
    push(project, image(registry, repository), container_command=tool())
    hand_over(project.git)
    start_worker(project.slipway)
    task = ends(project)
    assert "a-secret-of-another-task" not in shown(project, task), task["reason"]


def swap_layout(layout):
    """What the builder's user may do to a layout that lies there: another image in its place."""
    def read(digest):
        with open(os.path.join(layout, "blobs", *digest.split(":")), "rb") as file:
            return json.loads(file.read())

    def write(value):
        data = json.dumps(value).encode()
        name = hashlib.sha256(data).hexdigest()
        with open(os.path.join(layout, "blobs", "sha256", name), "wb") as file:
            file.write(data)
        return {"digest": "sha256:" + name, "size": len(data)}

    with open(os.path.join(layout, "index.json"), encoding="utf-8") as file:
        index = json.load(file)
    manifest = read(index["manifests"][0]["digest"])
    config = read(manifest["config"]["digest"])
    config.setdefault("config", {})["Labels"] = {"made.by": "a stranger"}
    manifest["config"].update(write(config))
    index["manifests"][0].update(write(manifest))
    with open(os.path.join(layout, "index.json"), "w", encoding="utf-8") as file:
        json.dump(index, file)


def test_what_was_built_is_what_is_published(new_slipway, registry, repository):
    """A layout that is kept for a retry lies where any other build's steps may write, once they
    are out of their root: what is pushed is what that build said it made."""
    project = building(new_slipway, registry, on_foreign="hold")
    first, second = commits(project, registry, repository, "first", "second", pipelines=POST)
    project.send("branch.pushed", branch="main", commit=first)
    all_ended(project, 1)
    ours = registry.manifest(repository, "latest").body
    registry.push(repository, "latest", "by hand")
    project.send("branch.pushed", branch="main", commit=second)
    all_ended(project, 2)
    task = project.tasks()[0]
    assert task["state"] == "held", task
    builds = os.path.join(project.slipway.folder, "builds")
    kept, = [name for name in os.listdir(builds) if not name.startswith(".")]
    swap_layout(os.path.join(builds, kept, "out", "image-0"))
    registry.put(repository, "latest", ours, json.loads(ours)["mediaType"])
    assert project.slipway.cli("queue", "release", str(task["id"])).returncode == 0
    wait_until(lambda: project.tasks()[0]["state"] in ("done", "dead"), 60, "it ends")
    labels = config_of(registry, repository, "latest")["config"].get("Labels") or {}
    assert "made.by" not in labels, project.tasks()[0]


def test_a_refused_list_is_reported(new_slipway, registry, hub, repository, tmp_path):
    """The forge gates on the status: a list with a mistake must not leave it waiting for ever."""
    hub.commit("team/app", HEAD, {".slipway.yaml": b"container_images: 3\n"})
    hub.pull("team/app", 7, head=HEAD, merged=False)
    slipway = configured(new_slipway, registry, "hub", {}, may_build=["check"])
    slipway.config["forges"]["hub"].update({"api": hub.url, "report": True,
                                            "token": slipway.secret("token", TOKEN)})
    slipway.config["builder"] = {"dir": str(tmp_path / "b"), "scratch": str(tmp_path)}
    slipway.write_config()
    slipway.start()
    assert slipway.post(proposed(), event="pull_request").status == 202
    assert ended(slipway, "change/7")[0] == "dead"
    wait_until(lambda: hub.statuses, 5, "the failure is told")
    slipway.stop()


def test_a_slow_checkout_does_not_delay_the_end(new_slipway, registry, repository, tmp_path):
    """SIGTERM: systemd kills after 60 s; a forge may take its time to send a commit."""
    git = tmp_path / "git"
    git.write_text('#!/bin/sh\ncase "$*" in *" fetch "*refs/heads/*|*" fetch "*) '
                   f'touch {tmp_path}/slow; sleep 45;; esac\nexec /usr/bin/git "$@"\n')
    git.chmod(0o755)
    project = building(new_slipway, registry, started=False)
    commit, = commits(project, registry, repository, "slow", pipelines=POST)
    project.slipway.start_serve()
    project.slipway.start_work(env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    project.send("branch.pushed", branch="main", commit=commit)
    wait_until(lambda: (tmp_path / "slow").exists(), 20, "git is at work")
    began = time.monotonic()
    project.slipway.work.stop(signal.SIGTERM)
    assert time.monotonic() - began < 20


def test_a_submodule_is_no_way_into_another_project(new_slipway, registry, repository):
    """What the operator's account can read, a stranger's pull request can not."""
    project = building(new_slipway, registry, started=False, may_build=["check"])
    other = Git(os.path.join(os.path.dirname(project.git.folder), "private"))
    inner = other.commit({"key": "of-a-private-project"})
    project.slipway.start()
    os.makedirs(os.path.join(project.git.folder, "app", "sub"))
    write_image(project.git, "app", "one", run="/app/busybox cat /app/sub/key && exit 1")
    with open(os.path.join(project.git.folder, ".gitmodules"), "w", encoding="utf-8") as file:
        file.write('[submodule "sub"]\n\tpath = app/sub\n\turl = ../private\n')
    project.git.run("update-index", "--add", "--cacheinfo", f"160000,{inner},app/sub")
    write_list(project.git, image(registry, repository), container_command=tool(), submodules=True)
    commit = project.git.commit()
    project.send("change.opened", change="3", branch="main", commit=commit)
    task = project.ended(3, timeout=120)
    assert "of-a-private-project" not in task["reason"], task


def test_what_was_closed_meanwhile_is_not_staged(new_slipway, registry, repository):
    """Its clean-up came first: what is staged after it, nobody would take away."""
    project = building(new_slipway, registry)
    commit, = commits(project, registry, repository, "closed")
    with busy_builder(project):
        project.send("change.gated", change="9", branch="main", commit=commit)
        wait_until(lambda: project.tasks(), what="the gate waits")
        project.send("change.closed", change="9")
        wait_until(lambda: project.untouched() == 0 and len(project.tasks()) == 2 and
                   project.tasks()[0]["state"] == "done", what="the clean-up")
    all_ended(project, 2)
    assert registry.tags(repository) in ([], None), project.tasks()


def test_a_repeat_does_not_take_what_is_kept(new_slipway, registry, repository):
    """The same push told of again, while its task is held with what it built."""
    project = building(new_slipway, registry, on_foreign="hold")
    first, second = commits(project, registry, repository, "first", "second", pipelines=POST)
    project.send("branch.pushed", branch="main", commit=first)
    all_ended(project, 1)
    registry.push(repository, "latest", "by hand")
    project.send("branch.pushed", branch="main", commit=second)
    all_ended(project, 2)
    assert project.tasks()[0]["state"] == "held", project.tasks()
    builds = os.path.join(project.slipway.folder, "builds")
    kept = [name for name in os.listdir(builds) if not name.startswith(".")]
    assert len(kept) == 1
    project.send("branch.pushed", branch="main", commit=second, title="again")
    wait_until(lambda: project.untouched() == 0, what="the repeat is looked at")
    time.sleep(3)
    assert [name for name in os.listdir(builds) if not name.startswith(".")] == kept


def test_an_older_series_does_not_win_after_a_rollback(new_slipway, registry, repository):
    """v1.3.0 was put back to v1.2.3: a fix of v0.9 is no news for `latest`."""
    project = building(new_slipway, registry)

    def release(tag):
        write_image(project.git, "app", tag)
        write_list(project.git, image(registry, repository, ["latest"]), container_command=tool(),
                   pipelines={"tag": ["upload-container-image"]})
        return tagged(project, tag, project.git.commit())

    for tag in ("v1.2.3", "v1.3.0"):
        assert release(tag)["state"] == "done"
    project.slipway.cli("rollback", str(project.task("v1.3.0")["id"]))
    assert files_of(registry, repository, "latest")["app/hello"] == b"v1.2.3"
    task = release("v0.9.1")
    assert files_of(registry, repository, "latest")["app/hello"] == b"v1.2.3", task


def test_the_first_version_by_mistake_is_no_end(new_slipway, registry, repository):
    """Nothing was there before it, so that a rollback has nothing to put back."""
    project = building(new_slipway, registry)

    def release(tag):
        write_image(project.git, "app", tag)
        write_list(project.git, image(registry, repository, ["latest"]), container_command=tool(),
                   pipelines={"tag": ["upload-container-image"]})
        return tagged(project, tag, project.git.commit())

    assert release("v99.0.0")["state"] == "done"
    project.git.run("tag", "-d", "v99.0.0")
    project.send("tag.deleted", ref="refs/tags/v99.0.0")
    said = project.slipway.cli("rollback", str(project.task("v99.0.0")["id"]))
    task = release("v1.0.0")
    assert files_of(registry, repository, "latest")["app/hello"] == b"v1.0.0", (task, said)


@contextlib.contextmanager
def silent_server():
    """Takes connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_merge_that_is_a_push_too_is_kept(new_slipway, registry, repository):
    """P1: its push is stored as a task of its own; a kill then must not lose the merge."""
    with silent_server() as host:
        project = building(new_slipway, registry, started=False)
        project.slipway.config["registries"][host] = {"plain_http": True}
        project.slipway.config["projects"][-1]["may_publish"].append(host + "/**")
        project.slipway.write_config()
        project.slipway.start()
        write_image(project.git, "app", "one")
        where = {"context": "app", "registry": host, "repository": f"{host}/{repository}",
                 "tags": ["latest"]}
        write_list(project.git, where, container_command=tool(), pipelines=POST)
        project.merged(5, project.git.commit())
        wait_until(project.tasks, 20, "the push has a task")
        project.slipway.work.kill()
        project.slipway.start_work()
        wait_until(lambda: project.task(5), 10, "the merge is taken up again")


def test_a_push_that_failed_is_not_made_again(new_slipway, registry, repository):
    """... at each look for what the merge's promotion waits for."""
    project = building(new_slipway, registry)
    write_image(project.git, "app", "one", run="exit 3")
    write_list(project.git, image(registry, repository), container_command=tool(), pipelines=POST)
    project.merged(5, project.git.commit())
    wait_until(lambda: any(task["state"] == "dead" for task in project.tasks()), 60, "it fails")
    time.sleep(8)
    ends_said = [line for line in project.slipway.work.said().splitlines()
                 if "pipeline=post" in line and "state=dead" in line]
    assert len(ends_said) == 1


@pytest.mark.parametrize("name", ["Containerfile.in", "sub/Any.in"])
def test_a_container_file_includes_nothing(new_slipway, registry, repository, name):
    """The tools run cpp over names that end in .in: outside of any step, on any file."""
    project = building(new_slipway, registry)
    secret = os.path.join(project.slipway.folder, "of-the-operator")
    with open(secret, "w", encoding="utf-8") as file:
        file.write("hunter2-of-the-operator\n")
    path = os.path.join(project.git.folder, "app", name)
    os.makedirs(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'FROM scratch\n#include "{secret}"\n')
    push(project, image(registry, repository, container_filename=name), container_command=tool())
    task = ends(project)
    assert "hunter2" not in shown(project, task).lower(), task


@pytest.mark.parametrize("line", ["FROM oci:{}", "FROM dir:{}",
                                  "FROM scratch\nCOPY --from=oci:{} / /"])
def test_from_means_no_other_job(new_slipway, registry, repository, line):
    project = building(new_slipway, registry)
    other = os.path.join(project.slipway.folder, "builds", "0" * 32)
    os.makedirs(other)
    registry.push(repository, "private", "of-another-task")
    kind = "dir" if "dir:" in line else "oci"
    subprocess.run(["skopeo", "copy", "--src-tls-verify=false",
                    f"docker://{registry.host}/{repository}:private", f"{kind}:{other}/layout"],
                   check=True)
    os.makedirs(os.path.join(project.git.folder, "app"))
    with open(os.path.join(project.git.folder, "app", "Containerfile"), "w",
              encoding="utf-8") as file:
        file.write(line.format(f"{other}/layout") + "\n")
    push(project, image(registry, repository), container_command=tool())
    task = ends(project)
    assert task["state"] == "dead" and registry.tags(repository) == ["private"], task


@pytest.mark.parametrize("built", [True, False])
def test_what_was_reopened_is_staged(new_slipway, registry, repository, built):
    """Closed after its gate, or while that waited; then gated again, at the same commit."""
    project = building(new_slipway, registry)
    commit, = commits(project, registry, repository, "reopened")
    with contextlib.nullcontext() if built else busy_builder(project):
        project.send("change.gated", change="9", branch="main", commit=commit)
        wait_until(lambda: project.tasks(), what="the gate has a task")
        if built:
            all_ended(project, 1)
        project.send("change.closed", change="9")
        wait_until(lambda: project.untouched() == 0 and len(project.tasks()) == 2 and
                   project.tasks()[0]["state"] == "done", what="the clean-up")
    all_ended(project, 2)
    project.send("change.gated", change="9", branch="main", commit=commit, title="again")
    wait_until(lambda: registry.tags(repository) == ["change_9_latest"], 30,
               f"it is staged: {project.tasks()}")


def test_an_upload_by_hand_of_what_was_closed_once(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    commits(project, registry, repository, "reopened")
    project.send("change.closed", change="9")
    wait_until(lambda: project.tasks() and project.tasks()[0]["state"] == "done", 20, "it ends")
    done = project.slipway.cli("upload", "--project", "team/app", "--change", "9", "--branch",
                               "main", "--source", project.git.folder)
    assert done.returncode == 0, done.stderr
    assert registry.tags(repository) == ["change_9_latest"]


def test_a_link_includes_nothing_either(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    secret = os.path.join(project.slipway.folder, "of-the-operator")
    with open(secret, "w", encoding="utf-8") as file:
        file.write("hunter2-of-the-operator\n")
    project.git.commit({"app/any.in": f'FROM scratch\n#include "{secret}"\n'})
    os.symlink("any.in", os.path.join(project.git.folder, "app", "Containerfile"))
    push(project, image(registry, repository), container_command=tool())
    task = ends(project)
    assert "hunter2" not in shown(project, task).lower(), task


def test_a_push_is_made_though_the_first_look_failed(new_slipway, registry, repository):
    """The forge tells of the merge before its git shows the commit."""
    project = building(new_slipway, registry)
    commits(project, registry, repository, "before", pipelines=POST)
    early = project.git.folder + ".early"
    project.git.run("clone", "-q", ".", early)
    project.git.run("-C", early, "commit", "-q", "--allow-empty", "-m", "merge")
    commit = project.git.run("-C", early, "rev-parse", "HEAD")
    project.merged(5, commit)
    project.ended(5, states=("failed",))
    project.git.run("pull", "-q", early, "main")
    wait_until(lambda: any(task["ref"] == "refs/heads/main" for task in project.tasks()), 30,
               f"the push has a task: {project.tasks()}")
