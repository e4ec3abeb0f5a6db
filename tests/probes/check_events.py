#!/usr/bin/env python3
"""Checks what trace_probes recorded of a scenario: every event for itself and with the others, then what the scenario is for.

usage: check_events.py PROBE TRACE FACTS [MODE]

TRACE is trace_probes' output, FACTS the scenario's standard output. Exits 1 with a line for each fault.
"""
import collections
import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "probes"))
sys.dont_write_bytecode = True
from make_table import probes  # noqa: E402

UNIT, SUPERSLAB, PAGE, ADDRESSES = 1 << 16, 1 << 21, 4096, 1 << 56
SMALL, CACHED, HUGE = 56, 72, 120
CHAIN, SLAB, EMPTY_SLAB, NEW_SUPERSLAB, LEGACY, NOBODY = range(6)
OVERFLOW, EXIT, TRIM, IDLE, FORK = range(5)
CAP, REGION, KERNEL = range(3)
THRESHOLD, EXHAUSTION, MAPFAIL = range(3)
NO_LIMIT, LIMIT_AS, LIMIT_DATA, MAP_COUNT, OVERCOMMIT, UNKNOWN = range(6)
FOR_REGION, FOR_SUPERSLAB, FOR_LEGACY, FOR_HUGE, FOR_META, FOR_GUARD = range(6)
ENOMEM = 12

Event = collections.namedtuple("Event", "probe pid tid args words")


class Args(dict):
    __getattr__ = dict.__getitem__


def class_size(c):
    if c < 16:
        return 16 * (c + 1)
    if c >= HUGE:
        return 0
    octave, step = divmod(c - 16, 8)
    return (256 << octave) + (step + 1) * (32 << octave)


def class_of(size):
    return next((c for c in range(HUGE) if size <= class_size(c)), HUGE)


def units_of(c):
    return 1 if c < SMALL else 4 if c < CACHED else -(-class_size(c) // UNIT)


class Run:
    def __init__(self, trace, facts):
        names = {p.name: p.args for p in probes()}
        lines = [line.split() for line in pathlib.Path(trace).read_text().splitlines()]
        self.faults, self.events = [], []
        if not lines or lines[-1] != ["lost", "0"]:
            self.faults.append(f"the trace ends with {lines[-1] if lines else 'nothing'}")
        for probe, pid, tid, *numbers in lines[:-1]:
            args, numbers = names[probe], [int(n) for n in numbers]
            self.events.append(Event(probe, int(pid), int(tid), Args(zip(args, numbers)), numbers[len(args):]))
        words = [line.split() for line in pathlib.Path(facts).read_text().splitlines()]
        self.facts = [(w[0], [int(n) for n in w[1:]]) for w in words]
        self.main = self.events[0].pid if self.events else 0
        self.children = {e.pid for e in self.events} - {self.main}

    def of(self, probe, **wanted):
        return [e for e in self.events if e.probe == probe and all(e.args[k] == v for k, v in wanted.items())]

    def facts_of(self, name):
        return [numbers for n, numbers in self.facts if n == name]

    def expect(self, holds, text, event=None):
        if not holds:
            self.faults.append(f"{text}: {event.probe} {dict(event.args)} {event.words}" if event else text)

    def by(self, probe, *keys):
        groups = collections.defaultdict(list)
        for e in self.of(probe):
            groups[(e.pid, *(e.args[k] for k in keys))].append(e)
        return groups.values()


# ---- what holds in every run ----

RANGES = {  # by probe: argument: the numbers that it may have
    "fast_miss": {"server": range(6)},
    "tls_drain": {"reason": range(5)},
    "shared_fail": {"reason": range(3), "errno_value": (0, ENOMEM)},
    "ace_fail": {"failure": range(3), "errno_value": (0, ENOMEM), "limit": range(6)},
    "ace_adapt": {"hit_rate": range(101), "target": range(101)},
    "os_map": {"purpose": range(6)},
    "os_unmap": {"purpose": range(6)},
    "alloc_fail": {"errno_value": (ENOMEM,), "limit": range(6)},
    "misuse": {"kind": range(11)},
}


def check_arguments(run):
    for e in run.events:
        for name, allowed in RANGES.get(e.probe, {}).items():
            run.expect(e.args[name] in allowed, f"{name} is none of {allowed}", e)
        if "class_idx" in e.args:
            run.expect(e.args.class_idx <= HUGE, "no such class", e)
        for name in ("address", "slab", "chunk", "superslab", "account", "thread"):
            if name in e.args:
                run.expect(PAGE <= e.args[name] < ADDRESSES, f"{name} is no address", e)
        for name in ("chunk", "slab"):
            if name in e.args:
                run.expect(e.args[name] % UNIT == 0, f"{name} is not aligned", e)


def check_counts(run):
    """Counts that tell each event's own number are 1, 2, 3 and so on, whatever order threads report in."""
    for probe, count, keys in (("fast_miss", "c_misses", ["class_idx"]),
                               ("tls_drain", "c_drains", ["class_idx", "reason"]),
                               ("shared_fail", "c_shared_fails", ["class_idx", "reason"]),
                               ("ace_fail", "c_fails", ["class_idx", "failure"])):
        for events in run.by(probe, *keys):
            run.expect(sorted(e.args[count] for e in events) == list(range(1, len(events) + 1)),
                       f"{count} does not count", events[-1])


def check_levels(run):
    """Counts of what there is now go up and down with the events. A child begins with what its parent had."""
    for up, down, level, keys in (("superslab_map", "superslab_unmap", "c_superslabs", ()),
                                  ("legacy_alloc", "legacy_free", "c_chunks", ()),
                                  ("thread_start", "thread_exit", "c_threads", ()),
                                  ("slab_acquire", "slab_release", "c_slabs", ("class_idx",))):
        levels = collections.defaultdict(int)
        for e in run.events:
            if e.probe not in (up, down) or e.pid != run.main or e.args.get("class_idx", 0) >= CACHED:
                continue
            key = tuple(e.args[k] for k in keys)
            levels[key] += 1 if e.probe == up else -1
            run.expect(e.args[level] == levels[key], f"{level} is {e.args[level]}, {levels[key]} are there", e)


def check_memory(run):
    mapped, purged, ranges = 0, 0, {}
    for e in run.events:
        if e.pid != run.main or e.probe not in ("os_map", "os_unmap", "os_purge"):
            continue
        run.expect(e.args.bytes > 0 and e.args.bytes % PAGE == 0 and e.args.address % PAGE == 0, "no pages", e)
        if e.probe == "os_purge":
            purged += e.args.bytes
            run.expect(e.args.c_purged == purged, f"{purged} bytes were purged", e)
            continue
        if e.args.purpose != FOR_REGION: # the region is address space alone
            mapped += e.args.bytes if e.probe == "os_map" else -e.args.bytes
        run.expect(e.args.c_mapped == mapped, f"{mapped} bytes are mapped", e)
        if e.args.purpose == FOR_SUPERSLAB:
            run.expect(e.args.address % SUPERSLAB == 0 and e.args.bytes % SUPERSLAB == 0, "no SuperSlab", e)
        if e.args.purpose == FOR_LEGACY and e.probe == "os_map":
            ranges[e.args.address] = e.args.bytes
        if e.args.purpose == FOR_LEGACY and e.probe == "os_unmap":
            run.expect(ranges.pop(e.args.address, 0) == e.args.bytes, "unmaps what was not mapped", e)


def check_places(run):
    """SuperSlabs lie in memory got for them; slabs in SuperSlabs or legacy chunks."""
    committed, superslabs, chunks = set(), set(), {}
    for e in (e for e in run.events if e.pid == run.main):
        a = e.args
        if e.probe == "os_map" and a.purpose == FOR_SUPERSLAB:
            committed |= set(range(a.address, a.address + a.bytes, SUPERSLAB))
        elif e.probe == "os_unmap" and a.purpose == FOR_SUPERSLAB:
            committed -= set(range(a.address, a.address + a.bytes, SUPERSLAB))
        elif e.probe == "superslab_map":
            run.expect(a.superslab in committed and a.superslab not in superslabs, "mapped where no memory is", e)
            superslabs.add(a.superslab)
        elif e.probe == "superslab_unmap":
            run.expect(a.superslab in superslabs, "unmaps no SuperSlab", e)
            superslabs.discard(a.superslab)
        elif e.probe == "legacy_alloc":
            run.expect(a.bytes == units_of(a.class_idx) * UNIT, "not the class's chunk", e)
            chunks[a.chunk] = a.class_idx
        elif e.probe == "legacy_free":
            run.expect(chunks.pop(a.chunk, None) == a.class_idx, "frees no chunk of the class", e)
        elif e.probe in ("slab_acquire", "slab_release"):
            run.expect(a.units == units_of(a.class_idx), "not the class's units", e)
            if e.probe == "slab_acquire":
                run.expect(a.slab // SUPERSLAB * SUPERSLAB in superslabs or chunks.get(a.slab) == a.class_idx,
                           "a slab in neither SuperSlab nor chunk", e)


def check_blocks(run):
    for e in run.of("fast_miss"):
        c, a = e.args.class_idx, e.args
        run.expect((a.server == NOBODY) == (a.blocks == 0), "blocks from nobody, or none from somebody", e)
        run.expect(c == HUGE or a.size <= class_size(c), "the class is too small", e)
        run.expect(c in (0, HUGE) or a.size > class_size(c - 1), "the class is larger than need be", e)
    for e in run.of("tls_drain"):
        run.expect(e.args.class_idx < CACHED and e.args.blocks > 0, "no blocks", e)
        run.expect(e.args.bytes == e.args.blocks * class_size(e.args.class_idx), "bytes are not blocks x size", e)


def check_adaptation(run):
    for events in run.by("ace_adapt", "class_idx"):
        for e in events:
            a = e.args
            run.expect(a.class_idx >= SMALL, "no class of ACE", e)
            run.expect(a.cap_to > a.cap_from and a.hit_rate < a.target or
                       a.cap_to < a.cap_from and a.hit_rate >= a.target, "a cap that moved the wrong way", e)
        for a, b in zip(events, events[1:]):
            run.expect(b.args.cap_from == a.args.cap_to, "starts from another cap than it had", b)


def check_reports(run):
    for e in run.of("cache_report"):
        version, length, class_idx, block_size = e.words
        run.expect(version == 1 and length == e.args.length, "points to no account", e)
        run.expect(class_idx == e.args.class_idx and block_size == class_size(class_idx), "another class's account", e)
    for pid in {e.pid for e in run.of("cache_report")}:
        reports = [e for e in run.of("cache_report") if e.pid == pid]
        run.expect(len({e.args.generation for e in reports}) == 1 and reports[0].args.generation > 0,
                   f"process {pid} has several generations, or none")
        run.expect(len({e.args.account - e.args.class_idx * e.args.length for e in reports}) == 1,
                   f"the accounts of process {pid} are not in one array")


# ---- what a scenario is for ----


def fast_miss(run):
    (count, size), = run.facts_of("taken")
    events = run.of("fast_miss", class_idx=class_of(size))
    run.expect(events[0].args.server in (EMPTY_SLAB, NEW_SUPERSLAB) and events[0].args.hits == 0, "first", events[0])
    run.expect(events[0].args.size == size, "not the size that was asked for", events[0])
    for before, e in zip(events, events[1:]):
        run.expect(e.args.hits == before.args.blocks - 1, "hits are not the blocks of the refill before", e)
    run.expect(sum(e.args.hits for e in events) + len(events) <= count <= sum(e.args.blocks for e in events),
               f"{count} allocations do not fit the misses")
    run.expect(len(events) <= 30, f"{len(events)} misses for {count} allocations")
    large, huge = run.of("fast_miss", class_idx=class_of(100 << 10)), run.of("fast_miss", class_idx=HUGE)
    run.expect([e.args.size for e in large] == [100 << 10] * 5, "five large blocks")
    run.expect([e.args.size for e in huge] == [3 << 20] * 3, "three huge blocks")
    run.expect(all(e.args.blocks == 1 for e in large + huge), "one block each")


def cache_report(run):
    classes = {e.args.class_idx for e in run.of("cache_report")}
    run.expect({class_of(64), class_of(700)} <= classes, f"reports of the classes {classes} alone")
    run.expect(len(run.of("cache_report", class_idx=class_of(64))) >= 3, "hardly a report")


def tls_drain(run):
    for reason, size in ((OVERFLOW, 64), (EXIT, 512), (TRIM, 256), (IDLE, 1024), (FORK, 2048)):
        events = run.of("tls_drain", reason=reason, class_idx=class_of(size))
        run.expect(events, f"no drain of {size}-byte blocks for reason {reason}")
        run.expect({e.pid for e in events} <= (run.children if reason == FORK else {run.main}),
                   f"a drain for reason {reason} in the wrong process")
    run.expect(sum(e.args.blocks for e in run.of("tls_drain", reason=FORK, class_idx=class_of(2048))) >= 30,
               "the child did not get the thread's blocks")
    run.expect(all(e.tid != e.pid for e in run.of("tls_drain", reason=EXIT, class_idx=class_of(512))),
               "the main thread has not ended")


def slab_acquire(run):
    for size, least in ((8 << 10, 25), (20 << 10, 2), (300 << 10, 10)):
        events = run.of("slab_acquire", class_idx=class_of(size))
        run.expect(len(events) >= least, f"{len(events)} slabs for blocks of {size}")
        run.expect(len({e.args.slab for e in events}) == len(events), f"one slab twice for blocks of {size}")


def slab_release(run):
    for size in (8 << 10, 20 << 10, 300 << 10):
        acquired = {e.args.slab for e in run.of("slab_acquire", class_idx=class_of(size))}
        released = run.of("slab_release", class_idx=class_of(size))
        run.expect(released and {e.args.slab for e in released} <= acquired, f"slabs of {size}: not those acquired")
        run.expect(released and released[-1].args.c_slabs == 0, f"slabs of {size} are left after malloc_trim")


def superslab_map(run):
    run.expect(6 <= len(run.of("superslab_map")) <= 9, f"{len(run.of('superslab_map'))} SuperSlabs for 12 MiB")


def superslab_unmap(run):
    run.expect(len(run.of("superslab_map")) >= 20, "40 MiB without SuperSlabs")
    run.expect(len(run.of("superslab_unmap")) >= 15, "malloc_trim left nearly all SuperSlabs")


def shared_fail(run, mode):
    reason, error = {"cap": (CAP, 0), "region": (REGION, 0), "kernel": (KERNEL, ENOMEM)}[mode]
    events = run.of("shared_fail", reason=reason)
    others = [e for e in run.of("shared_fail") if e not in events]
    for e in events:
        run.expect(e.args.errno_value == error, f"not the errno of {mode}", e)
    for c in {e.args.class_idx for e in events}:
        fails, chunks = len(run.of("shared_fail", class_idx=c)), len(run.of("legacy_alloc", class_idx=c))
        refused = len(run.of("alloc_fail"))
        # The refill that is refused tries four times; one before it took the half that it found.
        run.expect(chunks + (5 * refused if mode == "kernel" else 0) >= fails >= chunks > 0,
                   f"class {c}: {fails} failures, {chunks} chunks, {refused} refusals")
    run.expect(run.of("fast_miss", server=LEGACY), "legacy served nothing")
    if mode == "kernel":
        run.expect(len(events) >= 3 and len(run.of("alloc_fail", size=1024, limit=LIMIT_DATA)) == 1, "the kernel gave all")
        run.expect(run.of("fast_miss", server=NOBODY), "nobody could serve, but no miss says so")
    else:
        run.expect({class_of(1024), class_of(12 << 10)} <= {e.args.class_idx for e in events}, "no failure in a class")
        run.expect(not others, "failures for other reasons too")


def legacy_alloc(run):
    for size, least in ((1024, 30), (12 << 10, 5)):
        events = run.of("legacy_alloc", class_idx=class_of(size))
        run.expect(len(events) >= least, f"{len(events)} chunks for blocks of {size}")
    for e in run.of("legacy_alloc"):
        run.expect([m for m in run.of("os_map", purpose=FOR_LEGACY) if m.args.address == e.args.chunk and
                    m.args.bytes == e.args.bytes], "no mapping for the chunk", e)


def legacy_free(run):
    left = len(run.of("legacy_alloc")) - len(run.of("legacy_free"))
    run.expect(len(run.of("legacy_free")) >= 30 and left <= 3, f"{left} chunks are left after malloc_trim")
    unmapped = {e.args.address for e in run.of("os_unmap", purpose=FOR_LEGACY)}
    run.expect(unmapped == {e.args.chunk for e in run.of("legacy_free")}, "chunks freed are not chunks unmapped")


def ace_fail(run, mode):
    events = run.of("ace_fail")
    kind, error, limits, size, fails = {
        "threshold": (THRESHOLD, 0, [NO_LIMIT], 20 << 20, 1),
        "exhaustion": (EXHAUSTION, 0, [NO_LIMIT], 200 << 10, 20),
        "as": (MAPFAIL, ENOMEM, [LIMIT_AS], 1 << 30, 1),
        "data": (MAPFAIL, ENOMEM, [LIMIT_DATA], 1 << 30, 1),
        "map_count": (MAPFAIL, ENOMEM, [MAP_COUNT], 1 << 30, 1),
        "overcommit": (MAPFAIL, ENOMEM, [OVERCOMMIT], 1 << 46, 1),
    }[mode]
    found = [e for e in events if e.args.failure == kind and e.args.size == size]
    run.expect(len(found) == fails, f"{len(found)} failures of the kind, {fails} expected; in all {len(events)}")
    for e in found:
        run.expect(e.args.errno_value == error and e.args.limit in limits, f"not {mode}", e)
        run.expect(e.args.class_idx == class_of(size), "not the class of the size", e)
    # Threshold and Exhaustion are bypasses; a MapFail alone reaches the caller.
    run.expect(len(run.of("alloc_fail", size=size)) == (1 if kind == MAPFAIL else 0), "the caller's failures")


def ace_adapt(run, mode="90"):
    for c in (class_of(100 << 10), HUGE):
        events = run.of("ace_adapt", class_idx=c)
        run.expect([e for e in events if e.args.cap_to > e.args.cap_from], f"the cap of class {c} never rose")
        run.expect(all(e.args.target == int(mode) for e in events), f"the target is not {mode}")
    events = run.of("ace_adapt", class_idx=class_of(100 << 10))
    run.expect([e for e in events if e.args.cap_to < e.args.cap_from], "the cap never fell")
    run.expect(events and events[-1].args.cap_to < 20, "the cap did not follow the demand down")


def os_map(run):
    for purpose in range(5):
        run.expect(run.of("os_map", purpose=purpose), f"nothing was mapped for purpose {purpose}")
    region = run.of("os_map", purpose=FOR_REGION)[0].args
    for e in run.of("os_map", purpose=FOR_SUPERSLAB):
        run.expect(region.address <= e.args.address < region.address + region.bytes, "outside of the region", e)
    for purpose in (FOR_LEGACY, FOR_HUGE, FOR_META):
        for e in run.of("os_map", purpose=purpose):
            run.expect(not region.address <= e.args.address < region.address + region.bytes, "in the region", e)


def os_unmap(run):
    for purpose in (FOR_REGION, FOR_SUPERSLAB, FOR_LEGACY, FOR_HUGE):
        run.expect(run.of("os_unmap", purpose=purpose), f"nothing was unmapped for purpose {purpose}")
    huge = [sum(e.args.bytes for e in run.of(p, purpose=FOR_HUGE)) for p in ("os_map", "os_unmap")]
    run.expect(huge[0] == huge[1] > 0, f"huge: {huge[0]} bytes mapped, {huge[1]} unmapped after all was freed")


def os_purge(run):
    superslabs = {e.args.superslab for e in run.of("superslab_map")}
    metadata = [range(e.args.address, e.args.address + e.args.bytes) for e in run.of("os_map", purpose=FOR_META)]
    events = run.of("os_purge")
    run.expect(sum(e.args.bytes for e in events) >= 4 << 20, "less was purged than was freed")
    for e in events:
        run.expect(e.args.address // SUPERSLAB * SUPERSLAB in superslabs or [m for m in metadata if e.args.address in m],
                   "purges what is neither SuperSlab nor metadata", e)


def alloc_fail(run, mode):
    expected = {
        "size": [((1 << 63), NO_LIMIT), ((1 << 64) - 1, NO_LIMIT)],
        "as": [(1 << 33, LIMIT_AS)] * 2,
        "data": [(1 << 33, LIMIT_DATA)] * 2,
    }[mode]
    found = [(e.args.size, e.args.limit) for e in run.of("alloc_fail")]
    run.expect(found == expected, f"failures {found}, expected {expected}")
    refused = len(run.of("ace_fail", failure=MAPFAIL))
    run.expect(refused == (0 if mode == "size" else 2), f"the kernel refused {refused} times")


def misuse(run):
    found = [[e.args.kind, e.args.address, e.args.size] for e in run.of("misuse")]
    run.expect(found == run.facts_of("misuse"), f"misuse {found}, committed {run.facts_of('misuse')}")
    run.expect(len({e.pid for e in run.of("misuse")}) == len(found), "not one process for each")


def thread_start(run):
    (threads,), = run.facts_of("threads")
    events = run.of("thread_start")
    run.expect(len(events) == threads + 1, f"{len(events)} threads started, {threads + 1} there were")
    run.expect(max(e.args.c_threads for e in events) == threads + 1, "they were never all there")
    run.expect(len({e.args.thread for e in events}) == len({e.tid for e in events}) == threads + 1, "not told apart")


def thread_exit(run):
    thread_start(run)
    started = {e.tid: e.args.thread for e in run.of("thread_start")}
    ended = {e.tid: e.args.thread for e in run.of("thread_exit")}
    run.expect(started == ended, f"started {started}, ended {ended}")
    run.expect(run.of("thread_exit")[-1].args.c_threads == 0, "threads are left")


def process_fork(run):
    events = run.of("process_fork")
    found = sorted([e.pid, e.args.s_parent_pid] for e in events)
    run.expect(found == sorted(run.facts_of("fork")), f"forks {found}, happened {run.facts_of('fork')}")
    generations = [e.args.generation for e in events]
    first = run.of("cache_report")[0].args.generation
    run.expect(len({first, *generations}) == len(generations) + 1, "a generation twice")
    run.expect(all(g > first for g in generations), "a child's generation is older than its parent's")
    for e in run.of("fast_miss"): # a child starts at 0: check_counts has seen to the numbers
        run.expect(e.pid == run.main or e.args.c_misses <= 10, "a child goes on counting where its parent was", e)


def guard_alloc(run):
    events = run.of("guard_alloc")
    found = [[e.args.address, e.args.size] for e in events]
    run.expect(all(fact in found for fact in run.facts_of("guarded")), f"guarded {found}, seen {run.facts_of('guarded')}")
    run.expect([e.args.c_guarded for e in events] == list(range(1, len(events) + 1)), "not counted one by one")
    misuses = [[e.args.kind, e.args.address, e.args.size] for e in run.of("misuse")]
    run.expect(misuses == run.facts_of("misuse"), f"misuse {misuses}, committed {run.facts_of('misuse')}")
    mapped, unmapped = (sum(e.args.bytes for e in run.of(p, purpose=FOR_GUARD)) for p in ("os_map", "os_unmap"))
    run.expect(mapped >= unmapped > 0, f"guard: {mapped} bytes mapped, {unmapped} unmapped")


SCENARIOS = {f.__name__: f for f in (
    fast_miss, cache_report, tls_drain, slab_acquire, slab_release, superslab_map, superslab_unmap, shared_fail,
    legacy_alloc, legacy_free, ace_fail, ace_adapt, os_map, os_unmap, os_purge, alloc_fail, misuse, thread_start,
    thread_exit, process_fork, guard_alloc)}


def main(arguments):
    if arguments == ["--names"]:
        print("\n".join(SCENARIOS))
        return 0
    if len(arguments) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    run = Run(arguments[1], arguments[2])
    run.expect(run.of(arguments[0]), f"{arguments[0]} did not fire")
    for check in (check_arguments, check_counts, check_levels, check_memory, check_places, check_blocks,
                  check_adaptation, check_reports):
        check(run)
    if not run.faults:
        SCENARIOS[arguments[0]](run, *arguments[3:])
    told = collections.Counter()
    for fault in run.faults:
        kind = re.sub(r"\d+", "", fault.split(": ")[0])
        told[kind] += 1
        if told[kind] <= 3:
            print(f"{arguments[0]}: {fault}", file=sys.stderr)
    return int(bool(run.faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
