#!/usr/bin/python3
"""In the place of `slipway builder`: one line of JSON in, a log and a result out, nothing built.

Each image's layout is a folder with an index.json, whose one line is the image's name. Files in the
folder above the build's own (where the configuration says that builds are kept) change what it
does: `fail` holds the error's kind, `busy`, `partly` (fails behind the first image), `chatty` (1 MB
of log), `slow` (waits until it is ended). What it was asked, and what it found in the source, is
appended to `asked` there.
"""
import json
import os
import sys
import time


def say(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def fail(kind, code, text):
    say({"result": {"error": {"kind": kind, "code": code, "text": text}}})
    sys.exit(0)


def layout(spec, image, platform):
    name = "-".join([image["name"], *(platform.split("/") if platform else [])])
    path = os.path.join(spec["out"], name)
    if not os.path.exists(path):
        os.makedirs(path)
        with open(os.path.join(path, "index.json"), "w", encoding="utf-8") as out:
            out.write(image["name"] + "\n")
    entry = {"name": image["name"], "path": path}
    return dict(entry, platform=platform) if platform else entry


def main():
    spec = json.loads(sys.stdin.readline())
    folder = os.path.dirname(os.path.dirname(spec["out"]))

    def marked(name):
        return os.path.exists(os.path.join(folder, name))

    found = sorted(os.listdir(spec["source"]))
    siblings = sorted(os.path.join(at, name)[len(spec["siblings"]) + 1:]
                      for at, _, names in os.walk(spec["siblings"]) for name in names
                      ) if spec.get("siblings") else []
    with open(os.path.join(folder, "asked"), "a", encoding="utf-8") as asked:
        asked.write(json.dumps({"spec": spec, "found": found, "siblings": siblings,
                                "argv": sys.argv[1:]}) + "\n")
    if marked("busy"):
        fail("temporary", 16, "it builds something else")
    say({"log": "\x1b[1mSTEP 1\x1b[0m\n"})
    if marked("chatty"):
        for i in range(20000):
            say({"log": f"line {i} " + "x" * 40 + "\n"})
    if marked("slow"):
        time.sleep(60)
    if marked("fail"):
        say({"log": "the last words\r\n"})
        with open(os.path.join(folder, "fail"), encoding="utf-8") as kind:
            fail(kind.read().strip(), 0, "image-0: RUN failed")
    layouts = []
    for image in spec["images"]:
        for platform in image["platforms"] or [None]:
            layouts.append(layout(spec, image, platform))
        if marked("partly"):
            fail("temporary", 0, "no space")
    say({"result": {"layouts": layouts}})


main()
