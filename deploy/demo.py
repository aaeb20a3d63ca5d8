"""`make demo`: a small review system, a gate and a registry on this machine, and Slipway at work.

Starts Debian's docker-registry, nginx and Slipway (`serve` behind nginx's FastCGI, and `work`) on
loopback and free ports, as the calling user, in one folder. Stages the image of a change as a gate
would, tells Slipway that the change has merged, and shows what happened. On a terminal everything
then stays up until Ctrl-C; else it ends with exit status 0. Nothing outlives it.
"""

import argparse
import base64
import hashlib
import hmac
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "demo"))
sys.dont_write_bytecode = True

import images
import service

PROJECT = "demo/app"
SOURCE = "review"
LIVE_SECONDS = 20
OURS = "slipway-demo"  # user agent of what the demo itself asks
ACCESS = re.compile(r'^\S+ - .*?"(\w+) (\S+) HTTP/[\d.]+" (\d+) \d+ ".*?" "(.*?)"$', re.M)


def say(text=""):
    print(text, flush=True)


def milliseconds(seconds):
    return f"{seconds * 1000:.1f} ms"


class Git:
    """The demo's review system: one bare repository, and a clone to commit in."""

    def __init__(self, folder):
        self.bare = folder.file("git", PROJECT + ".git")
        self.clone = folder.file("clone")
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


class Demo:
    def __init__(self, slipway, folder):
        self.slipway = os.path.abspath(slipway)
        self.folder = folder
        self.change = 5

    # --- what runs ---

    def start(self):
        folder = self.folder
        _, self.registry_host = service.start_registry(folder)
        self.registry = images.Registry(self.registry_host, OURS)
        socket_path = os.path.join(folder.sockets, "slipway.sock")
        _, self.port = service.slipway_nginx(folder, socket_path, HERE)
        self.secret = secrets.token_bytes(32)
        folder.write("secrets/review", "whsec_" + base64.b64encode(self.secret).decode() + "\n",
                     0o600)
        self.config = folder.write("slipway.yaml", self.settings(socket_path))
        os.makedirs(folder.file("cache"), exist_ok=True)
        self.git = Git(folder)
        for role in ("serve", "work"):
            process = folder.spawn(role, [self.slipway, role, "--config", self.config])
            if role == "serve":
                folder.wait_until("it was ready", process,
                                  lambda: service.answers(self.port, "/health/ready") == 200)
        say(f"  docker-registry  http://{self.registry_host}")
        say(f"  nginx            http://127.0.0.1:{self.port}, FastCGI to slipway serve")
        say(f"  slipway          serve, work: {os.path.relpath(self.config)}")

    def settings(self, socket_path):
        folder = self.folder
        store = os.path.join(folder.sockets, "slipway.db")
        return f"""store: "sqlite:{store}"
listen: "{socket_path}"
public_url: http://127.0.0.1:{self.port}
cache: "{folder.file('cache')}"
forges:
  {SOURCE}:
    type: git
    git: "file://{folder.file('git')}/{{project}}.git"
    hook_secrets: ["file:{folder.file('secrets', 'review')}"]
registries:
  "{self.registry_host}": {{plain_http: true}}
projects:
  - match: demo/**
    forge: {SOURCE}
    may_publish: ["{self.registry_host}/demo/*"]
"""

    def check_alive(self):
        for process in self.folder.processes:
            if process.poll() is not None:
                raise service.Trouble(f"{process.name} ended with {process.returncode}",
                                      self.folder.log(process.name))

    # --- what a review system and a gate do ---

    def post(self, event):
        """A webhook, signed as Standard Webhooks asks. Returns when it was sent and answered."""
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

    def propose(self):
        """A change: its commit, and its image, built."""
        self.change += 1
        version = f"version {self.change}"
        commit = self.git.commit({
            ".slipway.yaml": f"""container_images:
  - context: .
    registry: {self.registry_host}
    repository: {self.registry_host}/{PROJECT}
    tags: [latest]
""", "Containerfile": "FROM scratch\nCOPY hello.txt /hello.txt\n", "hello.txt": version + "\n"},
            f"Change {self.change}")
        context = self.folder.file("context", str(self.change))
        os.makedirs(context)
        for name in ("Containerfile", "hello.txt"):
            shutil.copy(os.path.join(self.git.clone, name), context)
        image, how = images.build(self.folder, context, f"change-{self.change}")
        return commit, image, how

    def publish_former(self):
        """What is there before the demo's change: an older `latest`."""
        _, image, how = self.propose()
        self.git.push("refs/heads/main")
        self.registry.push(PROJECT, "latest", image)
        say(f"  images           built by {how}")

    def stage(self, commit, image):
        """The gate's part: the image under its staged tag, and the digest on record."""
        staged = f"change_{self.change}_latest"
        self.git.push(f"refs/changes/{self.change}/head")
        self.registry.push(PROJECT, staged, image)
        self.post({"kind": "image.staged", "project": PROJECT, "change": self.change,
                   "branch": "main", "commit": commit, "tree": self.git.tree(commit),
                   "run_id": secrets.token_hex(4),
                   "images": [{"repository": f"{self.registry_host}/{PROJECT}", "tag": staged,
                               "digest": image.digest}]})
        return staged

    def show_tags(self, title):
        say(f"  {title}")
        for tag in self.registry.tags(PROJECT):
            digest = self.registry.digest(PROJECT, tag)
            if digest:  # a tag that is just going is still listed
                say(f"    {tag:<18} {digest}")

    def wait_for(self, what, check, seconds=LIVE_SECONDS):
        until = time.monotonic() + seconds
        while not check():
            self.check_alive()
            if time.monotonic() > until:
                raise service.Trouble(f"{what} did not happen in {seconds} s",
                                      self.folder.log("work"))
            time.sleep(0.001)
        return time.monotonic()

    def seen_by_registry(self, skip):
        """Slipway's own requests: `METHOD path status`."""
        found = ACCESS.findall(self.folder.log_text("registry"))
        return [f"{method:<6} {path} {status}" for method, path, status, agent in found
                if OURS not in agent][skip:]

    def wait_for_silence(self):
        """Slipway looks once more after a removal: wait until it asks nothing for a moment."""
        seen = -1
        while seen != len(self.seen_by_registry(0)):
            seen = len(self.seen_by_registry(0))
            time.sleep(0.3)

    def merge(self):
        commit, image, _ = self.propose()
        say()
        say(f"Change {self.change} passes the gate: its image is staged, its digest recorded.")
        staged = self.stage(commit, image)
        time.sleep(0.5)  # so that what follows is the merge alone
        self.show_tags("tags before the merge:")
        before = len(self.seen_by_registry(0))
        self.git.push("refs/heads/main")

        say()
        say(f"Change {self.change} merges: a signed webhook goes to nginx.")
        sent, answered = self.post({
            "kind": "change.merged", "project": PROJECT, "branch": "main",
            "change": self.change, "commit": commit, "merged_at": int(time.time())})
        live = self.wait_for("the new latest",
                             lambda: self.registry.digest(PROJECT, "latest") == image.digest)
        self.wait_for("the end of the staged tag",
                      lambda: self.registry.digest(PROJECT, staged) is None)
        self.wait_for_silence()
        if self.registry.digest(PROJECT, staged):
            raise service.Trouble(f"{staged} is there again", self.folder.log("work"))
        say(f"  accepted (202, on disk) after {milliseconds(answered - sent)}")
        say(f"  latest is live after {milliseconds(live - sent)}, from sending the webhook")
        self.show_tags("tags after the merge:")
        digest, blobs, size = self.registry.pull(PROJECT, "latest")
        if digest != image.digest:
            raise service.Trouble(f"latest pulls as {digest}, not as {image.digest}")
        say(f"  {staged} is gone; latest pulls: manifest and {blobs} blobs, {size} bytes, "
            "every digest right")
        say("  what the registry saw from Slipway:")
        for line in self.seen_by_registry(before):
            say(f"    {line}")

    def show_queue(self):
        done = subprocess.run([self.slipway, "queue", "ls", "--config", self.config],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise service.Trouble(f"slipway queue ls: {done.stderr.strip()}")
        say()
        say("What `slipway queue ls` says:")
        for line in done.stdout.splitlines():
            say(f"  {line}")

    # --- a terminal ---

    def stay(self):
        binary, config = os.path.relpath(self.slipway), os.path.relpath(self.config)
        say()
        say("All of it stays up. To try, in another terminal:")
        for line in (f"export SLIPWAY_CONFIG={config}",
                     f"{binary} queue ls", f"{binary} check",
                     f"{binary} send-test-hook --forge {SOURCE} --event ping",
                     f"curl http://127.0.0.1:{self.port}/health/ready",
                     f"curl http://{self.registry_host}/v2/{PROJECT}/tags/list",
                     f"tail {os.path.relpath(self.folder.log('work'))}"):
            say(f"  {line}")
        say()
        while True:
            try:
                input("Enter merges another change, Ctrl-C ends the demo. ")
            except EOFError:
                return
            self.check_alive()
            self.merge()


def on_signal(number, _frame):
    raise KeyboardInterrupt(number)


def report(trouble):
    print(f"demo: {trouble}", file=sys.stderr)
    log = getattr(trouble, "log", None)
    if log and os.path.exists(log):
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()[-15:]
        print(f"demo: the last lines of {log}:", file=sys.stderr)
        for line in lines:
            print(f"  {line}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slipway", required=True, help="the built program")
    parser.add_argument("--dir", default="build/demo", help="the demo's folder, emptied first")
    args = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    folder = service.Folder(args.dir)
    demo = Demo(args.slipway, folder)
    status = 1
    try:
        folder.open()
        say(f"Slipway's demo, in {os.path.relpath(folder.path)}:")
        demo.start()
        demo.publish_former()
        demo.merge()
        demo.merge()  # once more, now that connections are open and caches made
        demo.show_queue()
        status = 0
        if sys.stdin.isatty() and sys.stdout.isatty():
            demo.stay()
    except KeyboardInterrupt as interrupt:
        say()
        if interrupt.args or status:
            status = 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
    except (service.Trouble, OSError, RuntimeError, http.client.HTTPException) as trouble:
        status = 1
        report(trouble)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        folder.stop_all()
    return status


if __name__ == "__main__":
    sys.exit(main())
