# terminal.bash - hkstat's dashboard in a terminal of tmux: keys go in, and what stands on the screen comes out. To be loaded
# after lib/attached: it brings setup and teardown for both.

setup() {
    attached_setup
    require_command tmux
    require_command jq
    TERMINALS=0
    SOCKET=""
}

teardown() {
    close_terminal
    attached_teardown
}

# The user's own tmux has no part in it.
terminal() {
    env -u TMUX tmux -S "$SOCKET" "$@"
}

close_terminal() {
    [ -z "$SOCKET" ] || terminal kill-server 2>/dev/null || [ $? -eq 1 ]
    SOCKET=""
}

# open_terminal COLUMNS LINES COMMAND...: in a terminal of that size; the shell outlives it and tells its status.
open_terminal() {
    local columns=$1 lines=$2
    shift 2
    TERMINALS=$((TERMINALS + 1))
    SOCKET="$SHARED/tmux-$BASHPID-$TERMINALS" # a server that is about to end takes no new session
    terminal -f /dev/null new-session -d -x "$columns" -y "$lines" \
        "env LC_ALL=C.UTF-8 $(printf '%q ' "$@"); echo ended with \$?; exec sleep 1000" 3>&-
    STARTED+=" $(terminal display-message -p '#{pane_pid}')"
}

open_dashboard() { # COLUMNS LINES OPTION...
    open_terminal "$1" "$2" "$HKSTAT" --pin-dir "$PINS" "${@:3}"
}

screen() {
    terminal capture-pane -p
}

keys() {
    terminal send-keys "$@"
}

shows() {
    screen | grep -qE -e "$1"
}

# await TEXT: until the screen shows it, a regular expression.
await() {
    wait_for 20 shows "$1" || fail "the screen doesn't show '$1':" "$(screen)"
}

shows_not() {
    ! shows "$1"
}

await_gone() {
    wait_for 20 shows_not "$1" || fail "the screen still shows '$1':" "$(screen)"
}
