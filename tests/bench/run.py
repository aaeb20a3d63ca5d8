"""`make bench`: the figures of the README, as a Markdown table and as JSON.

Ratios come from one run on one machine, in turns; figures are medians.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import world as w
import accept
import copying
import raw
import retag
import service
import ways


def machine():
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(file.readline().split()[1]) / 1024 / 1024
    return f"{os.cpu_count()} x {model}, {memory:.0f} GiB, Linux {platform.release()}"


def version(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def rows_of(result):
    """Name, Slipway, floor or peer, ratio or goal."""
    rows = []
    if "single" in result:
        ms = result["single"]["ms"]
        two = 2 * result["commit_ms"]
        rows.append(("webhook to live tag, list by the raw-file API", f"{ms['hub']:.1f} ms",
                     f"GET + PUT by hand {ms['floor']:.1f} ms; one `skopeo copy` "
                     f"{ms['skopeo']:.0f} ms",
                     f"{ms['hub'] / ms['floor']:.1f}x by hand; goal 3x and two commits "
                     f"= {3 * ms['floor'] + two:.1f} ms; {ms['skopeo'] / ms['hub']:.1f}x faster "
                     "than skopeo"))
        rows.append(("webhook to live tag, plain git", f"{ms['plain']:.1f} ms", "the same",
                     f"{ms['plain'] / ms['floor']:.1f}x by hand"))
        seen = result["single"]["requests"]
        rows.append(("registry requests of one retag with removal", str(len(seen)),
                     "`skopeo copy`: 18, removal apart", "goal 7"))
    if "many" in result:
        ms = result["many"]["ms"]
        rows.append(("20 images x 3 tags in one event, live and verified",
                     f"{ms['verified']:.0f} ms",
                     f"all GETs and PUTs in parallel {ms['floor']:.0f} ms; skopeo in a loop "
                     f"{ms['skopeo']:.0f} ms",
                     f"{ms['verified'] / ms['floor']:.2f}x the floor (goal 1.8x); "
                     f"{ms['skopeo'] / ms['verified']:.1f}x faster than skopeo (goal 6x)"))
    if "ways" in result:
        ms, hand = result["ways"]["ms"], result["ways"]["by_hand"]
        names = {"tag": ("promotion by tag", "`skopeo copy`"),
                 "intermediate": ("promotion through an intermediate registry", "`skopeo copy`"),
                 "release": ("full release: checkout, build, push",
                             f"`git clone`, `{result['ways']['tool']}` build and push")}
        for way, (what, peer) in names.items():
            rows.append((f"merge to live and verified, 8 MiB image, {what}", f"{ms[way]:.0f} ms",
                         f"{peer} {hand[way]:.0f} ms",
                         f"{ms[way] / ms['tag']:.1f}x promotion by tag"))
    for key in ("copy", "copy5g"):
        if key not in result:
            continue
        got = result[key]
        took = got["seconds"]
        peer = f"; skopeo {took['skopeo']:.2f} s" if "skopeo" in took else ""
        rows.append((f"copy of {got['mib']} MiB in 4 layers between two docker-registries",
                     f"{took['slipway']:.2f} s, {got['private_mb']:.1f} MB private",
                     f"PUT only, 4 at once, from memory {took['floor']:.2f} s{peer}",
                     f"{took['slipway'] / took['floor']:.2f}x the floor (goal 1.2x, 10 MB)"))
    if "mounts" in result:
        got = result["mounts"]
        rows.append(("index of 2 x 3 layers to another repository of its registry",
                     f"{got['requests']} requests, {got['blobs_moved']} blobs moved", "",
                     "goal 16 and 0"))
    if "mirror" in result:
        got = result["mirror"]
        ms, heads = got["ms"], got["heads"]
        rows.append((f"mirror of {copying.MIRRORED} tags, nothing to do",
                     f"{ms['slipway']:.0f} ms, {heads['source']:.0f} + {heads['target']:.0f} HEAD",
                     f"`skopeo sync` {ms['skopeo']:.0f} ms",
                     f"{ms['skopeo'] / ms['slipway']:.0f}x faster (goal 10x)"))
    if "memory" in result:
        for when, key in (("fresh", "memory_at_start"), ("after these runs", "memory")):
            both = ", ".join(f"{role} {m['private_mb']:.1f} / {m['rss_mb']:.1f} MB"
                             for role, m in result[key].items())
            rows.append((f"private / resident memory, idle, {when}", both, "",
                         "goal 6 / 18 MB each"))
    if "accept" in result:
        got = result["accept"]
        rows.append(("webhooks accepted each second, fsync before 202, 8 KB, 64 clients",
                     f"{got['slipway']['rate']:.0f}",
                     f"empty libfcgi program {got['floor']['rate']:.0f}; "
                     f"`webhook`, nothing kept or run, {got['webhook']['rate']:.0f}",
                     f"{got['ratio'] * 100:.0f} % of the floor (goal 40 %)"))
        cpu = "; ".join(f"{name}: " + ", ".join(f"{part} {s:.1f} s" for part, s in
                                                got[name]["cpu"].items())
                        for name in ("slipway", "floor", "webhook"))
        rows.append(("CPU in that run", cpu, "", ""))
    return rows


def table(result):
    lines = [f"Measured on {result['machine']}; {result['registry']}, {result['nginx']}; "
             f"fdatasync median {result['fdatasync_ms']:.2f} ms, a commit of the store "
             f"{result['commit_ms']:.2f} ms.", "",
             "| what | Slipway | floor or peer, same run | ratio and goal |",
             "| --- | --- | --- | --- |"]
    lines += ["| " + " | ".join(row) + " |" for row in rows_of(result)]
    return "\n".join(lines)


def memory_of(world):
    time.sleep(1)
    return {"serve": raw.memory_mb(world.serve.pid), "work": raw.memory_mb(world.work.pid)}


def measure(world, args, result):
    result["fdatasync_ms"] = round(raw.fdatasync_ms(world.folder.path), 3)
    result["commit_ms"] = round(retag.commit_ms(world.folder.path), 3)
    if "memory" in args.parts:
        result["memory_at_start"] = memory_of(world)
    if "single" in args.parts:
        result["single"] = retag.single(world, args.times)
    if "many" in args.parts:
        result["many"] = retag.many(world, 3)
    if "memory" in args.parts:
        result["memory"] = memory_of(world)
    if "ways" in args.parts:
        result["ways"] = ways.run(world, 9)
    if {"copy", "copy5g", "mounts", "mirror"} & set(args.parts):
        measure_copies(world, args, result)
    if "accept" in args.parts:
        world.folder.stop(world.work)
        result["accept"] = accept.run(world, args.seconds, 3)


def measure_copies(world, args, result):
    pair = copying.Pair(world)
    if "copy" in args.parts:
        result["copy"] = copying.large(pair, 600, 5)
    if "copy5g" in args.parts:
        result["copy5g"] = copying.large(pair, 5 * 1024, 1)
    if "mounts" in args.parts:
        result["mounts"] = copying.mounts(pair)
    if "mirror" in args.parts:
        result["mirror"] = copying.unchanged(pair, 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slipway", required=True)
    parser.add_argument("--programs", required=True, help="folder of loadgen and fcgi_floor")
    parser.add_argument("--dir", required=True, help="emptied first; on the disk that is measured")
    parser.add_argument("--times", type=int, default=20, help="rounds of single retags")
    parser.add_argument("--seconds", type=int, default=5, help="of each accept run")
    parser.add_argument("--json", help="also write the results there")
    parser.add_argument("parts", nargs="*", default=[
        "single", "many", "memory", "ways", "copy", "copy5g", "mounts", "mirror", "accept"])
    args = parser.parse_args()
    result = {"machine": machine(), "registry": version("docker-registry", "--version"),
              "nginx": version(service.find_nginx(), "-v")}
    world = w.World(args.slipway, args.programs, args.dir)
    try:
        world.start()
        measure(world, args, result)
    except service.Trouble as trouble:
        print(f"bench: {trouble}", file=sys.stderr)
        if trouble.log and os.path.exists(trouble.log):
            with open(trouble.log, encoding="utf-8", errors="replace") as file:
                print("".join(file.readlines()[-15:]), file=sys.stderr)
        return 1
    finally:
        world.folder.stop_all()
    text = json.dumps(result, indent=1)
    with open(args.json or os.path.join(args.dir, "result.json"), "w", encoding="utf-8") as file:
        file.write(text + "\n")
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
