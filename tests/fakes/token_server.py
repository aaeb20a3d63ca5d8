#!/usr/bin/python3
"""A token service for docker-registry's `auth: token`: signed JWTs (RS256) for Basic credentials,
refresh tokens, or nobody.

    token_server.py --key KEY.pem --cert CERT.pem [--issuer box] [--tls CERT KEY]

CERT.pem (of KEY.pem) is what the registry gets as `rootcertbundle`. Prints "port=N" once it
listens. Any path but /_ctl/... is the service:

    GET  ?service=&scope=&scope=&offline_token=true&account=   Basic, or nobody
    POST grant_type=refresh_token|password, service, scope (blanks between), client_id,
         refresh_token | username, password, access_type=offline

    PUT  /_ctl/config   JSON object: merged into CONFIG below
    GET  /_ctl/log      JSON list since the last look, which empties it: {method, path, how
                        (anonymous, basic, refresh_token, password, refused), user, service,
                        scopes (as asked), granted (as in the token), status, offline, client_id}

The protocol: distribution's docs/spec/auth/token.md, jwt.md, oauth.md.
"""
import argparse
import base64
import fnmatch
import hashlib
import json
import secrets
import subprocess
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler

sys.dont_write_bytecode = True

from oci_http import listen, retry_after, tls_context, wait_for_ever  # noqa: E402

CONFIG = {
    "issuer": "box",
    "service": "",           # when set, another service is 400
    "users": {               # user -> {"password": text, "access": [[name pattern, rights]]}
        "ci": {"password": "geheim-wort", "access": [["**", "pull,push,delete"]]},
        "reader": {"password": "lese-wort", "access": [["**", "pull"]]},
    },
    "anonymous": [],         # [[name pattern, rights]] of nobody; null: nobody gets 401
    "header": "kid",         # kid (libtrust key id) or x5c (certificate chain)
    "expires_in": 300,       # of the token itself, and as said
    "say_expires_in": None,  # when set, what is said instead; 0: left out
    "say_issued_at": True,
    "field": "both",         # token, access_token, both
    "scopes": "all",         # first: only the first scope of a request counts
    "refuse": "",            # 403 when this right is asked for, instead of leaving it out
    "post_status": 200,      # 404, 405: POST is not known
    "refresh_on_post": False,  # a refresh_token request is answered with a new refresh token, and
                               # the former one is good no more
    "fail_times": 0,         # so many answers are fail_status
    "fail_status": 503,
    "fail_retry_after": "",  # seconds:N, date:N, timestamp:N
    "delay": 0,              # seconds before each answer
    "body": "",              # instead of a token
    "redirect": "",          # 307 to there
}
LOG = []
REFRESH = {}  # refresh token -> user
LOCK = threading.Lock()


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def matches(pattern, name):
    """`**` is everything; `*` stays within one part of a name."""
    if pattern == "**":
        return True
    if pattern.endswith("/**"):
        return name.startswith(pattern[:-2])
    return name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern)


def parse_scopes(texts):
    """[(type, name, rights)]: parameters may repeat, and hold several parted by blanks."""
    found = []
    for text in " ".join(texts).split():
        kind, _, rest = text.partition(":")
        name, _, rights = rest.rpartition(":")
        found.append((kind, name, rights.split(",")))
    return found


class Signer:
    """Signs with the openssl command; the key never leaves its file."""

    def __init__(self, key, cert):
        self.key = key
        der = subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-outform", "DER"],
                             check=True, capture_output=True).stdout
        text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
        self.kid = ":".join(text[i:i + 4] for i in range(0, len(text), 4))
        with open(cert, encoding="ascii") as file:
            lines = file.read().split("-----BEGIN CERTIFICATE-----")[1].split("-----END")[0]
        self.chain = ["".join(lines.split())]

    def jwt(self, claims):
        header = {"typ": "JWT", "alg": "RS256"}
        if CONFIG["header"] == "x5c":
            header["x5c"] = self.chain
        else:
            header["kid"] = self.kid
        signed = b64(json.dumps(header).encode()) + "." + b64(json.dumps(claims).encode())
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key],
                                   input=signed.encode(), check=True, capture_output=True).stdout
        return signed + "." + b64(signature)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "token_server"
    disable_nagle_algorithm = True
    signer = None

    def log_message(self, *args):
        pass

    def reply(self, status, value, headers=()):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.record["status"] = status
        self.send_response(status)
        for name, text in [("Content-Type", "application/json"), *headers]:
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self):
        parts = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.record = {"method": self.command, "path": self.path, "how": "refused", "user": "",
                       "service": "", "scopes": [], "granted": [], "status": 0, "offline": False,
                       "client_id": ""}
        if parts.path.startswith("/_ctl/"):
            return self.control(parts.path[6:], body)
        with LOCK:
            LOG.append(self.record)
        time.sleep(CONFIG["delay"])
        with LOCK:
            failing = CONFIG["fail_times"] > 0
            CONFIG["fail_times"] -= failing
        if failing:
            headers = ([("Retry-After", retry_after(CONFIG["fail_retry_after"]))]
                       if CONFIG["fail_retry_after"] else [])
            return self.reply(CONFIG["fail_status"], {"details": "try later"}, headers)
        if CONFIG["redirect"]:
            return self.reply(307, b"", [("Location", CONFIG["redirect"])])
        if self.command == "GET":
            return self.by_query(urllib.parse.parse_qs(parts.query))
        if self.command == "POST" and CONFIG["post_status"] == 200:
            return self.by_form(urllib.parse.parse_qs(body.decode("latin-1")))
        return self.reply(CONFIG["post_status"] if self.command == "POST" else 405,
                          {"details": "no such method"})

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def control(self, what, body):
        with LOCK:
            if what == "config":
                new = json.loads(body or b"{}")
                unknown = set(new) - set(CONFIG)
                if unknown:
                    return self.reply(400, {"error": f"no such switch: {sorted(unknown)}"})
                CONFIG.update(new)
                return self.reply(200, CONFIG)
            answer = list(LOG)
            LOG.clear()
            return self.reply(200, answer)

    # --- who is it ----------------------------------------------------------------------------

    def refuse(self, status, code, details):
        headers = [("WWW-Authenticate", 'Basic realm="tokens"')] if status == 401 else []
        self.reply(status, {"error": code, "details": details}, headers)

    def known(self, user, password):
        account = CONFIG["users"].get(user)
        return account is not None and account["password"] == password

    def by_query(self, query):
        sent = self.headers.get("Authorization")
        user = None
        if sent is None:
            if CONFIG["anonymous"] is None:
                return self.refuse(401, "unauthorized", "credentials are needed")
            self.record["how"] = "anonymous"
        else:
            kind, _, text = sent.partition(" ")
            try:
                user, _, password = base64.b64decode(text).decode().partition(":")
            except ValueError:
                return self.refuse(400, "invalid_request", "malformed credentials")
            if kind.lower() != "basic" or not self.known(user, password):
                return self.refuse(401, "unauthorized", "wrong credentials")
            self.record["how"] = "basic"
        self.record["offline"] = query.get("offline_token") == ["true"]
        return self.grant(user, query, self.record["offline"] and user is not None)

    def by_form(self, form):
        kind = form.get("grant_type", [""])[0]
        kind_of_body = (self.headers.get("Content-Type") or "").partition(";")[0]
        if kind_of_body != "application/x-www-form-urlencoded" or not form.get("client_id"):
            return self.refuse(400, "invalid_request", "a form with client_id is needed")
        self.record["client_id"] = form["client_id"][0]
        self.record["offline"] = form.get("access_type") == ["offline"]
        if kind == "refresh_token":
            with LOCK:
                user = REFRESH.get(form.get("refresh_token", [""])[0])
                if user and CONFIG["refresh_on_post"]:
                    del REFRESH[form["refresh_token"][0]]
        elif kind == "password":
            user = form.get("username", [""])[0]
            user = user if self.known(user, form.get("password", [""])[0]) else None
        else:
            return self.refuse(400, "unsupported_grant_type", "grant_type")
        if not user:
            return self.refuse(401, "invalid_grant", "wrong credentials")
        self.record["how"] = kind
        renew = self.record["offline"] or (kind == "refresh_token" and CONFIG["refresh_on_post"])
        return self.grant(user, form, renew)

    # --- what may it --------------------------------------------------------------------------

    def rights_of(self, user, name):
        table = CONFIG["users"][user]["access"] if user else CONFIG["anonymous"]
        found = set()
        for pattern, rights in table or ():
            if matches(pattern, name):
                found.update(rights.split(","))
        return found

    def grant(self, user, query, renew):
        service = query.get("service", [""])[0]
        scopes = parse_scopes(query.get("scope", []))
        self.record.update(user=user or "", service=service, scopes=query.get("scope", []))
        if CONFIG["service"] and service != CONFIG["service"]:
            return self.refuse(400, "invalid_request", "no such service")
        if CONFIG["refuse"] and any(CONFIG["refuse"] in rights for _, _, rights in scopes):
            return self.refuse(403, "denied", "no such right")
        if CONFIG["body"]:
            return self.reply(200, CONFIG["body"].encode())
        access = []
        for kind, name, rights in scopes[:1] if CONFIG["scopes"] == "first" else scopes:
            mine = self.rights_of(user, name) if kind == "repository" else set()
            actions = [right for right in rights if right in mine]
            if actions:
                access.append({"type": kind, "name": name, "actions": actions})
        self.record["granted"] = [f"{a['name']}:{','.join(a['actions'])}" for a in access]
        now = int(time.time())
        token = self.signer.jwt({
            "iss": CONFIG["issuer"], "sub": user or "", "aud": service,
            "exp": now + CONFIG["expires_in"], "nbf": now - 10, "iat": now,
            "jti": secrets.token_hex(8), "access": access})
        answer = {}
        if CONFIG["field"] != "access_token":
            answer["token"] = token
        if CONFIG["field"] != "token":
            answer["access_token"] = token
        said = CONFIG["say_expires_in"]
        said = CONFIG["expires_in"] if said is None else said
        if said:
            answer["expires_in"] = said
        if CONFIG["say_issued_at"]:
            answer["issued_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        if renew:
            fresh = secrets.token_urlsafe(32)
            with LOCK:
                REFRESH[fresh] = user
            answer["refresh_token"] = fresh
        return self.reply(200, answer)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", required=True)
    parser.add_argument("--cert", required=True)
    parser.add_argument("--issuer", default="box")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    args = parser.parse_args()
    CONFIG["issuer"] = args.issuer
    Handler.signer = Signer(args.key, args.cert)
    context = tls_context(*args.tls) if args.tls else None
    print(f"port={listen(Handler, args.port, context)}", flush=True)
    wait_for_ever()


if __name__ == "__main__":
    main()
