"""Builds through `slipway builder` on its socket: what it survives, and what each failure says."""

import contextlib
import errno
import json
import os
import signal
import socket
import time

import pytest

from lib.builder import (Builder, ends, nothing_left, processes, project_of, push, shown,
                         steps)
from lib.building import image, tool, write_image
from lib.net import wait_until


@pytest.fixture(name="new_builder")
def fixture_new_builder(new_slipway, registry):
    """Makes pairs of a project and its builder: new_builder(start=..., conf={...}, ...)."""
    made = []

    def make(start=True, conf=None, **builder):
        one = new_slipway()
        made.append(Builder(one, **builder))
        if start:
            made[-1].start()
        return project_of(one, registry, made[-1], conf=conf), made[-1]

    yield make
    try:
        for one in made:
            one.stop()
    finally:
        for one in made:
            one.remove()


def begin(project, registry, repository, text, run=None):
    """Starts the service and pushes a commit that is built."""
    write_image(project.git, "app", text, run=run)
    push(project, image(registry, repository), container_command=tool())
    if not project.slipway.work:
        project.slipway.start_work()


@pytest.fixture(name="serving")
def fixture_serving():
    """The receiver runs; `work` is started by begin()."""
    def serve(project):
        project.slipway.start_serve()
        return project
    return serve


def unpublished(registry, repository):
    return registry.tags(repository) in ([], None)


# --- it builds ----------------------------------------------------------------------------------

@pytest.mark.parametrize("accept", [False, True])
def test_a_webhook_builds(new_builder, serving, registry, repository, accept):
    """With a socket of its own, and as a process of systemd's for each connection."""
    project, builder = new_builder(accept=accept)
    begin(serving(project), registry, repository, "one", run="echo built")
    task = ends(project)
    assert task["state"] == "done", task
    assert registry.tags(repository) == ["latest"]
    nothing_left(project, builder)
    begin(project, registry, repository, "two")
    wait_until(lambda: len(project.tasks()) == 2, what="the second task")
    assert ends(project)["state"] == "done", project.tasks()
    nothing_left(project, builder)
    assert builder.process.running


# --- it is not there, or ends -------------------------------------------------------------------

def test_a_build_waits_for_its_builder(new_builder, serving, registry, repository):
    project, builder = new_builder(start=False)
    begin(serving(project), registry, repository, "waits")
    task = wait_until(lambda: [t for t in project.tasks() if t["reason"]], 20, "a reason")[0]
    assert task["state"] == "queued", task
    for said in (task["reason"], shown(project, task)):
        assert builder.socket in said and "start slipway-builder.socket" in said, said
    # Each look is not an attempt: it may take as long as it takes.
    time.sleep(5)
    task = project.tasks()[0]
    assert task["state"] in ("queued", "running") and task["attempt"] <= 1, task
    builder.start()
    task = ends(project)
    assert task["state"] == "done", task
    # And once more when it was there and is stopped.
    builder.stop()
    begin(project, registry, repository, "again")
    wait_until(lambda: len(project.tasks()) == 2 and project.tasks()[0]["reason"], 20, "a reason")
    assert "start slipway-builder.socket" in project.tasks()[0]["reason"]
    builder.start()
    assert ends(project)["state"] == "done", project.tasks()
    nothing_left(project, builder)


def slow_build(project, registry, repository):
    """A build whose step runs until a file is there; it can be seen from outside by its process."""
    write_image(project.git, "app", "slow", run="/bin/sh -c 'exec /bin/sh /app/step'")
    with open(os.path.join(project.git.folder, "app", "step"), "w", encoding="utf-8") as file:
        file.write("i=0\nwhile [ $i -lt 40 ]; do /app/busybox sleep 0.1; i=$((i + 1)); done\n")
    push(project, image(registry, repository), container_command=tool())
    project.slipway.start_work()
    wait_until(steps, 60, "the step runs")


@pytest.mark.parametrize("whole", [False, True])
def test_a_killed_builder(new_builder, serving, registry, repository, whole):
    """What builds ends itself and tidies up; where that is killed too, the next build does."""
    project, builder = new_builder()
    slow_build(serving(project), registry, repository)
    builder.kill(whole)
    wait_until(lambda: not steps(), 10, "its step has ended")
    wait_until(lambda: project.tasks()[0]["reason"], 20, "the reason")
    assert unpublished(registry, repository)
    if not whole:
        nothing_left(project, builder, but_kept=True)
    builder.start()
    task = ends(project)
    assert task["state"] == "done", task
    assert registry.tags(repository) == ["latest"]
    nothing_left(project, builder)


def test_a_killed_conversation(new_builder, serving, registry, repository):
    """The one that listens lives on, and says no until what was left has ended."""
    project, builder = new_builder()
    slow_build(serving(project), registry, repository)
    (talking,) = builder.talking()
    os.kill(talking, signal.SIGKILL)
    task = ends(project)
    assert task["state"] == "done" and task["attempt"] == 2, task
    assert registry.tags(repository) == ["latest"]
    assert builder.process.running
    nothing_left(project, builder)


def test_a_killed_worker(new_builder, serving, registry, repository):
    project, builder = new_builder()
    slow_build(serving(project), registry, repository)
    project.slipway.work.kill()
    wait_until(lambda: not steps(), 15, "the builder has ended the build")
    nothing_left(project, builder, but_kept=True)
    assert unpublished(registry, repository)
    project.slipway.start_work()
    task = ends(project)
    assert task["state"] == "done", task
    assert registry.tags(repository) == ["latest"]
    published = project.slipway.query("SELECT count(*) FROM target")
    assert published == [(1,)], published
    assert len(project.tasks()) == 1
    nothing_left(project, builder)


def test_a_stopped_worker(new_builder, serving, registry, repository):
    """SIGTERM ends the build soon, and it is no failure."""
    project, builder = new_builder()
    slow_build(serving(project), registry, repository)
    assert project.slipway.work.stop() == 0
    wait_until(lambda: not steps(), 15, "the build has ended")
    task = project.tasks()[0]
    assert task["state"] in ("queued", "failed", "running"), task
    project.slipway.start_work()
    assert ends(project)["state"] == "done", project.tasks()
    nothing_left(project, builder)


# --- builds that take too much ------------------------------------------------------------------

@pytest.mark.parametrize("what, run, conf, says", [
    ("prints", "/app/busybox yes 'no end' | /app/busybox head -c 1000000000; echo at its end;"
     " exit 5", {"log": "64K"}, ["at its end", "status 5"]),
    ("hangs", "(/app/busybox sleep 3000 &) ; /app/busybox sleep 3000", {"timeout": "4s"},
     ["timed out", "4 seconds"]),
    ("takes disk", "i=0; while [ $i -lt 400 ]; do"
     " /app/busybox dd if=/dev/zero of=/f$i bs=1M count=4;"
     " /app/busybox sleep 0.05; i=$((i + 1)); done", {"disk": "64M"}, ["67108864 bytes of disk"]),
    ("fails", "echo what is wrong; exit 3", {}, ["what is wrong", "status 3"]),
], ids=["prints", "hangs", "takes disk", "fails"])
def test_what_a_build_may_not(new_builder, serving, registry, repository, what, run, conf, says):
    project, builder = new_builder(conf=conf)
    begin(serving(project), registry, repository, what, run=run)
    task = ends(project)
    assert task["state"] == "dead", task
    for said in (task["reason"], shown(project, task)):
        assert all(part in said for part in says), said
    assert unpublished(registry, repository)
    nothing_left(project, builder)
    wait_until(lambda: not [pid for pid, argv in processes()
                            if argv.startswith(b"/app/busybox\0")], 10, "its steps have ended")
    # It is ready for the next one.
    begin(project, registry, repository, "good")
    wait_until(lambda: len(project.tasks()) == 2, what="the second task")
    assert ends(project)["state"] == "done", project.tasks()


def test_a_full_disk_passes(new_builder, serving, registry, repository):
    """It is nobody's fault for ever: tried again, and said meanwhile."""
    project, builder = new_builder(scratch_size="40M")
    begin(serving(project), registry, repository, "full",
          run="/app/busybox dd if=/dev/zero of=/f bs=1M count=100")
    task = ends(project, ("failed", "dead", "done"))
    assert task["state"] == "failed" and "disk is full" in task["reason"], task
    assert "disk is full" in shown(project, task)
    assert unpublished(registry, repository)
    done = project.slipway.cli("queue", "cancel", str(task["id"]))
    assert done.returncode == 0, done
    project.slipway.stop()
    builder.stop()
    nothing_left(project, builder, but_kept=True)


@pytest.mark.parametrize("context, says", [
    ("/".join(["deep"] * 800), "context"),
    ("a/" + "b" * 300, "context"),
    ("loop/loop/loop", "circle"),
], ids=["too many folders", "too long a name", "a circle of links"])
def test_contexts_that_are_none(new_builder, serving, registry, repository, context, says):
    project, builder = new_builder()
    write_image(project.git, "app", "deep")
    os.symlink("loop", os.path.join(project.git.folder, "loop"))
    push(serving(project), image(registry, repository, context=context), container_command=tool())
    project.slipway.start_work()
    wait_until(lambda: project.untouched() == 0, what="the push is looked at")
    if project.tasks():
        task = ends(project)
        assert task["state"] == "dead" and says in task["reason"], task
    else:
        reasons = project.slipway.query("SELECT reason FROM delivery")
        assert all(says in reason for reason, in reasons), reasons
    assert unpublished(registry, repository)
    nothing_left(project, builder)


def test_a_very_deep_source(new_builder, serving, registry, repository):
    """Whatever the tool makes of it: an end with a reason, and all of it can be removed."""
    project, builder = new_builder()
    write_image(project.git, "app", "deep")
    folder = os.path.join(project.git.folder, "app", *["d"] * 900)
    os.makedirs(folder)
    with open(os.path.join(folder, "file"), "w", encoding="utf-8") as file:
        file.write("deep")
    push(serving(project), image(registry, repository), container_command=tool())
    project.slipway.start_work()
    task = ends(project)
    assert task["state"] == "done" or task["reason"], task
    nothing_left(project, builder)


# --- hostile conversations ----------------------------------------------------------------------

def test_hostile_conversations(new_builder, serving, registry, repository):
    project, builder = new_builder()
    spec = {"version": 1, "tool": tool(), "format": "oci", "source": "/etc", "out": "/nowhere",
            "images": [{"name": "app", "context": "."}]}
    rows = [
        (b"\n", "the spec"), (b"\0\xff\xfe\n", "the spec"), (b"GET / HTTP/1.1\r\n\r\n", ""),
        (b"[" * 100000 + b"\n", "the spec"), (b"x" * (5 << 20), "longer than"),
        (b"{}\n{}\n", "more than one line"), (spec, "/nowhere"),
        (dict(spec, out="/tmp/../etc"), ""), (dict(spec, tool="sh"), "tool"),
        (dict(spec, images=[{"name": "../app", "context": "."}]), "name"),
        (dict(spec, images=[{"name": "app", "context": "../.."}]), "context"),
        (dict(spec, images=[{"name": "app", "context": "."}] * 5000), ""),
        (dict(spec, version=99), "version"), (dict(spec, timeout_s=-1), "timeout"),
    ]
    for sent, says in rows:
        result = patient(builder, sent)
        assert result and says in result["error"]["text"], (sent if len(sent) < 200 else "", result)
        assert builder.process.running
    half(builder)
    assert not [name for name in os.listdir(builder.scratch)]
    begin(serving(project), registry, repository, "after all this")
    assert ends(project)["state"] == "done", project.tasks()
    nothing_left(project, builder)


def patient(builder, sent):
    """The one before may not be gone yet."""
    def ready():
        result = builder.ask(sent)
        return result and result["error"]["code"] != errno.EBUSY and result
    return wait_until(ready, 10, "the builder is ready")


def half(builder):
    """Half a line, and gone; connections that say nothing keep nobody out for ever."""
    for text in (b"", b'{"version": 1, "sou', b'{"version": 1}'):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(builder.socket)
            with contextlib.suppress(BrokenPipeError):  # refused: the one before is not gone yet
                s.sendall(text)
    result = patient(builder, b"\n")
    assert result["error"]["kind"] == "input", result
    # While somebody talks, others are told so at once.
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(builder.socket)
        s.sendall(b"{")
        wait_until(lambda: "at work for somebody else" in json.dumps(builder.ask(b"\n")), 10,
                   "the second is refused")
    wait_until(lambda: "the spec" in json.dumps(builder.ask(b"\n")), 10, "the first has gone")
