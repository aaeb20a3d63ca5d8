"""The three ways to publish one image of 8 MiB: from the merge to the live tag, each against the
tools that do the same by hand."""

import os
import secrets
import shutil
import sqlite3
import subprocess
import time

import raw

WAYS = ("tag", "intermediate", "release")
BYTES = 8 << 20
SECONDS = 120
TOOL = "podman" if shutil.which("podman") else "buildah"
VARS = {
    "tag": "",
    "intermediate": "vars: {promote_container_image_method: intermediate-registry}\n",
    "release": "pipelines: {promote: [], post: [upload-container-image]}\n",
}


class Repository:
    """One project of the bench's plain git, whose image is built from a file of random bytes."""

    def __init__(self, world, way):
        self.world = world
        self.way = way
        self.name = f"ways/{way}"
        self.bare = world.folder.file("git", self.name + ".git")
        self.clone = world.folder.file("ways", way)
        world.git("init", "-q", "--bare", "-b", "main", self.bare)
        for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
            world.git("-C", self.bare, "config", key, "true")
        world.git("init", "-q", "-b", "main", self.clone)
        world.folder.write(f"ways/{way}/.slipway.yaml", f"""container_images:
  - context: .
    registry: {world.host}
    repository: {world.host}/{self.name}
    tags: [latest]
{VARS[way]}""")
        world.folder.write(f"ways/{way}/Containerfile", "FROM scratch\nCOPY data /data\n")

    def commit(self):
        """Another image's sources, pushed; returns the commit."""
        with open(os.path.join(self.clone, "data"), "wb") as file:
            file.write(secrets.token_bytes(BYTES))
        self.world.git("-C", self.clone, "add", "-A")
        self.world.git("-C", self.clone, "commit", "-q", "-m", "more")
        self.world.git("-C", self.clone, "push", "-q", self.bare, "HEAD:refs/heads/main")
        return self.world.git("-C", self.clone, "rev-parse", "HEAD")

    def send(self, connection, kind, commit, **more):
        body = raw.encode({"kind": kind, "project": self.name, "branch": "main", "commit": commit,
                           **more})
        self.world.post(connection, "plain", (body, raw.standard_headers(
            self.world.plain_text, self.world.plain_key, body)))


def query(world, text, *args):
    path = os.path.join(world.folder.sockets, "slipway.db")
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        return db.execute(text, args).fetchone()
    finally:
        db.close()


def finished(world, repository, pipeline, commit):
    """Waits for the end of a commit's task in a pipeline; returns when its tags were live."""
    until = time.monotonic() + SECONDS
    while True:
        row = query(world, "SELECT state, live_at, reason FROM task WHERE project = ? AND"
                           " pipeline = ? AND order_commit = ?", repository.name, pipeline, commit)
        if row and row[0] == "done":
            return row[1]
        if (row and row[0] in ("dead", "partial", "skipped")) or time.monotonic() > until:
            raise RuntimeError(f"{repository.name}, {pipeline}: {row}")
        time.sleep(0.02)


def by_slipway(world, connection, repository):
    """Seconds from sending the event to a verified final tag."""
    commit = repository.commit()
    if repository.way == "release":
        sent = time.time()
        repository.send(connection, "branch.pushed", commit)
        return finished(world, repository, "post", commit) / 1000 - sent
    world.change += 1
    change = str(world.change)
    repository.send(connection, "change.gated", commit, change=change)
    finished(world, repository, "gate", commit)
    sent = time.time()
    repository.send(connection, "change.merged", commit, change=change)
    return finished(world, repository, "promote", commit) / 1000 - sent


def by_hand(world, repository, turn):
    """What a script would do at that moment with the same image."""
    def call(*argv):
        subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL)

    store = [TOOL, f"--root={world.folder.file('hand', 'store')}",
             f"--runroot={world.folder.file('hand', 'run')}", "--storage-driver=vfs"]
    final = f"{world.host}/hand/{repository.way}:latest"
    staged = (f"{world.host}/hand/{repository.way}:change_{turn}_latest"
              if repository.way == "tag" else f"{world.staging}/hand:{turn}_latest")

    def build(ref, sources=repository.clone):
        call(*store, "build", "--isolation=chroot", "-t", ref, sources)
        call(*store, "push", "--tls-verify=false", ref)

    def copy(source, target):
        call("skopeo", "copy", "--all", "--quiet", "--src-tls-verify=false",
             "--dest-tls-verify=false", f"docker://{source}", f"docker://{target}")

    if repository.way != "release":
        build(staged)
    started = time.monotonic()
    if repository.way == "release":
        sources = world.folder.file("hand", "sources", str(turn))
        call("git", "clone", "-q", "--depth=1", "file://" + repository.bare, sources)
        build(final, sources)
    else:
        copy(staged, final)
    return time.monotonic() - started


def run(world, times):
    """Rounds in which each way has its turn, the first of them unmeasured."""
    connection = raw.Raw(f"127.0.0.1:{world.port}")
    repositories = [Repository(world, way) for way in WAYS]
    slipway, hand = {way: [] for way in WAYS}, {way: [] for way in WAYS}
    for turn in range(times + 1):
        for repository in repositories:
            seconds = by_slipway(world, connection, repository)
            peer = by_hand(world, repository, turn)
            if turn:
                slipway[repository.way].append(seconds)
                hand[repository.way].append(peer)
    connection.close()
    return {"tool": TOOL,
            "ms": {way: round(raw.median_ms(values), 1) for way, values in slipway.items()},
            "by_hand": {way: round(raw.median_ms(values), 1) for way, values in hand.items()}}
