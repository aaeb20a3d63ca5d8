"""A project: a git repository with an image list, and the events of its code review."""

import itertools
import json
import os
import subprocess
import time

from . import signing
from .net import call, wait_until
from .process import environment, tool
from .slipway import Slipway

SECRET = "whsec_" + "c2xpcHdheS1ib3gtdGVzdHMtc2VjcmV0LTAxMjM0NTY3"
ids = itertools.count(1)
ENDED = ("done", "skipped", "superseded", "dead", "partial", "held", "cancelled")


class Git:
    """A repository under `folder`, with one branch main; every commit is made by commit()."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder)
        self.run("init", "-q", "-b", "main")
        for key in ("uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"):
            self.run("config", key, "true")

    def run(self, *argv, when=None):
        env = environment({"HOME": self.folder, "GIT_CONFIG_NOSYSTEM": "1"})
        for who in ("AUTHOR", "COMMITTER"):
            env[f"GIT_{who}_NAME"] = env[f"GIT_{who}_EMAIL"] = "box"
            if when:
                env[f"GIT_{who}_DATE"] = f"{when} +0000"
        done = subprocess.run([tool("git"), "-C", self.folder, *argv], env=env, check=False,
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, files=None, message="work"):
        for name, text in (files or {}).items():
            path = os.path.join(self.folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        self.run("add", "-A")
        self.run("commit", "-q", "--allow-empty", "-m", message)
        return self.run("rev-parse", "HEAD")

    def tree(self, commit="HEAD"):
        return self.run("rev-parse", commit + "^{tree}")


def image_list(host, *images):
    """The smallest image list: pairs of repository and tags."""
    rows = [{"context": "app", "registry": host, "repository": f"{host}/{name}", "tags": tags}
            for name, tags in images]
    return json.dumps({"container_images": rows})


class Project:
    """A Slipway with one forge `code` (plain git) and one project in it."""

    def __init__(self, slipway, registry, name="team/app", **policy):
        self.slipway = slipway
        self.registry = registry
        self.name = name
        base = os.path.join(slipway.folder, "git")
        self.git = Git(os.path.join(base, name))
        forge = {"type": "git", "url": "https://code.example.org", "git": "file://" + base,
                 "hook_secrets": [slipway.secret("code", SECRET)]}
        slipway.config["forges"]["code"] = forge
        slipway.config["registries"].setdefault(registry.host, {"plain_http": True})
        slipway.config["projects"].append({
            "match": name, "forge": "code", "branches": ["main"],
            "may_publish": [registry.host + "/box/**"], **policy})
        slipway.write_config()

    def list(self, *images):
        """Commits an image list; returns the commit."""
        return self.git.commit({".slipway.yaml": image_list(self.registry.host, *images)})

    def send(self, kind, ident=None, **body):
        """A signed delivery through nginx; returns the answer."""
        data = json.dumps({"kind": kind, "project": self.name, **body}).encode()
        ident = ident or f"msg_{os.getpid()}_{next(ids)}"
        stamp = str(int(time.time()))
        return call("POST", self.slipway.nginx.url + "/hooks/code", data, {
            "Content-Type": "application/json", "webhook-id": ident, "webhook-timestamp": stamp,
            "webhook-signature": signing.standard(SECRET, ident, stamp, data)})

    def merged(self, change, commit, staged_commit=None, **more):
        answer = self.send("change.merged", branch=more.pop("branch", "main"), change=str(change),
                           commit=commit, staged_commit=staged_commit or commit, **more)
        assert answer.status in (200, 202), answer
        return answer

    def staged(self, change, commit, images, **more):
        """What a gate records; images are (repository name, staged tag, digest)."""
        rows = [{"repository": f"{self.registry.host}/{name}", "tag": tag, "digest": digest}
                for name, tag, digest in images]
        answer = self.send("image.staged", change=str(change), commit=commit, images=rows, **more)
        assert answer.status == 202, answer
        wait_until(lambda: self.untouched() == 0, what="the record is taken")

    def tasks(self):
        """Newest first. Read from the store: a command for each look would be slow."""
        columns = ("id", "state", "project", "ref", "reason", "attempt")
        rows = self.slipway.query(f"SELECT {', '.join(columns)} FROM task"
                                  " WHERE project = ? ORDER BY id DESC", self.name)
        return [dict(zip(columns, row)) for row in rows]

    def untouched(self):
        """How many deliveries nobody has looked at yet."""
        return self.slipway.query("SELECT count(*) FROM delivery WHERE verdict = 'new'")[0][0]

    def task(self, change):
        """The newest task of a change or a git tag, None when there is none."""
        for task in self.tasks():
            if task["ref"] in (f"change/{change}", f"refs/tags/{change}"):
                return task
        return None

    def ended(self, change, states=ENDED, timeout=30):
        """Waits until the newest task of a change is in one of the states; returns it."""
        def look():
            task = self.task(change)
            return task if task and task["state"] in states else None
        try:
            return wait_until(look, timeout, f"the task of {change} ends", every=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.task(change)}\n"
                                 f"{self.slipway.work.said()[-3000:]}") from None


def new_project(new_slipway, registry, started=True, **policy):
    """A running Slipway with one project of its own."""
    one = new_slipway()
    assert isinstance(one, Slipway)
    project = Project(one, registry, **policy)
    if started:
        one.start()
    return project
