"""Several platforms: one index of what each build made, and plain words where emulation lacks."""

import json
import os
import shutil

import pytest

from lib.building import (BUSYBOX, building, gated, image, left_behind, promoted, pushed, tool,
                          write_image, write_list)

POST = {"post": ["upload-container-image"]}
ARM64 = b"\xb7\x00"     # what an ELF header says in its bytes 18 and 19


def foreign_busybox(place):
    """A program that says it is of ARM's 64 bit: this machine's kernel will not run it."""
    shutil.copy(BUSYBOX, place)
    with open(place, "r+b") as file:
        file.seek(18)
        file.write(ARM64)


def is_emulated():
    return (os.uname().machine == "aarch64" or
            os.path.exists("/proc/sys/fs/binfmt_misc/qemu-aarch64"))


def platforms(registry, name, tag):
    index = json.loads(registry.manifest(name, tag).body)
    return ["/".join(child["platform"][key] for key in ("os", "architecture"))
            for child in index.get("manifests", [])]


def test_an_index_is_staged_and_promoted_whole(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    write_image(project.git, "app", "many")
    write_list(project.git, image(registry, repository, ["latest", "edge"],
                                  arch=["linux/amd64", "linux/arm64", "linux/s390x"]),
               container_command=tool())
    commit = project.git.commit()
    task = gated(project, 4, commit)
    assert task["state"] == "done" and "2 tags staged" in task["reason"], task
    staged = registry.digest(repository, "change_4_latest")
    shown = platforms(registry, repository, "change_4_latest")
    assert shown == ["linux/amd64", "linux/arm64", "linux/s390x"]
    assert promoted(project, 4, commit)["state"] == "done", project.tasks()
    assert registry.digest(repository, "latest") == staged == registry.digest(repository, "edge")
    for child in json.loads(registry.manifest(repository, "latest").body)["manifests"]:
        config = json.loads(registry.manifest(repository, child["digest"]).body)["config"]
        answer = registry.call("GET", f"/v2/{repository}/blobs/{config['digest']}")
        assert json.loads(answer.body)["architecture"] == child["platform"]["architecture"]


def test_an_image_from_one_of_the_same_platforms(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    both = ["linux/amd64", "linux/arm64"]
    write_image(project.git, "base", "base")
    write_image(project.git, "app", "app", base=f"{registry.host}/{repository}/base:latest")
    write_list(project.git, image(registry, repository + "/base", context="base", arch=both),
               image(registry, repository, arch=both), container_command=tool(), pipelines=POST)
    task = pushed(project)
    assert task["state"] == "done", task
    assert platforms(registry, repository, "latest") == both

    def layers(name):
        for child in json.loads(registry.manifest(name, "latest").body)["manifests"]:
            manifest = json.loads(registry.manifest(name, child["digest"]).body)
            yield [layer["digest"] for layer in manifest["layers"]]
    for mine, base in zip(layers(repository), layers(repository + "/base")):
        assert mine[:len(base)] == base and len(mine) > len(base)


@pytest.mark.skipif(is_emulated(), reason="this machine runs programs for arm64")
def test_missing_emulation_is_named(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    write_image(project.git, "app", "foreign", run="echo never")
    foreign_busybox(os.path.join(project.git.folder, "app", "busybox"))
    write_list(project.git, image(registry, repository, arch=["linux/arm64"]),
               container_command=tool(), pipelines=POST)
    task = pushed(project)
    assert task["state"] == "dead", task
    for word in ("qemu-user-static", "binfmt-support", "another processor", "linux/arm64"):
        assert word in task["reason"], (word, task)
    assert registry.tags(repository) == [] and left_behind(project) == []
