"""A server of ours or of others: started with its output in a file, ended by its own pid."""

import os
import re
import shutil
import signal
import subprocess

from .net import wait_until

SANITIZER = re.compile(r"(AddressSanitizer|LeakSanitizer|ThreadSanitizer|MemorySanitizer"
                       r"|runtime error:|DEADLYSIGNAL)")
SAFE = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin") + ":/usr/sbin",
        "LANG": "C.UTF-8"}


def environment(extra=None):
    """Nothing of the caller's but PATH and the sanitizers' options."""
    kept = {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}
    return {**SAFE, **kept, **(extra or {})}


def tool(name):
    """The program, or a failure: a missing tool is never a skipped test."""
    path = shutil.which(name, path=SAFE["PATH"])
    assert path, f"{name} is not installed: run `deploy/bootstrap test`"
    return path


class Process:
    def __init__(self, name, argv, log, env=None, ready=None, timeout=20, **popen):
        self.name = name
        self.log = log
        self.output = open(log, "ab")
        self.child = subprocess.Popen(argv, stdout=self.output, stderr=subprocess.STDOUT,
                                      stdin=popen.pop("stdin", subprocess.DEVNULL),
                                      env=environment(env), **popen)
        if ready:
            try:
                wait_until(lambda: self.child.poll() is not None or ready(), timeout,
                           f"{name} is ready")
            except AssertionError as error:
                self.kill()
                raise AssertionError(f"{error}\n{self.said()}") from None
            assert self.child.poll() is None, f"{name} ended at once:\n{self.said()}"

    @property
    def pid(self):
        return self.child.pid

    @property
    def running(self):
        return self.child.poll() is None

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def send(self, number):
        self.child.send_signal(number)

    def wait(self, timeout=30):
        try:
            return self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end in {timeout} s\n{self.said()}") from None
        finally:
            self.output.close()

    def kill(self):
        if self.running:
            self.child.kill()
        self.child.wait()
        self.output.close()

    def stop(self, number=signal.SIGTERM, timeout=30):
        """Ends it and returns its exit status; what a sanitizer reported is a failure."""
        if self.running:
            self.send(number)
        status = self.wait(timeout)
        self.check_sanitizers()
        return status

    def check_sanitizers(self):
        said = self.said()
        assert not SANITIZER.search(said), f"{self.name}: a sanitizer reported\n{said[-20000:]}"
