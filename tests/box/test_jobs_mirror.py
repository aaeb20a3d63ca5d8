"""`slipway mirror` as a job of a project, inside any CI: the pipeline's list, at a commit."""

import json

import pytest

from lib.jobs import CHANGES, DENIED, DONE, USAGE, Node


@pytest.fixture(name="node")
def fixture_node(tmp_path, registry, twin):
    return Node(tmp_path, registry, twin)


def commit_list(node, **doc):
    return node.git.commit({".slipway.yaml": json.dumps(doc)})


def item(registry, twin, name, tag="1.0", **more):
    return {"src_repository": f"{registry.host}/{name}", "src_tag": tag,
            "dest_repository": f"{twin.host}/copy/{name}", **more}


def test_the_pipelines_own_list(node, registry, twin, repository):
    """Of the tag's row what is listed there, of the others what stands at the top."""
    other = repository + "/other"
    digest = registry.push(repository, "1.0", "one")
    registry.push(other, "1.0", "two")
    commit_list(node, mirror_container_images_images=[item(registry, twin, other)],
                pipelines={"promote": ["mirror-container-images"],
                           "tag": [{"mirror-container-images": {
                               "mirror_container_images_images":
                                   [item(registry, twin, repository)]}}]})
    argv = ["--project", "team/app", "--tag", "v1"]
    node.run("mirror", *argv, "--dry-run", "--exit-code", code=CHANGES)
    assert twin.tags(f"copy/{repository}") == []
    done = node.run("mirror", *argv, "--format", "json")
    [row] = json.loads(done.out)["rows"]
    assert (row["state"], row["digest"]) == ("copied", digest), row
    assert twin.digest(f"copy/{repository}", "1.0") == digest
    assert twin.tags(f"copy/{other}") == []
    assert "1 copied" in node.run("mirror", "--change", "7").out
    assert twin.tags(f"copy/{other}") == ["1.0"]
    assert "1 same" in node.run("mirror", "--change", "7", "--pipeline", "promote").out


def test_the_list_at_a_commit(node, registry, twin, repository):
    registry.push(repository, "1.0", "one")
    registry.push(repository, "2.0", "two")
    first = commit_list(node, mirror_container_images_images=[item(registry, twin, repository)],
                        pipelines={"post": ["mirror-container-images"]})
    commit_list(node, mirror_container_images_images=[item(registry, twin, repository, "2.0")],
                pipelines={"post": ["mirror-container-images"]})
    node.run("mirror", "--project", "team/app", "--commit", first)
    assert twin.tags(f"copy/{repository}") == ["1.0"]


def test_policy_holds_where_there_is_one(node, registry, twin, repository, tmp_path):
    registry.push(repository, "1.0", "one")
    commit_list(node, mirror_container_images_images=[item(registry, twin, repository)],
                pipelines={"post": ["mirror-container-images"]})
    config = tmp_path / "slipway.yaml"
    config.write_text(json.dumps({
        "store": f"sqlite:{tmp_path}/no.db",
        "forges": {"code": {"type": "git", "git": f"file://{tmp_path}/{{project}}"}},
        "registries": {one.host: {"plain_http": True} for one in (registry, twin)},
        "projects": [{"match": "team/app", "forge": "code",
                      "may_publish": [f"{registry.host}/**"]}]}), encoding="utf-8")
    argv = ["--config", str(config), "--project", "team/app"]
    done = node.run("mirror", *argv, code=DENIED)
    assert "may_publish" in done.err and twin.tags(f"copy/{repository}") == [], done
    config.write_text(config.read_text(encoding="utf-8").replace(
        f'"{registry.host}/**"', f'"{twin.host}/**"'), encoding="utf-8")
    node.run("mirror", *argv, code=DONE)
    assert twin.tags(f"copy/{repository}") == ["1.0"]


@pytest.mark.parametrize("argv, says", [
    (["list.yaml", "--project", "team/app"], "leave out --project"),
    (["--name", "upstream", "--tag", "v1"], "or the list"),
    (["--change", "7", "--tag", "v1"], "exclude each other"),
    (["--pipeline", "tag"], "say --tag"),
    (["--pipeline", "nightly"], "--pipeline is check"),
    (["--project", "team/app", "--format", "xml"], "text or json"),
], ids=lambda v: v if isinstance(v, str) else None)
def test_flags_that_do_not_fit(node, registry, twin, repository, argv, says):
    commit_list(node, mirror_container_images_images=[item(registry, twin, repository)],
                pipelines={"post": ["mirror-container-images"]})
    done = node.run("mirror", *argv, code=USAGE)
    assert says in done.err, done


def test_nothing_to_mirror_there(node, registry, twin, repository):
    commit_list(node, container_images=[{"context": ".", "repository":
                                         f"{registry.host}/{repository}"}])
    assert "nothing to do" in node.run("mirror", "--project", "team/app", "--tag", "v1").err
    assert twin.tags(f"copy/{repository}") == []
