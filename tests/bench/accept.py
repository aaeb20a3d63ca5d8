"""How many webhooks are accepted each second: against an empty FastCGI program behind the same
nginx, and against Debian's `webhook`."""

import json
import os
import statistics
import subprocess
import time

import raw
import service

CLIENTS = 64
BODY = 8192
FLOOR_THREADS = (4, 8, 16, 32)


def load(world, port, path, seconds, watched):
    """One run of the load generator; watched: name -> pid, whose CPU time is told beside."""
    before = {name: raw.cpu_seconds(pid) for name, pid in watched.items()}
    done = subprocess.run(
        [os.path.join(world.programs, "loadgen"), str(port), path,
         world.folder.file("secrets", "hub"), str(CLIENTS), str(BODY), str(seconds)],
        capture_output=True, text=True, check=False)
    if done.returncode:
        raise service.Trouble(f"loadgen {path}: {done.stderr.strip()} {done.stdout.strip()}",
                              world.folder.log("nginx"))
    result = json.loads(done.stdout)
    result["cpu"] = {name: round(raw.cpu_seconds(pid) - before[name], 2)
                     for name, pid in watched.items()}
    result["cpu"]["load generator"] = result.pop("cpu_s")
    bad = result["answers"]["4xx"] + result["answers"]["5xx"]
    if bad > result["requests"] / 100:
        raise service.Trouble(f"{path}: {result['answers']}", world.folder.log("serve"))
    return result


def start_webhook(world):
    """Debian's webhook, which checks the signature and parses the body, and then runs nothing: the
    second rule never holds."""
    folder = world.folder
    hooks = folder.write("webhook.json", json.dumps([{
        "id": "bench", "execute-command": "/bin/true", "http-methods": ["POST"],
        "trigger-rule": {"and": [
            {"match": {"type": "payload-hmac-sha256", "secret": world.hub_secret.decode(),
                       "parameter": {"source": "header", "name": "X-Hub-Signature-256"}}},
            {"match": {"type": "value", "value": "never",
                       "parameter": {"source": "payload", "name": "action"}}}]}}]), 0o600)

    def start(port):
        return folder.spawn("webhook", ["webhook", "-hooks", hooks, "-ip", "127.0.0.1",
                                        "-port", str(port)])

    return service.on_free_port(folder, "webhook", start, "/")


def start_floor(world, threads):
    process = world.folder.spawn("floor", [os.path.join(world.programs, "fcgi_floor"),
                                           world.floor_socket, str(threads)])
    world.folder.wait_until("its socket was there", process,
                            lambda: os.path.exists(world.floor_socket))
    time.sleep(0.1)
    return process


def best_threads(world):
    rates = {}
    for threads in FLOOR_THREADS:
        floor = start_floor(world, threads)
        rates[threads] = load(world, world.port, "/floor/x", 2, {})["rate"]
        world.folder.stop(floor)
        os.unlink(world.floor_socket)
    return max(rates, key=rates.get), rates


def middle(results):
    return sorted(results, key=lambda r: r["rate"])[len(results) // 2]


def run(world, seconds, rounds):
    """`work` is not running here: what is measured is the receiver."""
    threads, rates = best_threads(world)
    floor = start_floor(world, threads)
    webhook, port = start_webhook(world)
    got = {"slipway": [], "floor": [], "webhook": []}
    for _ in range(rounds):
        got["floor"].append(load(world, world.port, "/floor/x", seconds,
                                 {"program": floor.pid, "nginx": world.nginx.pid}))
        got["slipway"].append(load(world, world.port, "/hooks/hub", seconds,
                                   {"program": world.serve.pid, "nginx": world.nginx.pid}))
        got["webhook"].append(load(world, port, "/hooks/bench", seconds,
                                   {"program": webhook.pid}))
    memory = {"webhook": raw.memory_mb(webhook.pid), "serve under load":
              raw.memory_mb(world.serve.pid)}
    world.folder.stop(floor)
    world.folder.stop(webhook)
    ratios = [s["rate"] / f["rate"] for s, f in zip(got["slipway"], got["floor"])]
    return {**{name: middle(results) for name, results in got.items()},
            "floor_threads": threads, "floor_rates": rates, "memory": memory,
            "ratio": round(statistics.median(ratios), 3)}
