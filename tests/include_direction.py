#!/usr/bin/env python3
"""Checks that the sources of the library depend in one direction, by their #include lines.

usage: include_direction.py SOURCE_FOLDER

A file may include headers of its own layer and of those below it. Headers among themselves have no cycle. A file that the
table doesn't know is an error, so that a new one gets its place by a decision.
"""
import os
import re
import sys

# From the hot end to the cold end. A name stands for NAME.c, NAME.cc and NAME.h.
LAYERS = [
    ("entries", "malloc free export_c export_cxx export_mallocx hakmem"),
    ("process and threads", "heap harden layout life oom_report sampling statistics thread thread_cache"),
    ("central pools", "shared_pool legacy ace ace_huge ace_huge_cache ace_large guard guard_fault quarantine reclaim"),
    ("memory in units", "superslab slab region"),
    ("tables", "outer_map meta"),
    ("words", "account ace_account ace_cap bin canary chain chance config failure_text failures lock misuse sample size_class trace"),
    ("system", "os os_format os_linux os_linux_cgroup os_linux_limit os_linux_message"),
    ("probes", "probe probes"),
    ("base", "base os_account"),
]
MAX_LINES = 599
FOLDERS = ("src", "probes")
# What is made from a table is included where the table is used, in any layer; the public header depends on nothing.
TABLES = (".def",)
PUBLIC = "hakmem.h"

LEVEL = {name: level for level, (_, names) in enumerate(LAYERS) for name in names.split()}


def includes(path):
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
            if match:
                yield number, match.group(1)


def stem(path):
    return os.path.basename(path).split(".")[0]


def find_cycle(graph):
    """One cycle of a {node: [nodes]} graph as a list, or None."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return path[path.index(node):] + [node]
        if node in done:
            return None
        path.append(node)
        for other in graph.get(node, ()):
            cycle = visit(other)
            if cycle:
                return cycle
        path.pop()
        done.add(node)
        return None

    for node in sorted(graph):
        cycle = visit(node)
        if cycle:
            return cycle
    return None


def check(root):
    errors, headers, known = [], {}, set()
    files = [
        os.path.join(folder, name)
        for folder in FOLDERS
        for name in sorted(os.listdir(os.path.join(root, folder)))
        if name.endswith((".c", ".cc", ".h"))
    ]
    for file in files:
        with open(os.path.join(root, file), encoding="utf-8") as opened:
            lines = sum(1 for _ in opened)
        if lines > MAX_LINES:
            errors.append(f"{file}: {lines} lines, more than {MAX_LINES}")
        level = LEVEL.get(stem(file))
        if level is None:
            errors.append(f"{file}: in no layer of tests/include_direction.py")
            continue
        known.add(stem(file))
        if file.endswith(".h"):
            headers[os.path.basename(file)] = []
        for number, target in includes(os.path.join(root, file)):
            where = f"{file}:{number}: "
            resolved = os.path.normpath(os.path.join(os.path.dirname(file), target))
            if not os.path.exists(os.path.join(root, resolved)):
                errors.append(f"{where}{target} is not beside the file that includes it")
            elif target.endswith(TABLES):
                continue
            elif not target.endswith(".h"):
                errors.append(f"{where}includes {target}, which is no header")
            elif os.path.basename(target) == PUBLIC:
                continue
            elif stem(target) not in LEVEL:
                errors.append(f"{where}{target} is in no layer")
            elif LEVEL[stem(target)] < level:
                errors.append(
                    f"{where}'{LAYERS[level][0]}' includes {target} of '{LAYERS[LEVEL[stem(target)]][0]}', a layer above")
            elif file.endswith(".h"):
                headers[os.path.basename(file)].append(os.path.basename(target))
    for name in sorted(set(LEVEL) - known):
        errors.append(f"tests/include_direction.py: there is no file {name}")
    cycle = find_cycle(headers)
    if cycle:
        errors.append("headers in a circle: " + " -> ".join(cycle))
    return files, errors


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    files, errors = check(sys.argv[1])
    for error in errors:
        print(error)
    print(f"{len(files)} files, {len(errors)} errors")
    return 1 if errors or not files else 0


if __name__ == "__main__":
    sys.exit(main())
