"""Docker Hub: a registry, and https://hub.docker.com on the API's port.

Login and lists: https://docs.docker.com/reference/api/hub/latest/ (PostUsersLogin,
AuthCreateAccessToken, "List repository tags", "Rate limiting"). DELETE of a tag is what Hub's own
page and docker/hub-tool call. The registry has no deletion by tag; by digest it is 403 while a tag
shows it.
"""
import time

from vendors import common
from vendors.common import VENDOR

NOT_SIGNED_IN = {"detail": "Authentication credentials were not provided."}
ABSENT = {"message": "object not found", "errinfo": {}}


class Hub(common.Vendor):
    """Switches: "login" (both, old, new: which login paths there are), "jwt_lives" seconds,
    "namespaces" where the user may delete."""

    own_origin = True
    manners = {"tag_delete": 405, "tag_delete_code": "UNSUPPORTED", "digest_delete": "tagged403",
               "ratelimit": "100;w=21600"}
    switches = {"login": "both", "jwt_lives": 600, "namespaces": ["team", "box"]}
    logins = {}

    def is_api(self, path):
        return path.startswith("/v2/")

    def api(self, path):
        parts = path.strip("/").split("/")[1:]
        if parts == ["users", "login"] and VENDOR["login"] != "new":
            return self.login("username", "password", "token")
        if parts == ["auth", "token"] and VENDOR["login"] != "old":
            return self.login("identifier", "secret", "access_token")
        if parts[:1] == ["namespaces"] and len(parts) > 3 and parts[2] == "repositories":
            return self.list_tags(f"{parts[1]}/{parts[3]}") if parts[4:] == ["tags"] else \
                self.plain(404, ABSENT)
        if parts[:1] == ["repositories"] and parts[3:4] == ["tags"]:
            name = f"{parts[1]}/{parts[2]}"
            if len(parts) == 4:
                return self.list_tags(name)
            if not path.endswith("/"):
                return self.reply(301, b"", [("Location", path + "/")])
            return self.one_tag(name, parts[4])
        return self.plain(404, ABSENT)

    def login(self, user, secret, answer):
        if self.command != "POST":
            return self.plain(405, {"detail": f'Method "{self.command}" not allowed.'})
        sent = self.sent()
        if sent is None or not isinstance(sent.get(user), str) or not sent.get(secret):
            return self.plain(400, {"fields": {user: ["This field is required"]},
                                    "text": f"{{'{user}': ['This field is required']}}"})
        if (sent[user], sent[secret]) != (VENDOR["user"], VENDOR["password"]):
            return self.plain(401, {"detail": "Incorrect authentication credentials"})
        token = f"eyJ-{len(self.logins)}-{time.time_ns()}"
        self.logins[token] = time.time() + VENDOR["jwt_lives"]
        return self.plain(200, {answer: token})

    def signed_in(self):
        return self.logins.get(self.bearer("Bearer", "JWT"), 0) > time.time()

    def list_tags(self, name):
        if self.command not in ("GET", "HEAD"):
            return self.plain(405, {"detail": f'Method "{self.command}" not allowed.'})
        rows = self.tags_by_age(name)
        if not rows:
            return self.plain(404, ABSENT)
        page, size = self.asked("page", 1), self.asked("page_size", 10, 100)
        chosen = rows[(page - 1) * size:page * size]
        if not chosen:
            return self.plain(404, ABSENT)
        url = f"{self.origin()}{self.path.partition('?')[0]}?page_size={size}&page="
        return self.plain(200, {
            "count": len(rows), "next": f"{url}{page + 1}" if page * size < len(rows) else None,
            "previous": f"{url}{page - 1}" if page > 1 else None,
            "results": [self.shown(name, *row) for row in chosen]},
            [("X-RateLimit-Limit", "180"), ("X-RateLimit-Remaining", "179")])

    def shown(self, name, tag, digest, pushed):
        when = common.rfc3339(pushed)
        return {"id": 1, "name": tag, "digest": digest, "full_size": self.size_of(name, digest),
                "images": [], "last_updated": when, "tag_last_pushed": when,
                "tag_last_pulled": None, "tag_status": "active", "v2": True,
                "last_updater_username": VENDOR["user"], "content_type": "image",
                "media_type": common.STORE[name, digest][0]}

    def one_tag(self, name, tag):
        found = [row for row in self.tags_by_age(name) if row[0] == tag]
        if self.command == "GET":
            return self.plain(200, self.shown(name, *found[0])) if found else \
                self.plain(404, ABSENT)
        if self.command != "DELETE":
            return self.plain(405, {"detail": f'Method "{self.command}" not allowed.'})
        if not self.signed_in():
            return self.plain(401, NOT_SIGNED_IN)
        if name.partition("/")[0] not in VENDOR["namespaces"]:
            return self.plain(403, {"detail": "permission denied"})
        if not found:
            return self.plain(404, ABSENT)
        self.move_tag(name, tag, None)
        return self.reply(204)
