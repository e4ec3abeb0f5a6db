"""The progress line on standard error: one that is rewritten on a terminal, else a line every few seconds."""
import sys
import time

SECONDS = 5


class Progress:
    def __init__(self, total):
        self.total, self.done, self.began, self.told = total, 0, time.monotonic(), 0.0

    def step(self, text):
        """Another of the total begins."""
        elapsed = time.monotonic() - self.began
        left = elapsed / self.done * (self.total - self.done) if self.done else 0
        self.done += 1
        self.say(f"{self.done}/{self.total}, {left // 60:.0f}:{left % 60:02.0f} left: {text}")

    def say(self, text):
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self.told > SECONDS:
            self.told = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def end(self):
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
