"""The allocators that are compared: by the library that is preloaded."""
import ctypes.util
import os
import re
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

HAKMEM, GLIBC, FLOOR, NOTHING = "hakmem", "glibc", "floor", "no allocator"
PEERS = {"mimalloc": "mimalloc", "jemalloc": "jemalloc", "tcmalloc": "tcmalloc_minimal"}


class NotFound(Exception):
    pass


@dataclass(frozen=True)
class Allocator:
    name: str
    path: str  # of the library to preload; "" for no allocator

    def library(self):
        """The file's name and what tells its content from that of another build; "" for no allocator."""
        if not self.path:
            return ""
        return f"{os.path.basename(os.path.realpath(self.path))} {sha256(Path(self.path).read_bytes()).hexdigest()[:12]}"


def library_path(name):
    """The file that the dynamic linker loads for lib<name>, or None."""
    soname = ctypes.util.find_library(name)
    if soname is None:
        return None
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    for line in known.splitlines():
        found = re.match(rf"\s*{re.escape(soname)} \(.*x86-64.*=> (\S+)$", line)
        if found:
            return found[1]
    return None


def find(build, own_peers, say):
    """All there are, by name. The C library is preloaded too: a program may be linked with another allocator."""
    paths = {HAKMEM: str(build / "libhakmem.so"), GLIBC: library_path("c")}
    for name, library in PEERS.items():
        path = library_path(library)
        if path is None:
            say(f"{name} isn't installed: left out")
        else:
            paths[name] = path
    for peer in own_peers:
        name, equals, path = peer.partition("=")
        if not name or not equals or name in (HAKMEM, FLOOR, NOTHING):
            raise NotFound(f"--peer takes NAME=PATH with a name of its own, not {peer}")
        paths[name] = str(Path(path).resolve())
    paths[FLOOR] = str(build / "bench" / "libfloor.so")
    for name, path in paths.items():
        if not path or not os.path.exists(path):
            raise NotFound(f"{name}: there is no {path}")
    return {name: Allocator(name, path) for name, path in paths.items()} | {NOTHING: Allocator(NOTHING, "")}
