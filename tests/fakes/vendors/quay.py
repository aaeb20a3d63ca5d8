"""Quay: a registry and its API under one origin.

https://docs.redhat.com/en/documentation/red_hat_quay/3.15/html/red_hat_quay_api_reference (tag:
deleteFullTag, listRepoTags; repository: createRepo, changeRepoVisibility), and quay/quay's
endpoints/api/tag.py and repository.py. Only an application's OAuth token is taken (Bearer): a
robot's password is not.
"""
import email.utils
import re

from vendors import common
from vendors.common import VENDOR

TYPES = {400: "invalid_request", 401: "invalid_token", 403: "insufficient_scope",
         404: "not_found", 405: "method_not_allowed"}


class Quay(common.Vendor):
    """Switches: "scopes" of the token (repo:read, repo:write, repo:create, repo:admin). The
    registry's own deletion of tags is tag_delete (202; 405 for an older Quay)."""

    switches = {"scopes": "repo:read repo:write repo:create repo:admin"}
    made = {}     # name -> {visibility, description, repo_kind}
    removed = []  # (name, tag, digest, pushed): the history that onlyActiveTags leaves out

    def is_api(self, path):
        return path.startswith("/api/")

    def refuse(self, status, message):
        kind = TYPES[status]
        return self.plain(status, {
            "status": status, "error_message": message, "title": kind, "error_type": kind,
            "detail": message, "type": f"{self.origin()}/api/v1/error/{kind}"})

    def allowed(self, scope):
        """Answers itself when not."""
        if self.bearer() != VENDOR["token"]:
            self.refuse(401, "Requires authentication")
        elif scope not in VENDOR["scopes"].split():
            self.refuse(403, "Unauthorized")
        else:
            return True
        return False

    def api(self, path):
        if path == "/api/v1/discovery":
            paths = {"/api/v1/repository": {}, "/api/v1/repository/{repository}/tag/{tag}": {}}
            return self.plain(200, {"swagger": "2.0", "paths": paths})
        if path == "/api/v1/repository":
            return self.create()
        match = re.fullmatch(r"/api/v1/repository/([^/]+/.+?)"
                             r"(?:/(changevisibility)|/tag/([^/]*))?", path)
        if not match:
            return self.refuse(404, "Not Found")
        name, visibility, tag = match.groups()
        if visibility:
            return self.change_visibility(name)
        if tag is None:
            return self.shown(name)
        return self.one_tag(name, self.text(tag)) if tag else self.list_tags(name)

    def known(self, name):
        return name in self.made or self.exists(name)

    def shown(self, name):
        if self.command != "GET":
            return self.refuse(405, "Method not allowed")
        about = self.made.get(name, {"visibility": "private", "description": ""})
        if about["visibility"] != "public" and not self.allowed("repo:read"):
            return None
        if not self.known(name):
            return self.refuse(404, "Not Found")
        space, _, short = name.partition("/")
        return self.plain(200, {"namespace": space, "name": short, "kind": "image",
                                "description": about["description"],
                                "is_public": about["visibility"] == "public"})

    def list_tags(self, name):
        if self.command != "GET":
            return self.refuse(405, "Method not allowed")
        if not self.allowed("repo:read"):
            return None
        if not self.known(name):
            return self.refuse(404, "Not Found")
        rows = [(*row, None) for row in self.tags_by_age(name)]
        if self.query.get("onlyActiveTags", ["false"])[0].lower() not in ("true", "1"):
            rows += [(t, d, p, p + 1) for n, t, d, p in self.removed if n == name]
        only = self.query.get("specificTag", [""])[0]
        rows = [row for row in rows if not only or row[0] == only]
        page, size = self.asked("page", 1), self.asked("limit", 50, 100)
        chosen = rows[(page - 1) * size:page * size]
        return self.plain(200, {"tags": [self.entry(*row) for row in chosen], "page": page,
                                "has_additional": page * size < len(rows)})

    @staticmethod
    def entry(tag, digest, pushed, ended):
        out = {"name": tag, "reversion": False, "start_ts": int(pushed),
               "manifest_digest": digest, "is_manifest_list": False, "size": 1,
               "last_modified": email.utils.formatdate(int(pushed))}
        if ended:
            out.update(end_ts=int(ended), expiration=email.utils.formatdate(int(ended)))
        return out

    def one_tag(self, name, tag):
        if self.command != "DELETE":
            return self.refuse(405, "Method not allowed")
        if not self.allowed("repo:write"):
            return None
        found = [row for row in self.tags_by_age(name) if row[0] == tag]
        if not found:
            return self.refuse(404, "Not Found")
        self.move_tag(name, tag, None)
        self.removed.append((name, *found[0]))
        return self.reply(204)

    def create(self):
        if self.command != "POST":
            return self.refuse(405, "Method not allowed")
        if not self.allowed("repo:create"):
            return None
        sent = self.sent()
        if sent is None or {"repository", "visibility", "description"} - set(sent):
            return self.refuse(400, "a required property is missing")
        if sent["visibility"] not in ("public", "private"):
            return self.refuse(400, f"{sent['visibility']!r} is not one of ['public', 'private']")
        if sent.get("repo_kind", "image") not in ("image", "application", None):
            return self.refuse(400, "repo_kind")
        if not re.fullmatch(r"[a-z0-9][.a-z0-9_-]{0,254}", sent["repository"]):
            return self.refuse(400, "Invalid repository name")
        name = f"{sent.get('namespace') or VENDOR['user']}/{sent['repository']}"
        if self.known(name):
            return self.refuse(400, "Repository already exists")
        self.made[name] = sent
        space, _, short = name.partition("/")
        return self.plain(201, {"namespace": space, "name": short, "kind": "image"})

    def change_visibility(self, name):
        """POST, says the documentation; PUT is 405."""
        if self.command != "POST":
            return self.refuse(405, "Method not allowed")
        if not self.allowed("repo:admin"):
            return None
        sent = self.sent()
        if not sent or sent.get("visibility") not in ("public", "private"):
            return self.refuse(400, "visibility")
        if not self.known(name):
            return self.refuse(404, "Not Found")
        self.made.setdefault(name, {"description": ""})["visibility"] = sent["visibility"]
        return self.plain(200, {"success": True})
