#!/usr/bin/env python3
"""Writes a core file whose segments are not what a kernel writes.

usage: hostile_core.py KIND FILE

    top      a segment that ends with the last address that there is
    overlap  segments that begin before the one in front of them has ended, and end within it
    sparse   a segment of 1 TiB, all of it a hole in the file
    many     66,000 segments (PN_XNUM), all at the same address
"""
import struct
import sys

EHDR, PHDR, SHDR = "<4sBBBBB7xHHIQQQIHHHHHH", "<IIQQQQQQ", "<IIQQQQIIQQ"
PT_LOAD, PN_XNUM, EHDR_SIZE, PHDR_SIZE = 1, 0xFFFF, 64, 56
PAGE = 4096
TOP = 1 << 64

# Of each segment: its address, its size in the file and in memory.
SEGMENTS = {
    "top": [(TOP - PAGE, PAGE - 1, PAGE - 1)],
    "overlap": [(0x10000, 2 * PAGE, 2 * PAGE), (0x10800, 0x10, 0x10), (0x11000, 4 * PAGE, 4 * PAGE), (0x11800, 8, 1 << 40)],
    "sparse": [(0x10000, 1 << 40, 1 << 40)],
    "many": [(0x10000, 64 * PAGE, 64 * PAGE)] * 66000,
}

segments = SEGMENTS[sys.argv[1]]
count = len(segments)
data_at = (EHDR_SIZE + count * PHDR_SIZE + 64 + PAGE - 1) // PAGE * PAGE
section_at = EHDR_SIZE + count * PHDR_SIZE if count >= PN_XNUM else 0
with open(sys.argv[2], "wb") as core:
    core.write(struct.pack(EHDR, b"\x7fELF", 2, 1, 1, 0, 0, 4, 62, 1, 0, EHDR_SIZE, section_at, 0, EHDR_SIZE, PHDR_SIZE,
                           min(count, PN_XNUM), 64 if section_at else 0, 1 if section_at else 0, 0))
    for address, in_file, in_memory in segments:
        core.write(struct.pack(PHDR, PT_LOAD, 6, data_at, address, 0, in_file, in_memory, PAGE))
    if section_at:
        core.write(struct.pack(SHDR, 0, 0, 0, 0, 0, 0, 0, count, 0, 0))
    core.seek(data_at)
    for page in range(64):  # every other one holds something
        core.write(bytes([page % 2]) * PAGE)
    core.truncate(data_at + max(64 * PAGE, max(in_file for _, in_file, _ in segments)))
