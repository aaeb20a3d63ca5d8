"""GitLab: a registry, and the instance's API on the API's port.

https://docs.gitlab.com/api/container_registry (list within a project, tag details, delete a tag)
and https://docs.gitlab.com/api/rest (pagination, namespaced paths, status codes). The registry
takes DELETE by tag with 202 (since 16.4).
"""
import re

from vendors import common
from vendors.common import TAGS, TIMES, VENDOR

API = "/api/v4/projects/"


class GitLab(common.Vendor):
    """Switches: "projects" {path: id}; what follows a project's path in a repository's name is the
    registry repository's name. "protected": regex of tags whose deletion is 403."""

    own_origin = True
    switches = {"projects": {"team/app": 5, "team/tools": 6}, "protected": ""}

    def is_api(self, path):
        return path.startswith("/api/v4/")

    def say(self, status, message):
        return self.plain(status, {"message": f"{status} {message}"})

    def signed_in(self):
        return VENDOR["token"] in (self.headers.get("PRIVATE-TOKEN"), self.bearer())

    def repositories(self, project):
        """[(id, name)] of a project, its ids steady as long as the fake lives."""
        names = sorted({n for n, _ in common.STORE
                        if n == project or n.startswith(project + "/")})
        return [(self.ident(n), n) for n in names]

    ids = {}

    @classmethod
    def ident(cls, name):
        return cls.ids.setdefault(name, len(cls.ids) + 1)

    def api(self, path):
        match = re.fullmatch(API + r"([^/]+)/registry/repositories"
                             r"(?:/(\d+)/tags(?:/([^/]+))?)?", path)
        if not match:
            return self.plain(404, {"error": "404 Not Found"})
        if not self.signed_in():
            return self.say(401, "Unauthorized")
        key, ident, tag = match.groups()
        known = VENDOR["projects"]
        project = next((p for p, i in known.items() if key == str(i) or self.text(key) == p), None)
        if project is None:
            return self.say(404, "Project Not Found")
        if ident is None:
            return self.list(project) if self.command == "GET" else self.say(405, "Not Allowed")
        name = dict(self.repositories(project)).get(int(ident))
        if name is None:
            return self.say(404, "Repository Not Found")
        if tag is None:
            rows = [self.brief(name, row[0]) for row in sorted(self.tags_by_age(name))]
            return self.page(rows) if self.command == "GET" else self.say(405, "Not Allowed")
        return self.one_tag(name, self.text(tag))

    def brief(self, name, tag):
        where = f"{name}:{tag}"
        return {"name": tag, "path": where, "location": f"{self.registry_host()}/{where}"}

    @staticmethod
    def registry_host():
        return f"127.0.0.1:{common.registry_fake.PORTS['port']}"

    def list(self, project):
        rows = []
        for ident, name in self.repositories(project):
            row = {"id": ident, "name": name[len(project) + 1:], "path": name,
                   "project_id": VENDOR["projects"][project],
                   "location": f"{self.registry_host()}/{name}", "status": None,
                   "created_at": "2019-01-10T13:38:57.391Z", "cleanup_policy_started_at": None}
            tags = [self.brief(name, t[0]) for t in sorted(self.tags_by_age(name))]
            if self.query.get("tags_count") == ["true"]:
                row["tags_count"] = len(tags)
            if self.query.get("tags") == ["true"]:
                row["tags"] = tags
            rows.append(row)
        return self.page(rows)

    def page(self, rows):
        page, size = self.asked("page", 1), self.asked("per_page", 20, 100)
        more = page * size < len(rows)
        headers = [("X-Page", str(page)), ("X-Per-Page", str(size)), ("X-Total", str(len(rows))),
                   ("X-Next-Page", str(page + 1) if more else "")]
        if more:
            url = f"{self.origin()}{self.path.partition('?')[0]}?page={page + 1}&per_page={size}"
            headers.append(("Link", f'<{url}>; rel="next"'))
        return self.plain(200, rows[(page - 1) * size:page * size], headers)

    def one_tag(self, name, tag):
        digest = TAGS.get((name, tag))
        if self.command not in ("GET", "DELETE"):
            return self.say(405, "Not Allowed")
        if digest is None:
            return self.say(404, "Tag Not Found")
        if self.command == "GET":
            when = common.rfc3339(TIMES[name, tag], 3)[:-1] + "+00:00"
            return self.plain(200, {**self.brief(name, tag), "revision": digest[7:],
                                    "short_revision": digest[7:16], "digest": digest,
                                    "created_at": when,
                                    "total_size": self.size_of(name, digest)})
        if VENDOR["protected"] and re.fullmatch(VENDOR["protected"], tag):
            return self.say(403, "Forbidden")
        self.move_tag(name, tag, None)
        return self.plain(200, None)
