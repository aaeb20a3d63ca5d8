"""The demo's review system: bare repositories, and signed webhooks about them."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import secrets
import subprocess
import time

import service

SOURCE = "review"
OURS = "slipway-demo"  # user agent of what the demo itself asks


class Git:
    """One bare repository, and a clone to commit in."""

    def __init__(self, folder, project):
        self.project = project
        self.bare = folder.file("git", project + ".git")
        self.clone = folder.file("clones", project)
        self.log = folder.log("git")
        self.env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1",
                        GIT_AUTHOR_NAME="Demo", GIT_AUTHOR_EMAIL="demo@example.org",
                        GIT_COMMITTER_NAME="Demo", GIT_COMMITTER_EMAIL="demo@example.org")
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
            self.env.pop(name, None)
        os.makedirs(self.bare)
        self.run("init", "-q", "--bare", "-b", "main", self.bare)
        for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
            self.run("-C", self.bare, "config", key, "true")
        self.run("init", "-q", "-b", "main", self.clone)

    def run(self, *args):
        done = subprocess.run(["git", *args], env=self.env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"git {' '.join(args)}: {done.returncode}\n{done.stderr}")
        if done.returncode:
            raise service.Trouble(f"git {args[0]} failed: {done.stderr.strip()}", self.log)
        return done.stdout.strip()

    def commit(self, files, title):
        for name, text in files.items():
            with open(os.path.join(self.clone, name), "w", encoding="utf-8") as file:
                file.write(text)
        self.run("-C", self.clone, "add", "-A")
        self.run("-C", self.clone, "commit", "-q", "-m", title)
        return self.run("-C", self.clone, "rev-parse", "HEAD")

    def tree(self, commit):
        return self.run("-C", self.clone, "rev-parse", commit + "^{tree}")

    def push(self, ref):
        self.run("-C", self.clone, "push", "-q", self.bare, f"HEAD:{ref}")


class Hooks:
    """Sends webhooks to Slipway, through nginx, signed as Standard Webhooks asks."""

    def __init__(self, folder, port):
        self.folder = folder
        self.port = port
        self.secret = secrets.token_bytes(32)
        folder.write("secrets/review", "whsec_" + base64.b64encode(self.secret).decode() + "\n",
                     0o600)

    def post(self, event):
        """Returns when it was sent and answered."""
        body = json.dumps(event).encode()
        name, stamp = "msg_" + secrets.token_hex(12), str(int(time.time()))
        mac = hmac.new(self.secret, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.connect()
        sent = time.monotonic()
        connection.request("POST", f"/hooks/{SOURCE}", body, {
            "Content-Type": "application/json", "User-Agent": OURS, "webhook-id": name,
            "webhook-timestamp": stamp,
            "webhook-signature": "v1," + base64.b64encode(mac).decode()})
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace").strip()
        answered = time.monotonic()
        connection.close()
        if answer.status != 202:
            raise service.Trouble(f"the webhook was answered with {answer.status}: {text}",
                                  self.folder.log("serve"))
        return sent, answered
