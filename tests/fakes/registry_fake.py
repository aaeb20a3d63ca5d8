#!/usr/bin/python3
"""A small OCI registry in memory whose manners and faults a test sets while it runs.

It prints "port=N" once it listens. A second port plays the object storage that blobs are
redirected to. Besides /v2/ and /token it answers, for the tests alone:

    GET  /_ctl/ports    {"port": N, "storage": N}
    PUT  /_ctl/config   JSON object: merged into CONFIG of oci_config.py, which explains each switch
    POST /_ctl/rule     JSON object: see Rules in oci_http.py; the next matching requests get this
                        answer instead, or the real one mangled
    PUT  /_ctl/rules    JSON list: all rules
    PUT  /_ctl/store    JSON {name, ref, type, body or body64}: stores a manifest
    PUT  /_ctl/blob     JSON {name, body or body64}
    PUT  /_ctl/time     JSON {name, tag, at}: when a tag was pushed
    GET  /_ctl/dump     {"tags": {name: {tag: digest}}, "manifests", "blobs": {name: [digest]},
                        "uploads": [{id, name, size}]}
    PUT  /_ctl/reset    empty, and good manners
    GET  /_ctl/log      JSON list of the requests since the last look, which empties it: {method,
                        path (with query), query, authorization, accept, headers, size, status,
                        peer, server (registry, storage, api), aborted}
    *    /echo...       the request as JSON: method, path, headers, body
"""
import argparse
import base64
import json
import re
import sys
import time
import urllib.parse

sys.dont_write_bytecode = True

import oci_http  # noqa: E402
from oci_blobs import Blobs, Storage  # noqa: E402
from oci_config import CONFIG, LOCK, PORTS, TOKENS  # noqa: E402
from oci_manifests import Manifests, Store  # noqa: E402

PATHS = re.compile(r"(?:(.+)/(manifests|blobs|referrers)/([^/]+)|(.+)/blobs/uploads/([^/]*)"
                   r"|(.+)/tags/list)")


class Handler(Blobs, Manifests, oci_http.Base):
    def route(self, path):
        if path.startswith("/echo"):
            return self.echo()
        if path == "/token":
            return self.token()
        if path in ("/v2", "/v2/"):
            return self.json(200, {}) if self.authorised("", "") else None
        if path.startswith("/v2/"):
            return self.registry(path[4:])
        return self.error(404, "NOT_HERE")

    def echo(self):
        headers = [[k.lower(), v] for k, v in self.headers.items()]
        self.json(200, {"method": self.command, "path": self.path, "headers": headers,
                        "body": self.body.decode("latin-1"), "peer": self.client_address[1]},
                  [("X-Twice", "1"), ("X-Twice", "2")])

    # --- signing in ---------------------------------------------------------------------------

    def basic_ok(self):
        want = base64.b64encode(f"{CONFIG['user']}:{CONFIG['password']}".encode()).decode()
        return self.headers.get("Authorization") == "Basic " + want

    def scopes(self, texts):
        """[(name, rights)] of what is asked for, blanks inside one parameter too."""
        found = []
        for text in " ".join(texts).split():
            _, _, rest = text.partition(":")
            name, _, rights = rest.rpartition(":")
            found.append((name, rights.split(",")))
        return found[:1] if CONFIG["token_scopes"] == "first" else found

    def token(self):
        if self.command == "POST":
            return self.token_by_form()
        anonymous = "Authorization" not in self.headers
        if not (self.basic_ok() or (anonymous and CONFIG["anonymous_token"])):
            return self.error(401, "UNAUTHORIZED", "wrong credentials")
        return self.grant(self.scopes(self.query.get("scope", [])))

    def token_by_form(self):
        if CONFIG["token_post"] != 200:
            return self.error(CONFIG["token_post"], "UNSUPPORTED", "no POST here")
        form = urllib.parse.parse_qs(self.body.decode("latin-1"))
        if form.get("grant_type") != ["refresh_token"]:
            return self.error(400, "UNSUPPORTED", "grant_type")
        if form.get("refresh_token") != [CONFIG["refresh_token"]]:
            return self.error(401, "UNAUTHORIZED", "wrong refresh token")
        return self.grant(self.scopes(form.get("scope", [])))

    def grant(self, scopes):
        if CONFIG["refuse_scope"] and any(CONFIG["refuse_scope"] in r for _, r in scopes):
            return self.error(403, "DENIED", "no such right")
        if CONFIG["token_body"]:
            return self.reply(200, CONFIG["token_body"].encode())
        granted = set(CONFIG["grants"].split(","))
        with LOCK:
            token = f"tok{len(TOKENS)}-{time.time_ns()}"
            TOKENS[token] = {(name, right) for name, rights in scopes
                             for right in granted.intersection(rights)}
        return self.reply(200, json.dumps({"token": token,
                                           "expires_in": CONFIG["expires_in"]}).encode())

    def may(self, name, right):
        if CONFIG["auth"] == "none":
            return True
        if CONFIG["auth"] == "basic":
            return self.basic_ok()
        sent = self.headers.get("Authorization") or ""
        rights = TOKENS.get(sent[7:]) if sent.startswith("Bearer ") else None
        return rights is not None and (not name or (name, right) in rights)

    def authorised(self, name, right):
        if self.may(name, right):
            return True
        self.challenge(f"repository:{name}:{right}" if name else "")
        return False

    def challenge(self, scope):
        scope = f',scope="{scope}"' if scope else ""
        usual = ('Basic realm="fake"' if CONFIG["auth"] == "basic" else
                 f'Bearer realm="http://127.0.0.1:{PORTS["port"]}/token",service="fake"{scope}')
        challenge = oci_http.fill(CONFIG["challenge"]) or usual
        headers = [("WWW-Authenticate", line) for line in challenge.split("\n")]
        sent = self.headers.get("Authorization") or ""
        self.error(401, "UNAUTHORIZED", "sent: " + sent, headers)

    def tells(self, what):
        """Is the digest told in answers of this kind?"""
        how = CONFIG["digest_header"]
        return what in how if isinstance(how, list) else how

    # --- the protocol -------------------------------------------------------------------------

    def registry(self, path):
        match = PATHS.fullmatch(path)
        if not match or path.endswith("/blobs/uploads"):
            return self.error(404, "NAME_UNKNOWN")
        name, kind, ref, uploading, ident, listed = match.groups()
        name = name or uploading or listed
        pushes = self.command in ("PUT", "POST", "PATCH") or uploading
        right = "push" if pushes else "delete" if self.command == "DELETE" else "pull"
        if not self.authorised(name, right):
            return None
        if CONFIG["readonly"] and right != "pull":
            return self.error(CONFIG["readonly"], "UNSUPPORTED", "the registry is read-only")
        if uploading:
            return self.uploads(name, ident)
        if kind == "blobs":
            return self.blob(name, ref)
        if kind == "manifests":
            return self.manifests(name, ref)
        with LOCK:
            return self.referrers(name, ref) if kind else self.tags_list(name)


class StorageHandler(Storage, Store, oci_http.Base):
    pass


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--client-ca", metavar="CERT", help="a client certificate is demanded")
    return parser


def serve(args, handler=Handler, api=None):
    """Listens, prints the port and stays. `api` is a handler on a port of its own."""
    context = oci_http.tls_context(*args.tls, args.client_ca) if args.tls else None
    PORTS["storage"] = oci_http.listen(StorageHandler, context=context)
    PORTS["port"] = oci_http.listen(handler, args.port, context)
    PORTS["api"] = oci_http.listen(api, context=context) if api else PORTS["port"]
    print(f"port={PORTS['port']}", flush=True)
    oci_http.wait_for_ever()


if __name__ == "__main__":
    serve(options().parse_args())
