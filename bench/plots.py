"""Pictures of the results, drawn by gnuplot as SVG."""
import os
import re
import shutil
import subprocess
from dataclasses import dataclass

import rows
from allocators import FLOOR, HAKMEM, NOTHING

# By allocator, the same in every picture; others take what is left.
COLOURS = {HAKMEM: "#c0392b", "glibc": "#7f8c8d", "mimalloc": "#2980b9", "jemalloc": "#27ae60", "tcmalloc": "#8e44ad",
           FLOOR: "#d4ac0d", NOTHING: "#bdc3c7"}
SPARE = ("#16a085", "#d35400", "#2c3e50", "#f39c12")


class Failed(Exception):
    pass


@dataclass(frozen=True)
class Picture:
    chapter: str
    title: str
    link: str  # relative to the report


def available():
    return shutil.which("gnuplot") is not None


def _slug(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _colour(results, name):
    others = [one for one in results.libraries if one not in COLOURS]
    return COLOURS.get(name) or SPARE[others.index(name) % len(SPARE)]


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _data(number, points):
    lines = "\n".join(" ".join(map(str, point)) for point in points)
    return f"$data{number} << END\n{lines}\nEND\n"


def _draw(path, title, settings, curves):
    """curves: [(points, how to plot them)...]"""
    script = ["set encoding utf8", "set terminal svg size 860,420 font 'sans-serif,12' background 'white'",
              f"set output {_quoted(str(path))}", f"set title {_quoted(title)} noenhanced", "set grid ytics lc '#dddddd'",
              "set key outside right noenhanced", *settings]
    script += [_data(number, points) for number, (points, _) in enumerate(curves)]
    script.append("plot " + ", ".join(f"$data{number} {how}" for number, (_, how) in enumerate(curves)))
    done = subprocess.run(["gnuplot"], input="\n".join(script) + "\n", env=os.environ | {"LC_ALL": "C.UTF-8"},
                          capture_output=True, text=True, check=False)
    if done.returncode != 0 or done.stderr:
        raise Failed(f"gnuplot: {path.name}: {done.stderr.strip()}")
    lines = path.read_text(encoding="utf-8").splitlines()  # gnuplot leaves white space at the ends of lines
    path.write_text("\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n", encoding="utf-8")


def _throughput(results, folder):
    """A curve for each allocator: millions of operations a second against the working set."""
    for series in dict.fromkeys(row.series for row in rows.ROWS if row.series):
        found = [row for row in rows.ROWS if row.series == series and row.name in results.rows()]
        if len(found) < 2:
            continue
        curves = []
        for name in results.allocators():
            points = [(row.ws, results.median(row.name, name, "speed")) for row in found if results.has(row.name, name)]
            if points:
                curves.append((points, f"using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb '{_colour(results, name)}' "
                                       f"title {_quoted(name)}"))
        title = f"random_mixed, {series}"
        path = folder / f"throughput-{_slug(series)}.svg"
        ticks = ", ".join(f"{_quoted(rows.ws_text(row.ws))} {row.ws}" for row in found)
        _draw(path, title, ["set logscale x 2", f"set xtics ({ticks})", f"set xrange [*:{1.1 * found[-1].ws}]",
                            "set xlabel 'working set, slots of each thread'", "set yrange [0:*]",
                            "set ylabel 'M operations a second'"], curves)
        yield Picture(found[0].chapter, title, f"{folder.name}/{path.name}")


def _resident(results, folder):
    for row in rows.ROWS:
        traces = [trace for trace in results.traces if trace["row"] == row.name]
        if not traces:
            continue
        curves = [([(seconds, kib / 1024) for seconds, kib in trace["samples"]],
                   f"using 1:2 with lines lw 2 lc rgb '{_colour(results, trace['allocator'])}' "
                   f"title {_quoted(trace['allocator'])}") for trace in traces if len(trace["samples"]) > 1]
        if not curves:
            continue
        title = f"{row.name}: resident memory over time"
        path = folder / f"resident-{_slug(row.name)}.svg"
        _draw(path, title, ["set xlabel 'seconds'", "set ylabel 'MiB'", "set yrange [0:*]"], curves)
        yield Picture(row.chapter, title, f"{folder.name}/{path.name}")


def _bars(results, folder):
    """Speeds by peer, hakmem's being 1; for what is about memory, what is resident at the end."""
    for chapter in rows.MEANING:
        found = [row for row in rows.ROWS if row.chapter == chapter and not row.series and results.has(row.name, HAKMEM)]
        names = [name for name in results.allocators() if name not in (FLOOR, NOTHING)]
        if not found or len(names) < 2:
            continue
        memory = chapter == "memory"
        points = []
        for row in found:
            ours = results.median(row.name, HAKMEM, "speed")
            values = [(results.median(row.name, name, "end_kib") / 1024 if memory
                       else results.median(row.name, name, "speed") / ours) if results.has(row.name, name) else "?"
                      for name in names]
            points.append((_quoted(row.name).replace(", ", ",\\n"), *values))
        title = f"{chapter}: " + ("MiB resident at the end" if memory else "speed, hakmem's = 1")
        path = folder / f"bars-{_slug(chapter)}.svg"
        curves = [(points, f"using {column}:xtic(1) lc rgb '{_colour(results, name)}' title {_quoted(name)}")
                  for column, name in enumerate(names, start=2)]
        _draw(path, title, ["set style data histogram", "set style histogram clustered gap 1",
                            "set style fill solid 0.9 noborder", "set xtics noenhanced", "set bmargin 4.5",
                            "set yrange [0:*]", "set datafile missing '?'"], curves)
        yield Picture(chapter, title, f"{folder.name}/{path.name}")


def draw(results, folder):
    """All pictures for which there are results, into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return [*_throughput(results, folder), *_resident(results, folder), *_bars(results, folder)]
