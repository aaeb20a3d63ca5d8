"""Repositories whose images can be built here: FROM scratch, with a static busybox where needed."""

import contextlib
import gzip
import io
import json
import os
import shutil
import tarfile

from .images import push_image
from .net import wait_until
from .project import ENDED, Project

BUSYBOX = "/bin/busybox"
ALL = ["check", "gate", "promote", "post", "tag", "release"]


def tool():
    """The builder that is installed."""
    return "podman" if shutil.which("podman") else "buildah"


def containerfile(base="scratch", run=None):
    lines = [f"FROM {base}", "COPY . /app/"]
    if run:
        lines += ["COPY busybox /bin/sh", f"RUN {run}"]
    return "\n".join(lines) + "\n"


def write_image(git, folder, text, base="scratch", run=None, name="Containerfile"):
    """Writes (does not commit) what an image is made of."""
    where = os.path.join(git.folder, folder)
    os.makedirs(where, exist_ok=True)
    with open(os.path.join(where, name), "w", encoding="utf-8") as file:
        file.write(containerfile(base, run))
    with open(os.path.join(where, "hello"), "w", encoding="utf-8") as file:
        file.write(text)
    if run:
        shutil.copy(BUSYBOX, os.path.join(where, "busybox"))


def image(registry, name, tags=("latest",), context="app", **more):
    return {"context": context, "registry": registry.host,
            "repository": f"{registry.host}/{name}",
            "tags": tags if isinstance(tags, str) else list(tags), **more}


def write_list(git, *images, pipelines=None, **variables):
    doc = {"container_images": list(images)}
    if pipelines:
        doc["pipelines"] = pipelines
    if variables:
        doc["vars"] = variables
    with open(os.path.join(git.folder, ".slipway.yaml"), "w", encoding="utf-8") as file:
        json.dump(doc, file)


def config_of(registry, name, tag):
    """The config of what a tag shows (of an index: of its first child)."""
    manifest = json.loads(registry.manifest(name, tag).body)
    if "manifests" in manifest:
        manifest = json.loads(registry.manifest(name, manifest["manifests"][0]["digest"]).body)
    answer = registry.call("GET", f"/v2/{name}/blobs/{manifest['config']['digest']}")
    return json.loads(answer.body)


def push_base(registry, name, tag="latest", **files):
    """An image that others can be FROM: of these files, else of one; returns its digest."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, data in (files or {"base": b"of this\n"}).items():
            item = tarfile.TarInfo(path)
            item.size = len(data)
            tar.addfile(item, io.BytesIO(data))
    return push_image(registry.client(), name, tag, layers=[out.getvalue()])


def files_of(registry, name, tag):
    """{path: bytes} of an image's plain files (of an index: of its first child's)."""
    manifest = json.loads(registry.manifest(name, tag).body)
    if "manifests" in manifest:
        manifest = json.loads(registry.manifest(name, manifest["manifests"][0]["digest"]).body)
    found = {}
    for layer in manifest["layers"]:
        data = registry.call("GET", f"/v2/{name}/blobs/{layer['digest']}").body
        data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            found.update({item.name: tar.extractfile(item).read()
                          for item in tar if item.isfile()})
    return found


def building(new_slipway, registry, *more, zuul=None, started=True, **policy):
    """A running Slipway with a project that may build, and a builder of its own; `more` registries
    are configured, too."""
    one = new_slipway()
    for server in more:
        one.config["registries"][server.host] = {"plain_http": True}
    one.config["builder"] = {"dir": os.path.join(one.folder, "builds"),
                             "scratch": os.path.join(one.folder, "scratch")}
    if zuul:
        one.config["zuul"] = zuul
    for folder in one.config["builder"].values():
        os.makedirs(folder)
    project = Project(one, registry, **{"may_build": ALL, **policy})
    if started:
        one.start()
    return project


def left_behind(project):
    """What builds left: nothing but the lock. The last of it goes just after a task's end is told.
    """
    def look():
        return [name for where in ("builds", "scratch")
                for name in os.listdir(os.path.join(project.slipway.folder, where))
                if not name.startswith(".")]
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not look(), 5, "all is taken away")
    return look()


def pushed(project, commit=None, timeout=120):
    """A push to main, made known; its task, ended."""
    commit = commit or project.git.commit()
    before = len(project.tasks())
    project.send("branch.pushed", branch="main", commit=commit)

    def look():
        tasks = project.tasks()
        return tasks[0] if len(tasks) > before and tasks[0]["state"] in ENDED else None
    return wait_until(look, timeout, "the push's task ends", every=0.05)


def gated(project, change, commit, **more):
    """The gate's upload of a change, ended."""
    before = len(project.tasks())
    project.send("change.gated", change=str(change), branch="main", commit=commit, **more)
    wait_until(lambda: len(project.tasks()) > before, 30, "the gate has a task")
    return project.ended(change, timeout=120)


def promoted(project, change, commit, timeout=120, **more):
    """The merge of a change, its task ended."""
    before = len(project.tasks())
    project.merged(change, commit, **more)
    wait_until(lambda: len(project.tasks()) > before, 30, "the merge has a task")
    return project.ended(change, timeout=timeout)
