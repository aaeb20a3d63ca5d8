"""Harbor: a registry and its API under one origin.

https://github.com/goharbor/harbor/blob/main/api/v2.0/swagger.yaml (listArtifacts, listTags,
deleteTag, getArtifact). A slash in a repository's name is encoded twice (a/b -> a%252Fb). An
immutable tag is 412, as lib/errors maps PRECONDITION. The registry refuses DELETE by tag with 400
UNSUPPORTED (registry/manifest.go).
"""
import re

from vendors import common
from vendors.common import TAGS, VENDOR


class Harbor(common.Vendor):
    """Switches: "projects" that there are; immutable tags are oci_config's `immutable`."""

    manners = {"tag_delete": 400, "tag_delete_code": "UNSUPPORTED", "immutable_status": 412}
    switches = {"projects": ["team", "box"]}

    def is_api(self, path):
        return path.startswith("/api/v2.0/")

    def refuse(self, status, code, message):
        return self.plain(status, {"errors": [{"code": code, "message": message}]})

    def api(self, path):
        if path == "/api/v2.0/ping":
            return self.reply(200, b"Pong", [("Content-Type", "text/plain; charset=utf-8")])
        match = re.fullmatch(r"/api/v2\.0/projects/([^/]+)/repositories/([^/]+)/artifacts"
                             r"(?:/([^/]+)(?:/tags(?:/([^/]+))?)?)?", path)
        if not match:
            return self.plain(404, {"errors": [{"code": "NOT_FOUND", "message": "path not found"}]})
        project, repository, ref, tag = match.groups()
        # One decoding is the HTTP router's, the second is the handler's.
        repository = self.text(self.text(repository))
        name = f"{self.text(project)}/{repository}"
        if not self.basic():
            return self.refuse(401, "UNAUTHORIZED", "unauthorized")
        if project not in VENDOR["projects"]:
            return self.refuse(403, "FORBIDDEN", f"project {project} not found")
        if not self.exists(name):
            return self.refuse(404, "NOT_FOUND", f"repository {name} not found")
        if tag:
            return self.one_tag(name, self.text(ref), self.text(tag))
        if self.command != "GET":
            return self.refuse(405, "METHOD_NOT_ALLOWED", "method not allowed")
        if ref is None:
            return self.artifacts(name)
        digest = TAGS.get((name, self.text(ref)), self.text(ref))
        if (name, digest) not in common.STORE:
            return self.refuse(404, "NOT_FOUND", f"artifact {name}:{ref} not found")
        if path.endswith("/tags"):
            return self.page(self.tags_shown(name, digest))
        return self.plain(200, self.artifact(name, digest, True))

    def one_tag(self, name, ref, tag):
        if self.command != "DELETE":
            return self.refuse(405, "METHOD_NOT_ALLOWED", "method not allowed")
        digest = TAGS.get((name, ref), ref)
        if (name, digest) not in common.STORE:
            return self.refuse(404, "NOT_FOUND", f"artifact {name}:{ref} not found")
        if TAGS.get((name, tag)) != digest:
            return self.refuse(404, "NOT_FOUND", f"tag {tag} attached to the artifact not found")
        if self.frozen(name, tag, None):
            return self.refuse(412, "PRECONDITION",
                               f"the tag {tag} configured as immutable, cannot be deleted")
        self.move_tag(name, tag, None)
        return self.reply(200)

    def tags_shown(self, name, digest):
        return [{"id": 1, "repository_id": 1, "artifact_id": 1, "name": tag,
                 "push_time": common.rfc3339(pushed, 3), "pull_time": "0001-01-01T00:00:00.000Z",
                 "immutable": self.frozen(name, tag, None)}
                for tag, d, pushed in self.tags_by_age(name) if d == digest]

    def artifact(self, name, digest, with_tag):
        tags = self.tags_shown(name, digest)
        pushed = max([t["push_time"] for t in tags], default="2020-01-01T00:00:00.000Z")
        return {"id": 1, "type": "IMAGE", "digest": digest, "repository_name": name,
                "manifest_media_type": common.STORE[name, digest][0],
                "size": self.size_of(name, digest), "push_time": pushed,
                "pull_time": "0001-01-01T00:00:00.000Z",
                "tags": tags if with_tag and tags else None}

    def artifacts(self, name):
        with_tag = self.query.get("with_tag", ["true"])[0] == "true"
        rows = [self.artifact(name, d, with_tag) for n, d in common.STORE if n == name]
        return self.page(sorted(rows, key=lambda row: row["push_time"], reverse=True))

    def page(self, rows):
        page, size = self.asked("page", 1), self.asked("page_size", 10, 100)
        headers = [("X-Total-Count", str(len(rows)))]
        if page * size < len(rows):
            path = self.path.partition("?")[0]
            headers.append(("Link", f'<{path}?page={page + 1}&page_size={size}>; rel="next"'))
        return self.plain(200, rows[(page - 1) * size:page * size], headers)
