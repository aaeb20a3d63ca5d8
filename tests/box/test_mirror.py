"""`slipway mirror` by hand, of a file or of the operator's `mirrors`."""

import base64
import json

import pytest

from lib import images
from lib.byhand import run
from lib.images import push_artifact, push_cosign_signature, push_image, push_index
from lib.mirroring import item_of, plain, with_mirrors, write
from lib.pki import signing_key


def mirror(folder, items, *argv, servers=(), code=0):
    """The rows of a run as {target: row}, and all of its output."""
    ran = run("mirror", write(folder, items), "--format", "json", *argv, *plain(*servers))
    assert ran.code == code, ran
    return {row.get("target") or row["source"]: row for row in ran.json["rows"]}, ran


def states(rows):
    return {target.rsplit("/", 1)[1]: row["state"] for target, row in rows.items()}


# --- by hand ------------------------------------------------------------------------------------

def test_the_seeds_list(registry, twin, repository, tmp_path):
    one = push_image(registry.client(), repository, "v1")
    two = push_index(registry.client(), repository, "v2")
    rows, ran = mirror(tmp_path, [
        {"src_repository": f"{registry.host}/{repository}", "src_tag": "v1",
         "dest_repository": repository + "/a", "dest_tag": "one", "dest_registry": twin.host},
        {"src_repository": f"{registry.host}/{repository}", "src_tag": "v2",
         "dest_repository": f"{twin.host}/{repository}/a", "dest_tag": "two"},
    ], servers=(registry, twin))
    assert states(rows) == {"a:one": "copied", "a:two": "copied"}
    assert rows[f"{twin.host}/{repository}/a:one"]["digest"] == one
    assert ran.json["count"]["copied"] == 2
    assert images.tags(twin.client(), repository + "/a") == {"one": one, "two": two}
    images.whole(twin.client(), repository + "/a", "two")


TAGS = ["v1.0.0", "v1.1.0", "v1.2.0-rc.1", "v2.0.0", "latest", "nightly-1", "nightly-2"]


@pytest.mark.parametrize("wanted, skipped, found", [
    (["v1.*"], [], ["v1.0.0", "v1.1.0", "v1.2.0-rc.1"]),
    (["^nightly-[0-9]$", "latest"], ["nightly-2"], ["latest", "nightly-1"]),
    (["semver:>=1.1 <3"], [], ["v1.1.0", "v2.0.0"]),
    (["*"], ["nightly-*", "semver:>=0"], ["latest", "v1.2.0-rc.1"]),
    (["v1.0.0", "latest"], [], ["latest", "v1.0.0"]),
])
def test_tags_by_pattern(registry, twin, repository, tmp_path, wanted, skipped, found):
    for tag in TAGS:
        push_image(registry.client(), repository, tag, layers=(b"same",))
    item = {"src_repository": f"{registry.host}/{repository}", "src_tags": wanted,
            "dest_repository": [f"{twin.host}/{repository}/x", f"{twin.host}/{repository}/y"]}
    if skipped:
        item["skip_tags"] = skipped
    rows, _ = mirror(tmp_path, [item], servers=(registry, twin))
    assert len(rows) == 2 * len(found)
    for name in ("x", "y"):
        assert sorted(images.tags(twin.client(), f"{repository}/{name}")) == found


def test_digests_and_platforms(registry, fake, repository, tmp_path):
    pushed = push_index(registry.client(), repository, "v1")
    source = f"{registry.host}/{repository}"
    mirror(tmp_path, [
        {"src_repository": source, "src_tag": str(pushed), "dest_tag": "pinned",
         "dest_repository": f"{fake.host}/{repository}"},
        {"src_repository": source, "src_tag": "v1", "platforms": ["linux/arm64"],
         "dest_repository": f"{fake.host}/{repository}/arm"},
    ], servers=(registry, fake))
    assert fake.digest(repository, "pinned") == fake.digest(repository + "/arm", "v1") == pushed
    assert fake.digest(repository + "/arm", pushed.manifests[0]) is None
    assert fake.digest(repository + "/arm", pushed.manifests[1]) == pushed.manifests[1]


def test_same_costs_one_head_on_each_side(registry, twin, repository, tmp_path):
    tags = [f"v{n}" for n in range(20)]
    for tag in tags:
        push_image(registry.client(), repository, tag, layers=(tag.encode(),))
    items = [{"src_repository": f"{registry.host}/{repository}", "src_tags": tags,
              "dest_repository": f"{twin.host}/{repository}"}]
    mirror(tmp_path, items, servers=(registry, twin))
    marks = registry.mark(), twin.mark()
    rows, _ = mirror(tmp_path, items, servers=(registry, twin))
    assert {row["state"] for row in rows.values()} == {"same"}
    assert registry.count(marks[0]) == {"HEAD manifests": 20}
    assert twin.count(marks[1]) == {"HEAD manifests": 20}


def test_failures_stop_nobody(registry, twin, repository, tmp_path):
    push_image(registry.client(), repository, "v1")
    source, target = f"{registry.host}/{repository}", f"{twin.host}/{repository}"
    items = [
        {"src_repository": source, "src_tag": "absent", "dest_repository": target},
        {"src_repository": source, "src_tags": ["none-*"], "dest_repository": target},
        {"src_repository": source + "/none", "src_tags": ["*"], "dest_repository": target},
        {"src_repository": source, "src_tag": "v1", "dest_repository": target},
        {"src_repository": source, "src_tags": ["v*"], "dest_repository": target},
    ]
    ran = run("mirror", write(tmp_path, items), "--format", "json", *plain(registry, twin))
    assert ran.code == 1, ran
    assert ran.json["count"]["failed"] == 4 and ran.json["count"]["copied"] == 1
    reasons = [row.get("reason", "") for row in ran.json["rows"]]
    for says in ("is not there", "none of its tags", "no such repository", "another item"):
        assert any(says in reason for reason in reasons), (says, ran)
    assert list(images.tags(twin.client(), repository)) == ["v1"]
    # For people each failure is told once, on stderr, and the sum on stdout.
    ran = run("mirror", write(tmp_path, items), *plain(registry, twin))
    assert ran.code == 1 and ran.out == "1 same, 4 failed\n", ran
    assert ran.err.count("failed") == 4, ran


def test_registry_that_is_down(twin, repository, tmp_path):
    item = {"src_repository": f"127.0.0.1:9/{repository}", "src_tag": "v1",
            "dest_repository": f"{twin.host}/{repository}"}
    ran = run("mirror", write(tmp_path, [item]), "--plain-http", "127.0.0.1:9", *plain(twin))
    assert ran.code == 75, ran


def test_prune(registry, twin, repository, tmp_path):
    key, _ = signing_key(str(tmp_path))
    for tag in ("v1", "v2"):
        push_image(registry.client(), repository, tag, layers=(tag.encode(),))
    for tag in ("v1", "v3", "other", "change_7_v1"):
        old = push_image(twin.client(), repository, tag, layers=(b"old " + tag.encode(),))
    push_cosign_signature(twin.client(), repository, old, key)
    push_artifact(twin.client(), repository, subject=old)
    before = images.tags(twin.client(), repository)
    items = [{"src_repository": f"{registry.host}/{repository}", "src_tags": ["*"],
              "skip_tags": ["other"], "dest_repository": f"{twin.host}/{repository}"}]
    mark = twin.mark()
    rows, _ = mirror(tmp_path, items, "--prune", "-n", "--exit-code", servers=(registry, twin),
                     code=3)
    assert states(rows)[repository.rsplit("/", 1)[1] + ":v3"] == "would-prune"
    assert {m for m, _, _ in twin.requests(mark)} <= {"GET", "HEAD"}
    assert images.tags(twin.client(), repository) == before
    rows, _ = mirror(tmp_path, items, servers=(registry, twin))
    assert "pruned" not in states(rows).values()
    assert "v3" in images.tags(twin.client(), repository)
    rows, _ = mirror(tmp_path, items, "--prune", servers=(registry, twin))
    assert [t for t, s in states(rows).items() if s == "pruned"] == [
        repository.rsplit("/", 1)[1] + ":v3"]
    after = images.tags(twin.client(), repository)
    assert after.keys() == {*before, "v2"} - {"v3"}
    # A source that lists nothing that is meant empties no target.
    items[0]["src_tags"] = ["v3*", "x*"]
    mirror(tmp_path, items, "--prune", servers=(registry, twin), code=1)
    assert images.tags(twin.client(), repository) == after


def test_prune_where_no_safe_way_is(registry, registry_without_deletion, repository, tmp_path):
    push_image(registry.client(), repository, "v1")
    kept = registry_without_deletion
    push_image(kept.client(), repository, "v2")
    items = [{"src_repository": f"{registry.host}/{repository}", "src_tags": ["v*"], "prune": True,
              "dest_repository": f"{kept.host}/{repository}"}]
    rows, _ = mirror(tmp_path, items, servers=(registry, kept))
    row = rows[f"{kept.host}/{repository}:v2"]
    assert row["state"] == "left" and row["reason"], rows
    assert sorted(images.tags(kept.client(), repository)) == ["v1", "v2"]


def test_rate_limit(fake, twin, repository, tmp_path):
    push_image(fake.client(), repository, "v1")
    items = [{"src_repository": f"{fake.host}/{repository}", "src_tag": "v1",
              "dest_repository": f"{twin.host}/{repository}"}]
    fake.config(ratelimit="100;w=21600", ratelimit_remaining=7)
    fake.log()
    rows, _ = mirror(tmp_path, items, "--rate-min", "10", servers=(fake, twin), code=75)
    row = rows[f"{twin.host}/{repository}:v1"]
    assert "7 of 100 requests left" in row["reason"] and row["temporary"], rows
    assert [r[0] for r in fake.requests()] == ["HEAD"]
    assert images.tags(twin.client(), repository) == {}
    mirror(tmp_path, items, "--rate-min", "5", servers=(fake, twin))
    assert list(images.tags(twin.client(), repository)) == ["v1"]


WRONG = [
    ([{"src_repository": "r.example.org/a", "src_tag": "v1",
       "dest_repository": "r.example.org/b:v1"}],
     "list.yaml:2:20: error: dest_repository is a name"),
    ([{"src_repository": "http://r.example.org/a", "src_tag": "v1",
       "dest_repository": "r.example.org/b"}], "src_repository"),
    ([{"src_repository": "r.example.org/a", "src_tag": "v1", "dest_repository": "b"}],
     "name its host in dest_registry"),
    ([{"src_repository": "r.example.org/a", "dest_repository": "r.example.org/b"}], "src_tag"),
    ([{"src_repository": "r.example.org/a", "src_tags": ["v[0-9]*"],
       "dest_repository": "r.example.org/b"}], "in a glob here [..] means nothing"),
    ("x", "must be a list"),
]


@pytest.mark.parametrize("items, says", WRONG)
def test_lists_that_are_wrong(tmp_path, items, says):
    ran = run("mirror", write(tmp_path, items))
    assert ran.code == 2 and says in ran.err and "list.yaml:" in ran.err and not ran.out, ran


def test_wrong_words(tmp_path):
    for words, says in ((["/no/such.yaml"], "/no/such.yaml"), (["a", "b"], "it takes one list"),
                        (["--name", "x"], "no configuration"), (["--exit-code", "a"], "--dry-run"),
                        (["--name", "x", "a"], "one list"), (["--format", "xml"], "text or json"),
                        (["--rate-min", "x"], "rate-min")):
        ran = run("mirror", *words)
        assert ran.code == 2 and says in ran.err, ran
    ran = run("mirror", cwd=tmp_path)
    assert ran.code == 2 and ".slipway.yaml" in ran.err and "slipway mirror FILE" in ran.err, ran
    ran = run("mirror", "-", stdin=b"mirror_container_images_images: []\n")
    assert ran.code == 0 and ran.out == "nothing to mirror\n", ran


def test_many_at_once_into_a_registry_that_speaks_http2(registry, tls_registry, private_ca,
                                                        repository, tmp_path):
    """Streams and multiplexed questions take turns: a handle of one must not serve the other,
    since libcurl may keep its smaller buffer."""
    for n in range(12):
        push_image(registry.client(), repository, f"v{n}", layers=[70000, 70000])
    login = base64.b64encode(b"ci:geheim-wort").decode()
    auth = tmp_path / "auth.json"
    auth.write_text(json.dumps({"auths": {tls_registry.host: {"auth": login}}}))
    auth.chmod(0o600)
    path = write(tmp_path, [{"src_repository": f"{registry.host}/{repository}", "src_tags": ["v*"],
                             "dest_repository": f"{tls_registry.host}/{repository}"}])
    ran = run("mirror", path, "--format", "json", "--plain-http", registry.host,
              "--ca-file", private_ca.ca, "--auth-file", auth)
    assert ran.code == 0, ran
    assert ran.json["count"]["copied"] == 12


# --- the operator's lists -----------------------------------------------------------------------

def test_by_name(new_slipway, registry, twin, repository, tmp_path):
    pushed = push_image(registry.client(), repository, "v1")
    one = with_mirrors(
        new_slipway, registry, twin,
        here={"every": "1h", "images": [item_of(registry, twin, repository)]},
        elsewhere={"every": "1d", "rate_limit": 5,
                   "file": write(tmp_path, [item_of(registry, twin, repository)])})
    assert one.cli("check").returncode == 0
    done = one.cli("mirror", "--name", "here")
    assert done.returncode == 0 and done.stdout == b"1 copied\n", done
    assert b"unfenced: " in done.stderr, done
    assert images.tags(twin.client(), repository) == {"v1": pushed}
    done = one.cli("mirror", "--name", "elsewhere")
    assert done.stdout == b"1 same\n", done
    done = one.cli("mirror", "--name", "nowhere")
    assert done.returncode == 2 and b"no list 'nowhere'" in done.stderr


@pytest.mark.parametrize("conf, says", [
    ({"every": "59s", "images": []}, "every"),
    ({"every": "1h"}, "needs one of `images` and `file`"),
    ({"images": []}, "every is missing"),
    ({"every": "1h", "images": [], "file": "x"}, "not both"),
    ({"every": "6", "images": []}, "a time like"),
    ({"every": "1h", "timeout": "0s", "images": []}, "mirrors.m.timeout must be a time like"),
    ({"every": "1h", "timeout": "8d", "images": []}, "mirrors.m.timeout must be a time like"),
    ({"every": "1h", "file": "/no/such.yaml"}, "/no/such.yaml"),
    ({"every": "1h", "imagse": []}, "did you mean 'images'"),
    ({"every": "1h", "images": [], "rate_limit": -1}, "rate_limit"),
    ({"every": "1h", "images": [{"src_repository": "r.example.org/a", "src_tag": "v1",
                                 "dest_repository": "r.example.org/b"}]},
     "add r.example.org under `registries`"),
    ({"every": "1h", "images": [{"src_repository": "r.example.org/a"}]}, "dest_repository"),
])
def test_configuration_errors_with_places(new_slipway, conf, says):
    one = new_slipway({"mirrors": {"m": conf}})
    done = one.cli("check")
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 2 and says in said and "slipway.yaml:" in said, said
