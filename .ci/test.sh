#!/bin/sh
# Runs all tests: test.sh WORKERS RUNS, the numbers of processes for the two stages.
#
# Tests that compute run one on each core, and one more, since some wait; then tests of runs in real
# time, which mostly wait, three on each core.
#
# Tests that fail, three at most in a stage, run once more, alone and with the same seed: a host that
# takes the processor away for seconds can fail any test of processes in real time. A test that fails
# again fails the stage. One that passes is listed as unsteady at the end: it has a fault, or found
# one.
set -u
cd "$(dirname "$0")/.."
most_again=3
real_time="tests/integration tests/torture tests/unit/modules/video"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: >"$work/unsteady"

stage() { # stage NAME ARGUMENT...: exit code of pytest
    cache=$work/$1
    shift
    .venv/bin/pytest -o "cache_dir=$cache" "$@"
    code=$?
    failed=$cache/v/cache/lastfailed
    [ "$code" = 1 ] && [ -s "$failed" ] || return "$code"
    count=$(grep -c '": true' "$failed")
    if [ "$count" -gt "$most_again" ]; then
        echo "make test: $count tests failed: none runs again (at most $most_again do)"
        return "$code"
    fi
    echo "make test: $count failed: once more, alone"
    sed -n 's/^ *"\(.*\)": true,*$/\1/p' "$failed" >"$work/failed"
    .venv/bin/pytest -o "cache_dir=$cache" --lf --lfnf none --randomly-seed last "$@" -n 0 || return
    cat "$work/failed" >>"$work/unsteady"
}

status=0
stage computing -n "$1" -m "not long and not real_time" || status=$?
# shellcheck disable=SC2086 # folders without spaces
stage waiting -n "$2" --dist loadfile -m "real_time and not long" $real_time || status=$?
if [ -s "$work/unsteady" ]; then
    echo "make test: failed beside other tests, passed alone (please report them):"
    sed 's/^/    /' "$work/unsteady"
fi
exit "$status"
