# hkstat_dashboard.bats - the dashboard in a real terminal (tmux): what it shows is what --json tells.
load lib/common
load lib/attached
load lib/terminal

# A load that rests: its numbers stand still while they are compared.
start_watched() {
    start_counts
    attach -p "$PID"
    tell keep 3000 23
    tell churn 5000 9973
    tell keep 100000 3
    tell stats >/dev/null
}

class_row() { # SIZE FIELD: of the opened process
    screen | awk -v size="$1" -v field="$2" '$1 == size { print $field }'
}

@test "the list of processes: the numbers of --json, and 80 columns suffice" {
    start_watched
    open_dashboard 80 24
    await "^ *$PID counts "
    local live
    live=$(hkstat --json | jq '.processes[0].live_bytes')
    screen | awk -v pid="$PID" -v live="$live" '
        function bytes(text) { return text * (text ~ /K$/ ? 1024 : text ~ /M$/ ? 1048576 : 1) }
        $1 == pid { seen = 1; shown = bytes($9); if (shown < live * 0.99 || shown > live * 1.01) exit 1 }
        END { exit !seen }' || fail "live isn't $live:" "$(screen)"
    await "processes 1 +lost 0"
    [ "$(screen | awk '/live +mapped/ { print NF }')" -eq 10 ]
    [ "$(screen | wc -L)" -le 80 ]
    shows_not '\+$' || fail "something is cut off at 80 columns:" "$(screen)"
}

@test "a process: its classes have the counts of --json" {
    start_watched
    open_dashboard 80 24
    await "^ *$PID counts "
    keys Enter
    await '^ *\^size'
    local size live slabs
    while read -r size live slabs; do
        [ "$(class_row "$size" 8)" = "$live" ] || fail "class $size isn't live $live:" "$(screen)"
        [ "$(class_row "$size" 9)" = "$slabs" ] || fail "class $size has other slabs than $slabs:" "$(screen)"
    done < <(hkstat --json | jq -r '.processes[0].classes[] | select(.size == 3072 or .size == 5120) | "\(.size) \(.live_bytes) \(.slabs)"' |
        awk '{ $2 = $2 < 10000 ? $2 : sprintf("%.1fK", $2 / 1024); print }')
    keys Escape
    await "^ *$PID counts "
}

@test "a process: events and histograms have the counts of --json" {
    start_watched
    open_dashboard 80 60 -p "$PID"
    await '1 classes'
    keys 3
    await '^Refills'
    local name count
    while read -r name count; do
        shows "^ +$name +$count( |$)" || fail "not $count $name:" "$(screen)"
    done < <(hkstat --json | jq -r '.processes[0] | (.refills_by + .ace_fail + .shared_fail_by) | to_entries[] | "\(.key) \(.value)"')
    keys 2
    await 'hits between misses'
    while read -r count; do
        shows " $count " || fail "no bucket of $count:" "$(screen)"
    done < <(hkstat --json | jq '.processes[0].hits_per_miss[] | select(. > 0)')
    keys j
    await 'blocks of [0-9]+ bytes'
}

@test "sort, and the other way round" {
    start_watched
    open_dashboard 80 24 -p "$PID"
    await '\^size'
    local sizes
    sizes=$(screen | awk '$1 ~ /^[0-9]+$/ && NF == 10 { print $1 }')
    [ "$(wc -w <<<"$sizes")" -ge 3 ]
    [ "$sizes" = "$(sort -n <<<"$sizes")" ]
    keys r
    await 'vsize'
    [ "$(screen | awk '$1 ~ /^[0-9]+$/ && NF == 10 { print $1 }')" = "$(sort -rn <<<"$sizes")" ]
    keys '<' '<' '<'
    await 'vlive'
    [ "$(screen | awk '$1 ~ /^[0-9]+$/ && NF == 10 { print $1; exit }')" = 106496 ] ||
        [ "$(screen | awk '$1 ~ /^[0-9]+$/ && NF == 10 { print $1; exit }')" = 114688 ] || fail "$(screen)"
}

@test "filter by name and by pid" {
    start_watched
    open_dashboard 80 24
    await "^ *$PID counts "
    keys / n o s u c h
    await "filter.*nosuch_"
    await_gone "^ *$PID counts "
    keys BSpace BSpace BSpace BSpace BSpace BSpace C O U N
    await "^ *$PID counts "
    keys Enter
    await "filter 'COUN'"
    keys / Escape
    await_gone "filter '"
    keys / "${PID}9" Enter
    await_gone "^ *$PID counts "
    keys Escape
    await "^ *$PID counts "
}

@test "help tells the keys; j, k and the arrows move the selection" {
    start_watched
    start_counts
    attach -p "$PID"
    tell churn 5000 101
    tell stats >/dev/null
    open_dashboard 80 24
    await 'processes 2'
    keys '?'
    await '^ up down j k +select'
    local key
    for key in Enter Tab '< >' '/ ' '\+ -' '. h F1' 'q F10' Space; do
        shows "$key" || fail "help doesn't tell $key:" "$(screen)"
    done
    keys '?'
    await '^ *[0-9]+ counts '
    await 'alloc/s' # the second tick: from here on the order stays, since nothing is done
    keys Home
    wait_for 20 row_is_selected 1 || fail "Home doesn't go there"
    local first second
    first=$(selected_pid)
    keys j
    wait_for 20 other_selected "$first" || fail "j moves nothing"
    second=$(selected_pid)
    keys k
    wait_for 20 other_selected "$second" || fail "k moves nothing"
    [ "$(selected_pid)" = "$first" ]
    keys Down
    wait_for 20 other_selected "$first" || fail "an arrow moves nothing"
    keys Up
    wait_for 20 other_selected "$second" || fail "an arrow moves nothing"
    keys '?'
    await '^ up down j k +select'
    keys q
    await 'ended with 0'
}

# The line in bold, and in reverse, which the titles above it may have begun.
selected_pid() {
    terminal capture-pane -p -e | sed -nE 's/^\x1b\[1(;7)?m *([0-9]+) +counts .*$/\2/p'
}

row_is_selected() { # NUMBER
    [ "$(screen | awk '$2 == "counts" { print $1 }' | sed -n "$1p")" = "$(selected_pid)" ]
}

other_selected() {
    local now
    now=$(selected_pid)
    [ -n "$now" ] && [ "$now" != "$1" ]
}

@test "every size of terminal, from tiny to huge, and back" {
    start_watched
    open_dashboard 80 24 -p "$PID"
    await '\^size'
    local size panel
    for size in '20 5' '1 1' '3 60' '300 100' '47 3' '80 24'; do
        terminal resize-window -x "${size% *}" -y "${size#* }"
        for panel in 1 2 3 4 5 '?' '?'; do
            keys "$panel"
            sleep 0.05
        done
    done
    keys 1
    await '\^size +alloc'
    await '\? help .* q quit'
}

@test "pause stands still, steps, and goes on; the interval changes" {
    start_watched
    open_dashboard 80 24
    await "^ *$PID counts "
    keys -
    await 'every 0.5s'
    keys -
    await 'every 0.25s'
    keys Space
    await 'paused'
    local before
    before=$(screen)
    tell churn 5000 20011
    sleep 1
    [ "$(screen)" = "$before" ] || fail "a pause doesn't stand still"
    keys n
    wait_for 20 other_than "$before" || fail "no step in a pause"
    keys Space
    await_gone 'paused'
    keys + +
    await 'every 1s'
}

other_than() {
    [ "$(screen)" != "$1" ]
}

@test "the history shows a burst, the map its SuperSlabs" {
    start_watched
    open_dashboard 80 40 -p "$PID"
    await '\^size'
    keys - - 4
    await 'alloc/s'
    tell churn 5000 300007
    await '^alloc/s .*[▂▃▄▅▆▇█]'
    keys 5
    await '^[0-9a-f]{12} [0-9#L.-]{32}$'
    # Three blocks of 100,000 bytes take two units each.
    [ "$(screen | grep -oE '^[0-9a-f]{12} .*' | tr -cd L | wc -c)" -ge 6 ] || fail "$(screen)"
}

@test "the map of a library that was stripped" {
    strip "$LIBRARY" -o "$SHARED/stripped.so"
    LIBRARY="$SHARED/stripped.so"
    [ "$(nm "$LIBRARY" 2>&1 | grep -c hk_account)" -eq 0 ]
    start_watched
    open_dashboard 80 40 -p "$PID"
    await '\^size'
    keys 5
    await '^[0-9a-f]{12} [0-9#L.-]{32}$'
    [ "$(screen | grep -oE '^[0-9a-f]{12} .*' | tr -cd L | wc -c)" -ge 6 ] || fail "$(screen)"
}

@test "an ordinary user sees all but the map, which says why" {
    start_watched
    open_terminal 80 24 setpriv --reuid=65534 --regid=65534 --clear-groups "$HKSTAT" --pin-dir "$PINS"
    await "^ *$PID counts "
    keys Enter 5
    await "Not shown: may not read the process's memory"
}

@test "a process that ends while it is open is said to have ended" {
    start_watched
    open_dashboard 80 24 -p "$PID"
    await '\^size'
    finish exit
    await "process $PID has ended"
    keys Escape
    await 'processes 0'
}

@test "a detach meanwhile is said, an attach anew is shown" {
    start_watched
    open_dashboard 80 24
    await "^ *$PID counts "
    detach
    await 'nothing is attached'
    attach -p "$PID"
    tell churn 5000 9973
    await_gone 'nothing is attached'
    await "^ *$PID counts "
}

@test "a hostile name does nothing to the screen" {
    cp "$COUNTS" "$SHARED/"$'\e[2Jx\nLIE\xe2\x80\xae'
    COUNTS="$SHARED/"$'\e[2Jx\nLIE\xe2\x80\xae'
    start_watched
    open_dashboard 80 24
    await "^ *$PID .x1b\[2Jx.x0a"
    await "processes 1"
    shows_not '^LIE'
}

@test "an account and arguments that can't be: every reader goes on, and another process is shown as it is" {
    local program hostile option
    program=$(hk_test_program hkstat/hostile)
    attach_all --library "$program" --probes all --stacks
    start_counts
    tell churn 3000 9973
    tell stats >/dev/null
    mkfifo "$BATS_TEST_TMPDIR/input"
    "$program" <"$BATS_TEST_TMPDIR/input" >"$BATS_TEST_TMPDIR/said" 3>&- &
    hostile=$!
    STARTED+=" $hostile"
    exec 5>"$BATS_TEST_TMPDIR/input"
    wait_for 20 grep -qx done "$BATS_TEST_TMPDIR/said"
    for option in --json --csv "" "-p $hostile --json" "-p $hostile" "0.1 3" "-p $hostile --csv 0.1 3"; do
        # shellcheck disable=SC2086
        timeout 20 "$HKSTAT" --pin-dir "$PINS" $option >"$BATS_TEST_TMPDIR/told" || fail "'$option' ended with $?"
        [ -s "$BATS_TEST_TMPDIR/told" ]
    done
    timeout 20 "$HKSTAT" stacks --pin-dir "$PINS" -p "$hostile" >/dev/null || [ $? -eq 1 ] || fail "stacks ended with $?"
    hkstat --json | jq -e --argjson pid "$PID" '.processes[] | select(.pid == $pid) | .allocs == 9973 and .frees == 9973' >/dev/null ||
        fail "$(hkstat --json | jq -c '.processes[] | [.pid, .allocs, .frees]')"
    open_dashboard 100 40 -p "$hostile"
    await '1 classes'
    for option in 1 2 3 4 5 6; do
        keys "$option"
        sleep 0.3
        shows "$hostile" || fail "panel $option:" "$(screen)"
    done
    keys q
    await 'ended with 0'
    exec 5>&-
}

@test "events that were lost are counted on the screen" {
    attach_all --max-processes 1
    start_counts
    tell churn 3000 101
    start_counts
    tell churn 3000 101
    open_dashboard 80 24
    await "lost [1-9]"
}

@test "rates on the screen are those of --json" {
    local record="$BATS_TEST_TMPDIR/record" allocs
    attach_all
    env "LD_PRELOAD=$LIBRARY" python3 -S -c 'while True: open("/dev/null").close()' 3>&- &
    STARTED+=" $!"
    PID=$!
    sleep 0.5
    "$HKSTAT" record "$record" --pin-dir "$PINS" 0.5 4
    allocs=$("$HKSTAT" replay "$record" --json | tail -n 1 | jq --argjson pid "$PID" '.processes[] | select(.pid == $pid) | .allocs_per_s')
    open_terminal 80 24 "$HKSTAT" replay "$record"
    await 'the record ends here'
    screen | awk -v pid="$PID" -v allocs="$allocs" '
        function number(text) { return text * (text ~ /K$/ ? 1000 : text ~ /M$/ ? 1000000 : 1) }
        $1 == pid { seen = 1; shown = number($3); if (allocs < 100 || shown < allocs * 0.98 || shown > allocs * 1.02) exit 1 }
        END { exit !seen }' || fail "allocations a second aren't $allocs:" "$(screen)"
}

@test "NO_COLOR: no colours; without it there are some" {
    start_watched
    open_dashboard 80 24 -p "$PID"
    await '\^size'
    keys 2
    await 'hits between misses'
    terminal capture-pane -p -e | grep -qP '\e\[[0-9;]*3[0-7]m'
    keys q
    await 'ended with 0'
    close_terminal
    open_terminal 80 24 env NO_COLOR=1 "$HKSTAT" --pin-dir "$PINS" -p "$PID"
    await '\^size'
    keys 2
    await 'hits between misses'
    run grep -cP '\e\[[0-9;]*3[0-7]m' < <(terminal capture-pane -p -e)
    [ "$output" = 0 ]
}

@test "quitting, and SIGTERM, leave the terminal as it was" {
    start_watched
    open_dashboard 80 24
    await "^ *$PID counts "
    keys q
    await 'ended with 0'
    shows_not 'hkstat'
    close_terminal
    open_dashboard 80 24
    await "^ *$PID counts "
    kill -TERM "$(pgrep -f -x "$HKSTAT --pin-dir $PINS")"
    await 'ended with 143'
    shows_not 'hkstat'
}

@test "with nothing attached the dashboard attaches, and detaches when it is left" {
    start_counts
    open_dashboard 80 24 -p "$PID"
    await 'hkstat [0-9:]+'
    compgen -G "$PINS-*"
    tell churn 5000 9973
    await 'processes 1'
    keys q
    await 'ended with 0'
    [ -z "$(compgen -G "$PINS-*")" ]
    wait_for 10 unwatched
}

# The kernel ends a link whose pin is gone a moment later.
unwatched() {
    (watchers 0 0 "$PID") 2>/dev/null
}

@test "a record is shown as it was, with its end" {
    start_watched
    "$HKSTAT" record "$BATS_TEST_TMPDIR/record" --pin-dir "$PINS" 0.3 3
    detach
    finish exit
    open_terminal 80 24 "$HKSTAT" replay "$BATS_TEST_TMPDIR/record"
    await "^ *$PID counts "
    await 'the record ends here'
    keys Enter
    await '\^size'
    keys 5
    await "Not shown: a record doesn't hold it"
    keys q
    await 'ended with 0'
}

@test "a terminal that can't do it is told to use lines" {
    start_watched
    open_terminal 80 24 env TERM=nonsense "$HKSTAT" --pin-dir "$PINS"
    await "can't show a dashboard"
    await 'ended with 1'
}
