# hakmem_run.bats - the starter of programs.
load lib/common

setup() {
    run_it="$HAKMEM_BUILD/hakmem-run"
    library="$(realpath -s "$HAKMEM_BUILD")/libhakmem.so.0"
    [ -x "$run_it" ]
    cd "$BATS_TEST_TMPDIR"
}

# printed LINE...: the lines are the whole of the output.
printed() {
    diff <(printf '%s\n' "$@") <(printf '%s\n' "$output") >&2
}

build_program() { # NAME OPTION...: prints its argument
    printf '#include <stdio.h>\nint main(int argc, char **argv) { return argc < 2 || puts(argv[1]) < 0; }\n' >"$1.c"
    gcc "${@:2}" -o "$1" "$1.c"
}

@test "the program runs on the library that lies beside" {
    run "$run_it" grep -c "$library" /proc/self/maps
    [ "$status" -eq 0 ]
    [ "$output" -gt 1 ]
}

@test "arguments, standard input and output, and the exit status are the program's own" {
    run "$run_it" sh -c 'cat; echo "$1|$2"; exit 42' sh 'a b' '--help' <<<"input"
    [ "$status" -eq 42 ]
    printed input 'a b|--help'
    run "$run_it" sh -c 'kill -TERM $$'
    [ "$status" -eq 143 ]
}

@test "what was in LD_PRELOAD stays, behind the library, which stands there once" {
    printf 'int nothing;\n' | gcc -shared -fPIC -x c - -o other.so
    run env "LD_PRELOAD=$PWD/other.so:$library" "$run_it" sh -c 'echo "$LD_PRELOAD"'
    printed "$library:$PWD/other.so"
    run env "LD_PRELOAD=$PWD/other.so $PWD/./other.so" "$run_it" "$run_it" sh -c 'echo "$LD_PRELOAD"'
    printed "$library:$PWD/other.so:$PWD/./other.so"
    run "$run_it" sh -c 'echo "$LD_PRELOAD"'
    printed "$library"
}

@test "--conf adds to HAKMEM_CONF in order" {
    run env -u HAKMEM_CONF "$run_it" --conf cache:1m -c decay_ms:7 sh -c 'echo "$HAKMEM_CONF"'
    printed cache:1m,decay_ms:7
    run env HAKMEM_CONF=retain:0 "$run_it" --conf=cache:1m sh -c 'echo "$HAKMEM_CONF"'
    printed retain:0,cache:1m
}

@test "a --conf that is no KEY:VALUE is refused" {
    for wrong in cache :1 cache: cache:1,decay_ms:2 'cache:1 m' ''; do
        run "$run_it" --conf "$wrong" true
        [ "$status" -eq 125 ] || fail "'$wrong' gave $status"
        [[ "$output" == *"KEY:VALUE, not '$wrong'"* ]]
    done
}

@test "--trace sets HAKMEM_ACE_TRACE" {
    run env -u HAKMEM_ACE_TRACE "$run_it" --trace sh -c 'echo "$HAKMEM_ACE_TRACE"'
    printed 1
    run env -u HAKMEM_ACE_TRACE "$run_it" sh -c 'echo "[$HAKMEM_ACE_TRACE]"'
    printed '[]'
}

@test "--show-config prints every option as it is in force, on standard output" {
    run --separate-stderr "$run_it" --conf cache:1m --conf decay_ms:77 --show-config
    [ "$status" -eq 0 ]
    [ -z "$stderr" ]
    for option in $(sed -nE 's/^HK_OPTION\(([a-z_]+),.*/\1/p' "$HAKMEM_SOURCE/src/config.def"); do
        [ "$(grep -c "^hakmem: $option:" <<<"$output")" -eq 1 ] || fail "$option: $output"
    done
    grep -q '^hakmem: cache:1m ' <<<"$output"
    grep -q '^hakmem: decay_ms:77 ' <<<"$output"
    run "$run_it" --show-config ls
    [ "$status" -eq 125 ]
}

@test "a bad setting is told in one line by the first process, and not by those that it starts" {
    require_command python3
    for program in sh bash; do
        run --separate-stderr "$run_it" --conf colour:blue --conf cache:much "$program" -c 'ls | cat; env ls; sh -c "ls; exit 3"'
        [ "$status" -eq 3 ]
        [ "$(wc -l <<<"$stderr")" -eq 2 ] || fail "$stderr"
        [[ "$stderr" == *'HAKMEM_CONF: unknown key "colour"'*'HAKMEM_CONF: bad value "much" for cache'* ]]
    done
    run --separate-stderr "$run_it" --conf colour:blue python3 -c '
import os, subprocess
subprocess.run(["sh", "-c", "ls"], env=dict(os.environ), check=True)
if os.fork() == 0:
    os.execvp("true", ["true"])
os.wait()'
    [ "$status" -eq 0 ]
    [ "$(wc -l <<<"$stderr")" -eq 1 ] || fail "$stderr"
}

@test "--library takes another library, with a relative path too" {
    cp "$library" mine.so
    run "$run_it" --library mine.so sh -c 'echo "$LD_PRELOAD"; grep -c mine.so /proc/self/maps'
    [ "${lines[0]}" = "$(realpath mine.so)" ]
    [ "${lines[1]}" -gt 1 ]
    run "$run_it" --library absent.so true
    [ "$status" -eq 125 ]
    [[ "$output" == "hakmem-run: can't read the library absent.so: No such file"* ]]
}

@test "a library whose path the loader would take apart is refused" {
    mkdir 'a b' 'a:b'
    cp "$library" 'a b/'
    cp "$library" 'a:b/'
    for folder in 'a b' 'a:b'; do
        run "$run_it" --library "$folder/libhakmem.so.0" true
        [ "$status" -eq 125 ]
        [[ "$output" == *"can't hold a space or a colon"* ]]
    done
}

@test "without a library beside it or installed it says where it looked" {
    mkdir bin
    cp "$run_it" bin/
    run bin/hakmem-run true
    [ "$status" -eq 125 ]
    [[ "$output" == "hakmem-run: libhakmem.so.0 is neither in $(realpath bin) nor in $(realpath bin)/"* ]]
}

@test "exit status 126 for what can't be executed, 127 for what isn't there" {
    echo text >plain
    run "$run_it" ./plain
    [ "$status" -eq 126 ]
    [[ "$output" == "hakmem-run: can't execute ./plain: Permission denied" ]]
    run "$run_it" "$PWD"
    [ "$status" -eq 126 ]
    PATH=/usr/bin:/bin run -127 "$run_it" no-such-program # a folder of PATH that may not be searched would give 126
    [[ "$output" == "hakmem-run: can't execute no-such-program: No such file or directory" ]]
    run -127 "$run_it" ./no/such
}

@test "no program, and an option that there isn't, are its own failures" {
    run "$run_it"
    [ "$status" -eq 125 ]
    [[ "$output" == *"no program given"* ]]
    run "$run_it" --no-such-option true
    [ "$status" -eq 125 ]
}

@test "--help tells every option, --version the version of the header" {
    run "$run_it" --help
    [ "$status" -eq 0 ]
    for option in --conf --library --show-config --trace --help --version; do
        [[ "$output" == *"$option"* ]]
        grep -qF -- "${option//-/\\-}" "$HAKMEM_SOURCE/tools/hakmem-run.1" || fail "the manual page lacks $option"
    done
    run "$run_it" --version
    printed "hakmem-run $(sed -nE 's/^#define HK_VERSION "(.*)"/\1/p' "$HAKMEM_SOURCE/src/hakmem.h")"
}

@test "a program that can't be preloaded gets a warning, and runs" {
    require_command gcc
    build_program static -static
    build_program static_pie -static-pie
    for program in ./static ./static_pie; do
        run "$run_it" "$program" hello
        [ "$status" -eq 0 ]
        printed "hakmem-run: warning: $program can't be run on hakmem: it is linked statically" hello
    done
    printf '#!%s\n' "$PWD/static" >script
    chmod +x script
    run "$run_it" ./script
    printed "hakmem-run: warning: ./script can't be run on hakmem: it is linked statically" ./script
}

@test "a setuid and a setgid program get a warning, and run" {
    require_root
    require_command gcc
    build_program special
    chown nobody:nogroup special
    for mode in u+s g+s; do
        chmod ug-s,"$mode" special
        run "$run_it" ./special hello
        printed "hakmem-run: warning: ./special can't be run on hakmem: it is setuid or setgid" hello
    done
}

@test "a program that can be preloaded gets no warning" {
    require_command gcc
    build_program dynamic
    build_program no_pie -no-pie
    printf '#!/bin/sh\necho "$1"\n' >script
    chmod +x script
    for program in ./dynamic ./no_pie ./script; do
        run "$run_it" "$program" hello
        printed hello
    done
    run env "PATH=$PWD:$PATH" "$run_it" dynamic hello
    printed hello
    loader=$(readelf -lW dynamic | sed -nE 's/.*interpreter: (.*)\]/\1/p')
    run "$run_it" "$loader" ./dynamic hello
    printed hello
}

@test "LD_PRELOAD of a program in PATH is judged by what is started" {
    mkdir first second
    echo data >first/tool # not executable
    printf '#!/bin/sh\necho second\n' >second/tool
    chmod +x second/tool
    run env "PATH=$PWD/first:$PWD/second:$PATH" "$run_it" tool
    printed second
}
