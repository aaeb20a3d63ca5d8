"""What the keys of an image do to the image: build args, target, path, labels, environment, sources
from elsewhere (siblings, submodules, LFS), format."""

import json
import os
import shutil
import subprocess

import pytest

from lib.building import (building, config_of, files_of, gated, image, left_behind, promoted,
                          pushed, tool, write_image, write_list)
from lib.oci import DOCKER_MANIFEST, MANIFEST
from lib.process import environment
from lib.project import Project
from lib.web import ROOT

POST = {"post": ["upload-container-image"]}
SHELL = "FROM scratch AS first\nCOPY busybox /bin/sh\nCOPY . /app/\n"


def write_file(git, path, text):
    where = os.path.join(git.folder, path)
    os.makedirs(os.path.dirname(where), exist_ok=True)
    with open(where, "w", encoding="utf-8") as file:
        file.write(text)


def with_shell(git, folder, text, name="Containerfile"):
    """An image whose container file may RUN."""
    write_image(git, folder, "hello", run="true", name=name)
    write_file(git, f"{folder}/{name}", text)


def published(project, registry, repository, commit=None):
    task = pushed(project, commit)
    assert task["state"] == "done", task
    assert left_behind(project) == []
    return files_of(registry, repository, "latest")


# --- one list for everything --------------------------------------------------------------------

def test_one_list_serves_every_pipeline(new_slipway, registry, repository):
    """The smallest list: check builds, gate stages, promote retags, a git tag publishes anew."""
    project = building(new_slipway, registry)
    write_image(project.git, "app", "the same")
    write_list(project.git, image(registry, repository, ["{{ zuul.tag | default('latest') }}"]),
               container_command=tool())
    commit = project.git.commit()
    project.send("change.opened", change="8", branch="main", commit=commit)
    assert "1 image built" in project.ended(8, timeout=120)["reason"]
    assert registry.tags(repository) == []
    assert gated(project, 8, commit)["state"] == "done"
    assert registry.tags(repository) == ["change_8_latest"]
    staged = registry.digest(repository, "change_8_latest")
    assert promoted(project, 8, commit)["state"] == "done"
    assert registry.digest(repository, "latest") == staged
    project.git.run("tag", "1.0.0")
    project.send("tag.pushed", ref="refs/tags/1.0.0", commit=commit)
    assert project.ended("1.0.0", timeout=120)["state"] == "done"
    assert registry.tags(repository) == ["1.0.0", "latest"]
    assert registry.digest(repository, "latest") == staged


# --- the keys of an image -----------------------------------------------------------------------

def test_args_target_labels_and_file(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    with_shell(project.git, "images/app", SHELL + "FROM first AS second\nARG WHO\nARG WHAT\n"
               "RUN echo \"$WHO $WHAT\" > /said\nFROM second AS third\nRUN echo no > /third\n",
               name="Containerfile.app")
    write_list(project.git, image(
        registry, repository, container_filename="Containerfile.app", target="second",
        build_args=["WHO=box", 'WHAT="two words; $(id)"'],
        labels=["org.example.team=app", "org.zuul-ci.change=99"]),
        container_command=tool(), pipelines={"gate": ["upload-container-image"]},
        zuul_work_dir="{{ zuul.project.src_dir }}/images")
    commit = project.git.commit()
    url = "https://code.example.org/team/app/pull/7"
    task = gated(project, 7, commit, url=url)
    assert task["state"] == "done", task
    files = files_of(registry, repository, "change_7_latest")
    assert files["said"] == b"box two words; $(id)\n" and "third" not in files
    labels = config_of(registry, repository, "change_7_latest")["config"]["Labels"]
    assert labels["org.example.team"] == "app"
    # What a repository writes under these names does not hide where the image comes from.
    assert labels["org.zuul-ci.change"] == "7" and labels["org.zuul-ci.change_url"] == url


def test_path_is_what_is_sent(new_slipway, registry, repository):
    project = building(new_slipway, registry)
    write_image(project.git, "app/inner", "inner")
    write_file(project.git, "app/outer", "not sent")
    write_list(project.git, image(registry, repository, path="inner"), container_command=tool(),
               pipelines=POST)
    files = published(project, registry, repository)
    assert files["app/hello"] == b"inner" and "app/outer" not in files


def test_environment_of_the_tool(new_slipway, registry, repository, tmp_path):
    """What the repository adds is there; what `work` runs with is not."""
    wrapper = tmp_path / tool()
    wrapper.write_text(f"#!/bin/sh\nenv >> {tmp_path}/seen\nexec {shutil.which(tool())} \"$@\"\n")
    wrapper.chmod(0o755)
    project = building(new_slipway, registry, started=False)
    project.slipway.start_serve()
    project.slipway.start_work(env={"PATH": f"{tmp_path}:{environment()['PATH']}",
                                    "BOX_SECRET": "geheim"})
    write_image(project.git, "app", "env")
    write_list(project.git, image(registry, repository), container_command=tool(), pipelines=POST,
               container_build_extra_env={"BUILD_COLOUR": "green and blue"})
    published(project, registry, repository)
    seen = (tmp_path / "seen").read_text().splitlines()
    assert "BUILD_COLOUR=green and blue" in seen
    assert not [line for line in seen if "geheim" in line]


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "http_proxy", "CONTAINERS_CONF"])
def test_environment_that_is_not_for_a_repository(new_slipway, registry, repository, name):
    project = building(new_slipway, registry)
    write_image(project.git, "app", "env")
    write_list(project.git, image(registry, repository), container_command=tool(), pipelines=POST,
               container_build_extra_env={name: "/tmp/x"})
    task = pushed(project)
    assert task["state"] == "dead" and f"{name} is not for a repository" in task["reason"], task
    assert registry.tags(repository) == [] and left_behind(project) == []


@pytest.mark.parametrize("form, builder", [("oci", "podman"), ("docker", "podman"),
                                           ("oci", "buildah"), ("docker", "buildah")])
def test_format(new_slipway, registry, repository, form, builder):
    project = building(new_slipway, registry)
    with_shell(project.git, "app", SHELL + "HEALTHCHECK CMD /bin/sh -c true\n")
    write_list(project.git, image(registry, repository), container_command=builder, pipelines=POST,
               container_image_format=form)
    published(project, registry, repository)
    manifest = json.loads(registry.manifest(repository, "latest").body)
    assert manifest["mediaType"] == (MANIFEST if form == "oci" else DOCKER_MANIFEST)
    for layer in manifest["layers"]:
        assert layer["mediaType"].endswith("gzip")
    config = config_of(registry, repository, "latest")["config"]
    assert ("Healthcheck" in config) == (form == "docker")
    # The log of a build by hand shows what is lost.
    built = subprocess.run([project.slipway.bin, "build"], cwd=project.git.folder, check=False,
                           capture_output=True,
                           env=environment({"HOME": project.slipway.folder}))
    said = built.stderr + built.stdout
    assert built.returncode == 0, said
    assert (b"knows no HEALTHCHECK" in said) == (form == "oci")


# --- sources from elsewhere ---------------------------------------------------------------------

def test_siblings(new_slipway, registry, repository):
    project = building(new_slipway, registry, started=False, sources=["team/lib"])
    lib = Project(project.slipway, registry, "team/lib")
    project.slipway.start()
    write_file(lib.git, "lib.txt", "of the sibling\n")
    lib.git.commit()
    with_shell(project.git, "app", SHELL + "ARG ZUUL_SIBLINGS\n"
               "RUN echo \"$ZUUL_SIBLINGS\" > /siblings\n")
    with_shell(project.git, "other", SHELL)
    name = "code.example.org/team/lib"
    write_list(project.git, image(registry, repository, siblings=[name]),
               image(registry, repository + "/other", context="other"),
               container_command=tool(), pipelines=POST)
    files = published(project, registry, repository)
    assert files["siblings"] == b".zuul-siblings/" + name.encode() + b"\n"
    assert files[f"app/.zuul-siblings/{name}/lib.txt"] == b"of the sibling\n"
    other = files_of(registry, repository + "/other", "latest")
    assert not [path for path in other if "zuul-siblings" in path]


@pytest.mark.parametrize("name, says", [
    ("code.example.org/team/secret", "does not let builds of team/app take in 'team/secret'"),
    ("code.example.org/team/gone", "sibling code.example.org/team/gone"),
])
def test_siblings_that_are_not_for_us(new_slipway, registry, repository, name, says):
    project = building(new_slipway, registry, started=False, sources=["team/gone"])
    gone = Project(project.slipway, registry, "team/gone")
    project.slipway.start()
    assert gone.git.run("branch") == ""
    write_image(project.git, "app", "alone")
    write_list(project.git, image(registry, repository, siblings=[name]),
               container_command=tool(), pipelines=POST)
    task = pushed(project)
    assert task["state"] == "dead" and says in task["reason"], task
    assert registry.tags(repository) == [] and left_behind(project) == []


def with_submodule(project, registry):
    """team/app with team/lib at app/sub."""
    lib = Project(project.slipway, registry, "team/lib")
    write_file(lib.git, "lib.txt", "of the submodule\n")
    commit = lib.git.commit()
    write_image(project.git, "app", "top")
    os.makedirs(os.path.join(project.git.folder, "app", "sub"))
    write_file(project.git, ".gitmodules",
               '[submodule "sub"]\n\tpath = app/sub\n\turl = ../lib\n')
    project.git.run("update-index", "--add", "--cacheinfo", f"160000,{commit},app/sub")


@pytest.mark.parametrize("asked", [None, False, True])
def test_submodules_when_asked_for(new_slipway, registry, repository, asked):
    project = building(new_slipway, registry, started=False, sources=["team/*"])
    with_submodule(project, registry)
    project.slipway.start()
    more = {} if asked is None else {"submodules": asked}
    write_list(project.git, image(registry, repository), container_command=tool(), pipelines=POST,
               **more)
    files = published(project, registry, repository)
    assert files.get("app/sub/lib.txt") == (b"of the submodule\n" if asked else None)


@pytest.mark.parametrize("asked", [None, True])
def test_lfs_when_asked_for(new_slipway, registry, repository, tmp_path, asked):
    path = tmp_path / "git-lfs"
    path.write_text(f"#!/bin/sh\nexport LFS_NOTES={tmp_path}/notes\n"
                    f'exec /usr/bin/python3 {ROOT}/tests/fakes/git_lfs.py "$@"\n')
    path.chmod(0o755)
    project = building(new_slipway, registry, started=False)
    project.slipway.start_serve()
    project.slipway.start_work(env={"PATH": f"{tmp_path}:{environment()['PATH']}"})
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "7" * 64 + "\nsize 5\n"
    write_image(project.git, "app", "lfs")
    write_file(project.git, "app/big.bin", pointer)
    write_file(project.git, ".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    write_list(project.git, image(registry, repository), container_command=tool(), pipelines=POST,
               **({"lfs": asked} if asked else {}))
    files = published(project, registry, repository)
    assert files["app/big.bin"] == (b"lfs: app/big.bin\n" if asked else pointer.encode())
    assert os.path.exists(tmp_path / "notes") == bool(asked)
