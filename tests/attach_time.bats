# attach_time.bats - hkstat attach and detach take less than a second each, which is a promise, and no measure of speed.
# bats: alone

load lib/common
load lib/attached

# median NUMBER...: of an odd count.
median() {
    printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"
}

# A single one may be held up by what else the machine does.
@test "attach and detach take less than a second" {
    local round begin attached attach_ms=() detach_ms=()
    start_counts
    for round in 1 2 3 4 5; do
        begin=$(date +%s%N)
        attach -p "$PID" --probes all
        attached=$(date +%s%N)
        detach
        attach_ms+=($(((attached - begin) / 1000000)))
        detach_ms+=($((($(date +%s%N) - attached) / 1000000)))
    done
    [ "$(median "${attach_ms[@]}")" -lt 1000 ] && [ "$(median "${detach_ms[@]}")" -lt 1000 ] ||
        fail "attach: ${attach_ms[*]} ms, detach: ${detach_ms[*]} ms"
}
