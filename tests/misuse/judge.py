#!/usr/bin/env python3
"""Runs the programs of this folder, one bug each, in six sizes, and says which were not stopped by SIGABRT with their line of table.tsv.

usage: judge.py [--preload LIBRARY] FOLDER [PROGRAM...]

FOLDER is where they are built. Without a name all are run, each with the HAKMEM_CONF that its line needs; `judge.py --list` names those
that need none, `--list-configured` the others. Exit status 1: one was not stopped so.
"""
import argparse
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

SIZES = [24, 200, 1000, 16 << 10, 200 << 10, 8 << 20]
GOES_BACK = 32 << 10  # a larger block's memory may have gone back to the system by the time of the second call
CACHED_MOST = 32 << 10  # larger ones are not sampled by guard pages, nor kept to be looked at when they are freed
TABLE = Path(__file__).with_name("table.tsv")


def read_table():
    """{program: (HAKMEM_CONF, text, or else)}, in the order of the table; None for what isn't there."""
    rows = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {name: tuple(None if cell == "-" else cell for cell in cells) for name, *cells in rows}


def no_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(program, size, library, conf):
    """Ended by which status, what it wrote to standard output and to standard error; a program that hangs: None."""
    environment = dict(os.environ, **({"LD_PRELOAD": library} if library else {}), **({"HAKMEM_CONF": conf} if conf else {}))
    try:
        ended = subprocess.run([program, str(size)], env=environment, timeout=20, check=False, capture_output=True, preexec_fn=no_core)
    except subprocess.TimeoutExpired:
        return None, "", ""
    return ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace")


def judge(expected, size, status, out, err):
    """None, or what is wrong."""
    conf, text, other = expected
    if conf is not None and re.fullmatch(r"guard:\d+", conf):  # what follows are stacks
        err = "".join(line for line in err.splitlines(keepends=True) if line.startswith("hakmem: "))
    said = re.fullmatch(r"about to misuse (0x[0-9a-f]+)\n", out)
    if status != -signal.SIGABRT:
        return "it hangs" if status is None else f"it ended with status {status}"
    if said is None:
        return "standard output is not what the program wrote"
    for line in [text] + ([other] if other and size > GOES_BACK else []):
        if re.fullmatch(rf"hakmem: {re.escape(line)} {said[1]}( \([1-9][0-9]*-byte block\))?\n", err):
            return None
    return "the line is another"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preload", metavar="LIBRARY")
    parser.add_argument("--list", action="store_true", help="the names of the programs whose bug is always caught")
    parser.add_argument("--list-configured", action="store_true", help="of those that take a HAKMEM_CONF")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("program", nargs="*")
    options = parser.parse_args()
    table = read_table()
    if options.list or options.list_configured:
        print("\n".join(name for name, (conf, _, _) in table.items() if (conf is not None) == options.list_configured))
        return 0
    if options.folder is None or set(options.program) - set(table):
        parser.error("name the folder, and programs of the table")
    missed = ran = 0
    for name in options.program or table:
        conf = table[name][0]
        for size in SIZES:
            if conf is not None and size > CACHED_MOST:
                continue
            status, out, err = run(options.folder / name, size, options.preload, conf)
            wrong = judge(table[name], size, status, out, err)
            ran += 1
            if wrong:
                missed += 1
                print(f"NOT CAUGHT {name} {size}: {wrong} ({out.strip()!r}; {err.strip()!r})", file=sys.stderr)
    print(f"{ran - missed} of {ran} programs were stopped by SIGABRT with their line")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
