# The lock-free parts: every execution of small models of them, under C11's orders; tests/memory_order.
# bats: beside

load lib/common

@test "the orders of the source suffice, and weaker ones are caught" {
    require_command python3
    run python3 "$HAKMEM_SOURCE/tests/memory_order/models.py"
    [ "$status" -eq 0 ] || fail "$(grep -v '^ok' <<<"$output")"
    [ "$(grep -c '^ok .* as in the source (holds in [0-9]* states)$' <<<"$output")" -ge 9 ] || fail "$output"
    [ "$(grep -c '^ok .* is caught (' <<<"$output")" -ge 20 ] || fail "$output"
}
