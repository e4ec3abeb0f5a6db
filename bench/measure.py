"""What the runners of this folder share: the machine's description, progress, and intervals of ratios."""
import math
import os
import platform
import re
import statistics
import sys
from pathlib import Path

# Student's t, 97.5 %, by degrees of freedom; beyond the table the last is close enough.
STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
           2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042]


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def ratio_interval(ours, theirs):
    """Geometric mean of the rounds' ratios with its 95 % interval; both bounds None for a single round."""
    logs = [math.log(a / b) for a, b in zip(ours, theirs)]
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return math.exp(mean), None, None
    t = STUDENT[min(len(logs) - 2, len(STUDENT) - 1)]
    half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def machine():
    """The processor, the kernel and the C library, in one line."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    huge = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    pages = re.search(r"\[(\w+)\]", huge.read_text(encoding="utf-8"))[1] if huge.exists() else "none"
    return (f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} processors, "
            f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}, huge pages: {pages}")


def without_allocator(environment):
    """The environment without what would choose or tune an allocator."""
    return {key: value for key, value in environment.items()
            if not key.startswith(("LD_PRELOAD", "HAKMEM_", "MALLOC"))}
