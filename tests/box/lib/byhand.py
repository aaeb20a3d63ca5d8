"""Commands that a user runs by hand: no configuration, no home but the one that a test gives."""

import json
import os
import pty
import select
import subprocess
import time

from .process import SANITIZER, environment
from .slipway import binary


class Ran(str):
    """A command that has ended: .code, .out and .err as text. As a text, all of it, for messages
    of failed tests."""

    def __new__(cls, code, out, err):
        out, err = (part.decode("utf-8", "replace") for part in (out, err))
        self = super().__new__(cls, f"exit {code}\n--- stdout\n{out}--- stderr\n{err}")
        self.code, self.out, self.err = code, out, err
        assert not SANITIZER.search(err), err
        return self

    @property
    def json(self):
        return json.loads(self.out)


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
