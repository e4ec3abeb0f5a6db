"""Real programs, unchanged: what each needs, what is prepared for it, and how it is started."""
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

SOURCE = Path(__file__).resolve().parent.parent
LOADS = SOURCE / "bench" / "loads"
TEST_LOADS = SOURCE / "tests" / "programs"


def _nothing(_folder, _amount):
    pass


@dataclass(frozen=True)
class Program:
    needs: tuple  # commands
    command: Callable  # (folder, amount) -> arguments
    prepare: Callable = _nothing  # (folder, amount): once
    renew: Callable = _nothing  # (folder, amount): before each run, not timed
    environment: tuple = ()


def _large_source(folder, functions):
    with open(folder / "large.c", "wb") as out:
        subprocess.run(["awk", "-v", f"functions={functions}", "-f", TEST_LOADS / "large_source.awk"], stdout=out,
                       check=True)


def _rows_of_sql(folder, rows):
    text = (TEST_LOADS / "million.sql").read_text(encoding="utf-8").replace("i < 1000000", f"i < {rows}")
    (folder / "rows.sql").write_text(text, encoding="utf-8")


def _history(folder, files):
    """A history in which the project's own sources grow by a few lines with each commit."""
    sources = sorted(str(path) for part in ("src", "probes", "tests") for path in (SOURCE / part).rglob("*")
                     if path.is_file() and path.stat().st_size < 100_000)[:files]
    stream = subprocess.run(["awk", "-v", "step=15", "-f", TEST_LOADS / "git_history.awk", *sources], capture_output=True,
                            check=True).stdout
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", folder / "made"], check=True)
    subprocess.run(["git", "-C", folder / "made", "fast-import", "--quiet", "--done"], input=stream, check=True)


def _copy_of_history(folder, _files):
    shutil.rmtree(folder / "repository", ignore_errors=True)
    shutil.copytree(folder / "made", folder / "repository")


PROGRAMS = {
    "gcc": Program(("gcc", "awk"), lambda folder, _: ["gcc", "-std=c11", "-O2", "-c", folder / "large.c", "-o",
                                                      "/dev/null"], prepare=_large_source),
    "python3": Program((), lambda _, objects: [sys.executable, LOADS / "objects.py", objects],
                       environment=(("PYTHONMALLOC", "malloc"),)),
    "sqlite3": Program(("sqlite3",), lambda folder, _: ["sqlite3", "-bail", "-init", "/dev/null", ":memory:",
                                                        f".read {folder / 'rows.sql'}"],
                       prepare=_rows_of_sql),
    "git": Program(("git", "awk"), lambda folder, _: ["git", "-C", folder / "repository", "gc", "--aggressive",
                                                      "--prune=now", "--quiet"],
                   prepare=_history, renew=_copy_of_history),
    "perl": Program(("perl",), lambda _, words: ["perl", TEST_LOADS / "hash_sort.pl", words],
                    environment=(("PERL_HASH_SEED", "0"), ("PERL_PERTURB_KEYS", "0"))),
    "node": Program(("node",), lambda _, rounds: ["node", TEST_LOADS / "worker_load.js", rounds]),
    "redis": Program(("redis-server", "redis-cli", "redis-benchmark"), lambda *_: []),  # by redis_load
}


def missing(name):
    """The commands that the program needs and that aren't installed."""
    return [command for command in PROGRAMS[name].needs if shutil.which(command) is None]
