# fuzzers.bash - the fuzzers of tests/fuzz, built with clang's libFuzzer. Also for tests/soak.sh.

hk_fuzzers="config notes record heap maps program"

# hk_fuzzer NAME FOLDER: builds FOLDER/NAME; prints what went wrong.
hk_fuzzer() {
    local name=$1 folder=$2 source=$HAKMEM_SOURCE hkstat=$HAKMEM_SOURCE/tools/hkstat
    local -a with=(-fsanitize=fuzzer,address,undefined) of=() to=()
    case $name in
    config) of=("$source/src/os_format.c") ;;
    notes) of=("$hkstat/library.c") to=(-lelf) ;;
    record) of=("$hkstat"/{fields,json_decode,json_encode,output_csv,output_text,columns,tick,safe_text,memory,complain}.c) to=(-ljansson -lm) ;;
    heap)
        of=("$source"/tools/hkheap/{output_json,output_pprof,output_svg,output_text,profile}.c "$hkstat"/{safe_text,memory,complain}.c)
        to=(-ljansson -lz -lm)
        ;;
    maps)
        of=("$hkstat"/{fields,json_decode,json_encode,output_csv,output_text,columns,tick,safe_text,memory,reader,callers,status}.c)
        to=(-ljansson -lm -Wl,--wrap=close)
        ;;
    program) # AddressSanitizer has a malloc of its own
        with=(-fsanitize=fuzzer,undefined -DMODEL_WALK -ftls-model=initial-exec -fno-builtin -Wno-fortify-source)
        of=("$source"/src/*.c "$source"/probes/probes.c "$source/tests/model/walk.c")
        to=(-lpthread -ldl -lm)
        ;;
    esac
    clang -std=gnu11 -g -O1 -D_GNU_SOURCE "${with[@]}" -fno-sanitize-recover=all -I "$source" -I "$source/src" -I "$hkstat" \
        -o "$folder/$name" "$source/tests/fuzz/$name.c" "${of[@]}" "${to[@]}" 2>&1
}

# hk_fuzzer_seeds NAME FOLDER: what to begin with.
hk_fuzzer_seeds() {
    local name=$1 folder=$2
    local seed
    mkdir -p "$folder"
    for seed in "$HAKMEM_SOURCE/tests/fuzz/seeds/$name."*; do
        [ ! -f "$seed" ] || cp "$seed" "$folder"
    done
    case $name in
    config) printf 'region:1g,cache:0x,guard:,harden:1,print:1,bogus:3,ace_hit_rate:101' >"$folder/some" ;;
    notes) objcopy --strip-unneeded -R .text -R .eh_frame -R .rodata "$HAKMEM_LIB" "$folder/library" ;;
    esac
}

# hk_fuzz NAME FOLDER SECONDS [SEED]: runs FOLDER/NAME so long. What it prints says how to repeat what failed.
hk_fuzz() {
    local name=$1 folder=$2
    hk_fuzzer_seeds "$name" "$folder/corpus.$name"
    (cd "$folder" && "./$name" -max_total_time="$3" -seed="${4:-0}" -timeout=60 -rss_limit_mb=0 -max_len=300000 -verbosity=1 \
        -artifact_prefix="$name." "corpus.$name" 2>&1)
}
