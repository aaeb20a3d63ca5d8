"""Commands that a user runs by hand: no configuration, no home but the one that a test gives."""

import json
import os
import pty
import select
import subprocess
import time

from .process import SANITIZER, environment
from .slipway import binary


class Ran:
    """A command that has ended: .code, .out and .err as text."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out.decode("utf-8", "replace")
        self.err = err.decode("utf-8", "replace")
        assert not SANITIZER.search(self.err), self.err
        assert not SANITIZER.search(self.out), self.out

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}--- stderr\n{self.err}"


def run(*argv, env=None, stdin=b"", timeout=60, **popen):
    done = subprocess.run([binary(), *map(str, argv)], input=stdin, capture_output=True,
                          env=environment(env), timeout=timeout, check=False, **popen)
    return Ran(done.returncode, done.stdout, done.stderr)


def start(*argv, env=None, **popen):
    """A command under way; end it with ended()."""
    return subprocess.Popen([binary(), *map(str, argv)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                            env=environment(env), **popen)


def ended(process, timeout=30):
    out, err = process.communicate(timeout=timeout)
    return Ran(process.returncode, out, err)


def on_terminal(*argv, env=None, timeout=30):
    """What a command writes to a terminal as its standard error, and its exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([binary(), *map(str, argv)], stdout=subprocess.DEVNULL,
                               stderr=theirs, stdin=subprocess.DEVNULL,
                               env=environment({"TERM": "xterm", **(env or {})}))
    os.close(theirs)
    seen, end = b"", time.monotonic() + timeout
    try:
        while time.monotonic() < end:
            if not select.select([ours], [], [], 0.1)[0]:
                continue
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            seen += part
        return seen.decode("utf-8", "replace"), process.wait(timeout)
    finally:
        os.close(ours)
        if process.poll() is None:
            process.kill()
            process.wait()
