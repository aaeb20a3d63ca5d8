#!/usr/bin/python3
"""In the place of git-lfs: `version`, and `filter-process` for the smudging side.

Writes to $LFS_NOTES what git's configuration says about LFS and about headers, as git-lfs would
read it. The content of each file is "lfs: <path>"; beside the notes, a file `lfs-large` makes it
2000 bytes long and `lfs-fails` makes it an error.
"""
import os
import subprocess
import sys

NOTES = os.environ["LFS_NOTES"]
FOLDER = os.path.dirname(NOTES)


def read_packet():
    size = int(sys.stdin.buffer.read(4) or b"0000", 16)
    return sys.stdin.buffer.read(size - 4) if size else None


def read_list():
    packets = []
    while True:
        packet = read_packet()
        if packet is None:
            return packets
        packets.append(packet.rstrip(b"\n"))


def write(*packets):
    for packet in packets:
        sys.stdout.buffer.write(b"%04x" % (len(packet) + 4) + packet)
    sys.stdout.buffer.write(b"0000")
    sys.stdout.buffer.flush()


def main():
    if sys.argv[1:] == ["version"]:
        print("git-lfs/3.0.0 (a fake)")
        return
    assert sys.argv[1:] == ["filter-process"], sys.argv
    settings = subprocess.run(["git", "config", "--list"], stdout=subprocess.PIPE,
                              close_fds=False, check=True)
    with open(NOTES, "ab") as notes:
        notes.write(settings.stdout)
    assert read_list()[0] == b"git-filter-client"
    write(b"git-filter-server\n", b"version=2\n")
    read_list()
    write(b"capability=smudge\n")
    while True:
        request = dict(p.split(b"=", 1) for p in read_list())
        if not request:
            return
        read_list()
        if os.path.exists(os.path.join(FOLDER, "lfs-fails")):
            write(b"status=error\n")
            continue
        content = b"lfs: " + request[b"pathname"] + b"\n"
        if os.path.exists(os.path.join(FOLDER, "lfs-large")):
            content = content.ljust(2000)
        write(b"status=success\n")
        write(content)
        write()


if __name__ == "__main__":
    main()
