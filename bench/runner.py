"""Runs rows: each under every allocator, interleaved and shuffled, and checks that all did the same."""
import os
import random
import re
import subprocess
import time
from pathlib import Path

import allocators
import machine
import programs
import redis_load
import rows
from results import Run

TRACE_SECONDS, TRACE_SHARE = 0.001, 0.01  # between two samples: the least, and of the time so far


class Failed(Exception):
    pass


class Runner:
    def __init__(self, build, folder, scale, seed):
        self.build, self.folder, self.scale, self.seed = build, folder, scale, seed
        self.order = random.Random(seed)
        self.prepared = set()
        self.did = {}  # row: what its program did
        self.environment = machine.without_allocator(os.environ)

    def plan(self, chosen, found, rounds, quick):
        """[(round, row, allocator)...]; round 0 is the warm-up."""
        plan = []
        for number in range(rounds + 1):
            for row in chosen:
                if number > (1 if quick and row.steady else row.most_rounds) or (number == 0 and row.steady):
                    continue
                names = self.takers(row, found)
                self.order.shuffle(names)
                plan += [(number, row, found[name]) for name in names]
        return plan

    @staticmethod
    def takers(row, found):
        return [name for name in found if row.floor or name not in (allocators.FLOOR, allocators.NOTHING)]

    def run(self, number, row, allocator):
        if row.chapter == "programs":
            return self._run_redis(number, row, allocator) if row.program == "redis" else self._run_program(
                number, row, allocator)
        return self._run_bench(number, row, allocator)

    def command(self, row, allocator, scale=None):
        command = [str(self.build / "bench" / row.program), *rows.command_options(row, scale or self.scale, self.seed)]
        return command + ["--null"] * (allocator.name == allocators.NOTHING)

    def preloading(self, allocator):
        return self.environment | ({"LD_PRELOAD": allocator.path} if allocator.path else {})

    @staticmethod
    def output_of(where, command, env, **more):
        done = subprocess.run([str(word) for word in command], env=env, capture_output=True, text=True, check=False, **more)
        if done.returncode != 0 or "cannot be preloaded" in done.stderr:
            raise Failed(f"{where}: status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _run_bench(self, number, row, allocator):
        where = f"{row.name}, {allocator.name}"
        return self._read_answer(where, number, row, allocator, self.output_of(where, self.command(row, allocator),
                                                                               self.preloading(allocator)))

    def _read_answer(self, where, number, row, allocator, text):
        try:
            answer = dict(field.split("=", 1) for field in text.split())
            run = Run(row.name, allocator.name, number, float(answer["mops"]), int(answer["rss_kib"]),
                      int(answer["end_kib"]), int(answer["allocs"]), int(answer["bytes"]))
        except (KeyError, ValueError) as error:
            raise Failed(f"{where}: no answer in: {text.strip()}") from error
        if allocator.path and os.path.realpath(answer["malloc"]) != os.path.realpath(allocator.path):
            raise Failed(f"{where}: malloc came from {answer['malloc']}")
        if self.did.setdefault(row.name, (run.allocs, run.bytes)) != (run.allocs, run.bytes):
            raise Failed(f"{where}: did something else than the others")
        return run

    def _run_program(self, number, row, allocator):
        where = f"{row.name}, {allocator.name}"
        program, size = programs.PROGRAMS[row.program], rows.amount(row, self.scale)
        if row.program not in self.prepared:
            program.prepare(self.folder, size)
            self.prepared.add(row.program)
        program.renew(self.folder, size)
        command = [self.build / "bench" / "timed", allocator.path, *program.command(self.folder, size)]
        text = self.output_of(where, command, self.environment | dict(program.environment), cwd=self.folder)
        found = re.fullmatch(r"seconds=([0-9.]+) rss_kib=([0-9]+)\n", text)
        if not found:
            raise Failed(f"{where}: no time in: {text.strip()}")
        return Run(row.name, allocator.name, number, 1 / float(found[1]), int(found[2]), 0)

    def _run_redis(self, number, row, allocator):
        try:
            outcome = redis_load.run(rows.amount(row, self.scale), self.preloading(allocator))
        except (OSError, subprocess.CalledProcessError) as error:
            raise Failed(f"{row.name}, {allocator.name}: {error}") from error
        if os.path.realpath(allocator.path) not in outcome.maps:
            raise Failed(f"{row.name}, {allocator.name}: redis-server did not load {allocator.path}")
        return Run(row.name, allocator.name, number, outcome.speed / 1e6, outcome.rss_kib, outcome.end_kib)

    def trace(self, row, allocator):
        """Resident memory over time, in a run of its own, which isn't timed."""
        where = f"{row.name}, {allocator.name}"
        samples, began = [], time.monotonic()
        with subprocess.Popen(self.command(row, allocator), env=self.preloading(allocator), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                pages = Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()
                if len(pages) > 1 and pages[1] != "0":
                    samples.append([round(time.monotonic() - began, 3), int(pages[1]) * os.sysconf("SC_PAGE_SIZE") // 1024])
                time.sleep(max(TRACE_SECONDS, TRACE_SHARE * (time.monotonic() - began)))
            text, errors = process.communicate()
        if process.returncode != 0:
            raise Failed(f"{where}: status {process.returncode}: {errors.strip()}")
        self._read_answer(where, 0, row, allocator, text)
        return {"row": row.name, "allocator": allocator.name, "samples": samples}
