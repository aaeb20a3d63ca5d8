"""The program under test, in a folder of its own: configuration, serve, work, store, commands."""

import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import tempfile
import time

import yaml

from . import signing
from .net import call, is_open, wait_until
from .process import SANITIZER, Process, environment
from .web import ROOT, Nginx

SECRET = "box-secret-of-the-hub-0123456789"
GERRIT_SECRET = "box-secret-of-the-review-9876543210"


def binary():
    path = os.path.abspath(os.environ.get("SLIPWAY_BIN",
                                          os.path.join(ROOT, "build", "plain", "slipway")))
    assert os.access(path, os.X_OK), f"{path} is not there: build it, or set SLIPWAY_BIN"
    return path


class Slipway:
    """Not started: start_serve() and start_work() do that; stop() ends what runs and checks it."""

    def __init__(self, config=None):
        # Short, because the path of a unix socket holds 107 bytes at most.
        self.folder = tempfile.mkdtemp(prefix="sw-", dir="/tmp")
        self.bin = binary()
        self.socket = os.path.join(self.folder, "s.sock")
        self.config_path = os.path.join(self.folder, "slipway.yaml")
        self.db = os.path.join(self.folder, "slipway.db")
        self.serve = None
        self.work = None
        self.front = None
        self.hub_secret = self.secret("hub", SECRET)
        self.review_secret = self.secret("review", GERRIT_SECRET)
        self.config = {
            "store": "sqlite:" + self.db,
            "listen": self.socket,
            "cache": os.path.join(self.folder, "cache"),
            "forges": {
                "hub": {"type": "github", "url": "http://127.0.0.1:9",
                        "hook_secrets": [self.hub_secret]},
                "review": {"type": "gerrit", "url": "http://127.0.0.1:9",
                           "hook_secrets": [self.review_secret]},
            },
            "registries": {},
            "projects": [],
        }
        self.config.update(config or {})
        self.write_config()

    def secret(self, name, value):
        """Writes a secret and returns how the configuration names it."""
        path = os.path.join(self.folder, name + ".secret")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
                  encoding="utf-8") as file:
            file.write(value + "\n")
        return "file:" + path

    def write_config(self):
        with open(self.config_path, "w", encoding="utf-8") as file:
            yaml.safe_dump(self.config, file, sort_keys=False)

    def log(self, name):
        return os.path.join(self.folder, name + ".log")

    def start_serve(self, argv=(), env=None, wait=True, **popen):
        ready = (lambda: is_open(self.socket)) if wait else None
        self.serve = Process("slipway serve",
                             [self.bin, "serve", "--config", self.config_path, *argv],
                             self.log("serve"), env=env, ready=ready, **popen)
        return self.serve

    @staticmethod
    def limit_files(process, max_file):
        """Bounds what any file of a process may grow to: a full disk, and nobody must be root."""
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (max_file, resource.RLIM_INFINITY))

    def start_work(self, argv=(), env=None):
        self.work_log_start = os.path.getsize(self.log("work")) if os.path.exists(
            self.log("work")) else 0
        self.work = Process("slipway work",
                            [self.bin, "work", "--config", self.config_path, *argv],
                            self.log("work"), env=env)
        return self.work

    def start(self):
        self.start_serve()
        self.start_work()
        return self

    @property
    def nginx(self):
        if not self.front:
            self.front = Nginx(os.path.join(self.folder, "n"), self.socket)
        return self.front

    def cli(self, *argv, env=None, stdin=b"", timeout=60):
        """Runs a command to its end. stdout and stderr are bytes."""
        done = subprocess.run([self.bin, argv[0], "--config", self.config_path, *argv[1:]],
                              input=stdin, capture_output=True, env=environment(env),
                              timeout=timeout, check=False)
        said = done.stderr.decode("utf-8", "replace")
        assert not SANITIZER.search(said), said
        return done

    def post(self, body, path="/hooks/hub", headers=None, event="push", delivery=None):
        """Through nginx; signed as GitHub does unless headers are given."""
        if headers is None:
            headers = signing.github_headers(SECRET, body, event, delivery)
        return call("POST", self.nginx.url + path, body, headers)

    def query(self, sql, *args):
        """Rows of the store, read without a chance to write. After a kill -9 a journal may lie
        there that only a writer can roll back: the program under test does, soon."""
        end = time.monotonic() + 10
        while True:
            try:
                with contextlib.closing(sqlite3.connect(f"file:{self.db}?mode=ro", uri=True,
                                                        timeout=10)) as db:
                    return db.execute(sql, args).fetchall()
            except sqlite3.OperationalError as error:
                if "readonly" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def bodies(self, source=None):
        """Bodies of all deliveries, in the order in which they came."""
        rows = self.query("SELECT source, body FROM delivery JOIN delivery_body USING (id)"
                          " ORDER BY id")
        return [bytes(body) for where, body in rows if source in (None, where)]

    def stop(self):
        """Ends work, serve and nginx; exit status 0 and no sanitizer's report are required."""
        statuses = []
        if self.work and self.work.running:
            # Before it is up, a signal ends it as any other program: that is no clean stop.
            wait_until(self.work_is_up, what="work is up, or has ended")
        for process in (self.work, self.serve):
            if process and process.running:
                statuses.append((process.name, process.stop(), process.said()))
            elif process:
                process.check_sanitizers()
        self.work = self.serve = None
        if self.front:
            self.front.stop()
            self.front = None
        for name, status, said in statuses:
            assert status == 0, f"{name} ended with {status}\n{said[-5000:]}"

    def work_is_up(self):
        with open(self.log("work"), "rb") as file:
            file.seek(self.work_log_start)
            return b"msg=working" in file.read() or not self.work.running

    def remove(self):
        for process in (self.work, self.serve, self.front and self.front.process):
            if process and process.running:
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
