#!/usr/bin/env python3
"""models.py - the lock-free parts of src/, each as a small program whose every execution is looked at (explore.py).

usage: models.py

Prints TAP. For each part: with the orders that the source has it holds; with each of them weakened it is caught. A part names the lines
of the source that it stands for, which must be there."""

import os
import sys

from explore import (Failure, cas, check, explore, jump, label, load, read, sleep_while, store, swap, wake, write)

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src")


def lock(got, left):
    """Mutual exclusion, and no sleeper is forgotten: 0 free, 1 held, 2 held and someone may sleep."""
    def thread(n):
        return [cas("got", "lock", 0, 1, got),
                jump("inside", lambda r: r["got"]),
                label("wait"),
                swap("was", "lock", 2, got),
                jump("inside", lambda r: r["was"] == 0),
                sleep_while("lock", 2),
                jump("wait"),
                label("inside"),
                read("count", "counter"),
                write("counter", lambda r: r["count"] + 1),
                swap("was", "lock", 0, left),
                jump("end", lambda r: r["was"] != 2),
                wake("lock"),
                label("end")]
    return [thread(0), thread(1), thread(2)]


def lock_that_forgets(got, left):
    """Who was woken takes it as 1: nobody wakes the other sleeper."""
    again = [cas("got", "lock", 0, 1, got), jump("inside", lambda r: r["got"])]
    return [[new for step in thread for new in ([*again, step] if step[:2] == ("jump", "wait") else [step])]
            for thread in lock(got, left)]


def once(published, seen):
    """heap_init: who sees `initialised` sees all that was made before it."""
    return [[write("heap", 7), store("initialised", 1, published)],
            [load("done", "initialised", seen), jump("end", lambda r: r["done"] == 0), read("heap", "heap"),
             check("the heap is there", lambda r: r["heap"] == 7), label("end")]]


def outer_map(leaf, entry, found_leaf, found_entry):
    """Two make the leaf, one enters its chunk; who finds the entry sees leaf and owner. Entry e1 lies in leaf 1, e2 in leaf 2."""
    def maker(n):
        return [write(f"zeros{n}", 1), cas("won", "root", 0, n, leaf), load("leaf", "root", found_leaf),
                read("zeros", lambda r: f"zeros{r['leaf']}"), check("a leaf is zeroed", lambda r: r["zeros"] == 1)]
    return [maker(1) + [write("owner", 9), store(lambda r: f"e{r['leaf']}", 5, entry)],
            maker(2),
            [load("leaf", "root", found_leaf), jump("end", lambda r: r["leaf"] == 0),
             read("zeros", lambda r: f"zeros{r['leaf']}"),
             load("entry", lambda r: f"e{r['leaf']}", found_entry), jump("end", lambda r: r["entry"] == 0),
             read("owner", "owner"), check("the owner is whole", lambda r: r["owner"] == 9), label("end")]]


def find_run(base, found):
    """superslab_find with a pointer that nobody handed over: a run that is found has its length."""
    return [[store("units", 4), store("run_units", 1), store("base", 1, base)],
            [load("first", "run_units"), jump("end", lambda r: r["first"] == 0), load("base", "base", found),
             jump("end", lambda r: r["base"] == 0), load("units", "units"),
             check("the run has its length", lambda r: r["units"] == 4), label("end")]]


def region_table(entered, found):
    """region_superslab: a SuperSlab that is found is whole. Its index is below region_units since an earlier one was there."""
    return [[write("base", 3), store("table", 1, entered)],
            [load("ss", "table", found), jump("end", lambda r: r["ss"] == 0), read("base", "base"),
             check("the SuperSlab is whole", lambda r: r["base"] == 3), label("end")]]


def slab_map(handed, taken):
    """free of a block that another thread was handed: the map says its class, by the order of the handing over alone. That is the
    program's, a mutex or the like."""
    return [[store("map", 16, "release"), store("reach", 1, "release"), write("block", 1), store("mail", 1, handed)],
            [load("mail", "mail", taken), jump("end", lambda r: r["mail"] == 0), load("reach", "reach"), load("code", "map"),
             check("the map knows the block", lambda r: r["reach"] == 1 and r["code"] == 16), label("end")]]


def guard(live, caught):
    """A guarded block: of two that free it one does; who faults beside it sees what it is; its slot serves again."""
    free = [cas("won", "state", 1, 2, "acq_rel"), jump("end", lambda r: not r["won"]), read("times", "freed"),
            check("it is freed once", lambda r: r["times"] == 0), write("freed", 1), label("end")]
    return [[store("size", 48), store("state", 1, live)] + free,
            free,
            [load("state", "state", caught), jump("end", lambda r: r["state"] == 0), load("size", "size"),
             check("the block has its size", lambda r: r["size"] == 48), label("end")]]


def twice(first, second):
    """canary_wipe: two threads free one block; it goes into quarantine once. first: whether by cas."""
    def free(by_cas):
        if by_cas:
            take = [cas("won", "word", 0, 1)]
        else:
            take = [load("word", "word", "acquire"), store("word", 1, "release"), jump("lost", lambda r: r["word"] == 1)]
        return take + [jump("lost", lambda r: r.get("won") is False), read("times", "freed"),
                       check("it is freed once", lambda r: r["times"] == 0), write("freed", lambda r: r["times"] + 1), label("lost")]
    return [free(first), free(second)]


def reach(entered, published, seen):
    """Any pointer: where region_reach has grown, the map's new entries say "no class". On x86-64 each load acquires."""
    return [[store("map", 16, entered), store("reach", 1, published)],
            [load("reach", "reach", seen), jump("end", lambda r: r["reach"] == 0), load("code", "map"),
             check("the map's entry is there", lambda r: r["code"] == 16), label("end")]]


# Name, program, the orders of the source, weaker ones of which each must be caught, and the lines of the source that have the orders.
PARTS = [
    ("a lock", lock, ("acquire", "release"), [("relaxed", "release"), ("acquire", "relaxed")],
     [("lock.h", "__ATOMIC_ACQUIRE, __ATOMIC_RELAXED)"), ("lock.c", "__atomic_exchange_n(&lock->state, 2, __ATOMIC_ACQUIRE)"),
      ("lock.h", "__atomic_exchange_n(&lock->state, 0, __ATOMIC_RELEASE) == 2")]),
    ("the first call of all", once, ("release", "acquire"), [("relaxed", "acquire"), ("release", "relaxed")],
     [("heap.c", "atomic_load_acquire(&initialised)"), ("heap.c", "atomic_store_release(&initialised, true)")]),
    ("the outer map", outer_map, ("acq_rel", "release", "acquire", "acquire"),
     [("relaxed", "release", "acquire", "acquire"), ("acq_rel", "relaxed", "acquire", "acquire"),
      ("acq_rel", "release", "relaxed", "acquire"), ("acq_rel", "release", "acquire", "relaxed")],
     [("outer_map.c", "atomic_cas_acq_rel(&outer_root["), ("outer_map.c", "atomic_load_acquire(&outer_root["),
      ("outer_map.c", "atomic_store_release(&leaf->entries["), ("outer_map.c", "atomic_load_acquire(&leaf->entries[")]),
    ("a run that a stray pointer finds", find_run, ("release", "acquire"), [("relaxed", "acquire"), ("release", "relaxed")],
     [("superslab.c", "atomic_store_release(&slab->base, ss->base"), ("superslab.c", "atomic_load_acquire(&slab->base) == NULL"),
      ("superslab.c", "atomic_store_relaxed(&slab->units, (uint16_t)units);\n    atomic_store_relaxed(&ss->run_units")]),
    ("the table of SuperSlabs", region_table, ("release", "acquire"), [("relaxed", "acquire"), ("release", "relaxed")],
     [("region.c", "atomic_load_acquire(&superslabs["), ("region.c", "atomic_store_release(&superslabs[")]),
    ("the slab map, for a block that was handed over", slab_map, ("release", "acquire"),
     [("relaxed", "acquire"), ("release", "relaxed")],
     [("superslab.c", "atomic_store_release(&region_map["), ("region.c", "atomic_store_release(&region_reach, units)")]),
    ("the slab map, for any pointer", reach, ("relaxed", "release", "acquire"),
     [("relaxed", "relaxed", "acquire"), ("relaxed", "release", "relaxed")],
     [("region.h", "return atomic_load_acquire(&region_reach)"), ("region.c", "atomic_store_release(&region_units, units)")]),
    ("a guarded block", guard, ("release", "acquire"), [("relaxed", "acquire"), ("release", "relaxed")],
     [("guard.c", "atomic_store_release(&slot->state, GUARD_LIVE)"), ("guard_fault.c", "atomic_load_acquire(&slot->state)"),
      ("guard.c", "atomic_cas_acq_rel(&slot->state, &expected, GUARD_BUSY)")]),
    ("a block freed twice at once, hardened", twice, (True, True), [(True, False), (False, False)],
     [("canary.c", "atomic_cas_acq_rel(word, &live, word_for(block, GAP_FREED))")]),
]


def verdict(program):
    try:
        return f"holds in {explore(program)} states", True
    except Failure as failure:
        return str(failure), False


def main():
    cases, failed = [], 0
    for name, make, orders, weaker, lines in PARTS:
        cases.append((f"{name}: as in the source", make(*orders), True, lines))
        cases += [(f"{name}: {' '.join(map(str, other))} is caught", make(*other), False, []) for other in weaker]
    cases.append(("a lock that forgets who sleeps is caught", lock_that_forgets("acquire", "release"), False, []))
    print(f"1..{len(cases)}")
    for number, (name, program, holds, lines) in enumerate(cases, 1):
        told, held = verdict(program)
        missing = [f"{file}: {line}" for file, line in lines if line not in open(os.path.join(SOURCE, file), encoding="utf-8").read()]
        good = held == holds and not missing
        failed += not good
        print(f"{'ok' if good else 'not ok'} {number} - {name} ({told})")
        for line in missing:
            print(f"# no longer in src/{line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
