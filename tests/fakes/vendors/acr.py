"""Azure's container registry: a registry and its API under one origin.

https://learn.microsoft.com/en-us/rest/api/containerregistry/ (Tag: Get List, Get Attributes,
Delete: 202). Basic credentials are taken. A locked tag is 405. The registry refuses DELETE by tag.
"""
import re
import urllib.parse

from vendors import common
from vendors.common import TAGS, VENDOR


class Acr(common.Vendor):
    """Switches: "locked" (tags whose deleteEnabled is false), "tokens" (/oauth2/token gives tokens,
    for what their scope names: delete, metadata_read; else Basic credentials alone are taken)."""

    manners = {"tag_delete": 405, "tag_delete_code": "UNSUPPORTED"}
    switches = {"locked": [], "tokens": False}
    granted = {}  # token -> scope

    def is_api(self, path):
        return path.startswith("/acr/v1/") or (VENDOR["tokens"] and path == "/oauth2/token")

    def give_token(self):
        if not self.basic():
            return self.refuse(401, "UNAUTHORIZED", "authentication required")
        token = f"acr-{len(self.granted)}"
        self.granted[token] = " ".join(self.query.get("scope", []))
        return self.plain(200, {"access_token": token})

    def let_in(self, name):
        right = "delete" if self.command == "DELETE" else "metadata_read"
        scope = self.granted.get(self.bearer(), "")
        return self.basic() or (VENDOR["tokens"] and
                                re.search(rf"repository:{name}:\S*\b{right}\b", scope))

    def refuse(self, status, code, message):
        headers = []
        if status == 401:
            realm = f"{self.origin()}/oauth2/token"
            headers = [("WWW-Authenticate", f'Bearer realm="{realm}",service="fake"')]
        return self.plain(status, {"errors": [{"code": code, "message": message,
                                               "detail": None}]}, headers)

    def api(self, path):
        if path == "/oauth2/token":
            return self.give_token()
        match = re.fullmatch(r"/acr/v1/(.+)/_tags(?:/([^/]+))?", path)
        if not match:
            return self.refuse(404, "NOT_FOUND", "not found")
        name, tag = match.groups()
        if not self.let_in(name):
            return self.refuse(401, "UNAUTHORIZED", "authentication required, visit "
                                                    "https://aka.ms/acr/authorization")
        if not self.exists(name):
            return self.refuse(404, "NAME_UNKNOWN", "repository name not known to registry")
        if tag is None:
            return self.list(name) if self.command == "GET" else \
                self.refuse(405, "UNSUPPORTED", "The operation is unsupported.")
        return self.one_tag(name, self.text(tag))

    @staticmethod
    def shown(tag, digest, pushed):
        free = tag not in VENDOR["locked"]
        when = common.rfc3339(pushed, 7)
        return {"name": tag, "digest": digest, "createdTime": when, "lastUpdateTime": when,
                "signed": False, "changeableAttributes": {
                    "deleteEnabled": free, "writeEnabled": free, "readEnabled": True,
                    "listEnabled": True}}

    def list(self, name):
        rows = self.tags_by_age(name)
        order = self.query.get("orderby", [""])[0]
        if order == "timeasc":
            rows = rows[::-1]
        elif order != "timedesc":
            rows = sorted(rows)
        wanted = self.query.get("digest", [""])[0]
        rows = [row for row in rows if not wanted or row[1] == wanted]
        last = self.query.get("last", [""])[0]
        names = [row[0] for row in rows]
        if last:
            rows = rows[names.index(last) + 1:] if last in names else \
                [row for row in rows if row[0] > last]
        size = self.asked("n", 100, 1000)
        headers = []
        if size < len(rows):
            query = urllib.parse.urlencode({"last": rows[size - 1][0], "n": size,
                                            "orderby": order})
            headers = [("Link", f'</acr/v1/{name}/_tags?{query}>; rel="next"')]
        body = {"registry": self.headers.get("Host"), "imageName": name}
        if rows:
            body["tags"] = [self.shown(*row) for row in rows[:size]]
        return self.plain(200, body, headers)

    def one_tag(self, name, tag):
        if (name, tag) not in TAGS:
            return self.refuse(404, "TAG_UNKNOWN", "the specified tag does not exist")
        row = next(r for r in self.tags_by_age(name) if r[0] == tag)
        if self.command == "GET":
            return self.plain(200, {"registry": self.headers.get("Host"), "imageName": name,
                                    "tag": self.shown(*row)})
        if self.command != "DELETE":
            return self.refuse(405, "UNSUPPORTED", "The operation is unsupported.")
        if tag in VENDOR["locked"]:
            return self.refuse(405, "UNSUPPORTED", "The operation is disallowed on this registry, "
                                                   "repository or image.")
        self.move_tag(name, tag, None)
        return self.reply(202)
