"""What the vendors' interfaces share: a registry handler with a vendor's paths before it."""

import base64
import json
import time
import urllib.parse

import registry_fake
from oci_config import CONFIG, LOCK, STORE, TAGS, TIMES

# What a vendor's switches may be is said in its own file; set with PUT /_ctl/vendor.
VENDOR = {"user": "ci", "password": "geheim", "token": "api-geheim", "page_cap": 0,
          "fail_times": 0, "fail_status": 503, "fail_headers": []}
USUAL = dict(VENDOR)


def rfc3339(seconds, places=6):
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 10 ** places):0{places}d}Z"


class Vendor(registry_fake.Handler):
    """`is_api(path)` tells a vendor's own paths, which `api(path)` answers.
    `own_origin`: the interface listens on the API's port alone (/_ctl/ports says "api").
    `manners`: switches of oci_config.py that this vendor's registry has."""

    own_origin = False
    manners = {}
    switches = {}

    def route(self, path):
        if self.own_origin and self.role == "registry":
            return super().route(path)
        with LOCK:
            failing = self.is_api(path) and VENDOR["fail_times"] > 0
            VENDOR["fail_times"] -= failing
            if failing:
                return self.fail()
            if self.is_api(path):
                return self.api(path)
        if self.role == "api":
            return self.plain(404, {"message": "Not Found"})
        return super().route(path)

    def fail(self):
        return self.json(VENDOR["fail_status"], {"message": "try later"},
                         [tuple(h) for h in VENDOR["fail_headers"]])

    def is_api(self, path):
        raise NotImplementedError

    def api(self, path):
        raise NotImplementedError

    def set(self, what, value):
        if what == "vendor":
            unknown = set(value) - set(VENDOR)
            if unknown:
                raise ValueError(f"no such switch: {sorted(unknown)}")
            VENDOR.update(value)
            return VENDOR
        answer = super().set(what, value)
        if what == "reset":
            CONFIG.update(self.manners)
            VENDOR.update({**USUAL, **self.switches})
        return answer

    # --- help ---------------------------------------------------------------------------------

    def plain(self, status, value, headers=()):
        return self.json(status, value, headers)

    def basic(self):
        want = base64.b64encode(f"{VENDOR['user']}:{VENDOR['password']}".encode()).decode()
        return self.headers.get("Authorization") == "Basic " + want

    def bearer(self, *kinds):
        kind, _, token = (self.headers.get("Authorization") or "").partition(" ")
        return token if kind in (kinds or ("Bearer",)) else None

    def sent(self):
        """The JSON body, or None."""
        kind = (self.headers.get("Content-Type") or "").partition(";")[0]
        try:
            value = json.loads(self.body) if kind == "application/json" else None
        except ValueError:
            return None
        return value if isinstance(value, dict) else None

    def asked(self, name, default, most=None):
        """A number of the query, within what the vendor (or page_cap) allows."""
        text = self.query.get(name, [""])[0]
        number = max(1, int(text)) if text.isdigit() else default
        limits = [limit for limit in (most, VENDOR["page_cap"] or None) if limit]
        return min([number, *limits]) if name not in ("page",) else number

    def origin(self):
        scheme = "https" if hasattr(self.connection, "context") else "http"
        return f"{scheme}://{self.headers.get('Host')}"

    def tags_by_age(self, name):
        """[(tag, digest, pushed)], the newest first."""
        found = [(tag, digest, TIMES.get((n, tag), 0.0))
                 for (n, tag), digest in TAGS.items() if n == name]
        return sorted(found, key=lambda row: (-row[2], row[0]))

    def size_of(self, name, digest):
        return len(STORE[name, digest][1])

    @staticmethod
    def text(part):
        return urllib.parse.unquote(part)


def main(handler):
    VENDOR.update(handler.switches)
    CONFIG.update(handler.manners)
    api = type("Api", (handler,), {"role": "api"}) if handler.own_origin else None
    registry_fake.serve(registry_fake.options().parse_args(), handler, api)
