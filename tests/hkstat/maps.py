#!/usr/bin/env python3
"""What is in the maps that `hkstat attach` has pinned, read by bpftool: one number a line, for the bats files.

usage: maps.py PIN_DIR account PID CLASS FIELD...      of the account of a live process's class
       maps.py PIN_DIR classes PID                     "class IDX BLOCK_SIZE ALLOCS FREES MISSES" of each class
       maps.py PIN_DIR process PID FIELD...
       maps.py PIN_DIR ended NAME FIELD...             of all processes of an executable that have ended; `events.FIELD`, `processes`
       maps.py PIN_DIR summary FIELD...                of all processes' sums; or of the summary itself
       maps.py PIN_DIR lost                            all that was lost
       maps.py PIN_DIR events PROBE_INDEX              how often it was seen, on all processors
       maps.py PIN_DIR stacks KIND REASON              how often a stack of such a failure was counted
"""
import json
import subprocess
import sys


def dump(folder, name):
    path = f"{folder}/maps/{name}"
    text = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", path], check=True, capture_output=True, text=True).stdout
    # While entries go, a walk over a hash map may come to one twice.
    found = {json.dumps(entry["formatted"]["key"]): entry["formatted"] for entry in json.loads(text)}
    return list(found.values())


def number(value, field):
    for part in field.split("."):
        value = value[int(part) if part.isdigit() else part]
    return value


def of_process(folder, name, pid):
    for entry in dump(folder, name):
        if entry["key"].get("process", entry["key"])["pid"] == int(pid):
            yield entry


def account(folder, pid, class_idx, *fields):
    for entry in of_process(folder, "accounts", pid):
        if entry["key"]["class_idx"] == int(class_idx):
            return [number(entry["value"], field) for field in fields]
    sys.exit(f"process {pid} has no account of class {class_idx}")


def classes(folder, pid):
    found = sorted((entry["value"] for entry in of_process(folder, "accounts", pid)), key=lambda value: value["class_idx"])
    return [f"class {v['class_idx']} {v['block_size']} {v['allocs']} {v['frees']} {v['misses']}" for v in found if v["allocs"]]


def process(folder, pid, *fields):
    for entry in of_process(folder, "processes", pid):
        return [number(entry["value"], field) for field in fields]
    sys.exit(f"process {pid} is not there")


def ended(folder, name, *fields):
    found = [entry["value"] for entry in dump(folder, "ended") if entry["key"]["name"] == name]
    def one(value, field):
        part, _, rest = field.partition(".")
        if part == "events":
            return number(value["events"], rest)
        return value["totals"]["processes"] if field == "processes" else number(value["totals"]["account"], field)

    return [sum(one(value, field) for value in found) for field in fields]


def summary(folder, *fields):
    value = dump(folder, "summary")[0]["value"]
    return [value[f] if f in value else number(value["totals"]["account"], f) for f in fields]


def lost(folder):
    return [sum(entry["value"] for entry in dump(folder, "lost"))]


def events(folder, index):
    return [sum(cpu["value"] for cpu in dump(folder, "events")[int(index)]["values"])]


def stacks(folder, kind, reason):
    found = [e["value"] for e in dump(folder, "stacks") if (e["key"]["kind"], e["key"]["reason"]) == (int(kind), int(reason))]
    return [sum(value["count"] for value in found)]


if __name__ == "__main__":
    folder, what, *rest = sys.argv[1:]
    print(*globals()[what](folder, *rest), sep="\n")
