#!/usr/bin/env python3
"""How often hakmem leaves its fast path, and what the processor counts, in runs of their own.

Where random_mixed runs in one thread they are of the steady state: those of a run of 2N steps less those of a run of N. They
are exact and the same each time there: libcounts gives hakmem a clock of its own.

    bench/counts.py --build build [WORKING_SET...]    slow-path entries and instructions, of random_mixed with 16..1040 B
"""
import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
import allocators  # noqa: E402
import rows  # noqa: E402
import runner  # noqa: E402

SLOW = ("cache_alloc_slow", "cache_free_slow")  # where malloc and free leave the fast path for a class of the cache
EVENTS = {"cache misses": "cache-misses:u", "TLB misses": "dTLB-load-misses:u"}
NOT_COUNTED = "not counted"
ACCOUNT_CHAPTERS = ("random_mixed", "threads", "handover", "lives", "phases", "large", "burst", "families")


class Failed(Exception):
    pass


def countable(chosen):
    return [row for row in chosen if row.chapter in ACCOUNT_CHAPTERS]


def _difference(twice, once):
    return {name: twice[name] - once.get(name, 0) for name in twice}


def _account(engine, row, allocator, scale):
    """hakmem's own, of a run."""
    path = engine.folder / "account"
    path.unlink(missing_ok=True)
    libraries = f"{engine.build / 'bench' / 'libcounts.so'}:{allocator.path}"
    engine.output_of(f"{row.name}, counts", engine.command(row, allocator, scale),
                     engine.environment | {"LD_PRELOAD": libraries, "BENCH_COUNTS": str(path)})
    if not path.exists():
        raise Failed(f"{row.name}: {allocator.path} tells no account: is it hakmem?")
    return {name: int(value) for name, value in (line.split() for line in path.read_text(encoding="ascii").splitlines())}


def account(engine, row, allocator, scale):
    """Of the steady state where there is one; with several threads two runs differ too much to be told apart by it."""
    whole = _account(engine, row, allocator, scale)
    return _difference(whole, _account(engine, row, allocator, scale / 2)) if row.chapter == "random_mixed" else whole


def _unwatched(engine, allocator):
    """A copy of the library: where a tracer watches the file itself, valgrind meets a breakpoint and gives up."""
    return shutil.copy(allocator.path, engine.folder) if allocator.path else ""


def _callgrind(engine, row, allocator, scale):
    """Instructions, and calls by function, of a run."""
    path = engine.folder / "callgrind.out"
    libraries = [str(engine.build / "bench" / "libcounts.so"), _unwatched(engine, allocator)]
    engine.output_of(f"{row.name}, callgrind", ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={path}",
                                                *engine.command(row, allocator, scale)],
                     engine.environment | {"LD_PRELOAD": ":".join(filter(None, libraries))})
    text = path.read_text(encoding="utf-8")
    names = dict(re.findall(r"^c?fn=\((\d+)\) (\S+)", text, re.M))
    found = dict.fromkeys((*SLOW, "in slow paths"), 0) | {
        "instructions": int(re.search(r"^summary: (\d+)", text, re.M)[1])}
    for number, calls, within in re.findall(r"^cfn=\((\d+)\)[^\n]*\ncalls=(\d+) [^\n]*\n\S+ (\d+)$", text, re.M):
        name = names.get(number, "").partition("'")[0]
        if name in SLOW:
            found[name] += int(calls)
            found["in slow paths"] += int(within)
    if allocator.path and not all(name in names.values() for name in SLOW):
        raise Failed(f"callgrind saw no call of {' or '.join(SLOW)} in {allocator.path}")
    return found


def callgrind(engine, row, hakmem):
    """By an operation: instructions without those of the loop; by a million: entries to the slow paths."""
    steps = 4 * row.ws + 200_000
    scale = steps / rows.amount(row, 1)
    nothing = allocators.Allocator(allocators.NOTHING, "")
    ours, loop = (_difference(_callgrind(engine, row, one, 2 * scale), _callgrind(engine, row, one, scale))
                  for one in (hakmem, nothing))
    return {"instructions": (ours["instructions"] - loop["instructions"]) / steps,
            "in slow paths": ours["in slow paths"] / steps, **{name: 1e6 * ours[name] / steps for name in SLOW}}


def _processor(engine, row, allocator):
    """By an operation, where the machine counts them."""
    if shutil.which("perf") is None:
        return dict.fromkeys(EVENTS, NOT_COUNTED)
    found = {}
    for name, event in EVENTS.items():
        path = engine.folder / "perf.out"
        engine.output_of(f"{row.name}, perf", ["perf", "stat", "-x", ",", "-e", event, "-o", path,
                                               *engine.command(row, allocator)], engine.preloading(allocator))
        value = re.search(r"^(\d+),", path.read_text(encoding="utf-8"), re.M)
        found[name] = f"{int(value[1]) / rows.amount(row, engine.scale):.3f}" if value else NOT_COUNTED
    return found


def _instructions(engine, row, hakmem):
    heads = ("slow entries a million", "instructions", "slow paths' share")
    if not (row.chapter == "random_mixed" and row.floor):
        return dict.fromkeys(heads, "–")
    if shutil.which("valgrind") is None:
        return dict.fromkeys(heads, NOT_COUNTED)
    seen = callgrind(engine, row, hakmem)
    return dict(zip(heads, (f"{sum(seen[name] for name in SLOW):.1f}", f"{seen['instructions']:.2f}",
                            f"{100 * seen['in slow paths'] / seen['instructions']:.1f} %")))


def of(engine, row, hakmem):
    """{row, figures}: a line of the report's table."""
    found = account(engine, row, hakmem, engine.scale)
    operations = (found["allocs"] + found["frees"]) / 1e6
    if operations == 0:
        raise Failed(f"{row.name}: the account shows no operation")
    figures = {
        "misses a million": f"{found['misses'] / operations:.1f}",
        "SuperSlab hit rate": f"{100 * found['refills_held'] / found['refills']:.1f} %" if found["refills"] else "no refill",
        "drains a million": f"{found['drains'] / operations:.1f}",
        "blocks a drain": f"{found['drain_blocks'] / found['drains']:.0f}" if found["drains"] else "–",
        "fallbacks": str(found["fallbacks"]),
    }
    return {"row": row.name, "figures": figures | _instructions(engine, row, hakmem) | _processor(engine, row, hakmem)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path(__file__).resolve().parent.parent / "build")
    parser.add_argument("working_sets", nargs="*", type=int, default=[256, 8192, 65536])
    args = parser.parse_args()
    hakmem = allocators.Allocator(allocators.HAKMEM, str(args.build.resolve() / "libhakmem.so"))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        engine = runner.Runner(args.build.resolve(), Path(folder), 1.0, 1)
        for row in rows.ROWS:
            if row.series == "16..1040 B" and row.ws in args.working_sets:
                seen = callgrind(engine, row, hakmem)
                print(f"{row.name}: " + ", ".join(f"{name} {value:.2f}" for name, value in seen.items()), flush=True)


if __name__ == "__main__":
    try:
        main()
    except (Failed, runner.Failed) as error:
        sys.exit(f"counts.py: {error}")
