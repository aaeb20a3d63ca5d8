"""Runs unit test programs. Their output is shown only where something failed; the last line says
how many tests passed and failed. A skipped test counts as failed: a missing tool is an error."""

import concurrent.futures
import os
import re
import subprocess
import sys
import time

TIMEOUT = 180
SLOWEST = 10
ENVIRONMENT = {
    "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class Result:
    def __init__(self, program):
        self.name = os.path.basename(program)
        self.seconds = 0.0
        self.passed = 0
        self.failed = 0
        self.output = ""


def count(result, status):
    planned = sum(int(n) for n in re.findall(r"\] Running (\d+) test", result.output))
    result.passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", result.output))
    result.failed = max(planned - result.passed, 0)
    if status != 0 and result.failed == 0:
        result.failed = 1
    if planned == 0 and status == 0:
        result.failed = 1
        result.output += "the program ran no test\n"


def run(program):
    result = Result(program)
    started = time.monotonic()
    environment = dict(os.environ, **{k: v for k, v in ENVIRONMENT.items() if k not in os.environ})
    try:
        done = subprocess.run([os.path.abspath(program)], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=TIMEOUT, env=environment,
                              stdin=subprocess.DEVNULL, check=False)
        result.output = done.stdout.decode("utf-8", "replace")
        status = done.returncode
        if status < 0:
            result.output += f"ended by signal {-status}\n"
    except subprocess.TimeoutExpired as error:
        result.output = (error.stdout or b"").decode("utf-8", "replace")
        result.output += f"still running after {TIMEOUT} s\n"
        status = -1
    result.seconds = time.monotonic() - started
    count(result, status)
    return result


def main():
    programs = sys.argv[1:]
    if not programs:
        print("no unit test programs", file=sys.stderr)
        return 1
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(run, programs))
    for result in results:
        if result.failed:
            print(f"--- {result.name}\n{result.output.rstrip()}\n")
    print(f"slowest of {len(results)} unit test programs:")
    for result in sorted(results, key=lambda r: -r.seconds)[:SLOWEST]:
        print(f"  {result.seconds:7.2f} s  {result.name} ({result.passed + result.failed} tests)")
    bad = [result.name for result in results if result.failed]
    if bad:
        print(f"failing: {' '.join(bad)}")
    failed = sum(result.failed for result in results)
    print(f"{sum(result.passed for result in results)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
