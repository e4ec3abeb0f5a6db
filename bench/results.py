"""What was measured: kept, selected, merged, written as JSON and CSV."""
import csv
import json
import statistics
from dataclasses import asdict, dataclass, field

from figures import ratio

FORMAT = 1


class BadFile(Exception):
    pass


@dataclass(frozen=True)
class Run:
    row: str
    allocator: str
    round: int
    speed: float  # of operations in millions, or of whole programs, a second
    rss_kib: int  # peak
    end_kib: int
    allocs: int = 0  # with `bytes`, what the program did: equal for all allocators
    bytes: int = 0


@dataclass
class Results:
    machine: str
    conditions: dict = field(default_factory=dict)  # how it was run: numbers that add up, and lists of what was set
    libraries: dict = field(default_factory=dict)  # allocator: which library that was, as Allocator.library() has it
    runs: list = field(default_factory=list)
    traces: list = field(default_factory=list)  # {row, allocator, samples: [[seconds, KiB]...]}
    counts: list = field(default_factory=list)  # {row, ...}: see counts.py

    def rows(self):
        return list(dict.fromkeys(run.row for run in self.runs))

    def allocators(self, row=None):
        present = {run.allocator for run in self.runs if row in (None, run.row)}
        return [name for name in self.libraries if name in present]

    def of(self, row, allocator):
        """Its runs in the order of rounds."""
        return sorted((run for run in self.runs if run.row == row and run.allocator == allocator),
                      key=lambda run: run.round)

    def speeds(self, row, allocator):
        return [run.speed for run in self.of(row, allocator)]

    def ratio(self, row, ours, theirs):
        return ratio(self.speeds(row, ours), self.speeds(row, theirs))

    def median(self, row, allocator, what):
        return statistics.median(getattr(run, what) for run in self.of(row, allocator))

    def has(self, row, *allocators):
        return all(self.of(row, allocator) for allocator in allocators)

    def add(self, other):
        """The other's rounds come after these. They must be of the same libraries."""
        for name, library in other.libraries.items():
            if self.libraries.setdefault(name, library) != library:
                raise BadFile(f"{name} is {self.libraries[name]} in one file and {library} in another")
        last = {}
        for run in self.runs:
            last[run.row] = max(last.get(run.row, 0), run.round)
        self.runs += [Run(**{**asdict(run), "round": run.round + last.get(run.row, 0)}) for run in other.runs]
        self.traces += other.traces
        self.counts += other.counts
        for name, value in other.conditions.items():
            own = self.conditions.get(name, type(value)())
            self.conditions[name] = own + ([one for one in value if one not in own] if isinstance(value, list) else value)
        if other.machine not in self.machine:
            self.machine += "; " + other.machine

    def write_json(self, path):
        fields = {"format": FORMAT, **asdict(self)}
        path.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")

    def write_csv(self, path):
        with open(path, "w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, Run.__dataclass_fields__, lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(run) for run in self.runs)


def read_json(path):
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields.pop("format") != FORMAT:
            raise BadFile(f"{path}: of another format")
        fields["runs"] = [Run(**run) for run in fields["runs"]]
        return Results(**fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadFile(f"{path}: {error}") from error
