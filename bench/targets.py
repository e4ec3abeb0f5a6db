"""Where hakmem is to stand, as ratios in one interleaved run, and whether it does."""
from dataclasses import dataclass

import rows
from allocators import FLOOR, GLIBC, HAKMEM, NOTHING
from figures import geometric_mean, ratio

MIXED, PEERS_OF_RSS = "16..1040 B", ("mimalloc", "jemalloc", "tcmalloc")
NET_OF_BEST = {256: 0.80, 8192: 0.75, 65536: 0.78}


@dataclass(frozen=True)
class Check:
    target: str
    where: str
    measured: str
    verdict: str  # "met", "not met", or "open" where the interval holds the bound


def _rows(results, **wanted):
    """The measured rows whose fields are as wanted, hakmem among their allocators."""
    return [row for row in rows.ROWS if all(getattr(row, name) == value for name, value in wanted.items())
            and results.has(row.name, HAKMEM)]


def _peers(results, row):
    return [name for name in results.allocators(row.name) if name not in (HAKMEM, FLOOR, NOTHING)]


def _at_least(target, where, measured, bound):
    """measured: a Ratio that is to be `bound` or more."""
    verdict = "met" if measured.mean >= bound else "open" if measured.high >= bound and measured.rounds > 1 else "not met"
    return Check(target, where, f"{measured}", verdict)


def _at_most(target, where, measured, bound):
    verdict = "met" if measured.mean <= bound else "open" if measured.low <= bound and measured.rounds > 1 else "not met"
    return Check(target, where, f"{measured}", verdict)


def _against_best(results, row, target, bound):
    """hakmem's speed over that of the fastest peer, by medians."""
    peers = _peers(results, row)
    if not peers:
        return []
    best = max(peers, key=lambda name: results.median(row.name, name, "speed"))
    return [_at_least(target, f"{row.name} / {best}", results.ratio(row.name, HAKMEM, best), bound)]


def _against(results, row, target, peer, bound):
    if not results.has(row.name, peer):
        return []
    return [_at_least(target, f"{row.name} / {peer}", results.ratio(row.name, HAKMEM, peer), bound)]


def net(results, row, allocator):
    """Seconds a million operations less those of the loop without an allocator, by round; at least a picosecond each."""
    return [max(1 / speed - 1 / nothing, 1e-6)
            for speed, nothing in zip(results.speeds(row, allocator), results.speeds(row, NOTHING), strict=True)]


def _net_checks(results):
    checks = []
    for row in _rows(results, series=MIXED, chapter="random_mixed"):
        if not results.has(row.name, NOTHING):
            continue
        ours = net(results, row.name, HAKMEM)
        if results.has(row.name, FLOOR):
            checks.append(_at_most("net time at most 1.10x the floor's", row.name,
                                   ratio(ours, net(results, row.name, FLOOR)), 1.10))
        peers = _peers(results, row)
        if row.ws in NET_OF_BEST and peers:
            best = max(peers, key=lambda name: results.median(row.name, name, "speed"))
            bound = NET_OF_BEST[row.ws]
            checks.append(_at_most(f"net time at most {bound:.2f}x the best peer's", f"{row.name} / {best}",
                                   ratio(ours, net(results, row.name, best)), bound))
    return checks


def slowdown(results, allocator, few=256, many=8192, series=MIXED):
    """Speed at few slots over that at many, by round; None where one is missing."""
    found = {row.ws: row.name for row in _rows(results, series=series)}
    if few not in found or many not in found or not (results.has(found[few], allocator) and
                                                     results.has(found[many], allocator)):
        return None
    return [a / b for a, b in zip(results.speeds(found[few], allocator), results.speeds(found[many], allocator))]


def _slowdown_checks(results):
    ours, floors = slowdown(results, HAKMEM), slowdown(results, FLOOR)
    if ours is None or floors is None:
        return []
    return [_at_most("slowdown at most 1.03x the floor's", "WS 256 to 8192", ratio(ours, floors), 1.03)]


def _first(results, target, bound, **wanted):
    return [check for row in _rows(results, **wanted) for check in _against_best(results, row, target, bound)]


def _multiples(results, target_of, bounds, **wanted):
    """bounds: peer or "the best peer": how many times its speed."""
    checks = []
    for row in _rows(results, **wanted):
        for peer, bound in bounds.items():
            target = f"{target_of}: {bound}x {peer}"
            checks += _against_best(results, row, target, bound) if peer == "the best peer" else _against(
                results, row, target, peer, bound)
    return checks


def _oversubscription(results):
    checks = []
    two = {row.ws: row for row in _rows(results, series=f"{MIXED}, 2 threads")}
    for row in _rows(results, series=f"{MIXED}, 64 threads"):
        if row.ws in two:
            rounds = list(zip(results.speeds(row.name, HAKMEM), results.speeds(two[row.ws].name, HAKMEM)))
            checks.append(_at_least("64 threads at most 10 % below 2", f"WS {row.ws}", ratio(*zip(*rounds)), 0.90))
    return checks


def _programs(results):
    checks, measured = [], []
    for row in _rows(results, chapter="programs"):
        measured.append(row)
        checks += [_at_least("none slower beyond noise", f"{row.name} / {peer}",
                             results.ratio(row.name, HAKMEM, peer), 1.0) for peer in _peers(results, row)]
    checks = [Check(check.target, check.where, check.measured, "met" if check.verdict == "open" else check.verdict)
              for check in checks]
    peers = [peer for peer in (_peers(results, measured[0]) if measured else [])
             if all(results.has(row.name, peer) for row in measured)]
    for peer in peers:
        mean = geometric_mean([results.ratio(row.name, HAKMEM, peer).mean for row in measured])
        checks.append(Check("geometric mean of the programs first", f"/ {peer}", f"{mean:.3f}",
                            "met" if mean >= 1 else "not met"))
    return checks


def _resident(results):
    checks = []
    for row in rows.ROWS:
        peers = [peer for peer in PEERS_OF_RSS if results.has(row.name, peer)]
        if not peers or not results.has(row.name, HAKMEM):
            continue
        best = min(peers, key=lambda name: results.median(row.name, name, "rss_kib"))
        share = results.median(row.name, HAKMEM, "rss_kib") / results.median(row.name, best, "rss_kib")
        checks.append(Check("peak RSS at most 1.05x the smallest peer's", f"{row.name} / {best}", f"{share:.3f}",
                            "met" if share <= 1.05 else "not met"))
    for row in _rows(results, chapter="start"):
        if results.has(row.name, GLIBC):
            more = (results.median(row.name, HAKMEM, "rss_kib") - results.median(row.name, GLIBC, "rss_kib")) / 1024
            checks.append(Check("start-up within 0.5 MiB of glibc's", row.name, f"{more:+.2f} MiB",
                                "met" if more <= 0.5 else "not met"))
    for row in _rows(results, chapter="memory"):
        if _peers(results, row):
            best = min(_peers(results, row), key=lambda name: results.median(row.name, name, "end_kib"))
            ours, theirs = (results.median(row.name, name, "end_kib") / 1024 for name in (HAKMEM, best))
            checks.append(Check("RSS afterwards the smallest of all", f"{row.name} / {best}",
                                f"{ours:.1f} MiB / {theirs:.1f} MiB", "met" if ours <= theirs else "not met"))
    return checks


def check(results):
    """All checks for which there are measurements."""
    best = "the best peer"
    return [
        *_net_checks(results),
        *_slowdown_checks(results),
        *_first(results, "first", 1.0, series="64 B"),
        *_first(results, "first", 1.0, series="8..128 B"),
        *_multiples(results, "1..32 KiB", {"mimalloc": 2, "tcmalloc": 1.2}, series="1..32 KiB", ws=8192),
        *_multiples(results, "32 KiB..1 MiB", {"mimalloc": 3, "tcmalloc": 3}, series="32 KiB..1 MiB"),
        *_multiples(results, "PC", {"tcmalloc": 5, "mimalloc": 3, best: 1.5}, duty="PC"),
        *_multiples(results, "XT", {"tcmalloc": 1.1, "mimalloc": 6}, duty="XT"),
        *_first(results, "first", 1.0, series=f"{MIXED}, 2 threads"),
        *_oversubscription(results),
        *_first(results, "no slower than the best peer", 1.0, chapter="large"),
        *(one for chapter in ("burst", "phases", "lives", "families")
          for one in _first(results, "first or within 3 % of the first", 0.97, chapter=chapter)),
        *_programs(results),
        *_resident(results),
    ]
