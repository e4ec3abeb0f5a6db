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
passed=0 failed=0 skipped=0
ran=()
failures=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

say() {
    printf '\n== %s\n' "$*"
}

fail() { # NAME
    failed=$((failed + 1))
    failures+=("$1")
}

# count WHAT: adds up the lines "pass NAME", "fail NAME", "skip NAME" (with a tab) of standard input.
count() {
    local kind name
    while IFS=$'\t' read -r kind name; do
        case $kind in
        pass) passed=$((passed + 1)) ;;
        fail) fail "$1: $name" ;;
        skip)
            if [ "$HAKMEM_TESTS_NO_SKIP" = 1 ]; then
                fail "$1: skipped: $name"
            else
                skipped=$((skipped + 1))
            fi
            ;;
        esac
    done
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
    local name=$1 folder=$2 status=0 before=$failed since=$SECONDS
    say "unit tests, $name"
    ctest --test-dir "$folder" -V --parallel "$(nproc)" ${3:+-R "$3"} >"$log" 2>&1 || status=$?
    grep -E '^ *[0-9]+/[0-9]+ Test ' "$log" || echo "no unit test matches"
    count "unit tests, $name" < <(ctest_results <"$log")
    if [ "$status" -ne 0 ] && [ "$failed" -eq "$before" ]; then
        fail "unit tests, $name: ctest ended with $status"
    fi
    ctest_failures <"$log"
    ran+=("unit tests, $name: $((SECONDS - since)) s")
}

# A file whose first lines say `bats: parallel` has long tests that share nothing: as many at a time as there are processors.
bats_file() { # FILE
    local file=$1 status=0 before=$failed since=$SECONDS planned seen jobs=1
    say "$file"
    ! head -n 5 "$file" | grep -q '^# bats: parallel$' || jobs=$(nproc)
    bats --formatter tap --jobs "$jobs" ${pattern:+--filter "$pattern"} "$file" 2>&1 </dev/null | tee "$log" || status=$?
    count "$file" < <(tap_results <"$log")
    planned=$(sed -nE 's/^1\.\.([0-9]+).*/\1/p' "$log" | head -n 1)
    seen=$(grep -cE '^(not )?ok [0-9]+' "$log" || [ $? -eq 1 ])
    if [ "${planned:-x}" != "$seen" ]; then
        fail "$file: $seen of ${planned:-an unknown number of} tests reported"
    elif [ "$status" -ne 0 ] && [ "$failed" -eq "$before" ]; then
        fail "$file: bats ended with $status"
    fi
    ran+=("$(basename "$file"): $((SECONDS - since)) s")
}

finish() {
    local item
    say "what ran"
    printf 'tier %s, %d s\n' "$([ "$HAKMEM_TESTS_FULL" = 1 ] && echo full || echo normal)" $((SECONDS - started))
    for item in "${ran[@]}"; do
        printf '%s\n' "$item"
    done
    for item in "${failures[@]}"; do
        printf 'FAILED %s\n' "$item"
    done
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

for name in "${builds[@]}"; do
    if [ "$run_unit" = no ] && [ "$name" != release ]; then
        continue
    fi
    if [ "$build" = yes ] && ! build_one "$name"; then
        [ "$name" != release ] || { finish; exit 1; }
        continue
    fi
    [ "$run_unit" = no ] || unit_tests "$name" "$(build_folder "$name")" "$unit_pattern"
done

export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-$([ "$HAKMEM_TESTS_FULL" = 1 ] && echo 3600 || echo 600)}
for file in "${bats_files[@]}"; do
    bats_file "$file"
done
finish
