"""redis-server on a loopback port of its own, under the load of redis-benchmark."""
import contextlib
import re
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    speed: float  # requests a second
    rss_kib: int  # the server's peak
    end_kib: int
    maps: str  # of the server: what it had loaded


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def server(env):
    """The process, its port as a string."""
    port = str(_free_port())
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder],
                                  env=env, stdout=subprocess.DEVNULL)
        try:
            for _ in range(100):
                ping = subprocess.run(["redis-cli", "-p", port, "ping"], capture_output=True, text=True, check=False)
                if ping.stdout == "PONG\n":
                    break
                time.sleep(0.05)
            else:
                raise OSError("redis-server does not answer")
            symbols = subprocess.run(["readelf", "-W", "--dyn-syms", f"/proc/{process.pid}/exe"], capture_output=True, text=True,
                                     check=True).stdout
            if not re.search(r" UND malloc\b", symbols):
                raise OSError("redis-server has a malloc of its own: no other can serve it")
            yield process, port
        finally:
            process.terminate()
            process.wait()


def maps(process):
    """What the server has loaded."""
    return Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")


def load(port, requests):
    """`requests` SETs and as many LPUSHes, 16 at a time; requests a second."""
    began = time.monotonic()
    subprocess.run(["redis-benchmark", "-p", port, "-q", "-P", "16", "-r", "100000", "-d", "100", "-n", str(requests),
                    "-t", "set,lpush"], check=True, capture_output=True)
    return 2 * requests / (time.monotonic() - began)


def run(requests, env):
    """A server's whole life under the load."""
    with server(env) as (process, port):
        speed = load(port, requests)
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        kib = dict(re.findall(r"^(VmHWM|VmRSS):\s+(\d+)", status, re.M))
        return Outcome(speed, int(kib["VmHWM"]), int(kib["VmRSS"]), maps(process))
