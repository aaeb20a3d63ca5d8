#!/usr/bin/python3
"""git over HTTP on a loopback port: `git http-backend` behind Basic authentication.

git_http.py ROOT CREDENTIALS LOG [--old]

CREDENTIALS is a file with one line user:password (empty: anonymous). With --old the client's wish
for protocol version 2 is dropped. Repositories below ROOT are served. One line a request goes to
LOG: status, method, path; and, as a witness while the client runs, one line "LEAK ..." for each
process whose command line or environment shows the password, plain or as base64. The port is
printed on standard output; the server ends when its standard input does.
"""
import base64
import glob
import gzip
import http.server
import os
import subprocess
import sys
import threading

ROOT, CREDENTIALS, LOG = sys.argv[1:4]
OLD = "--old" in sys.argv[4:]
with open(CREDENTIALS, "rb") as f:
    PAIR = f.read().strip()
BASIC = b"Basic " + base64.b64encode(PAIR)
NEEDLES = [PAIR.split(b":", 1)[1], base64.b64encode(PAIR)] if PAIR else []


def log(line):
    with open(LOG, "a", encoding="utf-8") as out:
        out.write(line + "\n")


def look_for_leaks():
    for name in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(name, "rb") as source:
                text = source.read()
        except OSError:
            continue
        if any(needle in text for needle in NEEDLES):
            log("LEAK " + name)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, headers, body):
        log(f"{status} {self.command} {self.path}")
        self.send_response(status)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def read_body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while True:
                size = int(self.rfile.readline(), 16)
                parts.append(self.rfile.read(size))
                self.rfile.readline()
                if not size:
                    return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def serve(self):
        look_for_leaks()
        body = self.read_body()
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if PAIR and self.headers.get("Authorization", "").encode() != BASIC:
            self.answer(401, [("WWW-Authenticate", 'Basic realm="git"')], b"who are you?\n")
            return
        path, _, query = self.path.partition("?")
        if path.startswith("/moved/"):
            self.answer(302, [("Location", path[6:] + "?" + query)], b"")
            return
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": ROOT,
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_CONFIG_KEY_1": "uploadpack.allowFilter",
            "GIT_CONFIG_VALUE_1": "true",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "127.0.0.1",
        }
        if not OLD:
            env["GIT_PROTOCOL"] = self.headers.get("Git-Protocol", "")
        done = subprocess.run(["git", "http-backend"], input=body, env=env,
                              stdout=subprocess.PIPE, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [tuple(line.decode().split(": ", 1)) for line in head.split(b"\r\n") if line]
        status = next((int(v.split()[0]) for k, v in headers if k == "Status"), 200)
        self.answer(status, [h for h in headers if h[0] != "Status"], content)

    do_GET = serve
    do_POST = serve

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdout.write(f"{server.server_address[1]}\n")
sys.stdout.flush()
sys.stdin.read()
