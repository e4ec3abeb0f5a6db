#!/usr/bin/env python3
"""Prints how many watch the probes of a library in a running process: the least and the greatest of its semaphores.

usage: semaphores.py LIBRARY PID [PROVIDER]
"""
import pathlib
import re
import sys

sys.dont_write_bytecode = True
from check_notes import Elf  # noqa: E402


def semaphores(library, pid, provider="hakmem"):
    elf = Elf(library)
    mapping = re.compile(r"^(\w+)-\w+ \S+ 0+ \S+ \S+\s+" + re.escape(str(pathlib.Path(library).resolve())) + "$", re.M)
    base = int(mapping.search(pathlib.Path(f"/proc/{pid}/maps").read_text())[1], 16)
    with open(f"/proc/{pid}/mem", "rb") as memory:
        for owner, _, _, _, address, _ in elf.notes:
            if owner != provider:
                continue
            memory.seek(base + address)
            yield int.from_bytes(memory.read(2), sys.byteorder)


if __name__ == "__main__":
    counts = list(semaphores(*sys.argv[1:]))
    print(min(counts), max(counts))
