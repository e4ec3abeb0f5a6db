# witness.bash - run a program with and without the allocator, and prove that the one really ran on it.
# Each process that ends by exit(3) leaves a line of tests/programs/libwitness.c; a preload that did nothing leaves a line
# that names another malloc, or none.

WITNESS="$HAKMEM_BUILD/tests/programs/libwitness.so"

# witnessed FILE PROGRAM ARGS...: run it on the allocator; every process adds a line to FILE.
witnessed() {
    local file="$1"
    shift
    env "LD_PRELOAD=$WITNESS:$HAKMEM_LIB" "HAKMEM_WITNESS=$file" "$@"
}

# witness_check FILE NAME...: all of FILE ran on the allocator and on nothing else, and each NAME is among them.
witness_check() {
    local file="$1" strangers name
    shift
    [ -s "$file" ] || fail "no process says that it ran on $HAKMEM_LIB"
    strangers=$(awk -v lib="malloc=$HAKMEM_LIB" '!index($0, " " lib " glibc=0 live=") || / live=0$/' "$file")
    [ -z "$strangers" ] || fail "not on $HAKMEM_LIB alone:" "$strangers"
    for name in "$@"; do
        grep -q "^$name malloc=" "$file" || fail "$name did not run on the allocator:" "$(cat "$file")"
    done
}

# run_both_ways PROGRAM ARGS...: at once, in folders of their own: $BATS_TEST_TMPDIR/plain and .../on. What a program
# writes to its folder stays there, its streams are `stdout` and `stderr`, its exit status is in `status`.
run_both_ways() {
    local plain="$BATS_TEST_TMPDIR/plain" on="$BATS_TEST_TMPDIR/on" other
    mkdir -p "$plain" "$on"
    run_in "$plain" "$@" &
    other=$!
    run_in "$on" witnessed "$BATS_TEST_TMPDIR/witness" "$@"
    wait "$other"
}

run_in() {
    local folder="$1" status=0
    shift
    (cd "$folder" && "$@" >stdout 2>stderr </dev/null 3>&-) || status=$?
    echo "$status" >"$folder/status"
}

# same_both_ways NAME PROGRAM ARGS...: streams, exit status and all files equal, and the process NAME ran on the allocator.
same_both_ways() {
    local name="$1"
    shift
    run_both_ways "$@"
    diff -r "$BATS_TEST_TMPDIR/plain" "$BATS_TEST_TMPDIR/on" >&2 || fail "differs on the allocator: $*"
    witness_check "$BATS_TEST_TMPDIR/witness" "$name"
}
