# variants.bash - the library, built anew with other compilers or options than the one under test.

# hk_variant NAME OPTION...: configures and builds libhakmem.so alone, in release form, with CMake's OPTIONs; prints the build
# folder. The folders stay within the build tree, so that the next run compiles only what changed.
hk_variant() {
    local name="$1" folder generator=()
    shift
    folder="$HAKMEM_BUILD/variants/$name"
    ! command -v ninja >/dev/null || generator=(-G Ninja)
    mkdir -p "$folder"
    (
        flock 9
        [ -e "$folder/build.ninja" ] || [ -e "$folder/Makefile" ] ||
            cmake -S "$HAKMEM_SOURCE" -B "$folder" "${generator[@]}" \
                -DCMAKE_BUILD_TYPE=Release -DHAKMEM_TESTS=OFF -DHAKMEM_BENCH=OFF "$@"
        cmake --build "$folder" --target hakmem --parallel 2
    ) 9>"$folder/lock" >"$folder/log" 2>&1 || fail "variant $name does not build:" "$(tail -n 30 "$folder/log")"
    printf '%s\n' "$folder"
}

# hk_compiler_options gcc|clang: what makes CMake take that compiler, for C and for C++.
hk_compiler_options() {
    case "$1" in
    gcc) echo "-DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++" ;;
    clang) echo "-DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++" ;;
    *) fail "no such compiler: $1" ;;
    esac
}
