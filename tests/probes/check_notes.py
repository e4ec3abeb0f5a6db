#!/usr/bin/env python3
"""Compares the USDT notes of an ELF file with probes/hakmem_probes.def.

usage: check_notes.py [--none] FILE

Names, order and registers of the arguments are the table's; every probe has one site, a one-byte nop before a ret; every
semaphore is hidden, in .probes, zero and named after its probe. --none: nothing of a probe may be in the file.
"""
import pathlib
import platform
import re
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "probes"))
sys.dont_write_bytecode = True
from make_table import probes  # noqa: E402

MACHINES = {
    "x86_64": (["%rdi", "%rsi", "%rdx", "%rcx", "%r8", "%r9"], bytes([0x90, 0xC3])),
    "aarch64": (["x0", "x1", "x2", "x3", "x4", "x5"], bytes.fromhex("1f2003d5c0035fd6")),
}


def readelf(option, path):
    return subprocess.run(["readelf", "-W", option, path], check=True, capture_output=True, text=True).stdout


class Elf:
    def __init__(self, path):
        self.data = pathlib.Path(path).read_bytes()
        load = re.compile(r"^\s+LOAD\s+(0x\w+)\s+(0x\w+)\s+0x\w+\s+(0x\w+)", re.M)
        self.segments = [tuple(int(x, 16) for x in s) for s in load.findall(readelf("-l", path))]
        section = re.compile(r"^\s+\[\s*\d+\]\s+(\S+)\s+\S+\s+(\w+)\s+\w+\s+(\w+)", re.M)
        self.sections = {n: (int(a, 16), int(s, 16)) for n, a, s in section.findall(readelf("-S", path))}
        note = re.compile(r"Provider: (\S+)\s+Name: (\S+)\s+Location: (\w+), Base: (\w+), Semaphore: (\w+)\s+"
                          r"Arguments:(.*)$", re.M)
        self.notes = [(p, n, int(l, 16), int(b, 16), int(s, 16), a.split())
                      for p, n, l, b, s, a in note.findall(readelf("-n", path))]
        # number: value size type bind visibility index name
        symbol = re.compile(r"^\s+\d+: (\w+)\s+(\w+)\s+(\w+)\s+(\w+)\s+(\w+)\s+\w+ ([^@\s]+)", re.M)
        self.symbols = {s[5]: s for s in symbol.findall(readelf("-s", path))}
        self.exported = {s[5] for s in symbol.findall(readelf("--dyn-syms", path))}

    def at(self, address, length):
        for offset, start, size in self.segments:
            if start <= address and address + length <= start + size:
                return self.data[offset + address - start:][:length]
        raise ValueError(f"no bytes of the file are at {address:#x}")


def check(elf, table):
    registers, site = MACHINES[platform.machine()]
    notes = [n for n in elf.notes if n[0] == "hakmem"]
    names = sorted(n[1] for n in notes)
    if names != sorted(p.name for p in table):
        yield f"probes of the file: {' '.join(names)}"
        return
    base = elf.sections.get(".stapsdt.base")
    first, length = elf.sections.get(".probes", (0, 0))
    for attribute in (2, 4):
        if len({n[attribute] for n in notes}) != len(notes):
            yield f"two probes share a site or a semaphore"
    for probe in table:
        _, _, location, note_base, semaphore, args = next(n for n in notes if n[1] == probe.name)
        signs = ["-" if a.startswith("s_") else "" for a in probe.args]
        expected = [f"{s}8@{r}" for s, r in zip(signs, registers)]
        if args != expected:
            yield f"{probe.name}: arguments {args}, not {expected}"
        if elf.at(location, len(site)) != site:
            yield f"{probe.name}: the site is {elf.at(location, len(site)).hex()}, not {site.hex()}"
        if base is None or note_base != base[0]:
            yield f"{probe.name}: base {note_base:#x}, but .stapsdt.base is at {base}"
        if not first <= semaphore <= first + length - 2 or semaphore % 2 != 0:
            yield f"{probe.name}: semaphore {semaphore:#x} lies outside .probes"
        elif elf.at(semaphore, 2) != b"\0\0":
            yield f"{probe.name}: the semaphore is not 0"
        name = f"hakmem_{probe.name}_semaphore"
        value, size, kind, bind, visibility, _ = elf.symbols.get(name, ("0", "", "", "", "", ""))
        if int(value, 16) != semaphore or size != "2" or kind != "OBJECT":
            yield f"{probe.name}: the semaphore is not called {name}"
        if bind != "LOCAL" and visibility != "HIDDEN" or name in elf.exported:
            yield f"{probe.name}: the semaphore is not hidden"
        function = elf.symbols.get(f"hk_probe_{probe.name}")
        if function is None or int(function[0], 16) != location or function[5] in elf.exported:
            yield f"{probe.name}: hk_probe_{probe.name} is not the site, or is exported"


def check_none(elf):
    if elf.notes or ".probes" in elf.sections or ".text.hk_probes" in elf.sections:
        yield "there are notes or a section of probes"
    for name in elf.symbols:
        if name.startswith("hk_probe_") or name.endswith("_semaphore"):
            yield f"there is {name}"


def main(arguments):
    if len(arguments) not in (1, 2) or len(arguments) == 2 and arguments[0] != "--none":
        print(__doc__, file=sys.stderr)
        return 2
    elf = Elf(arguments[-1])
    faults = list(check_none(elf) if len(arguments) == 2 else check(elf, probes()))
    for fault in faults:
        print(f"{arguments[-1]}: {fault}", file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
