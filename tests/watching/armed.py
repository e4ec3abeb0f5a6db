#!/usr/bin/env python3
"""Prints how many probes of a library are watched in a running process: the semaphores that are not 0.

usage: armed.py LIBRARY PID
"""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "probes"))
from semaphores import semaphores  # noqa: E402

print(sum(count != 0 for count in semaphores(*sys.argv[1:])))
