"""The machine that measures: what it is, whether it is quiet, and what a measured program sees of the environment."""
import os
import platform
import re
import time
from pathlib import Path

QUIET = 0.10  # the share of the processors that others may take
SAMPLE_SECONDS = 0.1
ALLOCATOR_VARIABLES = ("LD_PRELOAD", "HAKMEM_", "MALLOC", "MIMALLOC_", "TCMALLOC_", "GLIBC_TUNABLES", "PYTHONMALLOC")


def describe():
    """The processor, the kernel and the C library, in one line."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    huge = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    pages = re.search(r"\[(\w+)\]", huge.read_text(encoding="utf-8"))[1] if huge.exists() else "none"
    return (f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} processors, "
            f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}, huge pages: {pages}")


def without_allocator(environment):
    """The environment without what would choose or tune an allocator."""
    return {key: value for key, value in environment.items() if not key.startswith(ALLOCATOR_VARIABLES)}


def _ticks():
    """Of the processors: busy ones, those of them that the host took away, and all."""
    ticks = [int(field) for field in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]]
    idle, stolen = ticks[3] + ticks[4], ticks[7]
    return sum(ticks) - idle, stolen, sum(ticks)


class Quiet:
    """Waits until nobody else uses the machine, but no longer than `patience` seconds in all; 0: doesn't look."""

    def __init__(self, patience, say):
        self.patience, self.say = patience, say
        self.waits = self.disturbed = 0
        self.began = _ticks()

    def wait(self):
        if self.patience <= 0 and self.waits == 0:
            return
        self.waits += 1
        while True:
            busy, _, total = _ticks()
            time.sleep(SAMPLE_SECONDS)
            busy_then, _, total_then = _ticks()
            share = (busy_then - busy) / max(1, total_then - total)
            if share <= QUIET:
                return
            self.patience -= SAMPLE_SECONDS
            if self.patience <= 0:
                self.disturbed += 1
                return
            self.say(f"waiting for a quiet machine: {share:.0%} of it is in use ({self.patience:.0f} s more at most)")

    def conditions(self):
        """What others took of the machine meanwhile, in numbers that add up."""
        busy, stolen = (then - before for then, before in zip(_ticks()[:2], self.began[:2]))
        return {"looks": self.waits, "disturbed": self.disturbed, "busy_ticks": busy, "stolen_ticks": stolen}
