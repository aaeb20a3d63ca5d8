"""`work` and `slipway builder` as two users who share nothing but a group, as their units run."""

import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile

import pytest

from lib.builder import (AS_BUILDER, BUILDER, WORKER, Builder, ends, nothing_left, processes,
                         project_of, push, shown, start_worker, steps)
from lib.building import BUSYBOX, image, write_image
from lib.net import wait_until
from lib.project import Git


@pytest.fixture(name="two_users")
def fixture_two_users(new_slipway, registry):
    if os.geteuid() != 0:
        pytest.fail("run as root: other users can't be played otherwise")
    made = []

    def make(overlay=False, **builder):
        one = new_slipway()
        made.append(Builder(one, user=True, **builder))
        project = project_of(one, registry, made[-1], user=True)
        made[-1].start(*([on_overlay(made[-1])] if overlay else []))
        one.start_serve()
        return project, made[-1]

    yield make
    try:
        for one in made:
            one.stop()
    finally:
        for one in made:
            one.remove()


def hand_over(git):
    """git serves nobody's repository but one's own."""
    for folder, _, names in os.walk(git.folder):
        for name in [".", *names]:
            os.chown(os.path.join(folder, name), WORKER, WORKER, follow_symlinks=False)


def build(project, *images, tool, **variables):
    """Commits, hands the repository over and starts `work` before the push is looked at."""
    push(project, *images, container_command=tool, **variables)
    hand_over(project.git)
    start_worker(project.slipway)
    return ends(project)


def files_of(registry, name, tag):
    """What the layers hold: name -> the last entry of that name."""
    manifest = json.loads(registry.manifest(name, tag).body)
    entries = {}
    for layer in manifest["layers"]:
        blob = registry.call("GET", f"/v2/{name}/blobs/{layer['digest']}").body
        if blob[:2] == b"\x1f\x8b":
            blob = gzip.decompress(blob)
        with tarfile.open(fileobj=io.BytesIO(blob)) as tar:
            entries.update({entry.name.strip("/"): entry for entry in tar})
    return entries


def on_overlay(builder):
    """The line of a shell that mounts an overlay where its scratch folder is."""
    folders = {name: os.path.join(builder.folder, name) for name in ("lower", "upper", "work")}
    for folder in folders.values():
        os.makedirs(folder)
    os.chown(folders["upper"], BUILDER, BUILDER)
    options = "lowerdir={lower},upperdir={upper},workdir={work}".format(**folders)
    return f"mount -t overlay -o {options} overlay {builder.scratch}"


@pytest.mark.parametrize("tool", ["podman", "buildah"])
def test_a_store_on_an_overlay(two_users, registry, repository, tool):
    """Where the kernel has overlay, and the file system is one that takes no other."""
    project, builder = two_users(overlay=True)
    write_image(project.git, "app", "overlay", run="echo built")
    task = build(project, image(registry, repository), tool=tool)
    assert task["state"] == "done", task
    nothing_left(project, builder)


@pytest.mark.parametrize("tool", ["podman", "buildah"])
@pytest.mark.parametrize("accept", [False, True])
def test_two_users_build(two_users, registry, repository, tool, accept):
    project, builder = two_users(accept=accept)
    write_image(project.git, "app", "text", run="mkdir /made && echo $(id -u) > /made/who")
    os.makedirs(os.path.join(project.git.folder, "app", "folder"))
    script = os.path.join(project.git.folder, "app", "folder", "script")
    shutil.copy(BUSYBOX, script)
    task = build(project, image(registry, repository), tool=tool)
    assert task["state"] == "done", (task, builder.process.said()[-2000:])
    entries = files_of(registry, repository, "latest")
    # What git knows, and nothing of the umask 0007 under which it was checked out.
    modes = {name: oct(entries[name].mode & 0o7777) for name in
             ("app/hello", "app/folder", "app/folder/script", "made", "made/who")}
    assert modes == {"app/hello": "0o644", "app/folder": "0o755", "app/folder/script": "0o755",
                     "made": "0o755", "made/who": "0o644"}
    assert {(e.uid, e.gid) for e in entries.values()} == {(0, 0)}
    nothing_left(project, builder)


def test_siblings_of_two_users(two_users, registry, repository):
    project, builder = two_users()
    lib = Git(os.path.join(os.path.dirname(project.git.folder), "lib"))
    lib.commit({"tools/say": "hello from lib"})
    hand_over(lib)
    project.slipway.config["projects"][-1]["sources"] = ["team/lib"]
    project.slipway.write_config()
    write_image(project.git, "app", "text", run="cat /app/.zuul-siblings/*/team/lib/tools/say")
    shutil.copy(BUSYBOX, os.path.join(project.git.folder, "app", "cat"))
    task = build(project, image(registry, repository, siblings=["code.example.org/team/lib"]),
                 tool="buildah")
    assert task["state"] == "done", task
    entries = files_of(registry, repository, "latest")
    assert "app/.zuul-siblings/code.example.org/team/lib/tools/say" in entries
    nothing_left(project, builder)


@pytest.mark.parametrize("tool", ["podman", "buildah"])
def test_a_step_without_subordinate_ids(two_users, registry, repository, tool):
    project, builder = two_users(subids=False)
    write_image(project.git, "app", "text", run="true")
    task = build(project, image(registry, repository), tool=tool)
    assert task["state"] == "dead", task
    for said in (task["reason"], shown(project, task)):
        assert "no subordinate ids" in said and "/etc/subuid" in said and "RUN" in said, said
    assert registry.tags(repository) in ([], None)
    nothing_left(project, builder)


@pytest.mark.parametrize("tool", ["podman", "buildah"])
def test_no_step_needs_no_subordinate_ids(two_users, registry, repository, tool):
    project, builder = two_users(subids=False)
    write_image(project.git, "app", "text")
    task = build(project, image(registry, repository), tool=tool)
    assert task["state"] == "done", (task, builder.process.said()[-2000:])
    assert files_of(registry, repository, "latest")["app/hello"].mode & 0o777 == 0o644
    nothing_left(project, builder)


def test_what_a_killed_builder_leaves(two_users, registry, repository):
    """The worker can remove it: the folder is the group's."""
    project, builder = two_users()
    write_image(project.git, "app", "slow", run="/bin/sh /app/step")
    with open(os.path.join(project.git.folder, "app", "step"), "w", encoding="utf-8") as file:
        file.write("/app/busybox sleep 1000\n")
    push(project, image(registry, repository), container_command="buildah")
    hand_over(project.git)
    start_worker(project.slipway)
    wait_until(steps, 60, "the step runs")
    builds = project.slipway.config["builder"]["dir"]
    (kept,) = [name for name in os.listdir(builds) if not name.startswith(".")]
    out = os.path.join(builds, kept, "out")
    assert os.stat(out).st_mode & 0o7777 == 0o2770 and os.stat(out).st_gid == BUILDER
    builder.kill(whole=True)
    wait_until(lambda: not steps(), 10, "the step has ended")
    # As far as a build gets: see build_layout_begin.
    part = os.path.join(out, ".image-0.part")
    made = subprocess.run([*AS_BUILDER, "sh", "-c",
                           f"umask 077; mkdir {part} && chmod 2775 {part} && echo x > {part}/file"],
                          check=False, capture_output=True)
    assert made.returncode == 0, made
    subprocess.run(["setpriv", f"--reuid={WORKER}", f"--regid={WORKER}", f"--groups={BUILDER}",
                    "--", "rm", "-r", os.path.join(builds, kept)], check=True)
    builder.start()
    wait_until(steps, 60, "the retry's step runs")
    assert project.slipway.work.stop() == 0
    nothing_left(project, builder, but_kept=True)


def test_the_builder_sees_no_store(two_users):
    """Nor the configuration's secrets; and nobody of neither group gets into a build's folder."""
    project, _ = two_users()
    start_worker(project.slipway)
    wait_until(project.slipway.work_is_up, what="work is up")
    one = project.slipway
    for path in (one.db, one.config["builder"]["dir"] + "/.lock"):
        wait_until(lambda: os.path.exists(path), what=path)
        done = subprocess.run([*AS_BUILDER, "cat", path], check=False, capture_output=True)
        assert done.returncode != 0, path
    stranger = ["setpriv", "--reuid=61999", "--regid=61999", "--clear-groups", "--"]
    done = subprocess.run([*stranger, "ls", one.config["builder"]["dir"]], check=False,
                          capture_output=True)
    assert b"denied" in done.stderr, done
    assert not [pid for pid, argv in processes() if b"61999" in argv]
