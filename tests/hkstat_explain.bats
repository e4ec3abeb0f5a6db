# hkstat_explain.bats - what the memory of real processes is used for: tests/explain/holder.c, whose memory is known, python, a core,
# and what goes wrong. The sums are compared with the kernel's.
# bats: parallel
load lib/common

setup() {
    require_command jq
    require_command python3
    require_file "$HAKMEM_BUILD/hkstat" "hkstat"
    HKSTAT="$HAKMEM_BUILD/hkstat"
    SAID="$BATS_TEST_TMPDIR/said.json"
    STARTED=""
}

teardown() {
    end_started
}

# hold KIND [NAME=VALUE...]: PID holds memory so. tell WORD: it does that; ANSWER is what it says.
hold() {
    local kind=$1
    shift
    ANSWERS="$BATS_TEST_TMPDIR/answers$RANDOM"
    mkfifo "$ANSWERS.in"
    env "LD_PRELOAD=$HAKMEM_LIB" "$@" "${PROGRAM:-$(hk_test_program explain/holder)}" "$kind" <"$ANSWERS.in" >"$ANSWERS" 3>&- &
    PID=$!
    STARTED+=" $PID"
    exec {INPUT}>"$ANSWERS.in"
    LINES_SEEN=0
    next_answer
}

has_answer() {
    [ "$(wc -l <"$ANSWERS")" -gt "$LINES_SEEN" ]
}

next_answer() {
    wait_for 60 has_answer || fail "no answer"
    LINES_SEEN=$((LINES_SEEN + 1))
    ANSWER=$(sed -n "${LINES_SEEN}p" "$ANSWERS")
}

tell() {
    echo "$1" >&"$INPUT"
    next_answer
}

explain() {
    "$HKSTAT" explain --json "$@" >"$SAID" || fail "explain $* failed"
}

# said FILTER: of what explain said.
said() {
    jq -e "$1" "$SAID" >/dev/null || fail "not so: $1" "$(cat "$SAID")"
}

number() {
    jq "$1" "$SAID"
}

# within PERCENT A B: of each other.
within() {
    awk -v p="$1" -v a="$2" -v b="$3" 'BEGIN { d = a - b; exit !((d < 0 ? -d : d) * 100 <= p * b) }'
}

# adds_up: the rows of PID, which does nothing meanwhile, are what smaps says, within 1 %.
adds_up() {
    local rss
    explain "$PID"
    rss=$(($(awk '/^Rss:/ { print $2 }' "/proc/$PID/smaps_rollup") * 1024))
    within 1 "$(number '[.resident[]] | add')" "$rss" || fail "$* : $(number '[.resident[]] | add') of $rss" "$(cat "$SAID")"
    within 1 "$(number .rss_bytes)" "$rss" || fail "$*: rss_bytes is $(number .rss_bytes), not $rss"
    said '.partial == false and .unreadable_tables == 0'
}

@test "the rows add up to the kernel's RSS, whatever the configuration" {
    local conf
    for conf in "" harden:1 region:0 superslabs:3 guard:100 cache:0; do
        hold mixed "HAKMEM_CONF=$conf"
        adds_up "$conf"
        tell info
        within 1 "$(number .live_bytes)" "$ANSWER" || fail "$conf: live are $(number .live_bytes), mallinfo2 says $ANSWER"
        end_started
        STARTED=""
    done
}

@test "what the rows say is what the program did" {
    hold mixed
    explain "$PID"
    tell info
    [ "$(number .live_bytes)" -eq "$ANSWER" ] || fail "live are $(number .live_bytes), mallinfo2 says $ANSWER"
    said '.resident | .live > 2e6 and .live_large > 1e6 and .live_huge > 1e6 and .slab_free > 1e5 and .metadata > 1e5 and .quarantine == 0'
    said '(.classes | map(.live_blocks * .size) | add) as $small | $small + 0 <= .live_bytes'
    said '(.large_classes | map(.cached_resident_bytes) | add) == .resident.cached_large + .resident.cached_huge'
    said '.large_classes | map(select(.size == 0)) | .[0].live_blocks > 5 and (map(.live_blocks) | add) == .[0].live_blocks'
    said '(.large_classes | map(.live_blocks) | add) > 100'
    said '.comm == "holder" and .threads[0].tid == .pid'
    tell drop
    tell trim
    explain "$PID"
    said '.resident | .live < 1e5 and .live_huge == 0 and .live_large == 0 and .thread_caches == 0 and .chains == 0 and .units == 0'
    hold mixed HAKMEM_CONF=harden:1
    explain "$PID"
    said '.resident.quarantine > 1e5 and .resident.thread_caches == 0'
    hold mixed HAKMEM_CONF=guard:100
    explain "$PID"
    said '.resident.live_guarded > 0'
}

@test "what malloc_trim would give back is foretold" {
    local conf foretold
    for conf in "" region:0 cache:0; do
        hold mixed "HAKMEM_CONF=$conf"
        explain "$PID"
        foretold=$(number .trim_bytes)
        tell trim
        [ "$foretold" -gt 1000000 ] && within 5 "$foretold" "$ANSWER" || fail "$conf: foretold $foretold, given back $ANSWER"
    done
}

@test "a thread that hoards and sleeps shows, by its id" {
    local tid
    hold hoard
    tid=$(ls "/proc/$PID/task" | grep -vx "$PID")
    explain "$PID"
    said ".threads | length == 2 and (map(select(.tid == $tid)) | .[0].bytes > 20000 and .[0].blocks > 20)"
    said '(.threads | map(.bytes) | add) == .resident.thread_caches'
    run "$HKSTAT" explain "$PID"
    [[ "$output" =~ "Thread caches (2 threads have one)" ]] && [[ "$output" =~ [[:space:]]$tid[[:space:]] ]] || fail "$output"
}

@test "gigabytes of SuperSlabs for 278 KB: the cause is named, and the memory comes back" {
    hold disaster HAKMEM_CONF=decay_ms:3600000
    adds_up disaster
    said '.live_bytes > 250e3 and .live_bytes < 400e3 and .superslabs > 500'
    said '.resident | .slab_free + .thread_caches + .chains > 1.0e9'
    said '.cause | contains("Fragmentation") and contains("class of 16 bytes")'
    local foretold
    foretold=$(number .trim_bytes)
    tell trim
    within 5 "$foretold" "$ANSWER" || fail "foretold $foretold, given back $ANSWER"
    explain "$PID"
    said '.rss_bytes < 120e6 and .live_bytes > 250e3'
    tell drop
    tell trim
    explain "$PID"
    said '.rss_bytes < 20e6'
    # By itself, as it is set by default, nearly all went back while it was freed.
    hold disaster
    explain "$PID"
    said '.rss_bytes < 300e6 and .live_bytes > 250e3 and .live_bytes < 400e3'
}

@test "a process whose main thread has ended adds up" {
    local rss tid
    hold headless
    explain "$PID"
    for tid in /proc/"$PID"/task/*; do
        tid=${tid##*/}
        [ "$tid" = "$PID" ] || rss=$(($(awk '/^Rss:/ { print $2 }' "/proc/$tid/smaps_rollup") * 1024))
    done
    within 1 "$(number '[.resident[]] | add')" "$rss" || fail "$(number '[.resident[]] | add') of $rss" "$(cat "$SAID")"
    said ".pid == $PID and .comm == \"holder\" and .partial == false and .live_bytes > 1e7"
}

@test "redis adds up" {
    require_command redis-server
    env "LD_PRELOAD=$HAKMEM_LIB" redis-server --port 0 --unixsocket "$BATS_TEST_TMPDIR/socket" --save "" --enable-debug-command local \
        --dir "$BATS_TEST_TMPDIR" >"$BATS_TEST_TMPDIR/redis" 2>&1 3>&- &
    PID=$!
    STARTED+=" $PID"
    wait_for 20 redis-cli -s "$BATS_TEST_TMPDIR/socket" ping
    redis-cli -s "$BATS_TEST_TMPDIR/socket" debug populate 200000 key 100 >/dev/null
    redis-cli -s "$BATS_TEST_TMPDIR/socket" dbsize | grep -q 200000
    adds_up redis
    said '.resident.live > 20e6 and .comm == "redis-server"'
}

@test "python adds up" {
    env "LD_PRELOAD=$HAKMEM_LIB" PYTHONMALLOC=malloc python3 -c '
import sys, time
d = {i: [i] * 20 for i in range(100000)}
for i in range(0, 100000, 2):
    del d[i]
print("ready", flush=True)
time.sleep(100)' >"$BATS_TEST_TMPDIR/python" 3>&- &
    PID=$!
    STARTED+=" $PID"
    wait_for 30 grep -q ready "$BATS_TEST_TMPDIR/python"
    adds_up python
    said '.resident.live > 10e6 and .comm == "python3"'
}

@test "a core file tells the same as the process did" {
    require_command gcore gdb
    hold hoard
    explain "$PID"
    cp "$SAID" "$BATS_TEST_TMPDIR/live.json"
    gcore -o "$BATS_TEST_TMPDIR/core" "$PID" >/dev/null 2>&1
    local core="$BATS_TEST_TMPDIR/core.$PID"
    end_started
    STARTED=""
    explain --core "$core"
    said '.partial == false and .pid == '"$PID"' and .comm == "holder" and .core != null'
    local field
    for field in .live_bytes .resident.live .resident.slab_free .resident.thread_caches .resident.chains .trim_bytes; do
        within 3 "$(number "$field")" "$(jq "$field" "$BATS_TEST_TMPDIR/live.json")" ||
            fail "$field: $(number "$field"), was $(jq "$field" "$BATS_TEST_TMPDIR/live.json")"
    done
    [ "$(number '.threads | tojson')" = "$(jq '.threads | tojson' "$BATS_TEST_TMPDIR/live.json")" ]
}

@test "a core that is cut off, damaged or of another program: a clear error, or what there is, marked partial" {
    require_command gcore gdb
    hold mixed
    gcore -o "$BATS_TEST_TMPDIR/core" "$PID" >/dev/null 2>&1
    local core="$BATS_TEST_TMPDIR/core.$PID" size cut="$BATS_TEST_TMPDIR/cut" part
    size=$(stat -c %s "$core")
    for part in 0 50 1000 $((size / 10)) $((size / 2)) $((size - 5000)); do
        head -c "$part" "$core" >"$cut"
        run timeout 20 "$HKSTAT" explain --core "$cut"
        [ "$status" -le 1 ] || fail "of $part bytes: $status"
        [ "$status" -eq 0 ] && [[ "$output" == *artial* ]] || [[ "$output" == "hkstat explain: "* ]] || fail "of $part bytes: $output"
    done
    # Bytes overwritten here and there: no crash, no hang.
    local seed
    for seed in 1 2 3 4 5 6 7 8; do
        python3 -c '
import random, sys
random.seed(int(sys.argv[3]))
data = bytearray(open(sys.argv[1], "rb").read())
for _ in range(20000):
    data[random.randrange(len(data)) if random.random() < 0.9 else random.randrange(4096)] = random.randrange(256)
open(sys.argv[2], "wb").write(data)' "$core" "$cut" "$seed"
        run timeout 60 "$HKSTAT" explain --json --svg "$BATS_TEST_TMPDIR/cut.svg" --core "$cut"
        [ "$status" -le 1 ] || fail "seed $seed: $status"
    done
    run "$HKSTAT" explain --core "$HAKMEM_LIB"
    [ "$status" -eq 1 ] && [[ "$output" == *"is no core file of this machine" ]] || fail "$output"
    run "$HKSTAT" explain --core /nowhere
    [ "$status" -eq 1 ] && [[ "$output" == "hkstat explain: can't read /nowhere: No such file or directory" ]] || fail "$output"
}

@test "a core whose segments overlap, end where addresses end, or are larger than the memory: an error at once" {
    local kind core="$BATS_TEST_TMPDIR/core"
    for kind in top overlap sparse many; do
        python3 "$HAKMEM_SOURCE/tests/explain/hostile_core.py" "$kind" "$core"
        run timeout 20 "$HKSTAT" explain --core "$core"
        [ "$status" -eq 1 ] && [[ "$output" == "hkstat explain: "*core* ]] && [[ "$output" != *"can't map"* ]] || fail "$kind: $status: $output"
        rm "$core"
    done
}

@test "tables that lead round and round, or claim all addresses, end, and are told as partial" {
    local kind
    for kind in threads chunks leaves; do
        hold hoard
        python3 "$HAKMEM_SOURCE/tests/explain/corrupt.py" "$HAKMEM_LIB" "$PID" "$kind"
        timeout 10 "$HKSTAT" explain --json "$PID" >"$SAID" || fail "$kind: $?"
        said '.partial and .unreadable_tables > 0 and (.threads | length) <= 2 and .rss_bytes > 1e6'
        said '[.resident[]] | min >= 0 and add < 1e12'
        kill -KILL "$PID"
    done
}

@test "the picture and the map show every SuperSlab" {
    local svg="$BATS_TEST_TMPDIR/picture.svg" count
    hold mixed
    explain "$PID" --svg "$svg"
    count=$(number .superslabs)
    [ "$count" -gt 3 ]
    [ "$(python3 -c '
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
print(len(root.findall("{http://www.w3.org/2000/svg}g")))' "$svg")" -eq "$count" ]
    run "$HKSTAT" explain --map "$PID"
    [ "$(grep -cE '^ *0x[0-9a-f]+ [._0-9#L]{32} ' <<<"$output")" -eq "$count" ] || fail "$output"
    # A process whose name is markup.
    cp "$(hk_test_program explain/holder)" "$BATS_TEST_TMPDIR/<b>&\"x"
    PROGRAM="$BATS_TEST_TMPDIR/<b>&\"x" hold mixed
    "$HKSTAT" explain "$PID" --svg "$svg" >/dev/null
    python3 -c 'import sys, xml.etree.ElementTree as tree; tree.parse(sys.argv[1])' "$svg"
}

@test "a process that is busy, that ends, forks or calls exec meanwhile, is told in part or by an error" {
    local kind round
    env "LD_PRELOAD=$HAKMEM_LIB" "$(hk_test_program behaviour/threads)" exchange 4 4000000000 >/dev/null 2>&1 3>&- &
    PID=$!
    STARTED+=" $PID"
    wait_for 10 grep -q libhakmem "/proc/$PID/maps"
    for round in 1 2 3 4 5; do
        explain "$PID"
        said '.rss_bytes > 0 and (.resident | map(. >= 0) | all)'
    done
    for kind in exec fork; do
        hold "$kind"
        for round in 1 2 3 4 5 6 7 8 9 10; do
            run timeout 20 "$HKSTAT" explain --json "$PID"
            [ "$status" -eq 0 ] || [[ "$status" -eq 1 && "$output" == "hkstat explain: "* ]] || fail "$kind: $status: $output"
        done
    done
    for round in 1 2 3 4 5 6 7 8; do
        hold mixed
        (sleep "0.00$round" && kill -KILL "$PID") &
        run timeout 20 "$HKSTAT" explain --json "$PID"
        [ "$status" -eq 0 ] || [[ "$status" -eq 1 && "$output" == "hkstat explain: "* ]] || fail "$status: $output"
    done
}

@test "a process without the library, a stripped one, one of another layout, the kernel's, none at all, no right" {
    sleep 100 3>&- &
    STARTED+=" $!"
    run "$HKSTAT" explain $!
    [ "$status" -eq 1 ] && [[ "$output" == *"does not use hakmem"* ]] || fail "$output"
    run "$HKSTAT" explain 2
    [ "$status" -eq 1 ] && [[ "$output" == *"process 2 has no memory: it is the kernel's"* ]] || fail "$output"
    run "$HKSTAT" explain 4000000
    [ "$status" -eq 1 ] && [[ "$output" == *"no process 4000000" ]] || fail "$output"
    run "$HKSTAT" explain
    [ "$status" -eq 64 ] || fail "$status"
    run "$HKSTAT" explain x
    [ "$status" -eq 64 ] || fail "$status"

    local library="$BATS_TEST_TMPDIR/libhakmem.so"
    cp "$HAKMEM_LIB" "$library"
    strip "$library"
    HAKMEM_LIB="$library" hold mixed
    adds_up stripped

    # Of another layout: its digest in the process is another one.
    hold mixed
    explain "$PID"
    python3 "$HAKMEM_SOURCE/tests/explain/other_layout.py" "$HAKMEM_LIB" "$PID"
    run "$HKSTAT" explain "$PID"
    [ "$status" -eq 1 ] && [[ "$output" == *"in another way than this hkstat knows"* ]] || fail "$output"

    require_root
    run setpriv --reuid=65534 --regid=65534 --clear-groups "$HKSTAT" explain "$PID"
    [ "$status" -eq 1 ] && [[ "$output" == *"CAP_SYS_PTRACE"* ]] || fail "$output"
}

@test "with a record of hkheap: how much is slack, and who holds the blocks of a class" {
    require_bpf
    local heap="$BATS_TEST_TMPDIR/heap.json"
    # Blocks of 2,000 bytes in the class of 2,048, and of 40,000 in that of 40,960: 2.4 % of slack.
    env "LD_PRELOAD=$HAKMEM_LIB" HAKMEM_CONF=sample:16k,sample_rate:0 "$(hk_test_program hkheap/leaks)" 20 >"$BATS_TEST_TMPDIR/facts" 3>&- &
    PID=$!
    STARTED+=" $PID"
    wait_for 10 grep -q ready "$BATS_TEST_TMPDIR/facts"
    "$HAKMEM_BUILD/hkheap" record -p "$PID" -s 3 -o "$heap"
    jq -e '.armed_caches > 0 and .caches >= .armed_caches' "$heap" || fail "$(head -c 600 "$heap")"
    jq -e '.slack_bytes / ([.sites[].live_bytes] | add) | . > 0.023 and . < 0.025' "$heap" || fail "$(jq .slack_bytes "$heap")"
    explain --heap "$heap" "$PID"
    said '.samples.slack_share > 0.023 and .samples.slack_share < 0.024'
    said '(.samples.slack_bytes / .live_bytes - .samples.slack_share | fabs) < 0.001'
    said '.samples.holders | map(select(.size == 40960)) | .[0].stack[0] | startswith("keep_for_ever")'
    said '.samples.holders | map(select(.size == 2048)) | length >= 1'
    run "$HKSTAT" explain --heap "$heap" "$PID"
    [[ "$output" == *" is slack: estimated from samples."* ]] || fail "$output"
    run "$HKSTAT" explain --heap "$heap" $$
    [ "$status" -eq 1 ] || fail "$output"
    echo '{"version":1,"pid":'$PID',"sites":[{"frames":[{}],"classes":[{"size":-5,"block_bytes":1e400}]},7]}' >"$heap"
    run "$HKSTAT" explain --heap "$heap" "$PID"
    [ "$status" -le 1 ] || fail "$status: $output"
}

@test "every field and row of the JSON object is in the manual" {
    local field
    hold mixed
    explain "$PID"
    for field in $(jq -r 'keys[], (.resident | keys[]), (.classes[0] | keys[]), (.threads[0] | keys[])' "$SAID") core failures slack_share holders live_resident_bytes cached_resident_bytes; do
        grep -qw "$field" "$HAKMEM_SOURCE/tools/hkstat.1" || fail "not in the manual: $field"
    done
}

@test "MEMORY.md: its commands, run as they stand there, lead where it says" {
    local script="$BATS_TEST_TMPDIR/commands" folder="$BATS_TEST_TMPDIR/case"
    require_bpf
    require_command gcore gdb
    mkdir "$folder"
    {
        echo 'set -eu; trap "kill -KILL \$PID" EXIT'
        awk '/^```sh/ { inside = 1; print "echo \"== step\""; next } /^```/ { inside = 0 } inside' "$HAKMEM_SOURCE/tools/MEMORY.md"
        echo 'trap - EXIT'
    } >"$script"
    (cd "$folder" && PATH="$HAKMEM_BUILD:$PATH" timeout 120 bash "$script" >"$folder/out" 2>"$folder/err" 3>&-) || fail "$(cat "$folder/out" "$folder/err")"
    awk '/^== step/ { n++ } n == 2' "$folder/out" | grep -q "^Most of what the allocator holds, .* is live" || fail "$(cat "$folder/out")"
    awk '/^== step/ { n++ } n == 3' "$folder/out" | grep -Eq "live .* MiB|live .* KiB" || fail "$(cat "$folder/out")"
    awk '/^== step/ { n++ } n == 4' "$folder/out" | grep -q "Fragmentation: a slab can't be given back" || fail "$(cat "$folder/out")"
    [ -s "$folder/memory.svg" ]
    awk '/^== step/ { n++ } n == 8' "$folder/out" | grep -q ", a core of python3: " || fail "$(cat "$folder/out")"
}
