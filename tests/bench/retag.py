"""From a webhook to live tags: against requests made by hand and against skopeo."""

import concurrent.futures
import os
import secrets
import sqlite3
import statistics
import subprocess
import time

import images
import raw
import world as w


def skopeo(world, name, source, tag):
    subprocess.run(["skopeo", "copy", "--quiet", "--all", "--src-tls-verify=false",
                    "--dest-tls-verify=false", f"docker://{world.host}/{name}:{source}",
                    f"docker://{world.host}/{name}:{tag}"], check=True, capture_output=True)


def timed(action):
    started = time.monotonic()
    action()
    return time.monotonic() - started


def commit_ms(folder, times=60):
    """One commit as the store makes it: rollback journal, synchronous=EXTRA."""
    path = os.path.join(folder, "commit.db")
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = PERSIST")
    db.execute("PRAGMA synchronous = EXTRA")
    db.execute("CREATE TABLE t (v BLOB)")
    taken = []
    for _ in range(times):
        blob = secrets.token_bytes(2000)
        taken.append(timed(lambda b=blob: db.execute("INSERT INTO t VALUES (?)", (b,))))
    db.close()
    os.unlink(path)
    return raw.median_ms(taken)


def publish(world, connection, source, project, rows, staged_rows, commit, tree):
    """One merge: stages are recorded first. Returns seconds from the webhook to all live."""
    world.post(connection, source, world.staged(source, project, commit, tree, staged_rows))
    time.sleep(0.15)
    event = world.merged(source, project, commit)
    started = time.monotonic()
    world.post(connection, source, event)
    return world.wait_live(rows) - started


def one(world, connection, source):
    """A change with one image and one tag; returns seconds, and requests to live and in all."""
    world.change += 1
    image = world.new_image()
    name = "bench/app" if source == "hub" else "plain/app"
    staged = f"change_{world.change}_latest"
    world.registry.push(name, staged, image)
    commit, tree = world.commit() if source == "plain" else (secrets.token_hex(20), w.TREE)
    before = len(world.requests())
    taken = publish(world, connection, source, name, [(name, "latest", image.digest)],
                    [(name, staged, image.digest)], commit, tree)
    world.wait_gone([(name, staged, image.digest)])
    time.sleep(0.05)
    return taken, world.requests()[before:]


def single(world, times):
    """Rounds in which each contender has its turn."""
    connection = raw.Raw(f"127.0.0.1:{world.port}")
    by_hand = raw.Raw(world.host)
    taken = {"hub": [], "plain": [], "floor": [], "skopeo": []}
    requests = []
    for turn in range(times + 2):
        for source in ("hub", "plain"):
            seconds, seen = one(world, connection, source)
            if turn >= 2:  # the first ones open connections and make caches
                taken[source].append(seconds)
                requests.append(seen)
        for peer in ("floor", "skopeo"):
            image = world.new_image()
            world.registry.push(f"peer/{peer}", f"change_{turn}_latest", image)
            if peer == "floor":
                seconds = timed(lambda t=turn: by_hand.retag(
                    "peer/floor", f"change_{t}_latest", ["latest"], images.MANIFEST))
            else:
                seconds = timed(lambda t=turn: skopeo(world, "peer/skopeo", f"change_{t}_latest",
                                                      "latest"))
            if turn >= 2:
                taken[peer].append(seconds)
    connection.close()
    by_hand.close()
    typical = sorted(requests, key=len)[len(requests) // 2]
    return {"ms": {key: round(raw.median_ms(values), 2) for key, values in taken.items()},
            "requests": [f"{method} {path} {status}" for method, path, status in typical],
            "requests_range": [min(map(len, requests)), max(map(len, requests))]}


def parallel_floor(world, rows, clients):
    """All GETs, then all PUTs, over warm connections; nothing is checked."""
    def work(client, share):
        for name, source, tags in share:
            client.retag(name, source, tags, images.MANIFEST)

    shares = [rows[i::len(clients)] for i in range(len(clients))]
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        return timed(lambda: list(pool.map(work, clients, shares)))


def many(world, times):
    """20 images x 3 tags in one event, to live and verified."""
    connection = raw.Raw(f"127.0.0.1:{world.port}")
    clients = [raw.Raw(world.host) for _ in range(16)]
    taken = {"live": [], "verified": [], "floor": [], "skopeo": []}
    counts = []
    for turn in range(times + 1):
        world.change += 1
        staged, final, by_hand = [], [], []
        for name in world.many:
            image = world.new_image()
            for tag in w.MANY_TAGS:
                change_tag = f"change_{world.change}_{tag}"
                world.registry.push(name, change_tag, image)
                staged.append((name, change_tag, image.digest))
                final.append((name, tag, image.digest))
            peer = name.replace("bench/", "peer/")
            world.registry.push(peer, f"change_{world.change}_latest", image)
            by_hand.append((peer, f"change_{world.change}_latest", list(w.MANY_TAGS)))
        before = len(world.requests())
        seconds = publish(world, connection, "hub", "bench/many", final, staged,
                          secrets.token_hex(20), w.TREE)
        live_ms = time.time() * 1000
        world.wait_gone(staged)
        time.sleep(0.1)
        seen = world.requests()[before:]
        verified = verified_at(world) - (live_ms - seconds * 1000)
        floor = parallel_floor(world, by_hand, clients)
        loop = 0.0
        if turn == 1:  # slow, and steady: once is enough
            loop = timed(lambda: [skopeo(world, name, source, tag)
                                  for name, source, tags in by_hand for tag in tags])
            taken["skopeo"].append(loop)
        if turn >= 1:
            taken["live"].append(seconds)
            taken["verified"].append(max(verified / 1000, seconds))
            taken["floor"].append(floor)
            counts.append(len(seen))
    for client in [connection, *clients]:
        client.close()
    return {"ms": {key: round(raw.median_ms(values), 1) for key, values in taken.items()},
            "requests": statistics.median(counts)}


def verified_at(world):
    """When the newest task's last tag was verified, in milliseconds since 1970."""
    path = os.path.join(world.folder.sockets, "slipway.db")
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        return db.execute("SELECT live_at FROM task ORDER BY id DESC LIMIT 1").fetchone()[0]
    finally:
        db.close()
