#!/usr/bin/env python3
"""Compares what bpftrace added up of a load's sampled allocations with what the load did.

usage: check_samples.py FACTS TRACE MEAN

FACTS has lines SIZE ALLOCATIONS, TRACE bpftrace's maps, MEAN is HAKMEM_CONF's sample. Exits 1 with a line for each fault.
"""
import math
import pathlib
import re
import sys

sys.dont_write_bytecode = True
from check_events import HUGE, class_of, class_size  # noqa: E402

SIGMAS = 5  # a size in 1.7 million would fail by chance


def block_size(size):
    """That of the block: of its class, or whole pages."""
    c = class_of(size)
    return class_size(c) if c < HUGE else -(-size // 4096) * 4096


def main(facts, trace, mean):
    units = {"k": 1 << 10, "m": 1 << 20}
    mean = int(mean[:-1]) * units[mean[-1]]
    text, faults = pathlib.Path(trace).read_text(), []
    counts = {int(k): int(v) for k, v in re.findall(r"^@n\[(\d+)\]: (\d+)", text, re.M)}
    weights = {int(k): int(v) for k, v in re.findall(r"^@weight\[(\d+)\]: (\d+)", text, re.M)}
    done = {int(k): int(n) for k, n in (line.split() for line in pathlib.Path(facts).read_text().splitlines())}
    for size, allocations in done.items():
        p = -math.expm1(-block_size(size) / mean)
        expected, deviation = allocations * size, size * math.sqrt(allocations * (1 - p) / p)
        weight, count = weights.get(size, 0), counts.get(size, 0)
        if abs(weight - expected) > SIGMAS * deviation + count:  # each is rounded to a byte
            faults.append(f"{size} bytes: {weight} weighed, {expected} allocated, deviation {deviation:.0f}")
        if abs(count - allocations * p) > SIGMAS * math.sqrt(allocations * p * (1 - p)) + 1e-6:
            faults.append(f"{size} bytes: {count} samples of {allocations}, expected {allocations * p:.1f}")
    frees = int((re.findall(r"^@frees: (\d+)", text, re.M) or [0])[0])
    known = sum(counts[size] for size in done if size in counts)
    if frees != sum(counts.values()):
        faults.append(f"{sum(counts.values())} sampled, {frees} frees of such")
    if known < 100:
        faults.append(f"only {known} samples")
    faults += re.findall(r"^@(?:twice|unknown): [1-9].*|^@live\[.*", text, re.M)
    print("\n".join(faults))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
