#!/usr/bin/env python3
"""Writes the table of README.md from hakmem_probes.def; with --check it only tells whether the table is up to date.

usage: make_table.py [--check | --names]

--names prints a line "NAME ARGUMENT..." for each probe. Other scripts import probes().
"""
import collections
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
BEGIN = "<!-- table: made by make_table.py -->\n"
END = "<!-- end of table -->\n"

Probe = collections.namedtuple("Probe", "name args text")


def probes(path=HERE / "hakmem_probes.def"):
    """The probes of the table in its order. Raises ValueError where the table breaks its own rules."""
    source = re.sub(r"/\*.*?\*/", "", pathlib.Path(path).read_text(), flags=re.S)
    entry = re.compile(r'HK_PROBE\(\s*(\w+),\s*(\d+),\s*\(([^)]*)\),\s*((?:"(?:[^"\\]|\\.)*"\s*)+)\)')
    rest = entry.sub("", source).strip()
    if rest:
        raise ValueError(f"{path}: not an entry: {rest[:80]}")
    table = []
    for name, count, args, strings in entry.findall(source):
        args = [a.strip() for a in args.split(",") if a.strip()]
        if len(args) != int(count) or len(args) > 6 or len(set(args)) != len(args):
            raise ValueError(f"{name}: {count} arguments announced, {len(args)} named, 6 allowed")
        table.append(Probe(name, args, "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', strings))))
    if not table or len({p.name for p in table}) != len(table):
        raise ValueError(f"{path}: no probe, or one named twice")
    return table


def markdown(table):
    lines = ["| probe | arguments, in order | when it fires |", "|---|---|---|"]
    for probe in table:
        args = ", ".join(f"`{a}`" for a in probe.args)
        lines.append(f"| `{probe.name}` | {args} | {probe.text.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def main(arguments):
    table = probes()
    if arguments == ["--names"]:
        for probe in table:
            print(probe.name, *probe.args)
        return 0
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    readme = HERE / "README.md"
    old = readme.read_text()
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        print(f"{readme}: no place for the table", file=sys.stderr)
        return 1
    new = before + begin + "\n" + markdown(table) + "\n" + end + after
    if arguments == ["--check"]:
        if new != old:
            print(f"{readme}: differs from hakmem_probes.def; run probes/make_table.py", file=sys.stderr)
        return int(new != old)
    readme.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
