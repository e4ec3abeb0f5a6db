#!/usr/bin/env python3
"""Overwrites the allocator's tables in a process, so that whoever follows them from outside goes astray.

usage: corrupt.py LIBRARY PID KIND

    threads   the first thread's successor is itself
    chunks    the first mapping of metadata is its own successor, and reaches over half of all addresses
    leaves    the outer map's root has one leaf everywhere
"""
import re
import struct
import subprocess
import sys

library, pid, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
NEXT_AT = 16  # in struct hk_thread
LAYOUT_SIZE = 88
LEVEL_SIZE = 65536

symbol = re.search(r"^([0-9a-f]+) ([0-9a-f]+) . hk_account$",
                   subprocess.run(["nm", "-S", library], capture_output=True, text=True, check=True).stdout, re.M)
address, size = (int(text, 16) for text in symbol.groups())
with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
    base = min(int(line.split("-")[0], 16) for line in maps if "libhakmem.so" in line)

with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
    def read(at, count):
        memory.seek(at)
        return struct.unpack(f"<{count}Q", memory.read(8 * count))

    def write(at, *words):
        memory.seek(at)
        memory.write(struct.pack(f"<{len(words)}Q", *words))

    layout = base + address + size - LAYOUT_SIZE
    head, _, _, threads, root, chunks = read(layout, 6)
    if head != LAYOUT_SIZE << 32 | 1:
        sys.exit("the layout is not where it was")
    if kind == "threads":
        first, = read(threads, 1)
        write(first + NEXT_AT, first)
    elif kind == "chunks":
        first, = read(chunks, 1)
        write(first, first, 1 << 63)
    elif kind == "leaves":
        leaf = next(entry for entry in read(root, LEVEL_SIZE) if entry != 0)
        write(root, *[leaf] * LEVEL_SIZE)
