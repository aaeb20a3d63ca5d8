"""A CI node: a working tree, a folder for temporary things, and the jobs as commands. No service,
no configuration, no credentials but those that a test gives."""

import base64
import json
import os

from .byhand import run
from .net import wait_until
from .process import Process
from .project import SECRET, Git
from .slipway import binary

DONE, FAILED, USAGE, CHANGES, NOT_FOUND, DENIED, TRY_LATER = 0, 1, 2, 3, 4, 5, 75
SLOWLY = 120  # seconds that a command may take: builds under sanitizers, beside others


def write_auth(path, accounts):
    """An auth.json: {host: (user, password)}."""
    auths = {host: {"auth": base64.b64encode(":".join(pair).encode()).decode()}
             for host, pair in accounts.items()}
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"auths": auths}, file)
    return str(path)


def reporting(project, secret=SECRET):
    """Flags, and the environment, with which a node tells a service what it staged."""
    return (["--report-to", project.slipway.nginx.url + "/hooks/code",
             "--report-secret", "env:HOOK_SECRET"], {"HOOK_SECRET": secret})


def targets(ran):
    """{target: row} of what --format json printed."""
    return {row["target"]: row for row in ran.json["images"]}


class Node:
    """Speaks to `registries` by plain http. `git`: a clone that is there already."""

    def __init__(self, folder, *registries, git=None):
        self.folder = str(folder)
        self.tmp = os.path.join(self.folder, "tmp")
        self.home = os.path.join(self.folder, "home")
        for name in (self.tmp, self.home):
            os.makedirs(name)
        self.git = git or Git(os.path.join(self.folder, "tree"))
        self.git.run("remote", "add", "origin", "https://code.example.org/team/app.git")
        self.flags = [word for one in registries for word in ("--plain-http", one.host)]

    def env(self, more=None):
        return {"TMPDIR": self.tmp, "HOME": self.home, "XDG_RUNTIME_DIR": self.home,
                **(more or {})}

    def argv(self, command, argv):
        return [command, "--source", self.git.folder, *self.flags, *argv]

    def run(self, command, *argv, code=DONE, env=None):
        """A job to its end; however it ends, nothing is left behind."""
        done = run(*self.argv(command, argv), env=self.env(env), timeout=SLOWLY)
        assert done.code == code, done
        assert self.left() == [], done
        return done

    def start(self, command, *argv, env=None):
        """A job under way; its output is in one file."""
        return Process(f"slipway {command}", [binary(), *self.argv(command, argv)],
                       os.path.join(self.folder, "log"), env=self.env(env))

    def left(self):
        """What commands left: files in the temporary folder, and processes that have to do with
        it."""
        return sorted(os.listdir(self.tmp)) + self.processes()

    def processes(self):
        return [line for pid in os.listdir("/proc") if pid.isdigit()
                for line in [about_process(pid, self.tmp)] if line]

    def gone(self, timeout=20):
        """Waits until nothing is left; fails with what is."""
        wait_until(lambda: not self.left() or None, timeout, "all is taken away", every=0.05)


def about_process(pid, folder):
    """The command line of a process that works in a folder; None where it does not."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            line = file.read()
        with open(f"/proc/{pid}/environ", "rb") as file:
            about = line + file.read()
        about += b"".join(os.readlink(f"/proc/{pid}/{link}").encode() for link in ("root", "cwd"))
    except OSError:  # it has just ended
        return None
    return line.replace(b"\0", b" ").decode("utf-8", "replace") \
        if folder.encode() in about else None
