"""The table of rows: what is run, how much of it, and what it means for a user."""
from dataclasses import dataclass, field

KIB, MIB = 1024, 1024 * 1024

# chapter: what its rows are for a user
MEANING = {
    "random_mixed": "Objects of random sizes come and go in random order: interpreters, servers, most of what C++ "
                    "programs do. WS is the number of slots, half of which hold a block. The classic; it flatters "
                    "allocators whose caches hold what the program uses.",
    "threads": "The same in several threads, each with slots of its own. 64 threads on few processors are what servers "
               "with a thread for each client have.",
    "handover": "Messages: one thread allocates, another frees. PC: one each; 4 producers for 1 consumer; XT: two threads "
                "that do both. Allocators with caches for each thread must bring the memory back.",
    "lives": "A server's life: threads are born, take over what earlier ones allocated, and end. Outliving: every block "
             "is freed after its thread has ended. Churn: 100,000 threads that allocate 16 blocks each.",
    "phases": "A program that is busy with one kind of object, then with another: loads, then serves. What the first left "
              "must serve the second.",
    "large": "Buffers, images, vectors: blocks whose pages cost more than the allocator's own steps. Growth is a vector "
             "that is appended to.",
    "burst": "A parse tree, a query's result: very many blocks, then all freed, in the order of allocation or in the "
             "reverse.",
    "families": "calloc must give zeros without writing what is zero already; aligned memory must not waste what it "
                "aligns. Sizes from small to large.",
    "start": "Most processes are short: what a program pays before and after its own work.",
    "memory": "What stays resident when the work is done, at the end of a run: 1,000 of a million blocks live on, "
              "and light work goes on for 2 seconds (aftermath); 2,000 threads worked once and sleep (sleepers). Small "
              "is good; the speed is a bystander.",
    "programs": "Whole programs, unchanged. Most spend little of their time in malloc, so differences are small; this is "
                "what a user sees.",
}


@dataclass(frozen=True)
class Row:
    chapter: str
    name: str
    program: str
    work: dict  # the options that --scale multiplies; of a real program the one number that says how much it does
    options: dict = field(default_factory=dict)
    ws: int = 0  # for rows that differ in nothing else
    series: str = ""  # the name without the working set
    duty: str = ""  # which thread does what
    floor: bool = False  # beside the bare floor and no allocator; elsewhere a floor that gives nothing back tells nothing
    steady: bool = False  # it measures memory, which hardly varies: few rounds, no warm-up
    traced: bool = False  # resident memory over time is worth a picture
    most_rounds: int = 1000


def ws_text(ws):
    return str(ws) if ws < MIB else f"{ws // MIB}M"


def _mixed(chapter, sizes, lo, hi, working_sets, *, threads=1, floor=True, **more):
    """Rows of random_mixed: working_sets maps WS to millions of steps of each thread."""
    series = sizes if threads == 1 else f"{sizes}, {threads} threads"
    return tuple(
        Row(chapter, f"{series}, WS {ws_text(ws)}", "random_mixed", {"ops": int(millions * 1e6)},
            {"ws": ws, "lo": lo, "hi": hi, "threads": threads, **more}, ws=ws, series=series, floor=floor)
        for ws, millions in working_sets.items())


SMALL = {256: 20, 1024: 20, 8192: 20, 65536: 20, MIB: 10}

ROWS = (
    *_mixed("random_mixed", "16..1040 B", 16, 1040, SMALL),
    *_mixed("random_mixed", "64 B", 64, 64, SMALL),
    *_mixed("random_mixed", "8..128 B", 8, 128, SMALL),
    *_mixed("random_mixed", "1..32 KiB", KIB, 32 * KIB, {256: 10, 1024: 10, 8192: 5, 65536: 3}),
    *_mixed("random_mixed", "32 KiB..1 MiB", 32 * KIB, MIB, {256: 1, 1024: 0.5, 8192: 0.2}, floor=False),
    *_mixed("threads", "16..1040 B", 16, 1040, {256: 20, 1024: 20, 8192: 20, 65536: 20, MIB: 5}, threads=2),
    *_mixed("threads", "16..1040 B", 16, 1040, {256: 1, 1024: 1, 8192: 1}, threads=64),
    *(Row("handover", f"{name}, {sizes}", "handover", {"blocks": int(millions * 1e6)}, {"lo": lo, "hi": hi, **more},
          duty=duty)
      for duty, name, millions, more in (("PC", "PC, one allocates, one frees", 6, {}),
                                         ("MPSC", "4 producers, 1 consumer", 1, {"producers": 4}),
                                         ("XT", "XT, both do both", 10, {"both": None}))
      for sizes, lo, hi in (("16..1040 B", 16, 1040), ("64 B", 64, 64))),
    Row("lives", "server's life", "generations", {"lives": 500}, {"lines": 4}),
    Row("lives", "outliving", "generations", {"lives": 500}, {"slots": 5000, "sweep": None}),
    Row("lives", "thread churn", "burst", {"rounds": 100_000}, {"count": 16}, most_rounds=5),
    Row("phases", "phases", "phases", {"slots": 200_000}, {"rounds": 4}, traced=True),
    Row("large", "1..32 MiB, WS 16", "random_mixed", {"ops": 400},
        {"ws": 16, "lo": MIB, "hi": 32 * MIB, "stride": 4096}),
    Row("large", "growth, 16 B to 256 MiB", "growth", {"rounds": 2}),
    Row("large", "growth, 8 vectors to 1 MiB", "growth", {"rounds": 60}, {"vectors": 8, "to": MIB}),
    Row("burst", "a million, in order", "burst", {"count": 1_000_000}, {"rounds": 2, "one": None}),
    Row("burst", "a million, reversed", "burst", {"count": 1_000_000}, {"rounds": 2, "one": None, "reversed": None}),
    *(Row("families", f"calloc, {sizes}", "random_mixed", {"ops": int(millions * 1e6)},
          {"ws": ws, "lo": lo, "hi": hi, "zeroed": None})
      for sizes, lo, hi, ws, millions in (("16..1040 B", 16, 1040, 8192, 10), ("1..32 KiB", KIB, 32 * KIB, 1024, 1),
                                          ("32 KiB..1 MiB", 32 * KIB, MIB, 256, 0.02))),
    *(Row("families", f"aligned, to {align} B, {sizes}", "random_mixed", {"ops": int(millions * 1e6)},
          {"ws": ws, "lo": lo, "hi": hi, "align": align})
      for align, sizes, lo, hi, ws, millions in ((64, "16..1040 B", 16, 1040, 8192, 10),
                                                 (4096, "1..32 KiB", KIB, 32 * KIB, 1024, 3))),
    Row("start", "tiny program", "startup", {"count": 400}),
    Row("memory", "aftermath", "aftermath", {"mib": 256, "wait": 2000}, {"hi": 515}, steady=True, traced=True, most_rounds=5),
    Row("memory", "sleepers", "sleepers", {"threads": 2000}, steady=True, most_rounds=5),
    Row("programs", "redis", "redis", {"requests": 200_000}),
    Row("programs", "gcc -O2", "gcc", {"functions": 40}),
    Row("programs", "python3, objects", "python3", {"objects": 100_000}),
    Row("programs", "sqlite3", "sqlite3", {"rows": 150_000}),
    Row("programs", "git gc", "git", {"files": 80}),
    Row("programs", "perl, hashes", "perl", {"words": 80_000}),
    Row("programs", "node, 4 workers", "node", {"rounds": 15}),
)
assert len({row.name for row in ROWS}) == len(ROWS)


def scaled(row, scale):
    return {name: max(1, int(value * scale)) for name, value in row.work.items()}


def amount(row, scale):
    """The first of what is scaled."""
    return next(iter(scaled(row, scale).values()))


def command_options(row, scale, seed):
    """The program's options, as --NAME or --NAME=VALUE."""
    values = {**scaled(row, scale), **row.options}
    if row.program not in ("growth", "startup"):
        values["seed"] = seed
    return [f"--{name}" if value is None else f"--{name}={value}" for name, value in values.items()]
