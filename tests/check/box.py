"""Runs the box tests (pytest) against $SLIPWAY_BIN. A skipped test is a failure: a missing tool
must be seen. The last line says how many passed and failed."""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

import units


def main():
    pytest, what = sys.argv[1], sys.argv[2:]
    if not os.access(pytest, os.X_OK):
        print(f"{pytest} is missing: deploy/bootstrap test installs it", file=sys.stderr)
        return 1
    environment = dict(units.ENVIRONMENT, PYTHONDONTWRITEBYTECODE="1")
    environment.update(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.xml")
        status = subprocess.run(
            [pytest, "-q", "-rfEs", "--durations=10", "--durations-min=0.05", "-p",
             "no:cacheprovider", f"--junitxml={report}", *what],
            env=environment, check=False).returncode
        if not os.path.exists(report):
            return status or 1
        cases = list(xml.parse(report).getroot().iter("testcase"))
    failed = sum(1 for c in cases if c.find("failure") is not None or c.find("error") is not None)
    skips = [skip.get("type") for case in cases for skip in case.findall("skipped")]
    expected = skips.count("pytest.xfail")
    skipped = len(skips) - expected
    if skipped:
        print(f"{skipped} skipped: what a test needs is missing, and that counts as failed")
    print(f"{len(cases) - failed - len(skips)} passed, {failed + skipped} failed"
          + (f" ({expected} known to fail)" if expected else ""))
    return status or (1 if skipped or not cases else 0)


if __name__ == "__main__":
    sys.exit(main())
