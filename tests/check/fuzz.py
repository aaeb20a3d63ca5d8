"""Runs each libFuzzer target for a while, on all processors. What it finds stays in the folder
named by --keep; put a crash into tests/fuzz/corpus/<target>/ so that `make test` replays it."""

import argparse
import concurrent.futures
import os
import subprocess
import sys

import tree


def seeds(name):
    own = os.path.join(tree.ROOT, "tests", "fuzz", "corpus", name.removeprefix("fuzz_"))
    fixtures = os.path.join(tree.ROOT, "tests", "fixtures")
    return [path for path in (own, fixtures) if os.path.isdir(path)]


def run(program, seconds, keep):
    name = os.path.basename(program)
    folder = os.path.join(os.path.abspath(keep), name)
    os.makedirs(folder, exist_ok=True)
    done = subprocess.run(
        [os.path.abspath(program), f"-max_total_time={seconds}", "-timeout=10",
         "-rss_limit_mb=2048", "-max_len=65536", "-print_final_stats=1",
         f"-artifact_prefix={folder}/found-", folder, *seeds(name)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return name, done.returncode, done.stdout.decode("utf-8", "replace")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", required=True)
    parser.add_argument("programs", nargs="+")
    args = parser.parse_args()
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, status, output in pool.map(
                lambda program: run(program, args.seconds, args.keep), args.programs):
            runs = [line.split()[-1] for line in output.splitlines()
                    if "number_of_executed_units" in line]
            verdict = "found something" if status else "ok"
            print(f"{name}: {runs[0] if runs else '?'} runs, {verdict}")
            if status:
                failed += 1
                print(output[-4000:])
    return 1 if failed else 0


sys.exit(main())
