"""`make demo`, without its terminal: what it shows is true, and nothing outlives it."""

import os
import re
import signal
import subprocess
import sys

from lib.net import wait_until
from lib.process import environment, tool
from lib.slipway import binary
from lib.web import ROOT

DEMO = os.path.join(ROOT, "deploy", "demo.py")
SHOWN = re.compile(r"^    (\S+) +(sha256:[0-9a-f]{64})$", re.M)
SAME = re.compile(r"(sha256:[0-9a-f]{12}), (\S+) pulls as (sha256:[0-9a-f]{12}): the same")


def start(folder, log, path=None):
    env = environment({"PATH": path} if path else None)
    with open(log, "w", encoding="utf-8") as out:
        return subprocess.Popen(
            [sys.executable, "-u", DEMO, "--slipway", binary(), "--dir", str(folder)], env=env,
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)


def of(folder):
    """The processes that belong to a demo in this folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                line = file.read().replace("\0", " ")
            place = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue
        if str(folder) in line or str(folder) in place:
            found.append((pid, place, line))
    return found


def ended(demo, folder, log):
    try:
        status = demo.wait(120)
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait()
    wait_until(lambda: not of(folder), 2, "all of its processes have ended")
    return status, log.read_text(encoding="utf-8")


def part(said, begins, ends):
    return said.partition(begins)[2].partition(ends)[0]


def test_the_three_ways_are_shown(tmp_path):
    folder, log = tmp_path / "demo", tmp_path / "said"
    status, said = ended(start(folder, log), folder, log)
    assert status == 0, said
    merged = part(said, "Promotion by tag.", "Promotion by tag.")
    [staged, _, latest] = SHOWN.findall(merged)
    assert staged == ("change_7_latest", latest[1]) and latest[0] == "latest"
    tags = dict(SHOWN.findall(part(said, "Full release.", "Through an intermediate")))
    assert set(tags) == {"1", "1.2", "1.2.3", "latest"}
    assert tags["1"] == tags["1.2"] == tags["1.2.3"] != tags["latest"]
    (tested, final) = SHOWN.findall(part(said, "Through an intermediate", "What `slipway"))
    assert tested[0].endswith("_latest") and final == ("latest", tested[1])
    proofs = SAME.findall(said)
    assert [proof[1] for proof in proofs] == ["latest", "latest", "1.2.3", "latest"]
    assert all(proof[0] == proof[2] for proof in proofs)
    assert proofs[0][0] == latest[1][:19] and proofs[3][0] == tested[1][:19]


def test_an_end_in_the_middle_of_a_build(tmp_path):
    folder, log = tmp_path / "demo", tmp_path / "said"
    demo = start(folder, log)

    def building():
        return demo.poll() is not None or any(
            tool_name in line.split(" ")[0] and " build " in line
            for _, _, line in of(folder) for tool_name in ("podman", "buildah")
            if "Full release." in log.read_text(encoding="utf-8"))
    wait_until(building, 60, "the release is being built")
    # As a terminal does: to all of its group.
    os.killpg(demo.pid, signal.SIGINT)
    status, said = ended(demo, folder, log)
    assert status == 128 + signal.SIGINT, said
    assert "Traceback" not in said and "processes that were started have ended" in said


def test_what_is_missing_is_said_first(tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for name in ("git", "nginx", "docker-registry", "busybox"):
        (few / name).symlink_to(tool(name))
    folder, log = tmp_path / "demo", tmp_path / "said"
    status, said = ended(start(folder, log, str(few)), folder, log)
    assert status == 1
    assert said == ("demo: not installed: podman or buildah; as root, `deploy/bootstrap demo` "
                    "installs what the demo needs\n")
    assert not folder.exists()
