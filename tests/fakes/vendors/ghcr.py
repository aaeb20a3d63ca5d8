"""GitHub's container registry, and https://api.github.com on the API's port.

https://docs.github.com/en/rest/packages/packages (list package versions, delete package version)
and https://docs.github.com/en/rest/using-the-rest-api (User-Agent, Authorization). A version is one
manifest: its deletion takes every tag on it, and the last tagged version of a package is refused
with 400.
"""
import hashlib
import re

from vendors import common
from vendors.common import VENDOR

LAST = ("You cannot delete the last tagged version of a package. "
        "You must delete the package instead.")


class Ghcr(common.Vendor):
    """Switches: "owner" (orgs, users: which path the package's owner answers under), "scopes" of
    the token. Set oci_config's `lag` for its read-after-write lag."""

    own_origin = True
    manners = {"tag_delete": 405, "tag_delete_code": "UNSUPPORTED", "digest_delete": "off",
               "body_limit": 4 << 20, "body_limit_status": 416,
               "body_limit_of": ["PATCH"], "referrers": "404"}
    switches = {"owner": "orgs", "scopes": "read:packages delete:packages"}

    def is_api(self, path):
        return True

    def say(self, status, message):
        return self.plain(status, {"message": message, "status": str(status), "documentation_url":
                                   "https://docs.github.com/rest/packages/packages"})

    def api(self, path):
        if not self.headers.get("User-Agent"):
            return self.reply(403, b"Request forbidden by administrative rules. Please make sure "
                                   b"your request has a User-Agent header")
        if self.bearer("Bearer", "token") != VENDOR["token"]:
            asked = "Authorization" in self.headers
            return self.say(401, "Bad credentials" if asked else "Requires authentication")
        if "/packages/container/" in path and "read:packages" not in VENDOR["scopes"]:
            return self.say(403, "You need at least read:packages scope")
        match = re.fullmatch(r"/(orgs|users)/([^/]+)/packages/container/([^/]+)/versions"
                             r"(?:/(\d+))?", path)
        if not match or match.group(1) != VENDOR["owner"]:
            return self.say(404, "Not Found")
        name = f"{match.group(2)}/{self.text(match.group(3))}"
        if not self.exists(name):
            return self.say(404, "Package not found.")
        if match.group(4):
            return self.one(name, int(match.group(4)))
        return self.versions(name) if self.command == "GET" else self.say(404, "Not Found")

    @staticmethod
    def ident(name, digest):
        return int(hashlib.sha256((name + digest).encode()).hexdigest()[:8], 16)

    def shown(self, name, digest):
        rows = [row for row in self.tags_by_age(name) if row[1] == digest]
        when = common.rfc3339(max([row[2] for row in rows], default=0))[:19] + "Z"
        return {"id": self.ident(name, digest), "name": digest, "created_at": when,
                "updated_at": when, "url": f"{self.origin()}{self.path.partition('?')[0]}",
                "metadata": {"package_type": "container",
                             "container": {"tags": [row[0] for row in rows]}}}

    def versions(self, name):
        rows = sorted((self.shown(name, d) for n, d in common.STORE if n == name),
                      key=lambda row: (row["updated_at"], row["id"]), reverse=True)
        page, size = self.asked("page", 1), self.asked("per_page", 30, 100)
        headers = []
        if page * size < len(rows):
            url = f"{self.origin()}{self.path.partition('?')[0]}?per_page={size}&page="
            last = -(-len(rows) // size)
            headers = [("Link", f'<{url}{page + 1}>; rel="next", <{url}{last}>; rel="last"')]
        return self.plain(200, rows[(page - 1) * size:page * size], headers)

    def one(self, name, ident):
        found = [d for n, d in common.STORE if n == name and self.ident(n, d) == ident]
        if self.command == "GET":
            return self.plain(200, self.shown(name, found[0])) if found else \
                self.say(404, "Package version not found.")
        if self.command != "DELETE":
            return self.say(404, "Not Found")
        if "delete:packages" not in VENDOR["scopes"]:
            return self.say(403, "You need at least delete:packages scope to delete a package.")
        if not found:
            return self.say(404, "Package version not found.")
        tagged = {row[1] for row in self.tags_by_age(name)}
        if tagged == {found[0]}:
            return self.say(400, LAST)
        self.drop_manifest(name, found[0])
        return self.reply(204)
