# programs_python.bats - CPython's own regression tests with every allocation of the interpreter on malloc.
# bats: beside
load lib/common
load lib/witness

# A python that carries its regression tests: distributions put them in a package of their own.
python_with_tests() {
    local python
    for python in /usr/bin/python3 $(type -ap python3); do
        if "$python" -c 'import test.test_dict, test.test_subprocess' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

# regression_tests FOLDER COMMAND...: run in FOLDER; leaves results.xml there.
regression_tests() {
    run_in "$1" "${@:2}" --junit-xml "$1/results.xml"
}

# outcomes FOLDER: a line for each test case, and for each that failed.
outcomes() {
    "$python" - "$1/results.xml" <<'PROGRAM'
import sys, xml.etree.ElementTree as tree
for case in tree.parse(sys.argv[1]).iter('testcase'):
    kinds = [child.tag for child in case if child.tag in ('failure', 'error')]
    print(case.get('name'), case.get('status'), case.get('result'), *kinds)
PROGRAM
}

@test "python -m test has the same outcome for every case of dict, list, set, threading, gc, json, re, zlib, subprocess" {
    python=$(python_with_tests) || skip_or_fail "needs a python3 with its regression tests (libpython3.X-testsuite)"
    local plain="$BATS_TEST_TMPDIR/plain" on="$BATS_TEST_TMPDIR/on" other
    mkdir "$plain" "$on"
    # A case of Python 3.13 waits for a SIGINT for ever if it begins with that ignored, as what runs in the background does.
    set -- env --default-signal=INT PYTHONMALLOC=malloc "$python" -m test -j 3 test_subprocess test_threading test_dict test_list test_set test_gc test_json test_re test_zlib
    regression_tests "$plain" "$@" &
    other=$!
    regression_tests "$on" witnessed "$BATS_TEST_TMPDIR/witness" "$@"
    wait "$other"
    outcomes "$plain" | sort >"$plain/outcomes"
    outcomes "$on" | sort >"$on/outcomes"
    [ "$(wc -l <"$plain/outcomes")" -gt 1500 ]
    diff "$plain/outcomes" "$on/outcomes" >&2 || fail "$(tail -n 60 "$on/stdout" "$on/stderr")"
    diff "$plain/status" "$on/status" >&2
    witness_check "$BATS_TEST_TMPDIR/witness" "$(basename "$python")"
}
