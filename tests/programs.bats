# programs.bats - real programs, unchanged, on the allocator: streams, exit status and files as without it.
# Each runs both ways at once; tests/lib/witness.bash proves that it was on the allocator, every block of it.
# bats: beside
load lib/common
load lib/witness

@test "the witness tells a run off the allocator from one on it" {
    env "LD_PRELOAD=$WITNESS" "HAKMEM_WITNESS=$BATS_TEST_TMPDIR/off" ls / >/dev/null
    run witness_check "$BATS_TEST_TMPDIR/off" ls
    [ "$status" -ne 0 ]
    [[ "$output" == *"not on $HAKMEM_LIB alone"* ]]
    run witness_check "$BATS_TEST_TMPDIR/no_such_file" ls
    [ "$status" -ne 0 ]
    witnessed "$BATS_TEST_TMPDIR/on" ls / >/dev/null
    witness_check "$BATS_TEST_TMPDIR/on" ls
}

@test "print:1 tells the configuration on standard error from within a program" {
    run hk_preload HAKMEM_CONF=print:1 "$BASH" -c 'true' 3>&-
    [ "$status" -eq 0 ]
    [[ "$output" == *"superslabs:"* ]]
}

@test "a shell pipeline of seq, awk, grep, sort, uniq gives the same checksum" {
    # shellcheck disable=SC2016
    same_both_ways bash bash -c '
        set -o pipefail
        seq 1 400000 | awk "{ print (\$1 * 7919) % 100003, \$1 % 97, \"line\" }" | grep -v "^1[0-9]*7 " |
            sort -k2,2n -k1,1 -S 8M --parallel=2 | tee sorted | awk "{ n[\$2] += \$1 } END { for (k in n) print k, n[k] }" |
            sort -n | uniq | sha256sum
        sort -u sorted | wc -l
        text=$(head -c 400000 sorted)
        for ((i = 0; i < 2000; i++)); do list[i]="${text:i*100:200}"; done
        printf "%s\n" "${list[@]//line/LINE}" | sha256sum
        exit 7'
    [ "$(cat "$BATS_TEST_TMPDIR/on/status")" = 7 ]
    witness_check "$BATS_TEST_TMPDIR/witness" bash seq awk grep sort tee uniq sha256sum wc head
}

@test "perl builds big hashes, sorts them and takes them apart" {
    require_command perl
    same_both_ways perl env PERL_HASH_SEED=0 PERL_PERTURB_KEYS=0 perl "$HAKMEM_SOURCE/tests/programs/hash_sort.pl" 300000
    [ "$(cat "$BATS_TEST_TMPDIR/on/status")" = 0 ]
}

@test "sqlite3 inserts a million rows, builds an index and answers, to an equal database file" {
    require_command sqlite3
    same_both_ways sqlite3 sqlite3 -bail -init /dev/null data.db ".read $HAKMEM_SOURCE/tests/programs/million.sql"
    [ "$(cat "$BATS_TEST_TMPDIR/on/status")" = 0 ]
    [ "$(tail -n 1 "$BATS_TEST_TMPDIR/on/stdout")" = ok ]
    grep -q '^1000000|' "$BATS_TEST_TMPDIR/on/stdout"
}

@test "node runs eight worker_threads to equal digests" {
    require_command node
    same_both_ways node node "$HAKMEM_SOURCE/tests/programs/worker_load.js" 15
    [ "$(cat "$BATS_TEST_TMPDIR/on/status")" = 0 ]
    [ "$(wc -l <"$BATS_TEST_TMPDIR/on/stdout")" -eq 8 ]
}

# Repositories for git in $BATS_TEST_TMPDIR/origins: a history of many commits made of the tree's files and, where the tree is a
# clone of the project's own repository, that.
make_origins() {
    local origins="$BATS_TEST_TMPDIR/origins" origin
    mkdir "$origins"
    printf '[safe]\n\tdirectory = *\n' >"$BATS_TEST_TMPDIR/gitconfig" # whoever owns the tree
    export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL="$BATS_TEST_TMPDIR/gitconfig"
    git init -q --bare -b main "$origins/made"
    (cd "$HAKMEM_SOURCE" && find src probes tests -type f -size -100k | sort | xargs awk -v step=15 \
        -f tests/programs/git_history.awk) | git -C "$origins/made" fast-import --quiet --done
    if [ -e "$HAKMEM_SOURCE/.git" ]; then
        git clone -q --mirror --no-local "$HAKMEM_SOURCE" "$origins/own"
    else
        echo "# git: the tree is no clone of the project's own repository" >&3
    fi
    for origin in "$origins"/*; do
        echo "# git: ${origin##*/} history of $(git -C "$origin" rev-list --count HEAD) commits" >&3
    done
    [ "$(git -C "$origins/made" rev-list --count HEAD)" -gt 300 ]
}

@test "git clones, imports, packs aggressively and checks the project's own repository and one of many commits" {
    require_command git
    make_origins
    # shellcheck disable=SC2016
    run_both_ways bash -e -c '
        for origin in ../origins/*; do
            name=$(basename "$origin")
            git clone -q --mirror --no-local "$origin" "$name"
            git init -q --bare "$name-imported"
            git -C "$name" fast-export HEAD | git -C "$name-imported" fast-import --quiet
            for repository in "$name" "$name-imported"; do
                git -C "$repository" gc --aggressive --prune=now --quiet
                git -C "$repository" fsck --full --strict
                git -C "$repository" count-objects -v | grep -E "^(count|in-pack|packs|garbage)"
            done
            git -C "$name" log -p --stat HEAD | sha256sum
            git clone -q "$name" "$name-again"
            git -C "$name-again" blame -s HEAD -- src/heap.h | sha256sum
        done
        rm -rf -- */'
    local on="$BATS_TEST_TMPDIR/on" plain="$BATS_TEST_TMPDIR/plain" file
    local -a origins=("$BATS_TEST_TMPDIR"/origins/*)
    for file in stdout stderr status; do
        diff "$plain/$file" "$on/$file" >&2
    done
    [ "$(cat "$on/status")" = 0 ]
    [ "$(grep -c '^packs: 1$' "$on/stdout")" -eq $((2 * ${#origins[@]})) ]
    witness_check "$BATS_TEST_TMPDIR/witness" git
}

large_source() {
    local functions=450
    ! full_tier || functions=1100
    awk -v functions="$functions" -f "$HAKMEM_SOURCE/tests/programs/large_source.awk" >"$BATS_TEST_TMPDIR/large.c"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/large.c")" -ge 20000 ]
}

@test "gcc -O2 makes the same object of a large C file" {
    require_command gcc
    large_source
    same_both_ways gcc gcc -std=c11 -O2 -c ../large.c -o large.o
    [ "$(cat "$BATS_TEST_TMPDIR/on/status")" = 0 ]
    [ -s "$BATS_TEST_TMPDIR/on/large.o" ]
    witness_check "$BATS_TEST_TMPDIR/witness" gcc cc1 as
}

@test "clang -O2 makes the same object of a large C file" {
    require_command clang
    large_source
    same_both_ways clang clang -std=c11 -O2 -c ../large.c -o large.o
    [ "$(cat "$BATS_TEST_TMPDIR/on/status")" = 0 ]
    [ -s "$BATS_TEST_TMPDIR/on/large.o" ]
}

@test "cmake configures and builds this very project to the same library" {
    require_command cmake
    local folder
    for folder in plain on; do
        mkdir -p "$BATS_TEST_TMPDIR/$folder/source"
        tar -C "$HAKMEM_SOURCE" --exclude=./.git --exclude='./build*' -cf - . | tar -C "$BATS_TEST_TMPDIR/$folder/source" -xf -
    done
    export part="-DHAKMEM_TESTS=OFF -DHAKMEM_BENCH=OFF"
    ! full_tier || part=
    # shellcheck disable=SC2016
    run_both_ways bash -e -c '
        flags="-ffile-prefix-map=$PWD=."
        cmake -S source -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS="$flags" -DCMAKE_CXX_FLAGS="$flags" $part
        cmake --build build --parallel 2'
    local on="$BATS_TEST_TMPDIR/on" plain="$BATS_TEST_TMPDIR/plain"
    diff "$plain/status" "$on/status" >&2
    [ "$(cat "$on/status")" = 0 ] || fail "$(tail -n 30 "$on/stdout" "$on/stderr")"
    cmp "$plain/build/libhakmem.a" "$on/build/libhakmem.a"
    cmp "$plain/build/libhakmem.so" "$on/build/libhakmem.so"
    witness_check "$BATS_TEST_TMPDIR/witness" cmake cc1 as
    env "LD_PRELOAD=$on/build/libhakmem.so" sort "$on/stdout" >/dev/null
}
