#!/bin/sh
# Runs all tests: test.sh WORKERS RUNS, the numbers of processes for the two stages.
#
# Tests that compute run one on each core, and one more, since some wait; then tests of runs in real
# time, which mostly wait, three on each core.
#
# Tests that fail, of three files at most in a stage, run once more, alone and with the same seed: a
# host that takes the processor away for seconds can fail any test of processes in real time, and all
# tests that look at the same run. A test that fails again fails the stage. One that passes is listed as unsteady at the end: it has a fault, or found
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
    sed -n 's/^ *"\(.*\)": true,*$/\1/p' "$failed" >"$work/failed"
    count=$(wc -l <"$work/failed") files=$(sed 's/::.*//' "$work/failed" | sort -u | wc -l)
    if [ "$files" -gt "$most_again" ]; then
        echo "make test: $count tests of $files files failed: none runs again (of at most $most_again files)"
        return "$code"
    fi
    echo "make test: $count failed: once more, alone"
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
