"""The report, as Markdown."""
import statistics

import rows
import targets
from allocators import FLOOR, HAKMEM, NOTHING
from figures import deviation_percent, geometric_mean, ratio

MIB_IN_KIB = 1024


def speed_text(row, speed):
    """Seconds of a program that ends, else operations a second in a unit that leaves three digits."""
    if row.chapter == "programs" and row.program != "redis":
        return f"{1 / speed:.3f} s"
    for unit, size in (("M", 1.0), ("k", 1e-3)):
        if speed >= size:
            return f"{speed / size:.1f} {unit}/s" if speed < 1000 * size else f"{speed / size:.0f} {unit}/s"
    return f"{speed * 1e6:.1f} /s"


def table(head, lines):
    return ["", "| " + " | ".join(head) + " |", "|---" * len(head) + "|",
            *("| " + " | ".join(line) + " |" for line in lines)]


def peers_of(results):
    return [name for name in results.allocators() if name not in (HAKMEM, FLOOR, NOTHING)]


def _conditions(results):
    """How it was run."""
    had = results.conditions
    if not had:
        return []
    busy = max(1, had["busy_ticks"])
    return [f"Work x {', '.join(f'{scale:g}' for scale in had['scales'])}; seeds {', '.join(map(str, had['seeds']))}; a "
            "warm-up before each set of rounds was dropped.",
            f"Others used the machine at {had['disturbed']} of {had['looks']} looks, and the host took "
            f"{100 * had['stolen_ticks'] / busy:.1f} % of the processors' time away."]


def _targets(results):
    checks = targets.check(results)
    if not checks:
        return []
    verdicts = [check.verdict for check in checks]
    lines = ["", "## Targets", "", "Computed from the runs below; a number above 1 is in hakmem's favour where speeds are "
             "compared, below 1 where times or bytes are. Open: the 95 % interval holds the bound. "
             f"{verdicts.count('met')} met, {verdicts.count('open')} open, {verdicts.count('not met')} not met."]
    return lines + table(["target", "where", "measured", "verdict"],
                         [[check.target, check.where, check.measured,
                           check.verdict if check.verdict == "met" else f"**{check.verdict}**"] for check in checks])


def _at_a_glance(results, chosen):
    peers = peers_of(results)
    chosen = [row for row in chosen if results.has(row.name, HAKMEM)]
    if not peers or not chosen:
        return []
    lines, means = [], {peer: [] for peer in peers}
    for row in chosen:
        cells = []
        for peer in peers:
            if results.has(row.name, peer):
                found = results.ratio(row.name, HAKMEM, peer)
                means[peer].append(found.mean)
                cells.append(f"{found.mean:.2f}" if found.mean >= 1 else f"**{found.mean:.2f}**")
            else:
                cells.append("–")
        lines.append([row.name, speed_text(row, results.median(row.name, HAKMEM, "speed")), *cells])
    lines.append(["geometric mean", "",
                  *(f"{geometric_mean(means[peer]):.2f}" if means[peer] else "–" for peer in peers)])
    return ["", "## At a glance", "", "hakmem's speed, and how many times that of each peer it is; bold where it is behind.",
            *table(["row", "hakmem", *(f"/ {peer}" for peer in peers)], lines)]


def _figures_of(results, row, name):
    speeds = results.speeds(row.name, name)
    against = "" if name == HAKMEM or not results.has(row.name, HAKMEM) else f"{results.ratio(row.name, HAKMEM, name)}"
    end = results.median(row.name, name, "end_kib")
    return [row.name, name, speed_text(row, statistics.fmean(speeds)), f"{deviation_percent(speeds):.1f} %",
            speed_text(row, statistics.median(speeds)),
            f"{speed_text(row, min(speeds))} – {speed_text(row, max(speeds))}", against,
            f"{results.median(row.name, name, 'rss_kib') / MIB_IN_KIB:.1f}", f"{end / MIB_IN_KIB:.1f}" if end else ""]


def _net(results):
    """Time per operation less that of the same loop without an allocator."""
    found = [row for row in rows.ROWS if row.floor and row.chapter == "random_mixed" and results.has(row.name, NOTHING)]
    names = [name for name in results.allocators() if name != NOTHING]
    if not found or not names:
        return []
    lines = []
    for row in found:
        cells = [f"{1e3 * statistics.median(targets.net(results, row.name, name)):.2f}"
                 if results.has(row.name, name) else "–" for name in names]
        ours = (f"{ratio(targets.net(results, row.name, HAKMEM), targets.net(results, row.name, FLOOR))}"
                if results.has(row.name, HAKMEM, FLOOR) else "–")
        lines.append([row.name, *cells, ours])
    return ["", "Net of the harness, ns an operation: what is left when the time of the same loop with no allocator is "
            "taken off. The floor is a bare allocator that checks, counts and gives back nothing."] + table(
                ["row", *names, "hakmem / floor"], lines)


def _slowdowns(results):
    series = list(dict.fromkeys(row.series for row in rows.ROWS if row.series))
    lines = []
    for one in series:
        cells = []
        for name in results.allocators():
            found = targets.slowdown(results, name, series=one)
            cells.append("–" if found is None else f"{statistics.median(found):.2f}x")
        if any(cell != "–" for cell in cells):
            lines.append([one, *cells])
    if not lines:
        return []
    return ["", "Slowdown from WS 256 to WS 8192, in operations a second:"] + table(["sizes", *results.allocators()], lines)


def _chapter(results, chapter, chosen, pictures):
    lines = ["", f"## {chapter}", "", rows.MEANING[chapter]]
    heads = ["row", "allocator", "average", "deviation", "median", "min – max", "hakmem / it (95 %)", "peak RSS, MiB",
             "at end"]
    lines += table(heads, [_figures_of(results, row, name) for row in chosen for name in results.allocators(row.name)])
    if chapter == "random_mixed":
        lines += _net(results) + _slowdowns(results)
    for picture in pictures:
        if picture.chapter == chapter:
            lines += ["", f"![{picture.title}]({picture.link})"]
    return lines


def _counts(results):
    if not results.counts:
        return []
    heads = list(results.counts[0]["figures"])
    lines = ["", "## Counts", "", "In hakmem, of a run of its own: how often the fast path did not do, from the account that "
             "the probes tell, and what the processor counted; of the steady state, for random_mixed in one thread. A refill "
             "that a slab already held served is a SuperSlab hit. Misses and drains are those of a million operations, "
             "instructions those of an operation without the loop around it, and the slow paths' share is of these."]
    cells = [[count["row"], *(count["figures"].get(head, "–") for head in heads)] for count in results.counts]
    return lines + table(["row", *heads], cells)


def _raw(results, chosen):
    libraries = ", ".join(f"{name} {file}" for name, file in results.libraries.items() if file)
    lines = ["", "## Raw data", "", f"Libraries, with the start of their SHA-256: {libraries}.", "",
             "Millions of operations, or whole programs, a second, round by round:", "", "```"]
    for row in chosen:
        for name in results.allocators(row.name):
            lines.append(f"{row.name} / {name}: " + " ".join(f"{speed:.6g}" for speed in results.speeds(row.name, name)))
    return lines + ["```"]


def write(results, pictures=()):
    chosen = [row for row in rows.ROWS if row.name in results.rows()]
    lines = ["# Allocators compared", "", results.machine + ".", "", *_conditions(results), "",
             "A ratio is hakmem's speed over the other's within a round, above 1 where hakmem is faster, with Student's 95 % "
             "interval over the rounds."]
    lines += _targets(results) + _at_a_glance(results, chosen)
    for chapter in rows.MEANING:
        of_chapter = [row for row in chosen if row.chapter == chapter]
        if of_chapter:
            lines += _chapter(results, chapter, of_chapter, pictures)
    return "\n".join(lines + _counts(results) + _raw(results, chosen)) + "\n"
