"""What the demo shows besides the promotion of a staged image: builds by Slipway itself."""

import os
import time

import service
from review import Git

TOOLS = "demo/tools"
BUILD_SECONDS = 120
ENDED = ("done", "skipped", "superseded", "dead", "partial")


def say(text=""):
    print(text, flush=True)


def image_list(registry, repository, variables=""):
    """One image: `latest` after a merge, and all its versions after a git tag such as 1.2.3."""
    return f"""container_images:
  - context: .
    registry: {registry}
    repository: {registry}/{repository}
    tags: "{{{{ ['latest'] if zuul.tag is not defined else [zuul.tag.split('.')[0],
            '.'.join(zuul.tag.split('.')[:2]), zuul.tag] }}}}"
{variables}"""


def ended(demo, ref, what):
    """Waits for the end of a task that builds. False where this machine may not build."""
    def over():
        return demo.task(ref)["state"] in ENDED
    demo.wait_for(f"the end of the task of {what}", over, BUILD_SECONDS, every=0.1)
    task = demo.task(ref)
    if task["state"] == "done":
        return True
    reason = task["reason"].splitlines()[0] if task["reason"] else task["state"]
    if os.getuid() == 0:
        raise service.Trouble(f"{what}: {task['state']}: {reason}", demo.folder.log("work"))
    say(f"  not here: {reason}")
    return False


def full_release(demo):
    """A git tag: checked out, built, pushed, and three tags moved at once."""
    version = "1.2.3"
    name = demo.git.project
    commit = demo.git.run("-C", demo.git.clone, "rev-parse", "HEAD")
    demo.git.run("-C", demo.git.clone, "tag", version)
    demo.git.push(f"refs/tags/{version}")
    say()
    say(f"Full release. The git tag {version} is pushed: Slipway checks its commit out, builds and "
        "publishes.")
    sent, _ = demo.hooks.post({"kind": "tag.pushed", "project": name,
                               "ref": f"refs/tags/{version}", "commit": commit})
    live = []

    def all_live():
        live[:] = [time.monotonic()] if demo.registry.digest(name, version) else []
        return live or demo.task(f"refs/tags/{version}")["state"] in ENDED
    demo.wait_for(f"the end of the build of {version}", all_live, BUILD_SECONDS, every=0.02)
    if not ended(demo, f"refs/tags/{version}", f"tag {version}"):
        return
    say(f"  live after {live[0] - sent:.2f} s, from sending the webhook")
    demo.show_tags("tags after the release: one image, three tags that moved together, and the "
                   "merge's latest", name=name)
    digest, blobs, size = demo.registry.pull(name, version)
    say(f"  {version} pulls: manifest and {blobs} blobs, {size} bytes, every digest right")
    if {demo.registry.digest(name, tag) for tag in ("1", "1.2", version)} != {digest}:
        raise service.Trouble("1, 1.2 and 1.2.3 are not one image", demo.folder.log("work"))


def through_intermediate(demo):
    """A gate that Slipway runs, a staging registry, and a merge that copies by digest."""
    git = Git(demo.folder, TOOLS)
    demo.change += 1
    change, title = demo.change, f"Change {demo.change}"
    staged_name = f"gate/{demo.registry_host.replace(':', '_')}/{TOOLS}"
    commit = git.commit({
        ".slipway.yaml": image_list(demo.registry_host, TOOLS, "vars:\n  "
                                    "promote_container_image_method: intermediate-registry\n"),
        "Containerfile": "FROM scratch\nCOPY tool /tool\n", "tool": title}, title)
    git.push(f"refs/changes/{change}/head")
    git.push("refs/heads/main")  # what the change's tree is compared with
    say()
    say(f"Through an intermediate registry. {title} enters the gate: Slipway builds it, and "
        "production sees nothing.")
    demo.hooks.post({"kind": "change.gated", "project": TOOLS, "branch": "main", "change": change,
                     "patchset": 1, "commit": commit})
    if not ended(demo, f"change/{change}", f"{title} at the gate"):
        return
    demo.show_tags(f"in staging, {staged_name}:", demo.staging, staged_name)
    [tag] = demo.staging.tags(staged_name)
    tested = demo.staging.digest(staged_name, tag)
    if demo.registry.tags(TOOLS):
        raise service.Trouble("the gate published in production", demo.folder.log("work"))

    say()
    say(f"{title} merges: its image is copied by the digest that the gate recorded.")
    sent, _ = demo.hooks.post({"kind": "change.merged", "project": TOOLS, "branch": "main",
                               "change": change, "commit": commit, "merged_at": int(time.time())})
    live = demo.wait_for("latest in production",
                         lambda: demo.registry.digest(TOOLS, "latest") == tested)
    say(f"  latest is live after {(live - sent) * 1000:.1f} ms, from sending the webhook")
    demo.show_tags(f"in production, {TOOLS}, the very bytes that were tested:", name=TOOLS)
    demo.registry.pull(TOOLS, "latest")
