"""What the checks share: the files of this tree, and a way to report findings."""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED = {".git", "build", "demo", "__pycache__", ".pytest_cache"}


def files():
    """Paths, relative to the root, of all files that belong to the tree."""
    listing = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "-co", "--exclude-standard"],
        capture_output=True, check=False) if os.path.isdir(os.path.join(ROOT, ".git")) else None
    if listing and listing.returncode == 0:
        names = listing.stdout.decode().split("\0")
        return sorted(n for n in names if n and os.path.isfile(os.path.join(ROOT, n)))
    found = []
    for where, dirs, names in os.walk(ROOT):
        dirs[:] = [d for d in dirs if d not in SKIPPED]
        found += [os.path.relpath(os.path.join(where, n), ROOT) for n in names]
    return sorted(found)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def first_line(path):
    with open(os.path.join(ROOT, path), "rb") as file:
        return file.readline(200).decode("utf-8", "replace")


def is_python(path):
    return path.endswith(".py") or (
        "." not in os.path.basename(path) and first_line(path).startswith("#!")
        and "python" in first_line(path))


def is_shell(path):
    line = first_line(path)
    return path.endswith(".sh") or (line.startswith("#!") and line.rstrip().endswith("sh"))


class Findings:
    def __init__(self):
        self.errors = 0

    def error(self, path, line, text):
        self.errors += 1
        print(f"{path}:{line}: {text}", file=sys.stderr)

    @staticmethod
    def warning(path, line, text):
        print(f"{path}:{line}: warning: {text}", file=sys.stderr)

    def status(self):
        return 1 if self.errors else 0
