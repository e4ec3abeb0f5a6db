#!/usr/bin/env python3
"""Compares what bpftrace added up of a load's sampled allocations with what the load did.

usage: check_samples.py FACTS TRACE MEAN [grows]

FACTS has lines SIZE ALLOCATIONS, TRACE bpftrace's maps, MEAN is HAKMEM_CONF's sample; grows: it must have been doubled, since there
were more samples than HAKMEM_CONF's sample_rate. Exits 1 with a line for each fault.
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


def sums(text, name):
    return {int(k): int(v) for k, v in re.findall(rf"^@{name}\[(\d+)\]: (\d+)", text, re.M)}


def check_fixed(done, counts, weights, mean):
    """Size by size; each sum's deviation follows from the mean."""
    for size, allocations in done.items():
        p = -math.expm1(-block_size(size) / mean)
        expected, deviation = allocations * size, size * math.sqrt(allocations * (1 - p) / p)
        weight, count = weights.get(size, 0), counts.get(size, 0)
        if abs(weight - expected) > SIGMAS * deviation + count:  # each is rounded to a byte
            yield f"{size} bytes: {weight} weighed, {expected} allocated, deviation {deviation:.0f}"
        if abs(count - allocations * p) > SIGMAS * math.sqrt(allocations * p * (1 - p)) + 1e-6:
            yield f"{size} bytes: {count} samples of {allocations}, expected {allocations * p:.1f}"


def check_growing(done, counts, weights, squares, mean):
    """In two groups, so that there are samples enough to tell the deviation by: the sum of w (w - size), whatever each was drawn with."""
    for name, group in (("small", [s for s in done if s <= 32000]), ("large", [s for s in done if s > 32000])):
        expected, weight = sum(done[s] * s for s in group), sum(weights.get(s, 0) for s in group)
        count, deviation = sum(counts.get(s, 0) for s in group), math.sqrt(sum(squares.get(s, 0) for s in group))
        if count < 100:
            yield f"{name} blocks: only {count} samples"
        # 60 %: five deviations of the test's quickest growth; samples weighed by a later mean than they were drawn with are 90 % too heavy.
        if abs(weight - expected) > min(SIGMAS * deviation + count, 0.6 * expected):
            yield f"{name} blocks: {weight} weighed, {expected} allocated, deviation {deviation:.0f}"
    unbounded = sum(allocations * -math.expm1(-block_size(size) / mean) for size, allocations in done.items())
    if sum(counts.values()) > unbounded / 2:
        yield f"{sum(counts.values())} samples, {unbounded:.0f} with the mean asked for: it did not grow"


def main(facts, trace, mean, grows=None):
    units = {"k": 1 << 10, "m": 1 << 20}
    mean = int(mean[:-1]) * units[mean[-1]]
    text, faults = pathlib.Path(trace).read_text(), []
    counts, weights, squares = sums(text, "n"), sums(text, "weight"), sums(text, "square")
    done = {int(k): int(n) for k, n in (line.split() for line in pathlib.Path(facts).read_text().splitlines())}
    faults += check_growing(done, counts, weights, squares, mean) if grows else check_fixed(done, counts, weights, mean)
    frees = sums(text, "frees")
    known = sum(counts.get(size, 0) for size in done)
    for size in done:  # libc's own blocks, of other sizes, may stay
        if frees.get(size, 0) != counts.get(size, 0):
            faults.append(f"{size} bytes: {counts.get(size, 0)} sampled, {frees.get(size, 0)} frees of such")
    if known < 100:
        faults.append(f"only {known} samples")
    faults += re.findall(r"^@(?:twice|unknown): [1-9].*", text, re.M)
    faults += [f"a block of {size} bytes lives" for size in re.findall(r"^@live\[\d+\]: (\d+)", text, re.M) if int(size) in done]
    print("\n".join(faults))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
