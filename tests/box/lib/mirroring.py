"""Mirror lists: written, run by the clock and as a job of a project."""

import json
import os

import yaml

from .net import wait_until
from .project import Project


def plain(*servers):
    return [word for s in servers for word in ("--plain-http", s.host)]


def write(folder, items, name="list.yaml"):
    path = os.path.join(str(folder), name)
    with open(path, "w", encoding="utf-8") as file:
        yaml.safe_dump({"mirror_container_images_images": items}, file)
    return path


def with_mirrors(new_slipway, *servers, **mirrors):
    return new_slipway({"registries": {s.host: {"plain_http": True} for s in servers},
                        "mirrors": mirrors})


def item_of(source, target, repository, **more):
    return {"src_repository": f"{source.host}/{repository}", "src_tags": ["v*"],
            "dest_repository": f"{target.host}/{repository}", **more}


def tasks(slipway):
    rows = slipway.query("SELECT id, state, project, attempt, reason FROM task ORDER BY id")
    return [dict(zip(("id", "state", "project", "attempt", "reason"), row)) for row in rows]


def ended(slipway, count=1, states=("done",)):
    def look():
        found = tasks(slipway) if slipway.work_is_up() else []
        return found if len(found) >= count and found[-1]["state"] in states else None
    return wait_until(look, 20, f"{count} tasks, the last {states}", every=0.05)


def job(project, items, images_list=()):
    """Commits a list of images and of mirrors, the latter under promote."""
    host = project.registry.host
    rows = [{"context": "app", "registry": host, "repository": f"{host}/{name}", "tags": tags}
            for name, tags in images_list]
    text = {"mirror_container_images_images": items,
            "pipelines": {"promote": (["promote-container-image"] if rows else [])
                          + ["mirror-container-images"]}}
    if rows:
        text["container_images"] = rows
    return project.git.commit({".slipway.yaml": json.dumps(text)})


def project_with(new_slipway, registry, *others, config=None, **policy):
    one = new_slipway(config)
    for other in others:
        one.config["registries"][other.host] = {"plain_http": True}
    project = Project(one, registry, **policy)
    one.start()
    return project
