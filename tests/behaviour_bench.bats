# The benchmarks work. What they measure is not asserted: no test may depend on speed.

load lib/common

setup() {
    random_mixed=$HAKMEM_BUILD/bench/random_mixed
    require_file "$random_mixed" "a build with benchmarks"
}

# The answer without the measured fields.
steps() {
    sed -E 's/(mops|rss_kib|end_kib)=[^ ]* //g; s/ malloc=.*//'
}

@test "random_mixed takes the same steps on every allocator, and others with another seed" {
    local options=(--ops 100000 --ws 512 --threads 2)
    local without
    without=$("$random_mixed" "${options[@]}" | steps)
    [[ "$without" =~ ^allocs=[1-9][0-9]*\ bytes=[1-9][0-9]*$ ]]
    [ "$(hk_preload "$random_mixed" "${options[@]}" | steps)" = "$without" ]
    [ "$(env LD_PRELOAD="$HAKMEM_BUILD/bench/libfloor.so" "$random_mixed" "${options[@]}" | steps)" = "$without" ]
    [ "$("$random_mixed" "${options[@]}" --null | steps)" = "$without" ]
    [ "$("$random_mixed" "${options[@]}" --seed 2 | steps)" != "$without" ]
}

@test "the floor allocator serves a real program" {
    seq 100000 | sort -R --random-source=<(yes) >"$BATS_TEST_TMPDIR/lines"
    env LD_PRELOAD="$HAKMEM_BUILD/bench/libfloor.so" sort -n "$BATS_TEST_TMPDIR/lines" | cmp - <(seq 100000)
}

@test "bench/run runs every row under every allocator, and its Markdown, CSV, JSON and pictures hold them all" {
    require_command python3
    require_command gnuplot
    local report="$BATS_TEST_TMPDIR/report"
    "$HAKMEM_SOURCE/bench/run" --build "$HAKMEM_BUILD" --rounds 1 --scale 0.002 --patience 0 --output "$report.md" \
        2>"$BATS_TEST_TMPDIR/log" || fail "$(tail -n 5 "$BATS_TEST_TMPDIR/log")"
    ! grep 'left out' "$BATS_TEST_TMPDIR/log" || skip_or_fail "needs what was left out"
    python3 - "$report" "$HAKMEM_SOURCE/bench" <<'PROGRAM'
import csv, json, re, sys, xml.etree.ElementTree as tree
from pathlib import Path
report, source = Path(sys.argv[1]), sys.argv[2]
sys.dont_write_bytecode = True
sys.path.insert(0, source)
import rows
runs = json.loads((report / "results.json").read_text())["runs"]
everybody = {"hakmem", "glibc", "mimalloc", "jemalloc", "tcmalloc"}
for row in rows.ROWS:
    ran = {run["allocator"] for run in runs if run["row"] == row.name}
    assert ran == everybody | ({"floor", "no allocator"} if row.floor else set()), (row.name, ran)
assert all(run["speed"] > 0 and run["rss_kib"] > 0 for run in runs)
with open(report / "runs.csv", newline="") as lines:
    assert [{name: str(value) for name, value in run.items()} for run in runs] == list(csv.DictReader(lines))
text = report.with_suffix(".md").read_text()
for heading in ("Targets", "At a glance", "Raw data", *rows.MEANING):
    assert f"\n## {heading}\n" in text, heading
pictures = re.findall(r"^!\[.*\]\((.*)\)$", text, re.M)
kinds = {re.match(r"report/([a-z]+)-", picture)[1] for picture in pictures}
assert kinds == {"throughput", "resident", "bars"}, kinds
for picture in pictures:
    root = tree.parse(report.parent / picture).getroot()
    assert root.tag.endswith("svg") and len(list(root.iter())) > 50, picture
for line in text.splitlines():
    if line.startswith("| PC, one allocates"):
        break
else:
    sys.exit("no line of a row")
PROGRAM
}

# results_of HAKMEM PEER: as bench/run keeps them, of one row in two rounds with these speeds.
results_of() {
    local name=$1 ours=$2 theirs=$3 runs='' allocator round speed
    for allocator in hakmem mimalloc; do
        for round in 1 2; do
            speed=$theirs
            [ "$allocator" = mimalloc ] || speed=$ours
            runs+="${runs:+,}{\"row\": \"$name\", \"allocator\": \"$allocator\", \"round\": $round, \"speed\": $speed,
                   \"rss_kib\": 1024, \"end_kib\": 1024}"
        done
    done
    printf '{"format": 1, "machine": "a machine", "libraries": {"hakmem": "a.so", "mimalloc": "b.so"}, "runs": [%s]}\n' "$runs"
}

@test "the report says of each target whether it is met, from the runs, and merges results" {
    require_command python3
    results_of "PC, one allocates, one frees, 64 B" 100 20 >"$BATS_TEST_TMPDIR/fast"
    results_of "PC, one allocates, one frees, 64 B" 100 40 >"$BATS_TEST_TMPDIR/slow"
    results_of "phases" 8 4 >"$BATS_TEST_TMPDIR/other"
    "$HAKMEM_SOURCE/bench/run" --from "$BATS_TEST_TMPDIR/fast" --from "$BATS_TEST_TMPDIR/other" >"$BATS_TEST_TMPDIR/report"
    grep -qF '| PC: 3x mimalloc | PC, one allocates, one frees, 64 B / mimalloc | 5.000 (5.000..5.000) | met |' "$BATS_TEST_TMPDIR/report"
    grep -qF '| first or within 3 % of the first | phases / mimalloc | 2.000 (2.000..2.000) | met |' "$BATS_TEST_TMPDIR/report"
    "$HAKMEM_SOURCE/bench/run" --from "$BATS_TEST_TMPDIR/slow" >"$BATS_TEST_TMPDIR/report"
    grep -qF '/ mimalloc | 2.500 (2.500..2.500) | **not met** |' "$BATS_TEST_TMPDIR/report"
    "$HAKMEM_SOURCE/bench/run" --from "$BATS_TEST_TMPDIR/slow" --from "$BATS_TEST_TMPDIR/fast" >"$BATS_TEST_TMPDIR/report"
    run "$HAKMEM_SOURCE/bench/run" --from "$BATS_TEST_TMPDIR/slow" --from <(sed s/a.so/c.so/ "$BATS_TEST_TMPDIR/fast")
    [ "$status" -eq 2 ]
    [[ "$output" == *"hakmem is a.so in one file and c.so in another"* ]]
    grep -qE 'PC: 3x mimalloc .* 3\.536 \([0-9.]+\.\.[0-9.]+\) \| met' "$BATS_TEST_TMPDIR/report"
}

@test "bench/run tells a bad command line, a missing library and a failed run from success" {
    require_command python3
    run "$HAKMEM_SOURCE/bench/run" --only "no such row"
    [ "$status" -eq 2 ]
    [[ "$output" == *"no row has that name"* ]]
    run "$HAKMEM_SOURCE/bench/run" --build "$HAKMEM_BUILD" --peer none=/nonexistent.so --only "64 B, WS 256"
    [ "$status" -eq 2 ]
    [[ "$output" == *"there is no /nonexistent.so"* ]]
    run "$HAKMEM_SOURCE/bench/run" --from /nonexistent.json
    [ "$status" -eq 2 ]
    cp "$HAKMEM_SOURCE/LICENSE" "$BATS_TEST_TMPDIR/nolibrary.so"
    run "$HAKMEM_SOURCE/bench/run" --build "$HAKMEM_BUILD" --peer "bad=$BATS_TEST_TMPDIR/nolibrary.so" --only "64 B, WS 256" \
        --rounds 1 --scale 0.001 --patience 0
    [ "$status" -eq 1 ]
    [[ "$output" == *"bad: "* ]]
    "$HAKMEM_SOURCE/bench/run" --list --only handover | grep -qFx '    XT, both do both, 64 B'
}

# account_of OPTION...: hakmem's account of a run of random_mixed, by a clock that is the same each time.
account_of() {
    env "LD_PRELOAD=$HAKMEM_BUILD/bench/libcounts.so:$HAKMEM_LIB" "BENCH_COUNTS=$BATS_TEST_TMPDIR/account" \
        "$random_mixed" "$@" >/dev/null
    cat "$BATS_TEST_TMPDIR/account"
}

@test "of a million steps at any working set a few misses and drains are left, and the same ones each time" {
    local ws account again
    for ws in 256 8192 65536; do
        account=$(account_of --ws "$ws" --ops 2000000)
        again=$(account_of --ws "$ws" --ops 2000000)
        [ "$account" = "$again" ] || fail "WS $ws: $account" "$again"
        awk -v ws="$ws" '{ n[$1] = $2 } END {
            exit !(n["allocs"] + n["frees"] >= 2000000 && n["misses"] <= 1000 && n["drains"] <= 1000 && n["fallbacks"] == 0) }' \
            <<<"$account" || fail "WS $ws: $account"
    done
    [ "$(account_of --ws 8192 --ops 100000)" != "$(account_of --ws 8192 --ops 100000 --seed 2)" ]
}

# Per million steps of the steady state: entries to the slow paths of malloc and free; instructions a step, without the loop's.
@test "slow paths and instructions of a step stay within their bounds at each working set, and the same each time" {
    require_command valgrind
    require_command python3
    "$HAKMEM_SOURCE/bench/counts.py" --build "$HAKMEM_BUILD" 256 8192 65536 >"$BATS_TEST_TMPDIR/first"
    "$HAKMEM_SOURCE/bench/counts.py" --build "$HAKMEM_BUILD" 256 8192 >"$BATS_TEST_TMPDIR/second"
    [ "$(head -n 2 "$BATS_TEST_TMPDIR/first")" = "$(cat "$BATS_TEST_TMPDIR/second")" ]
    awk '{ gsub(",", ""); for (i = 1; i < NF; i++) n[$i] = $(i + 1)
           if (n["instructions"] < 10 || n["instructions"] > 29 || n["cache_alloc_slow"] + n["cache_free_slow"] > 1500) bad = 1 }
         END { exit bad || NR != 3 }' "$BATS_TEST_TMPDIR/first" || fail "$(cat "$BATS_TEST_TMPDIR/first")"
}

@test "bench/overhead tells what probes cost that are compiled out and that are watched" {
    require_command python3
    require_command ld.lld lld
    local variants=(--variant control --variant without) columns="control | without"
    if [ "$(id -u)" -eq 0 ] && [ -x "$HAKMEM_BUILD/hkstat" ]; then
        variants+=(--variant attached --pin-dir "/sys/fs/bpf/hakmem-test-$BASHPID")
        columns="control | without | attached"
    fi
    "$HAKMEM_SOURCE/bench/overhead" --build "$HAKMEM_BUILD" --rounds 2 --layouts 2 --scale 0.1 --only "WS 256" "${variants[@]}" \
        >"$BATS_TEST_TMPDIR/report" 2>"$BATS_TEST_TMPDIR/log" || fail "$(tail -n 3 "$BATS_TEST_TMPDIR/log")"
    grep -Fqx "| load | $columns |" "$BATS_TEST_TMPDIR/report"
    grep -Eq '^\| random_mixed, WS 256( \| [0-9.]+ \([0-9.]+\.\.[0-9.]+\)){2,3} \|$' "$BATS_TEST_TMPDIR/report"
    ! "$HAKMEM_SOURCE/bench/overhead" --build "$HAKMEM_BUILD" --only "no such load"
}

@test "compiled in and idle: malloc and free are the same code, and no load takes a thousandth more instructions" {
    require_command python3
    require_command valgrind
    "$HAKMEM_SOURCE/bench/overhead" --build "$HAKMEM_BUILD" --instructions --scale 0.5 >"$BATS_TEST_TMPDIR/report"
    grep -Fqx "malloc and free, with probes and without: the same code." "$BATS_TEST_TMPDIR/report" || fail "$(cat "$BATS_TEST_TMPDIR/report")"
    awk -F '|' '/WS/ { share = $5; loads++; if (share + 0 > 0.05 || share + 0 < -0.05) bad = 1 } END { exit bad || loads != 3 }' \
        "$BATS_TEST_TMPDIR/report" || fail "$(cat "$BATS_TEST_TMPDIR/report")"
}

@test "bench/watched tells what being sampled costs, under hkheap and by guard pages" {
    require_command python3
    local variants=(--variant guard) rows=2
    if [ "$(id -u)" -eq 0 ] && [ -x "$HAKMEM_BUILD/hkheap" ]; then
        variants+=(--variant heap)
        rows=3
    fi
    "$HAKMEM_SOURCE/bench/watched" --build "$HAKMEM_BUILD" --rounds 2 --seconds 2 --rate 100000000 "${variants[@]}" >"$BATS_TEST_TMPDIR/report"
    [ "$(grep -cE '^\| (alone|heap|guard) \| [0-9.]+ \| (-?[0-9.]+ \(-?[0-9.]+\.\.-?[0-9.]+\))? ?\|$' "$BATS_TEST_TMPDIR/report")" -eq "$rows" ] ||
        fail "$(cat "$BATS_TEST_TMPDIR/report")"
    run "$HAKMEM_SOURCE/bench/watched" --build "$HAKMEM_BUILD" --rounds 1
    [ "$status" -eq 2 ]
}

@test "bench/misuse counts who stops what" {
    run --separate-stderr "$HAKMEM_SOURCE/bench/misuse" --build "$HAKMEM_BUILD" --kind double_free_after_100 --kind free_stack
    [ "$status" -eq 0 ] || fail "$stderr"
    [ "${lines[0]}" = "| bug | programs | hakmem | glibc | mimalloc | jemalloc | tcmalloc |" ] || fail "$output"
    [[ "${lines[2]}" == "| double free | 6 | 6 stopped, 0 crashed, 0 unnoticed | "*" unnoticed |" ]] || fail "$output"
    [[ "${lines[-1]}" == "| all | 12 | 12 stopped, 0 crashed, 0 unnoticed | "* ]] || fail "$output"
    run "$HAKMEM_SOURCE/bench/misuse" --build "$HAKMEM_BUILD" --kind none
    [ "$status" -eq 1 ] && [[ "$output" == *"no such bug: none; there are double_free,"* ]] || fail "$output"
}
