#!/usr/bin/env bash
# run.sh - installs what is missing, builds, runs all tests. `tests/run.sh --help` tells how.
set -euo pipefail
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/lib/packages.bash

usage() {
    cat <<'USAGE'
usage: tests/run.sh [OPTION...] [FILE...]

Installs what is missing (as root, on Debian and its kin; else says what to install), builds, and runs the tests: the C unit
tests under five builds, and the bats files. The last line is: N passed, N failed, N skipped.
FILE, such as tests/install.bats or tests/unit/test_lock.c, runs those alone.

  --full          the full counts; the normal tier fits 20 minutes
  -k PATTERN      only tests whose name matches the regular expression (a unit test's name is its program's)
  --no-install    install nothing
  --no-build      test what is built
  --help          this text

HAKMEM_TESTS_NO_SKIP=1   a skipped test is a failure
HAKMEM_BUILD=FOLDER      the build tree of the library under test; build/ by default, made if it isn't there
USAGE
}

pattern=
install=yes
build=yes
files=()
while [ $# -gt 0 ]; do
    case $1 in
    --full) export HAKMEM_TESTS_FULL=1 ;;
    -k)
        [ $# -gt 1 ] || { usage >&2; exit 2; }
        pattern=$2
        shift
        ;;
    --no-install) install=no ;;
    --no-build) build=no ;;
    --help | -h) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
    *)
        file=$(cd "$caller" && realpath --relative-to="$OLDPWD" -- "$1")
        [ -f "$file" ] || { echo "run.sh: no such file: $1" >&2; exit 2; }
        files+=("$file")
        ;;
    esac
    shift
done

export HAKMEM_TESTS_FULL=${HAKMEM_TESTS_FULL:-0} HAKMEM_TESTS_NO_SKIP=${HAKMEM_TESTS_NO_SKIP:-0}
export HAKMEM_SOURCE=$PWD
HAKMEM_BUILD=$(realpath -m "${HAKMEM_BUILD:-build}")
export HAKMEM_BUILD
export HAKMEM_LIB=$HAKMEM_BUILD/libhakmem.so
unset LD_PRELOAD HAKMEM_CONF HAKMEM_ACE_TRACE

started=$SECONDS
scratch=$(mktemp -d)
results=$scratch/results # lines KIND<tab>TEXT, with pass, fail, skip and ran: of all lanes
log=$scratch/log         # of the lane, what runs now
trap 'rm -rf "$scratch"' EXIT
: >"$results"

say() {
    printf '\n== %s\n' "$*"
}

record() { # KIND TEXT
    printf '%s\t%s\n' "$1" "$2" >>"$results"
}

fail() { # NAME
    record fail "$1"
}

recorded() { # KIND
    cut -f 1 "$results" | grep -cx "$1" || [ $? -eq 1 ]
}

# count WHAT: records the lines "pass NAME", "fail NAME", "skip NAME" (with a tab) of standard input. False if one failed.
count() {
    local kind name good=0
    while IFS=$'\t' read -r kind name; do
        if [ "$kind" = skip ] && [ "$HAKMEM_TESTS_NO_SKIP" = 1 ]; then
            kind=fail name="skipped: $name"
        fi
        record "$kind" "$1: $name"
        [ "$kind" != fail ] || good=1
    done
    return "$good"
}

# The results in what `ctest -V` prints: the cases of a program are TAP lines behind "N: ". A program that failed without
# saying in which case (it crashed, or took too long), and one that passed without TAP, counts as a case itself.
ctest_results() {
    awk '
        match($0, /^[0-9]+: (not )?ok [0-9]+/) {
            line = $0
            program = line; sub(/:.*/, "", program)
            sub(/^[0-9]+: /, "", line)
            name = line; sub(/^(not )?ok [0-9]+ *(- )?/, "", name)
            kind = tolower(line) ~ /# skip/ ? "skip" : line ~ /^not/ ? "fail" : "pass"
            cases[program]++
            if (kind == "fail") failures[program]++
            print kind "\t" name
        }
        /^ *[0-9]+\/[0-9]+ Test +#[0-9]+: / {
            name = program = $0
            sub(/^.* Test +#/, "", program); sub(/:.*/, "", program)
            sub(/^.* Test +#[0-9]+: /, "", name)
            outcome = name; sub(/ .*/, "", name); sub(/^[^ ]+ \.* */, "", outcome)
            good = outcome ~ /^Passed /
            if (!good && !failures[program]) print "fail\t" name ": " outcome
            if (good && !cases[program]) print "pass\t" name
        }'
}

# What the failed programs printed.
ctest_failures() {
    awk '
        match($0, /^[0-9]+: /) {
            program = substr($0, 1, RLENGTH - 2)
            line = substr($0, RLENGTH + 1)
            if (line ~ /^Test command: /) output[program] = ""
            else if (line ~ /^Test timeout computed/) output[program] = ""
            else output[program] = output[program] "    " line "\n"
        }
        /^ *[0-9]+\/[0-9]+ Test +#[0-9]+: / && !/ Passed / {
            program = $0; sub(/^.* Test +#/, "", program); sub(/:.*/, "", program)
            print; printf "%s", output[program]
        }'
}

tap_results() {
    awk '
        /^(not )?ok [0-9]+/ {
            name = $0; sub(/^(not )?ok [0-9]+ */, "", name)
            print (/# skip/ ? "skip" : /^not/ ? "fail" : "pass") "\t" name
        }'
}

# The builds, by the names of their presets. The first is the one whose library the bats files test.
builds=(release clang debug asan tsan)

build_folder() { # PRESET
    if [ "$1" = release ]; then echo "$HAKMEM_BUILD"; else echo "build-$1"; fi
}

build_one() { # PRESET
    local folder
    folder=$(build_folder "$1")
    say "build $1 in $folder"
    if ! { cmake --preset "$1" -B "$folder" && cmake --build "$folder" --parallel "$(nproc)"; } >"$log" 2>&1; then
        cat "$log"
        fail "build $1"
        return 1
    fi
    tail -n 1 "$log"
}

unit_tests() { # PRESET FOLDER TESTS-PATTERN
    local name=$1 folder=$2 status=0 since=$SECONDS
    say "unit tests, $name"
    ctest --test-dir "$folder" -V --parallel "$(nproc)" ${3:+-R "$3"} >"$log" 2>&1 || status=$?
    grep -E '^ *[0-9]+/[0-9]+ Test ' "$log" || echo "no unit test matches"
    if count "unit tests, $name" < <(ctest_results <"$log") && [ "$status" -ne 0 ]; then
        fail "unit tests, $name: ctest ended with $status"
    fi
    ctest_failures <"$log"
    record ran "unit tests, $name: $((SECONDS - since)) s"
}

# A word of a file's first lines, `# bats: WORD...`:
#   parallel  its tests are long and share nothing: as many at a time as there are processors
#   beside    it can run beside others, with a build of its own: what watches every process of a library doesn't see it
#   alone     nothing may run beside it
says() { # FILE WORD
    head -n 5 "$1" | grep -qE "^# bats:( [a-z]+)* $2( |\$)"
}

bats_file() { # FILE
    local file=$1 status=0 since=$SECONDS planned seen jobs=1
    say "$file"
    ! says "$file" parallel || jobs=$(nproc)
    bats --formatter tap --jobs "$jobs" ${pattern:+--filter "$pattern"} "$file" 2>&1 </dev/null | tee "$log" || status=$?
    planned=$(sed -nE 's/^1\.\.([0-9]+).*/\1/p' "$log" | head -n 1)
    seen=$(grep -cE '^(not )?ok [0-9]+' "$log" || [ $? -eq 1 ])
    if ! count "$file" < <(tap_results <"$log"); then
        :
    elif [ "$status" -ne 0 ] && [ "$seen" = "$planned" ]; then
        fail "$file: bats ended with $status"
    fi
    [ "${planned:-x}" = "$seen" ] || fail "$file: $seen of ${planned:-an unknown number of} tests reported"
    record ran "$(basename "$file"): $((SECONDS - since)) s"
}

finish() {
    local passed failed skipped
    passed=$(recorded pass) failed=$(recorded fail) skipped=$(recorded skip)
    say "what ran"
    printf 'tier %s, %d s\n' "$([ "$HAKMEM_TESTS_FULL" = 1 ] && echo full || echo normal)" $((SECONDS - started))
    sed -n 's/^ran\t//p' "$results"
    sed -n 's/^fail\t/FAILED /p' "$results"
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

# What to run

unit_pattern=$pattern
run_unit=yes
bats_files=(tests/*.bats)
if [ ${#files[@]} -gt 0 ]; then
    bats_files=()
    names=()
    for file in "${files[@]}"; do
        case $file in
        *.bats) bats_files+=("$file") ;;
        *.c) names+=("^$(basename "$file" .c)\$") ;;
        *) echo "run.sh: neither a bats file nor a unit test: $file" >&2; exit 2 ;;
        esac
    done
    if [ ${#names[@]} -gt 0 ]; then
        unit_pattern=$(IFS='|'; echo "${names[*]}")
    else
        run_unit=no
    fi
fi

[ "$install" = no ] || install_packages
mount_for_bpf

export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-$([ "$HAKMEM_TESTS_FULL" = 1 ] && echo 3600 || echo 600)}

build_and_test() { # PRESET
    if [ "$build" = yes ]; then
        build_one "$1" || return 0
    fi
    [ "$run_unit" = no ] || unit_tests "$1" "$(build_folder "$1")" "$unit_pattern"
}

other_builds() {
    local name
    [ "$run_unit" = yes ] || return 0
    for name in "${builds[@]:1}"; do
        build_and_test "$name"
    done
}

bats_files() { # FILE...
    local file
    for file; do
        bats_file "$file"
    done
}

# What needs no machine of its own, in the background: the first lane has the processors when it wants them.
lane_beside() {
    log=$scratch/log-beside
    renice -n 10 "$BASHPID" >/dev/null
    other_builds
    HAKMEM_BUILD+=-beside
    HAKMEM_LIB=$HAKMEM_BUILD/libhakmem.so
    build_one release || return 0
    bats_files "${beside[@]}"
}

build_and_test release
[ -e "$HAKMEM_LIB" ] || { finish; exit 1; }
if [ ${#files[@]} -gt 0 ] || [ "$build" = no ]; then
    other_builds
    bats_files "${bats_files[@]}"
else
    alone=() beside=() others=()
    for file in "${bats_files[@]}"; do
        if says "$file" alone; then alone+=("$file"); elif says "$file" beside; then beside+=("$file"); else others+=("$file"); fi
    done
    bats_files "${alone[@]}"
    lane_beside >"$scratch/beside" 2>&1 &
    lane=$!
    bats_files "${others[@]}"
    status=0
    wait "$lane" || status=$?
    cat "$scratch/beside"
    [ "$status" -eq 0 ] || fail "the tests beside ended with $status"
fi
finish
