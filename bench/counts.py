"""How often hakmem leaves its fast path, and what the processor counts, in runs of their own."""
class Failed(Exception):
    pass
def countable(_): return []
