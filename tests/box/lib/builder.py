"""`slipway builder` on a socket, as root or as a user of its own, and what builds leave behind."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket

from .building import write_list
from .net import wait_until
from .process import Process, environment, tool
from .project import Project

# Nobody's on any machine; the builder's gets a name for as long as it runs, since its tools ask.
GROUP, WORKER, BUILDER = 61180, 61184, 61186
SUBIDS = "2000000:65536"
ALL = ["check", "gate", "promote", "post", "tag", "release"]
AS_WORKER = ["setpriv", f"--reuid={WORKER}", f"--regid={GROUP}", f"--groups={BUILDER}",
             "--no-new-privs", "--"]
AS_BUILDER = ["setpriv", f"--reuid={BUILDER}", f"--regid={BUILDER}", "--clear-groups", "--"]


class Builder:
    """Not started. `scratch` is short, because podman takes no long paths."""

    def __init__(self, one, accept=False, user=False, subids=True, scratch_size=None):
        self.bin = one.bin
        self.folder = one.folder
        self.socket = os.path.join(one.folder, "b.sock")
        self.log = os.path.join(one.folder, "builder.log")
        self.scratch = f"/tmp/x{secrets.token_hex(2)}"
        os.mkdir(self.scratch, 0o700)
        self.accept = accept
        self.user = user
        self.subids = subids
        self.scratch_size = scratch_size
        self.process = None
        if user:
            os.chown(self.scratch, BUILDER, BUILDER)
            # Made by root, as systemd's socket is; and not to be taken away by the builder.
            self.socket = os.path.join(one.folder, "run", "b.sock")
            os.makedirs(os.path.dirname(self.socket), exist_ok=True)
            os.chown(os.path.dirname(self.socket), BUILDER, BUILDER)

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def mounts(self):
        """Lines of a shell that make the builder's own view of the machine."""
        lines = []
        if self.user:
            with open("/etc/passwd", encoding="utf-8") as file:
                users = self.file("passwd", file.read()
                                  + f"box-builder:x:{BUILDER}:{BUILDER}::/:/usr/sbin/nologin\n")
            ids = self.file("subids", f"box-builder:{SUBIDS}\n" if self.subids else "")
            lines += [f"mount --bind {users} /etc/passwd",
                      f"mount --bind {ids} /etc/subuid", f"mount --bind {ids} /etc/subgid"]
        if self.scratch_size:
            lines.append(f"mount -t tmpfs -o size={self.scratch_size} tmpfs {self.scratch}")
        return lines

    def start(self, *more):
        command = [self.bin, "builder", "--scratch", self.scratch]
        if self.accept:
            # Passes nothing of its environment on but PATH and what is named.
            kept = [f"--setenv={name}" for name in environment() if name.endswith("OPTIONS")]
            command = [tool("systemd-socket-activate"), "--accept", *kept, "-l", self.socket,
                       *command]
        else:
            command += ["--listen", self.socket]
        if self.user:
            command = [*AS_BUILDER, *command]
        lines = [*self.mounts(), *more]
        if lines:
            command = ["unshare", "--mount", "--propagation=private", "sh", "-ec",
                       "\n".join([*lines, 'exec "$@"']), "sh", *command]
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self.process = Process("slipway builder", command, self.log,
                               ready=lambda: os.path.exists(self.socket))
        if self.user and self.accept:
            # As the socket's unit has it.
            os.chown(self.socket, WORKER, 0)
            os.chmod(self.socket, 0o600)
        return self

    def family(self):
        """The builder's own processes: the one that listens and those of conversations."""
        return [pid for pid, argv in processes() if b"builder" in argv and (
            self.scratch.encode() in argv)]

    def stop(self):
        if self.process and self.process.running:
            self.process.stop(signal.SIGTERM)

    def talking(self):
        """The process of the conversation; its child builds."""
        return [pid for pid in self.family() if parent(pid) == self.process.pid]

    def kill(self, whole=False):
        """-9; whole: to its processes that build, too, all at once."""
        for pid in self.family() if whole else self.talking():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()

    def remove(self):
        if self.process and self.process.running:
            self.process.kill()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def ask(self, spec, timeout=60):
        """One conversation: what is sent, as bytes or as a spec; returns the result."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(timeout)
            s.connect(self.socket)
            try:
                s.sendall(spec if isinstance(spec, bytes) else json.dumps(spec).encode() + b"\n")
            except (BrokenPipeError, ConnectionResetError):
                pass
            with s.makefile("rb") as lines:
                for line in lines:
                    said = json.loads(line)
                    if "result" in said:
                        return said["result"]
        return None


def processes():
    """Pairs of pid and arguments; a process that ends meanwhile is none."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                argv = file.read()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if argv:
            yield int(name), argv


def steps():
    """The processes of slow_build's step."""
    return [pid for pid, argv in processes() if argv.startswith(b"/bin/sh\0/app/step")]


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def project_of(one, registry, builder, user=False, conf=None, **policy):
    """A project that may build; nothing runs yet but the builder, if it was started."""
    builds = os.path.join(one.folder, "builds")
    one.config["builder"] = {"dir": builds, "socket": builder.socket, **(conf or {})}
    os.makedirs(builds)
    project = Project(one, registry, **{"may_build": ALL, **policy})
    if user:
        # As tmpfiles makes them; the folder is the store's, too.
        os.chown(one.folder, 0, GROUP)
        os.chmod(one.folder, 0o2771)
        os.chown(builds, WORKER, BUILDER)
        os.chmod(builds, 0o2750)
        cache = os.path.join(one.folder, "cache")
        os.makedirs(cache, exist_ok=True)
        os.chown(cache, WORKER, GROUP)
        for name in os.listdir(one.folder):
            if name.endswith(".secret"):
                os.chown(os.path.join(one.folder, name), 0, GROUP)
                os.chmod(os.path.join(one.folder, name), 0o640)
    return project


def start_worker(one):
    """`work` under its own user, as its unit starts it."""
    one.work_log_start = 0
    one.work = Process("slipway work", [*AS_WORKER, one.bin, "work", "--config", one.config_path],
                       one.log("work"), umask=0o007)


def push(project, *images, **variables):
    """Commits an image list that is built at each push, and says so; returns the commit."""
    write_list(project.git, *images, pipelines={"post": ["upload-container-image"]}, **variables)
    commit = project.git.commit()
    answer = project.send("branch.pushed", branch="main", commit=commit)
    assert answer.status == 202, answer
    return commit


def ends(project, states=("done", "dead"), timeout=120):
    def look():
        tasks = project.tasks()
        return tasks[0] if tasks and tasks[0]["state"] in states else None
    try:
        return wait_until(look, timeout, f"the task is {states}", every=0.05)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{project.tasks()}\n"
                             f"{project.slipway.work.said()[-3000:]}") from None


def shown(project, task):
    """What an operator sees of it."""
    done = project.slipway.cli("queue", "show", str(task["id"]))
    assert done.returncode == 0, done
    return " ".join(done.stdout.decode().split())


def left_behind(project, builder):
    """Folders, processes and mounts of builds."""
    builds = project.slipway.config["builder"]["dir"]
    left = [f"{where}/{name}" for where in (builds, builder.scratch)
            for name in os.listdir(where) if name not in (".lock", ".logs")]
    family = builder.family()
    if builder.process and builder.process.running:
        family = [pid for pid in family if pid != builder.process.pid]
    left += [f"process {pid}" for pid in family]
    for pid, argv in processes():
        if builder.scratch.encode() in argv and f"process {pid}" not in left and (
                b"slipway" not in argv):
            left.append(f"process {pid}: {argv!r}")
    with open("/proc/self/mounts", encoding="utf-8") as file:
        left += [line for line in file if builder.scratch in line]
    return left


def nothing_left(project, builder, timeout=15, but_kept=False):
    """but_kept: the folder in which `work` goes on with a retry is no remnant."""
    def left():
        return [what for what in left_behind(project, builder)
                if not (but_kept and "/builds/" in what)]
    try:
        wait_until(lambda: not left(), timeout, "nothing is left")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{left()}") from None
