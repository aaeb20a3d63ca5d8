#!/usr/bin/python3
"""A vendor's registry together with that vendor's own interface, on one store.

    vendor_fake.py {hub|quay|harbor|ghcr|gitlab|acr} [options of registry_fake.py]

Prints "port=N" once it listens. GET /_ctl/ports tells "port" (the registry) and "api" (the
interface: the same port for quay, harbor and acr, one of its own for the others, whose origins
differ). Everything of registry_fake.py holds, and besides

    PUT /_ctl/vendor    JSON object: user, password (of the interface where it takes these), token
                        (where it takes one), page_cap (entries a page at most), fail_times,
                        fail_status, fail_headers (the next answers of the interface), and what the
                        vendor's file in vendors/ names; answers with all of them

Age of a tag: PUT /_ctl/time {name, tag, at}. What each vendor documents is cited in its file.
"""
import importlib
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

NAMES = {"hub": "Hub", "quay": "Quay", "harbor": "Harbor", "ghcr": "Ghcr", "gitlab": "GitLab",
         "acr": "Acr"}


def main():
    vendor = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if vendor not in NAMES:
        sys.exit(__doc__)
    common = importlib.import_module("vendors.common")
    common.main(getattr(importlib.import_module(f"vendors.{vendor}"), NAMES[vendor]))


if __name__ == "__main__":
    main()
