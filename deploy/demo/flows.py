"""What the demo shows besides the promotion of a staged image: builds by Slipway itself."""

import os
import shutil
import time

import service
from review import Git

TOOLS = "demo/tools"
BUILD_SECONDS = 120
ENDED = ("done", "skipped", "superseded", "dead", "partial")
# No RUN: it would need subordinate user ids where the demo is not root's.
CONTAINERFILE = """FROM scratch
COPY busybox /bin/sh
COPY hello.txt /hello.txt
CMD ["/bin/sh", "-c", "read line < /hello.txt; echo $line"]
"""


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


def write_sources(git, title, settings):
    """What the image is made of, and the list that names it; returns the commit."""
    shutil.copyfile(shutil.which("busybox"), os.path.join(git.clone, "busybox"))
    os.chmod(os.path.join(git.clone, "busybox"), 0o755)
    return git.commit({".slipway.yaml": settings, "Containerfile": CONTAINERFILE,
                       "hello.txt": title + "\n"}, title)


def same_bytes(demo, where, tested, registry, name, tag):
    """The proof: the tag pulls, every byte hashed, as the digest that was tested."""
    digest, blobs, size = registry.pull(name, tag)
    if digest != tested:
        raise service.Trouble(f"{tag} pulls as {digest}, not as {tested}", demo.folder.log("work"))
    say(f"  {where} {tested[:19]}, {tag} pulls as {digest[:19]}: the same "
        f"(manifest and {blobs} blobs, {size} bytes, each hashed)")


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
    tags = ("1", "1.2", version)
    name = demo.git.project
    commit = demo.git.run("-C", demo.git.clone, "rev-parse", "HEAD")
    demo.git.run("-C", demo.git.clone, "tag", version)
    demo.git.push(f"refs/tags/{version}")
    say()
    say(f"Full release. The git tag {version} is pushed: Slipway checks its commit out, builds and "
        "publishes.")
    sent, _ = demo.hooks.post({"kind": "tag.pushed", "project": name,
                               "ref": f"refs/tags/{version}", "commit": commit})

    def over():
        shown = [demo.registry.digest(name, tag) for tag in tags]
        return all(shown) or demo.task(f"refs/tags/{version}")["state"] in ENDED

    live = demo.wait_for(f"the end of the build of {version}", over, BUILD_SECONDS, every=0.02)
    if not ended(demo, f"refs/tags/{version}", f"tag {version}"):
        return
    say(f"  live after {live - sent:.2f} s, from sending the webhook")
    demo.show_tags("tags after the release: one image under three tags, moved together; the merge "
                   "keeps latest:", name=name)
    shown = {demo.registry.digest(name, tag) for tag in tags}
    if len(shown) != 1:
        raise service.Trouble(f"{', '.join(tags)} are not one image", demo.folder.log("work"))
    same_bytes(demo, f"{', '.join(tags)} show", shown.pop(), demo.registry, name, version)


def through_intermediate(demo):
    """A gate that Slipway runs, a staging registry, and a merge that copies by digest."""
    git = Git(demo.folder, TOOLS)
    demo.change += 1
    change, title = demo.change, f"Change {demo.change}"
    staged_name = f"gate/{demo.registry_host.replace(':', '_')}/{TOOLS}"
    commit = write_sources(git, title, image_list(
        demo.registry_host, TOOLS,
        "vars:\n  promote_container_image_method: intermediate-registry\n"))
    git.push(f"refs/changes/{change}/head")
    git.push("refs/heads/main")  # what the change's tree is compared with
    say()
    say(f"Through an intermediate registry. {title} enters the gate: Slipway builds it, and "
        "production sees nothing.")
    sent, _ = demo.hooks.post({"kind": "change.gated", "project": TOOLS, "branch": "main",
                               "change": change, "patchset": 1, "commit": commit})
    if not ended(demo, f"change/{change}", f"{title} at the gate"):
        return
    say(f"  built and staged after {time.monotonic() - sent:.2f} s, from sending the webhook")
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
                         lambda: demo.registry.digest(TOOLS, "latest"))
    say(f"  latest is live after {(live - sent) * 1000:.1f} ms, from sending the webhook")
    demo.show_tags(f"in production, {TOOLS}:", name=TOOLS)
    same_bytes(demo, "tested at the gate", tested, demo.registry, TOOLS, "latest")
    ended(demo, f"change/{change}", f"the merge of {title}")
