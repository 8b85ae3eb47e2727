# What stands before the commands of a page, so that they run here as they do for a reader.
set -euo pipefail
set -m # each job is a group of its own, and can be ended whole
PS4='$ '
PLACE=start

stop() {
    local job tries
    for job in $(jobs -p); do
        kill -TERM -- "-$job" 2>/dev/null || true
        wait "$job" 2>/dev/null || true
        # That was the shell around a server: the server itself may still listen.
        for tries in {1..100}; do
            kill -0 -- "-$job" 2>/dev/null || break
            [ "$tries" != 50 ] || kill -KILL -- "-$job" 2>/dev/null || true
            sleep 0.1
        done
    done
}
trap 'code=$?; stop; [ $code = 0 ] || echo "$PLACE: failed with $code" >&2; exit $code' EXIT

# What is published comes from this clone, and everything else in the versions that the clone has compiled.
cargo() {
    local arg args=()
    if [ "$1" = add ]; then
        for arg in "$@"; do
            case "$arg" in
                cachify-*) args+=(--path "$CLONE/$arg") ;;
                *) args+=("$arg") ;;
            esac
        done
        command cargo "${args[@]}" --quiet
    elif [ "$1" = new ]; then
        mkdir -p "$OUT/new" && cd "$OUT/new" # not into a workspace
        command cargo "$@"
        cp "$CLONE/Cargo.lock" "${!#}"
    else
        command cargo "$@"
    fi
}

# The clone is there already.
git() { [ "$1" = clone ] && cd "$CLONE/.."; }

redis-cli() { command redis-cli -p "$REDIS_PORT" "$@"; }

# answers PORT JOB LOG: waits until somebody listens there, as long as that job lives.
answers() {
    until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
        if ! kill -0 "$2" 2>/dev/null; then
            cat "$3" >&2
            return 1
        fi
        sleep 0.1
    done
}

# shown COMMAND: runs it, and has its output end with its line.
shown() {
    eval "$1" >"$OUT/one" 2>>"$OUT/errors"
    cat "$OUT/one"
    [ -z "$(tail -c 1 "$OUT/one")" ] || echo
}
