"""A mirror whose target has to be made first: Quay, where a push alone makes it private."""

import json

import pytest
import yaml

from lib import images
from lib.byhand import run
from lib.fakes import VendorFake
from lib.images import push_image
from lib.net import call


@pytest.fixture(name="quay", scope="module")
def quay_fixture(tmp_path_factory):
    fake = VendorFake(str(tmp_path_factory.mktemp("quay")), "quay")
    yield fake
    fake.stop()


def mirror(folder, quay, registry, repository, target, token="api-geheim", **item):
    secret = folder / "token"
    secret.write_text(token + "\n")
    secret.chmod(0o600)
    config = folder / "slipway.yaml"
    config.write_text(yaml.safe_dump({"forges": {}, "registries": {
        registry.host: {"plain_http": True},
        quay.host: {"plain_http": True, "type": "quay", "api": f"http://{quay.host}",
                    "api_password": f"file:{secret}"}}}))
    path = folder / "list.yaml"
    path.write_text(yaml.safe_dump({"mirror_container_images_images": [{
        "src_repository": f"{registry.host}/{repository}", "src_tag": "v1",
        "dest_repository": f"{quay.host}/{target}", "dest_tag": "v1", **item}]}))
    return run("mirror", str(path), "--config", str(config), "--format", "json")


def shown(quay, name):
    answer = call("GET", f"http://{quay.host}/api/v1/repository/{name}", None,
                  {"Authorization": "Bearer api-geheim"})
    return json.loads(answer.body)


def test_a_public_repository_is_made_before_the_first_push(registry, quay, repository, tmp_path):
    digest = push_image(registry.client(), repository, "v1")
    ran = mirror(tmp_path, quay, registry, repository, "team/tool", visibility="public",
                 repo_description="Tools")
    assert ran.code == 0, ran
    about = shown(quay, "team/tool")
    assert about["is_public"] and about["description"] == "Tools"
    assert images.tags(quay.client(), "team/tool") == {"v1": digest}
    again = mirror(tmp_path, quay, registry, repository, "team/tool", visibility="public")
    assert again.code == 0 and again.json["count"]["same"] == 1


def test_one_that_cannot_be_made_says_why(registry, quay, repository, tmp_path):
    push_image(registry.client(), repository, "v1")
    ran = mirror(tmp_path, quay, registry, repository, "team/other", token="wrong",
                 visibility="public")
    assert ran.code == 1, ran
    failed = [row for row in ran.json["rows"] if row["state"] == "failed"]
    assert failed[0]["target"] == f"{quay.host}/team/other"
    assert "making it public" in failed[0]["reason"] and "401" in failed[0]["reason"]


def test_the_words_are_checked(registry, quay, repository, tmp_path):
    ran = mirror(tmp_path, quay, registry, repository, "team/x", visibility="secret")
    assert ran.code == 2 and "visibility must be public or private" in ran.err
    ran = mirror(tmp_path, quay, registry, repository, "team/x", repo_description="x")
    assert ran.code == 2 and "goes with visibility" in ran.err
