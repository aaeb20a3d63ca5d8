"""tests/fakes/zuul_api.py: a Zuul that only tells of builds."""

import secrets

from .fakes import Fake


def image_artifact(uuid, repository, tag, intermediate, name=None):
    """As push-to-intermediate-registry returns it. `name` is the repository's path there; without
    it the path of `repository`, without its host (a host with a port is no legal part of one)."""
    name = name or repository.partition("/")[2]
    return {"name": f"{repository}:{tag}",
            "url": f"docker://{intermediate}/{name}:{uuid}_{tag}",
            "metadata": {"type": "container_image", "repository": repository, "tag": tag}}


class ZuulFake(Fake):
    """`api` is what the operator writes under `zuul`; builds are made by add().

        zuul = ZuulFake(folder)
        build = zuul.add("team/app", 7, 2, images=[(f"{registry.host}/team/app", "latest")],
                         intermediate=staging.host)
        ... push the image as team/app:<build["uuid"]>_latest to staging ...
    """

    def __init__(self, folder, **tls):
        super().__init__(folder, "zuul_api.py", **tls)
        self.api = f"{self.url}/api/tenant/t"

    def add(self, project, change=None, patchset=None, *, images=(), intermediate=None, **fields):
        """A successful final build of the gate's build-container-image, or what `fields` say (those
        of the API: job_name, pipeline, result, final, uuid, artifacts, branch, ...); `images` are
        (repository, tag) or (repository, tag, its path at `intermediate`). Returns the build."""
        uuid = fields.pop("uuid", None) or secrets.token_hex(16)
        artifacts = fields.pop("artifacts", None) or [
            image_artifact(uuid, repository, tag, intermediate, *name)
            for repository, tag, *name in images]
        patchset = None if patchset is None else str(patchset)
        return self.control("POST", "build", {
            "uuid": uuid, "project": project, "change": change, "patchset": patchset,
            "artifacts": artifacts, **fields})

    def update(self, uuid, **fields):
        self.control("PUT", "update", {"uuid": uuid, **fields})

    def reset(self):
        self.control("PUT", "reset")

    def asked(self):
        """The questions since the last look, each as {name: value} of its parameters."""
        return [{name: values[-1] for name, values in row["query"].items()} for row in self.log()]
