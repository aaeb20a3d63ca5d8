"""`make demo`: a small review system, a gate and a registry on this machine, and Slipway at work.

Starts Debian's docker-registry (twice), nginx and Slipway (`serve` behind nginx's FastCGI, and
`work`) on loopback and free ports, as the calling user, in one folder. Shows the three ways to
publish: a change is staged as a gate would and merges; a git tag is pushed, and Slipway builds and
publishes its versions; a change goes from its gate to production through an intermediate registry.
On a terminal everything then stays up until Ctrl-C; else it ends with exit status 0. Nothing
outlives it.
"""

import argparse
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

import flows
import images
import service
from review import OURS, SOURCE, Git, Hooks

PROJECT = "demo/app"
LIVE_SECONDS = 20
TOOLS = (("podman", "buildah"), ("docker-registry",), ("git",), ("busybox",))
ACCESS = re.compile(r'^\S+ - .*?"(\w+) (\S+) HTTP/[\d.]+" (\d+) \d+ ".*?" "(.*?)"$', re.M)


def say(text=""):
    print(text, flush=True)


def milliseconds(seconds):
    return f"{seconds * 1000:.1f} ms"


class Demo:
    def __init__(self, slipway, folder):
        self.slipway = os.path.abspath(slipway)
        self.folder = folder
        self.change = 5

    # --- what runs ---

    def start(self):
        folder = self.folder
        _, self.registry_host = service.start_registry(folder)
        _, self.staging_host = service.start_registry(folder, "staging")
        self.registry = images.Registry(self.registry_host, OURS)
        self.staging = images.Registry(self.staging_host, OURS)
        socket_path = os.path.join(folder.sockets, "slipway.sock")
        _, self.port = service.slipway_nginx(folder, socket_path, HERE)
        self.hooks = Hooks(folder, self.port)
        self.config = folder.write("slipway.yaml", self.settings(socket_path))
        for name in ("cache", "builds", "scratch"):
            os.makedirs(folder.file(name), exist_ok=True)
        self.git = Git(folder, PROJECT)
        for role in ("serve", "work"):
            process = folder.spawn(role, [self.slipway, role, "--config", self.config])
            if role == "serve":
                folder.wait_until("it was ready", process,
                                  lambda: service.answers(self.port, "/health/ready") == 200)
        say(f"  docker-registry  http://{self.registry_host}, and for staging "
            f"http://{self.staging_host}")
        say(f"  nginx            http://127.0.0.1:{self.port}, FastCGI to slipway serve")
        say(f"  slipway          serve, work: {os.path.relpath(self.config)}")

    def settings(self, socket_path):
        folder = self.folder
        store = os.path.join(folder.sockets, "slipway.db")
        return f"""store: "sqlite:{store}"
listen: "{socket_path}"
public_url: http://127.0.0.1:{self.port}
cache: "{folder.file('cache')}"
builder:
  dir: "{folder.file('builds')}"
  scratch: "{folder.file('scratch')}"
  timeout: 2m
forges:
  {SOURCE}:
    type: git
    git: "file://{folder.file('git')}/{{project}}.git"
    hook_secrets: ["file:{folder.file('secrets', 'review')}"]
registries:
  "{self.registry_host}": {{plain_http: true}}
  "{self.staging_host}": {{plain_http: true}}
projects:
  - match: {flows.TOOLS}
    forge: {SOURCE}
    may_publish: ["{self.registry_host}/{flows.TOOLS}"]
    may_build: [gate]
    intermediate: {self.staging_host}/gate
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

    def propose(self):
        """A change: its commit, and its image, built."""
        self.change += 1
        commit = flows.write_sources(self.git, f"Change {self.change}",
                                     flows.image_list(self.registry_host, PROJECT))
        context = self.folder.file("context", str(self.change))
        os.makedirs(context)
        for name in ("Containerfile", "busybox", "hello.txt"):
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
        self.hooks.post({"kind": "image.staged", "project": PROJECT, "change": self.change,
                   "branch": "main", "commit": commit, "tree": self.git.tree(commit),
                   "run_id": secrets.token_hex(4),
                   "images": [{"repository": f"{self.registry_host}/{PROJECT}", "tag": staged,
                               "digest": image.digest}]})
        return staged

    def show_tags(self, title, registry=None, name=PROJECT):
        registry = registry or self.registry
        say(f"  {title}")
        for tag in registry.tags(name):
            digest = registry.digest(name, tag)
            if digest:  # a tag that is just going is still listed
                say(f"    {tag:<23} {digest}")

    def wait_for(self, what, check, seconds=LIVE_SECONDS, every=0.001):
        until = time.monotonic() + seconds
        while not check():
            self.check_alive()
            if time.monotonic() > until:
                raise service.Trouble(f"{what} did not happen in {seconds} s",
                                      self.folder.log("work"))
            time.sleep(every)
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

    def merge(self, show_requests=True):
        commit, image, _ = self.propose()
        say()
        say(f"Promotion by tag. Change {self.change} passes the gate: its image is staged, its "
            "digest recorded.")
        staged = self.stage(commit, image)
        time.sleep(0.5)  # so that what follows is the merge alone
        self.show_tags("tags before the merge:")
        before = len(self.seen_by_registry(0))
        self.git.push("refs/heads/main")

        say()
        say(f"Change {self.change} merges: a signed webhook goes to nginx.")
        sent, answered = self.hooks.post({
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
        flows.same_bytes(self, "tested at the gate", image.digest, self.registry, PROJECT,
                         "latest")
        if not show_requests:
            return
        say("  what the registry saw from Slipway:")
        for line in self.seen_by_registry(before):
            say(f"    {line}")

    def queue(self, *more):
        """What `slipway queue ls` says."""
        done = subprocess.run([self.slipway, "queue", "ls", "--config", self.config, *more],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise service.Trouble(f"slipway queue ls: {done.stderr.strip()}")
        return done.stdout

    def task(self, ref):
        """The newest task of a change or a tag."""
        for task in json.loads(self.queue("--format", "json"))["tasks"]:
            if task["ref"] == ref:
                return task
        return {"state": "", "reason": ""}

    def show_queue(self):
        say()
        say("What `slipway queue ls` says:")
        for line in self.queue().splitlines():
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


def check_tools():
    """What is missing is said before anything is started, and by what it is installed."""
    missing = [" or ".join(choice) for choice in TOOLS
               if not any(shutil.which(name) for name in choice)]
    if missing:
        raise service.Trouble(f"not installed: {', '.join(missing)}; as root, `deploy/bootstrap "
                              "demo` installs what the demo needs")
    service.find_nginx()


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
    status, began = 1, time.monotonic()
    try:
        check_tools()
        folder.open()
        say(f"Slipway's demo, in {os.path.relpath(folder.path)}:")
        demo.start()
        demo.publish_former()
        demo.merge(show_requests=False)
        demo.merge()  # once more, now that connections are open and caches made
        flows.full_release(demo)
        flows.through_intermediate(demo)
        demo.show_queue()
        say()
        say(f"All of it took {time.monotonic() - began:.1f} s.")
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
        started = len(folder.processes)
        folder.stop_all()
        if started:
            say(f"The {started} processes that were started have ended; "
                f"{os.path.relpath(folder.path)} keeps their logs until the next run.")
    return status


if __name__ == "__main__":
    sys.exit(main())
