"""Runs every fuzz target over its corpus, over all fixtures and over their beginnings, so that the
targets and what they once found can't rot."""

import os
import subprocess
import sys

import tree
import units

TIMEOUT = 180


def inputs(name):
    own = os.path.join("tests", "fuzz", "corpus", name.removeprefix("fuzz_"))
    roots = [own, os.path.join("tests", "fuzz", "corpus", name), os.path.join("tests", "fixtures")]
    found = []
    for root in roots:
        for where, _, names in os.walk(os.path.join(tree.ROOT, root)):
            found += [os.path.join(where, n) for n in sorted(names)]
    return found


def main():
    passed = failed = 0
    environment = dict(units.ENVIRONMENT)
    environment.update(os.environ)
    for program in sys.argv[1:]:
        name = os.path.basename(program)
        files = inputs(name)
        try:
            done = subprocess.run([os.path.abspath(program)], input="\0".join(files).encode(),
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=TIMEOUT, env=environment, check=False)
            status, output = done.returncode, done.stdout.decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            status, output = -1, f"still running after {TIMEOUT} s"
        if status == 0 and files:
            passed += 1
            continue
        failed += 1
        print(f"--- {name} ({len(files)} files)\n{output.rstrip()}")
    print(f"fuzz targets replayed: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


sys.exit(main())
