#!/usr/bin/env python3
"""Changes one byte of the layout's digest in a process, so that the process looks as if it ran another build.

usage: other_layout.py LIBRARY PID
"""
import re
import struct
import subprocess
import sys

library, pid = sys.argv[1], int(sys.argv[2])
DIGEST_AT = 8  # in struct hk_layout, behind version and length

symbols = subprocess.run(["nm", library], capture_output=True, text=True, check=True).stdout
account = int(re.search(r"^([0-9a-f]+) . hk_account$", symbols, re.M).group(1), 16)
size = int(re.search(r"^[0-9a-f]+ ([0-9a-f]+) . hk_account$",
                     subprocess.run(["nm", "-S", library], capture_output=True, text=True, check=True).stdout, re.M).group(1), 16)
with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
    base = min(int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith("libhakmem.so.0.1.0") or "libhakmem.so" in line)

# The layout is the account's last member: it begins where its version, 1, is followed by its own length.
with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
    memory.seek(base + account)
    data = memory.read(size)
    layout = next(at for at in range(size - 16, 0, -8)
                  if struct.unpack_from("<II", data, at) == (1, size - at) or
                  (struct.unpack_from("<I", data, at)[0] == 1 and struct.unpack_from("<I", data, at + 4)[0] in range(64, 256)))
    memory.seek(base + account + layout + DIGEST_AT)
    memory.write(bytes([data[layout + DIGEST_AT] ^ 0xff]))
