#!/usr/bin/env python3
"""Reads the fast paths of malloc and free out of a library, on x86-64.

usage: fast_path.py LIBRARY                   prints them
       fast_path.py --limits LIBRARY          checks what holds for every compiler
       fast_path.py --golden COMPILER LIBRARY compares the instruction classes with fast_path.txt; COMPILER as in gcc-12
       fast_path.py --write COMPILER LIBRARY  writes COMPILER's rows of fast_path.txt anew
       fast_path.py --text LIBRARY            all of malloc and free without addresses, to compare two builds

A fast path is what runs from the entry to the first ret when no conditional branch is taken.
"""
import collections
import pathlib
import re
import subprocess
import sys

TABLE = pathlib.Path(__file__).with_name("fast_path.txt")
ENTRIES = ("malloc", "free")
MOST = 20

Instruction = collections.namedtuple("Instruction", "address name operands symbol")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def function(library, name):
    """The instructions of an exported function, and its size."""
    symbol = re.compile(r"^\s+\d+: (\w+)\s+(\d+) FUNC\s+GLOBAL\s+DEFAULT\s+\d+ " + name + r"(?:@.*)?$", re.M)
    start, size = symbol.search(run("readelf", "-W", "--dyn-syms", library)).groups()
    start, stop = int(start, 16), int(start, 16) + int(size)
    listing = run("objdump", "-d", "--no-show-raw-insn", f"--start-address={start}", f"--stop-address={stop}", library)
    line = re.compile(r"^\s*([0-9a-f]+):\t((?:(?:lock|rep|repz|repnz|cs|ds|notrack|data16) )*\S+)[ \t]*([^#<\n]*)"
                      r"(?:[^<\n]*<([^>]+)>)?", re.M)
    return [Instruction(int(a, 16), n, o.strip(), s) for a, n, o, s in line.findall(listing)], start, stop


def fast_path(library, name):
    code, start, stop = function(library, name)
    at = {i.address: k for k, i in enumerate(code)}
    path, k = [], 0
    while True:
        if k >= len(code) or len(path) > 4 * MOST:
            raise ValueError(f"{name}: no ret is reached")
        path.append(code[k])
        if code[k].name in ("ret", "retq"):
            return path
        if code[k].name in ("jmp", "jmpq"):
            target = code[k].operands
            if not re.fullmatch(r"[0-9a-f]+", target) or not start <= int(target, 16) < stop:
                raise ValueError(f"{name}: leaves by {code[k].name} {target}")
            k = at[int(target, 16)]
        else:
            k += 1


def kind(instruction):
    """The class of an instruction: what it does, and whether it touches memory."""
    name, operands = instruction.name, instruction.operands
    name = name.removeprefix("notrack ")
    if " " in name:
        return name.split()[0] # a prefix: lock, rep
    for prefix in ("call", "push", "pop", "ret", "jmp", "nop", "lea", "xchg", "xadd", "cmpxchg"):
        if name.startswith(prefix):
            return prefix
    if name.startswith("endbr"):
        return "nop"
    if name.startswith("j"):
        return "branch"
    parts = re.split(r",\s*(?![^(]*\))", operands)
    to_memory = "(" in parts[-1] or parts[-1].startswith("%fs:")
    from_memory = any("(" in p or p.startswith("%fs:") for p in parts[:-1])
    if name.startswith(("cmp", "test")):
        return "compare-memory" if to_memory or from_memory else "compare"
    if name.startswith(("mov", "set", "cmov")):
        return "store" if to_memory else "load" if from_memory else "move"
    return "update-memory" if to_memory else "compute-memory" if from_memory else "compute"


def limit_faults(name, path):
    if len(path) > MOST:
        yield f"{name}: {len(path)} instructions, {MOST} allowed"
    for i in path:
        text = f"{name}: {i.name} {i.operands}"
        parts = re.split(r",\s*(?![^(]*\))", i.operands)
        if kind(i) in ("lock", "rep", "call", "push", "pop", "xchg", "xadd", "cmpxchg"):
            yield f"{text}: {kind(i)}"
        elif re.search(r"\(%[re]?[sb]p\b", i.operands):
            yield f"{text}: touches the stack"
        elif parts[-1] in ("%rsp", "%rbp"):
            yield f"{text}: moves the stack pointer or makes a frame"


def classes(path):
    counts = collections.Counter(kind(i) for i in path)
    return " ".join(f"{k}:{counts[k]}" for k in sorted(counts))


def rows(compiler, library):
    return {f"{compiler} {name}": f"{len(path)} = {classes(path)}"
            for name, path in ((n, fast_path(library, n)) for n in ENTRIES)}


def read_table():
    lines = [l.strip() for l in TABLE.read_text().splitlines()] if TABLE.exists() else []
    return dict(l.split(": ", 1) for l in lines if l and not l.startswith("#"))


def write(compiler, library):
    table = {**read_table(), **rows(compiler, library)}
    head = ("# The fast paths, by compiler: instructions = classes. Made by fast_path.py --write COMPILER LIBRARY.\n"
            "# A row that changes is a fast path that changed: say in the commit why it is the better one.\n")
    TABLE.write_text(head + "".join(f"{k}: {v}\n" for k, v in sorted(table.items())))


def golden_faults(compiler, library):
    table = read_table()
    for key, row in rows(compiler, library).items():
        if key not in table:
            yield f"{key}: no row in {TABLE.name}"
        elif table[key] != row:
            yield f"{key}:\n  is     {row}\n  golden {table[key]}"


def text(library):
    for name in ENTRIES:
        code, start, stop = function(library, name)
        print(f"{name}:")
        for i in code:
            inside = re.fullmatch(r"[0-9a-f]+", i.operands) and start <= int(i.operands, 16) < stop
            operands = f"+{int(i.operands, 16) - start:#x}" if inside else re.sub(r"-?0x\w+(?=\(%rip\))", "", i.operands)
            operands = i.symbol if i.symbol and not inside and re.fullmatch(r"[0-9a-f]+", operands) else operands
            symbol = i.symbol if i.symbol and "(%rip)" in operands and "_GLOBAL_OFFSET_TABLE_" not in i.symbol else ""
            print(" ", i.name, operands, symbol)


def main(arguments):
    faults = []
    if len(arguments) == 1:
        for name in ENTRIES:
            path = fast_path(arguments[0], name)
            print(f"{name}: {len(path)} = {classes(path)}")
            for i in path:
                print(f"    {kind(i):16} {i.name:8} {i.operands}  {i.symbol}")
    elif len(arguments) == 2 and arguments[0] == "--limits":
        faults = [f for n in ENTRIES for f in limit_faults(n, fast_path(arguments[1], n))]
    elif len(arguments) == 3 and arguments[0] == "--golden":
        faults = list(golden_faults(*arguments[1:]))
    elif len(arguments) == 3 and arguments[0] == "--write":
        write(*arguments[1:])
    elif len(arguments) == 2 and arguments[0] == "--text":
        text(arguments[1])
    else:
        print(__doc__, file=sys.stderr)
        return 2
    for fault in faults:
        print(fault, file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
