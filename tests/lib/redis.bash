# redis.bash - a real redis-server on a free loopback port, for the tests. redis_port and redis_pid are those of the last start.

# redis_start FOLDER [NAME=VALUE...]: a server with its data in FOLDER and that environment, once it answers.
redis_start() {
    local folder="$1" port tries
    shift
    mkdir -p "$folder"
    for port in $(shuf -i 20000-32000 -n 5); do
        env "$@" redis-server --bind 127.0.0.1 --port "$port" --dir "$folder" --save '' --enable-debug-command yes --daemonize no \
            --io-threads 2 --io-threads-do-reads yes --lazyfree-lazy-user-del yes --lazyfree-lazy-user-flush yes \
            >>"$folder/log" 2>&1 </dev/null 3>&- &
        redis_pid=$!
        redis_port=$port
        for ((tries = 0; tries < 100; tries++)); do
            kill -0 "$redis_pid" 2>/dev/null || break
            if [ "$(redis_info server process_id 2>/dev/null)" = "$redis_pid" ]; then
                redis_loaded
                return
            fi
            sleep 0.1
        done
        kill "$redis_pid" 2>/dev/null || continue
        wait "$redis_pid" || continue
    done
    fail "redis-server does not start: $(tail -n 20 "$folder/log")"
}

redis_loaded() {
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        [ "$(redis_info persistence loading)" != 0 ] || return 0
        sleep 0.1
    done
    fail "redis-server does not end loading its data"
}

redis_command() {
    redis-cli -h 127.0.0.1 -p "$redis_port" "$@"
}

# redis_info SECTION KEY
redis_info() {
    redis_command INFO "$1" | tr -d '\r' | sed -n "s/^$2://p"
}

# redis_stop: an orderly shutdown; the server's exit status becomes redis_status.
redis_stop() {
    redis_status=0
    redis_command SHUTDOWN NOSAVE
    wait "$redis_pid" || redis_status=$?
    redis_pid=
}

# redis_kill: for teardown, whatever state the server is in.
redis_kill() {
    [ -z "${redis_pid:-}" ] || ! kill -KILL "$redis_pid" 2>/dev/null || wait "$redis_pid" 2>/dev/null || redis_pid=
}
