"""Repositories whose images can be built here: FROM scratch, with a static busybox where needed."""

import json
import os
import shutil

BUSYBOX = "/bin/busybox"


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
            "repository": f"{registry.host}/{name}", "tags": list(tags), **more}


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
