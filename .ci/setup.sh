#!/bin/sh
# Makes what `make demo` and `make test` need, and nothing twice.
#
#   .ci/setup.sh demo     .venv with the runtime and the board simulator
#   .ci/setup.sh test     besides: the test tools, StandardFirmata as the peer of our firmware,
#                         edlio in a venv of its own, the virtual rig
#
# Debian packages are installed by apt when root; else the missing ones are named, and it stops.
set -eu
cd "$(dirname "$0")/.."
what=${1:-demo}
case $what in
    demo | test) ;;
    *) echo "usage: $0 demo|test" >&2; exit 2 ;;
esac

say() { echo "set-up: $*"; }
die() { echo "set-up: $*" >&2; exit 1; }

# --- Python ------------------------------------------------------------------------------------

python=${PYTHON:-}
for candidate in python3.11 python3 python3.12 python3.13; do
    [ -z "$python" ] || break
    if command -v "$candidate" >/dev/null &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
    fi
done

# --- Nothing to do? ----------------------------------------------------------------------------

# The stamp holds what it was made from: a changed dependency or set-up runs it again. A missing
# StandardFirmata is asked for again each time, for it may only have been the network.
key=$(cat pyproject.toml .ci/setup.sh | sha256sum)
is_done() {
    [ -e ".venv/setup-$1" ] && [ "$(cat ".venv/setup-$1")" = "$key" ] &&
        { [ "$1" = demo ] || [ ! -e .venv/no-firmware ]; } && .venv/bin/python -c '' 2>/dev/null
}
if is_done test && [ -e .venv-edlio/edlio-0.2.1 ] || { [ "$what" = demo ] && is_done demo; }; then
    exit 0
fi

# --- Debian packages ---------------------------------------------------------------------------

missing=
need() { # need PACKAGE COMMAND...: the package is missing when the command fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
has_library() { ldconfig -p | grep -q "$1" || /sbin/ldconfig -p | grep -q "$1"; }
has_python_header() {
    "$python" -c 'import os, sysconfig as s
os.stat(os.path.join(s.get_path("include"), "Python.h"))'
}

[ -n "$python" ] || missing="$missing python3"
need python3-venv "${python:-python3}" -c 'import ensurepip, venv'
need python3-dev has_python_header # yasimavr, the board simulator, is compiled here
need g++ command -v g++
need libelf-dev test -e /usr/include/libelf.h
need libgl1 has_library libGL.so.1 # OpenCV
need libglib2.0-0 has_library libgthread-2.0.so.0
if [ "$what" = test ]; then
    need ffmpeg command -v ffprobe # a second opinion on our videos
    need sigrok-cli command -v sigrok-cli # and on our VCD files
    need xvfb command -v Xvfb # a screen for the window of `canvas`
    # Our firmware is built again, to see that it gives the committed bytes.
    need gcc-avr command -v avr-g++
    need avr-libc test -e /usr/lib/avr/include/avr/io.h
    need arduino-core-avr test -d /usr/share/arduino/hardware/arduino/avr
    need avrdude command -v avrdude
    need npm command -v npm # brings StandardFirmata
fi

is_root() { [ "$(id -u)" = 0 ]; }
if [ -n "$missing" ] && is_root && command -v apt-get >/dev/null; then
    say "installing Debian packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get -qq update && apt-get -qq install --no-install-recommends -y $missing; } \
        >/dev/null || die "apt-get install$missing failed"
    [ -n "$python" ] || python=python3
elif [ "$missing" = " npm" ]; then
    say "npm is missing (sudo apt-get install npm): tests on StandardFirmata will be skipped"
elif [ -n "$missing" ]; then
    die "these Debian packages are missing. Run this, then try again:
    sudo apt-get install$missing"
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "Python 3.11 or newer is needed, this is $("$python" -V). Name one: make PYTHON=/path/to/python3.11 $what"

# --- .venv -------------------------------------------------------------------------------------

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    say "making .venv with $("$python" -V)"
    rm -rf .venv
    "$python" -m venv .venv
fi
install() {
    # -qq: errors only
    .venv/bin/python -m pip install -qq --disable-pip-version-check \
        --no-warn-script-location --root-user-action=ignore "$@"
}
if ! [ -e ".venv/setup-$what" ] || [ "$(cat ".venv/setup-$what")" != "$key" ]; then
    say "installing mlink into .venv"
    if [ "$what" = test ]; then install -e '.[test]'; else install -e .; fi ||
        die "pip could not install mlink; its reason stands above"
    say "installing the board simulator (it is compiled, which takes minutes the first time)"
    if ! install -e '.[sim]'; then
        [ "$what" = demo ] || die "pip could not install the board simulator"
        say "the board simulator could not be installed: the virtual board will be a simpler one"
    fi
fi

# --- What only the tests need ------------------------------------------------------------------

if [ "$what" = test ]; then
    rm -f .venv/no-firmware
    if ! .venv/bin/python -m mlink_hil.sim.fetch_firmware >/dev/null; then
        say "StandardFirmata could not be fetched: tests on it will be skipped"
        touch .venv/no-firmware
    fi
    if [ -e tests/support/setup_edlio.sh ]; then
        say "making .venv-edlio, the reader that judges our recordings"
        PYTHON=$python sh tests/support/setup_edlio.sh
    fi
    if command -v npm >/dev/null; then
        say "fetching other people's Firmata clients, which drive our firmware in a test"
        PYTHON=$python sh tests/support/setup_peers.sh ||
            say "they could not be fetched: THEIR TEST WILL BE SKIPPED"
    fi
    rig=${MLINK_RIG:-../shared/rig/rig}
    if [ -x "$rig" ]; then
        say "setting up the virtual rig (a kernel of 0.5 GB the first time)"
        "$rig" --setup >/dev/null
    else
        say "no virtual rig at $rig: its tests will be skipped"
    fi
fi

echo "$key" >".venv/setup-$what"
say "done"
