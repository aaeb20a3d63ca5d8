#!/usr/bin/python3
"""The part of Zuul's REST interface that tells of builds.

    zuul_api.py [--tls CERT KEY]

Prints "port=N" once it listens.

    GET /api/tenant/<tenant>/builds   the parameters of PARAMS, newest first, 50 unless `limit`
    GET /api/tenant/<tenant>/build/<uuid>

    PUT  /_ctl/config   JSON object: merged into CONFIG below
    POST /_ctl/build    JSON object: a build with the fields of NEW, and those that are given;
                        answers the build as it is shown (its uuid is made when it is not given)
    PUT  /_ctl/update   {"uuid": ..., fields}: changes one
    PUT  /_ctl/reset    no builds, no log, CONFIG as at the start
    GET  /_ctl/log      JSON list since the last look, which empties it: {method, path, query
                        (name -> values), status, accept, authorization}

As in Zuul 12: a parameter given several times means any of its values; `*` in project, pipeline
and job_name is anything; an unknown parameter is 404 (CherryPy), a number that is none 400.
"""
import argparse
import copy
import fnmatch
import json
import re
import secrets
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler

sys.dont_write_bytecode = True

from oci_http import listen, retry_after, tls_context, wait_for_ever  # noqa: E402

START = {
    "tenants": ["t"],
    "flat": False,          # the form before Zuul 10: no `ref` object, no `_id`
    "filter": True,         # false: parameters are checked, but everything is answered
    "fail_times": 0,        # so many answers are fail_status
    "fail_status": 503,
    "fail_retry_after": "",  # seconds:N, date:N, timestamp:N
    "delay": 0,             # seconds before each answer
    "redirect": "",         # 302 to there
    "body": "",             # instead of a list
    "endless": 0,           # so many bytes more of blanks behind it
}
CONFIG = copy.deepcopy(START)
REF = {"project": "team/app", "branch": "main", "change": None, "patchset": None,
       "ref": "", "oldrev": None, "newrev": None, "ref_url": ""}
NEW = {"job_name": "build-container-image", "result": "SUCCESS", "held": False, "voting": True,
       "start_time": "2026-11-23T16:40:00", "end_time": "2026-11-23T16:40:10", "duration": 10.0,
       "log_url": "", "nodeset": "debian", "error_detail": None, "final": True, "artifacts": [],
       "provides": [], "pipeline": "gate", "event_id": "", "event_timestamp": None}
WILD = ("project", "pipeline", "job_name")
OF_REF = ("project", "branch", "change", "patchset", "ref", "newrev")
OF_BUILD = ("uuid", "job_name", "nodeset", "result", "pipeline")
FLAGS = ("voting", "final", "held", "complete")
NUMBERS = ("limit", "skip", "idx_min", "idx_max")
PARAMS = OF_REF + OF_BUILD + FLAGS + NUMBERS + ("exclude_result",)
BUILDS = []
LOG = []
LOCK = threading.Lock()


class Refused(Exception):
    def __init__(self, status, why):
        super().__init__(why)
        self.status = status


def make(given):
    build = {"_id": BUILDS[-1]["_id"] + 1 if BUILDS else 1, "uuid": secrets.token_hex(16),
             **copy.deepcopy(NEW), "buildset": {"uuid": secrets.token_hex(16)}, "ref": dict(REF)}
    return update(build, given)


def update(build, given):
    for name, value in given.items():
        if name == "ref" and isinstance(value, dict):
            build["ref"].update(value)
        elif name in OF_REF and name != "ref":
            build["ref"][name] = value
        elif name in build:
            build[name] = value
        else:
            raise Refused(400, f"a build has no {name}")
    return build


def shown(build):
    if not CONFIG["flat"]:
        return {**build, "buildset": {**build["buildset"], "refs": [build["ref"]]}}
    out = {name: value for name, value in build.items() if name not in ("_id", "ref")}
    return {**out, **{name: build["ref"][name] for name in REF if name != "oldrev"}}


def value_of(build, name):
    if name == "complete":
        return build["result"] is not None
    found = build["ref"][name] if name in OF_REF else build[name]
    return found


def means(build, name, values):
    found = value_of(build, name)
    if name in FLAGS:
        return any(found == (value.lower() in ("true", "1")) for value in values)
    found = "" if found is None else str(found)
    return any(fnmatch.fnmatchcase(found, re.sub(r"([?\[])", r"[\1]", value))
               if name in WILD and "*" in value else found == value for value in values)


def number(query, name, otherwise):
    try:
        return int(query[name][-1]) if name in query else otherwise
    except ValueError:
        raise Refused(400, f"{name} must be an integer") from None


def find(query):
    unknown = sorted(set(query) - set(PARAMS))
    if unknown:
        raise Refused(404, "Unexpected query string parameters: " + ", ".join(unknown))
    limit, skip = number(query, "limit", 50), number(query, "skip", 0)
    least, most = number(query, "idx_min", 0), number(query, "idx_max", sys.maxsize)
    builds = sorted(BUILDS, key=lambda build: -build["_id"])
    if not CONFIG["filter"]:
        return [shown(build) for build in builds[skip:skip + limit]]
    wanted = {name: values for name, values in query.items()
              if name in OF_REF + OF_BUILD + FLAGS}
    found = [build for build in builds
             if least <= build["_id"] <= most
             and build["result"] not in query.get("exclude_result", ())
             and all(means(build, name, values) for name, values in wanted.items())]
    return [shown(build) for build in found[skip:skip + limit]]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "zuul_api"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def reply(self, status, value, headers=()):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.record["status"] = status
        self.send_response(status)
        for name, text in [("Content-Type", "application/json; charset=utf-8"), *headers]:
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def handle_any(self):
        parts = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = urllib.parse.parse_qs(parts.query, keep_blank_values=True, errors="strict")
        self.record = {"method": self.command, "path": parts.path, "query": query, "status": 0,
                       "accept": self.headers.get("Accept") or "",
                       "authorization": self.headers.get("Authorization") or ""}
        try:
            if parts.path.startswith("/_ctl/"):
                with LOCK:
                    return self.reply(200, self.control(parts.path[6:], json.loads(body or b"{}")))
            with LOCK:
                LOG.append(self.record)
            time.sleep(CONFIG["delay"])
            if self.is_faulty():
                return None
            with LOCK:
                return self.reply(200, self.serve(parts.path, query))
        except Refused as refused:
            return self.reply(refused.status, str(refused).encode(),
                              [("Content-Type", "text/html;charset=utf-8")])

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def is_faulty(self):
        with LOCK:
            failing = CONFIG["fail_times"] > 0
            CONFIG["fail_times"] -= failing
        if failing:
            wait = CONFIG["fail_retry_after"]
            self.reply(CONFIG["fail_status"], b"try later",
                       [("Retry-After", retry_after(wait))] if wait else [])
        elif CONFIG["redirect"]:
            self.reply(302, b"", [("Location", CONFIG["redirect"])])
        elif CONFIG["body"] or CONFIG["endless"]:
            self.reply(200, (CONFIG["body"] or "[]").encode() + b" " * CONFIG["endless"])
        else:
            return False
        return True

    def serve(self, path, query):
        found = re.fullmatch(r"/api/tenant/([^/]+)/(builds|build/([^/]+))", path)
        if self.command != "GET":
            raise Refused(405, "Method Not Allowed")
        if not found:
            raise Refused(404, "The path was not found.")
        if urllib.parse.unquote(found.group(1)) not in CONFIG["tenants"]:
            raise Refused(404, f"Tenant {found.group(1)} does not exist.")
        if found.group(2) == "builds":
            return find(query)
        for build in BUILDS:
            if build["uuid"] == found.group(3):
                return shown(build)
        raise Refused(404, "Build not found")

    def control(self, what, value):
        if what == "config":
            unknown = set(value) - set(CONFIG)
            if unknown:
                raise Refused(400, f"no such switch: {sorted(unknown)}")
            CONFIG.update(value)
            return CONFIG
        if what == "build":
            BUILDS.append(make(value))
            return shown(BUILDS[-1])
        if what == "update":
            return [update(build, value) for build in BUILDS if build["uuid"] == value["uuid"]]
        if what == "reset":
            BUILDS.clear()
            LOG.clear()
            CONFIG.update(copy.deepcopy(START))
            return {}
        if what == "log":
            answer = list(LOG)
            LOG.clear()
            return answer
        raise Refused(404, "no such control")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    args = parser.parse_args()
    context = tls_context(*args.tls) if args.tls else None
    print(f"port={listen(Handler, 0, context)}", flush=True)
    wait_for_ever()


if __name__ == "__main__":
    main()
