#!/usr/bin/env python3
"""Makes the tables of README.md and tools/hakmem.7 from the .def files of the sources.

usage: make_tables.py [--check]

A table stands between two markers, <!-- table NAME --> and <!-- end --> in Markdown, .\\" table NAME and .\\" end in a manual
page. --check writes nothing and fails if a file isn't what the tables make of it.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "probes"))
import make_table  # noqa: E402  the probes' own reader
UNITS = (("t", 40), ("g", 30), ("m", 20), ("k", 10))
TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[(),]|[^"(),]+')


def entries(path, macro):
    """The argument lists of all uses of a macro in a .def file, each argument as its source text."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
    found = []
    for use in re.finditer(rf"\b{macro}\(", text):
        args, depth = [""], 1
        for token in TOKEN.findall(text, use.end()):
            depth += {"(": 1, ")": -1}.get(token, 0)
            if depth == 0:
                break
            if token == "," and depth == 1:
                args.append("")
            else:
                args[-1] += token
        else:
            sys.exit(f"{path}: {macro}( is never closed")
        found.append([arg.strip() for arg in args])
    if not found:
        sys.exit(f"{path}: no {macro}")
    return found


def string(source):
    """The value of adjacent string literals."""
    return "".join(part.replace('\\"', '"') for part in re.findall(r'"((?:\\.|[^"\\])*)"', source))


def number(source):
    """The value of a constant expression such as UINT64_C(4) << 20; None for UINT64_MAX."""
    if source == "UINT64_MAX":
        return None
    source = re.sub(r"UINT64_C\((\w+)\)", r"\1", source)
    if not re.fullmatch(r"[\d\s<+*()-]+", source):
        sys.exit(f"config.def: what is {source}?")
    return eval(source)  # digits and operators only, as was just checked


def amount(value, kind):
    if value is None:
        return "unset"
    if kind == "SIZE" and value:
        for letter, shift in UNITS:
            if value % (1 << shift) == 0:
                return f"{value >> shift}{letter}"
    return str(value)


def option_rows():
    rows = []
    for name, kind, default, least, greatest, text in entries("src/config.def", "HK_OPTION"):
        low, high = number(least), number(greatest)
        values = f"from {amount(low, kind)}" if high is None else f"{amount(low, kind)} to {amount(high, kind)}"
        rows.append((name, amount(number(default), kind), values, string(text)))
    return rows


def probe_rows():
    return [(probe.name, ", ".join(probe.args), probe.text) for probe in make_table.probes()]


def misuse_rows():
    return [(str(place), name, string(text).rstrip(","))
            for place, (name, text) in enumerate(entries("src/misuse.def", "HK_MISUSE"))]


ROWS = {"options": option_rows, "probes": probe_rows, "misuse": misuse_rows}


def markdown(name):
    heads = {
        "options": ("option", "default", "values", "what it sets"),
        "probes": ("probe", "fires when"),
        "misuse": ("kind", "name", "the line says"),
    }[name]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in ROWS[name]():
        if name == "probes":  # probes/README.md tells the arguments
            row = (row[0], row[2])
        code = 1 if name == "misuse" else 0
        cells = [f"`{cell}`" if column == code else cell.replace("|", "\\|") for column, cell in enumerate(row)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def roff(name):
    lines = []
    for row in ROWS[name]():
        first, middle, last = row[0], row[1:-1], row[-1]
        lines.append(".TP")
        if name == "options":
            lines.append(f".BR {escape(first)} \" (default: {escape(middle[0])}; {escape(middle[1])})\"")
        elif name == "probes":
            lines.append(f".BI {escape(first)} \" ({escape(middle[0])})\"")
        else:
            lines.append(f".B {escape(first)} {escape(middle[0])}")
        lines.append(escape(last))
    return "\n".join(lines) + "\n"


FORMS = {
    "README.md": (re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL), markdown),
    "tools/hakmem.7": (re.compile(r'(\.\\" table (\w+)\n).*?(\.\\" end)', re.DOTALL), roff),
}


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    check, stale = bool(sys.argv[1:]), False
    for path, (pattern, render) in FORMS.items():
        full = os.path.join(ROOT, path)
        with open(full, encoding="utf-8") as file:
            old = file.read()
        seen = [match.group(2) for match in pattern.finditer(old)]
        if sorted(seen) != sorted(ROWS):
            sys.exit(f"{path}: has the tables {seen}, not {sorted(ROWS)}")
        new = pattern.sub(lambda match: match.group(1) + render(match.group(2)) + match.group(3), old)
        if new == old:
            continue
        if check:
            print(f"{path} is not what the .def files make of it: run tools/make_tables.py")
            stale = True
        else:
            with open(full, "w", encoding="utf-8") as file:
                file.write(new)
            print(f"{path} written")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
