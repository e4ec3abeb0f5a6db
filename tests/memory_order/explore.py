"""explore.py - all executions of a few threads under C11's release and acquire, for programs of a dozen steps.

The operational form of the model ("strong release-acquire with relaxed accesses", after Lahav, Giannarakis and Vafeiadis, POPL 2016, and
Kang et al., POPL 2017, without promises, so without load buffering): a location is a row of messages in modification order; a thread has
a view, the message of each location below which it reads no more.

  load       any message at or above the view; acquire: the view of the message is joined to the thread's
  store      anywhere behind the view, but not between a read-modify-write and what it read; release: the message carries the view
  cas, swap  read a message, write right behind it; a message that one of them writes carries also the view of what it read
  read, write   of plain memory: what is not the last message, or not seen, is a data race

A program is a tuple of threads, a thread a list of steps made by the functions below. Values may be functions of the thread's registers.
"""


class Failure(Exception):
    pass


def load(reg, at, order="relaxed"):
    return ("load", reg, at, order)


def store(at, value, order="relaxed"):
    return ("store", at, value, order)


def cas(reg, at, expected, desired, order="acq_rel"):
    """reg: whether it wrote."""
    return ("cas", reg, at, expected, desired, order)


def swap(reg, at, value, order):
    return ("swap", reg, at, value, order)


def read(reg, at):
    return ("read", reg, at)


def write(at, value):
    return ("write", at, value)


def check(what, condition):
    return ("check", what, condition)


def jump(label, condition=lambda r: True):
    return ("jump", label, condition)


def label(name):
    return ("label", name)


def sleep_while(at, value):
    """FUTEX_WAIT: goes on when it is woken, or at once where the last message isn't `value`."""
    return ("sleep", at, value)


def wake(at):
    """FUTEX_WAKE of one."""
    return ("wake", at)


def acquires(order):
    return order in ("acquire", "acq_rel")


def releases(order):
    return order in ("release", "acq_rel")


def value_of(value, regs):
    return value(dict(regs)) if callable(value) else value


class Memory:
    """rows: location -> messages in modification order, each (number, value, view, right behind which one)."""

    def __init__(self, rows):
        self.rows = rows
        self.places = {at: {m[0]: i for i, m in enumerate(row)} for at, row in rows}

    def row(self, at):
        return dict(self.rows).get(at) or ((0, 0, (), None),)

    def place(self, at, view):
        return self.places.get(at, {}).get(dict(view).get(at, 0), 0)

    def put(self, at, index, value, view, behind):
        row = self.row(at)
        number = 1 + max(m[0] for m in row)
        if view is not None:
            view = tuple(sorted({**dict(view), at: number}.items()))
        rows = dict(self.rows)
        rows[at] = row[:index] + ((number, value, view or ((at, number),), behind),) + row[index:]
        return Memory(tuple(sorted(rows.items()))), number


def with_view(view, at, number):
    return tuple(sorted({**dict(view), at: number}.items()))


def join(memory, a, b):
    """The later of two views of each location."""
    view = dict(a)
    for at, message in b:
        places = memory.places.get(at, {0: 0})
        if at not in view or places[message] > places[view[at]]:
            view[at] = message
    return tuple(sorted(view.items()))


def steps_of(program, state):
    """The states that follow."""
    memory_rows, threads = state
    memory = Memory(memory_rows)
    for t, (pc, regs, view, asleep) in enumerate(threads):
        code = program[t]
        if asleep or pc >= len(code):
            continue

        def after(memory=memory, pc=pc + 1, regs=regs, view=view, asleep=None, woken=None):
            rest = list(threads)
            rest[t] = (pc, regs, view, asleep)
            if woken is not None:
                w = rest[woken]
                rest[woken] = (w[0], w[1], w[2], None)
            return (memory.rows, tuple(rest))

        def set_reg(name, value):
            return tuple(sorted({**dict(regs), name: value}.items()))

        step = code[pc]
        kind = step[0]
        if kind == "label":
            yield after()
        elif kind == "jump":
            target = next(i for i, s in enumerate(code) if s[:2] == ("label", step[1]))
            yield after(pc=target if step[2](dict(regs)) else pc + 1)
        elif kind == "check":
            if not step[2](dict(regs)):
                raise Failure(f"{step[1]}: {dict(regs)}")
            yield after()
        elif kind == "load":
            _, reg, at, order = step
            at = value_of(at, regs)
            for number, value, message_view, _ in memory.row(at)[memory.place(at, view):]:
                seen = with_view(view, at, number)
                yield after(regs=set_reg(reg, value), view=join(memory, seen, message_view) if acquires(order) else seen)
        elif kind == "store":
            _, at, value, order = step
            at = value_of(at, regs)
            row = memory.row(at)
            for index in range(memory.place(at, view) + 1, len(row) + 1):
                if index < len(row) and row[index][3] == row[index - 1][0]:
                    continue
                put, number = memory.put(at, index, value_of(value, regs), view if releases(order) else None, None)
                yield after(memory=put, view=with_view(view, at, number))
        elif kind in ("cas", "swap"):
            reg, at, order = step[1], value_of(step[2], regs), step[-1]
            row = memory.row(at)
            for index in range(memory.place(at, view), len(row)):
                number, value, message_view, _ = row[index]
                seen = with_view(view, at, number)
                if kind == "cas" and value != value_of(step[3], regs):
                    yield after(regs=set_reg(reg, False), view=join(memory, seen, message_view) if acquires(order) else seen)
                    continue
                if index + 1 < len(row) and row[index + 1][3] == number:
                    continue
                if acquires(order):
                    seen = join(memory, seen, message_view)
                carried = join(memory, seen, message_view) if releases(order) else message_view
                put, written = memory.put(at, index + 1, value_of(step[-2], regs), carried, number)
                yield after(memory=put, regs=set_reg(reg, value if kind == "swap" else True), view=with_view(seen, at, written))
        elif kind in ("read", "write"):
            at = value_of(step[2] if kind == "read" else step[1], regs)
            row = memory.row(at)
            if memory.place(at, view) != len(row) - 1:
                raise Failure(f"data race on {at}")
            if kind == "read":
                yield after(regs=set_reg(step[1], row[-1][1]))
            else:
                put, number = memory.put(at, len(row), value_of(step[2], regs), None, None)
                yield after(memory=put, view=with_view(view, at, number))
        elif kind == "sleep":
            _, at, value = step
            yield after(asleep=at if memory.row(at)[-1][1] == value else None)
        elif kind == "wake":
            sleepers = [u for u, other in enumerate(threads) if other[3] == step[1]]
            if not sleepers:
                yield after()
            for sleeper in sleepers:
                yield after(woken=sleeper)


def explore(program, most=400000):
    """Every state; the number of them. Raises Failure: a check that doesn't hold, a race, threads that sleep for ever."""
    first = ((), tuple((0, (), (), None) for _ in program))
    seen, todo = {first}, [first]
    while todo:
        state = todo.pop()
        moved = False
        for following in steps_of(program, state):
            moved = True
            if following not in seen:
                seen.add(following)
                todo.append(following)
        if not moved and any(thread[3] for thread in state[1]):
            raise Failure("a thread sleeps for ever")
        if len(seen) > most:
            raise RuntimeError(f"more than {most} states")
    return len(seen)
