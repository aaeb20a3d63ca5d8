"""compile_commands.json for editors, on stdout. CC and CFLAGS come from the Makefile."""

import json
import os
import sys

import tree


def main():
    command = f"{os.environ['CC']} {os.environ['CFLAGS']} -c "
    json.dump([{"directory": tree.ROOT, "file": path, "command": command + path}
               for path in sys.argv[1:]], sys.stdout, indent=1)
    print()


main()
