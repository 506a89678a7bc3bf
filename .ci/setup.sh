#!/bin/sh
# Installs what `make demo` and `make test` need; a second run finds nothing to do.
#
#   .ci/setup.sh demo     .venv with the runtime and the board simulator
#   .ci/setup.sh quick    also the Python test tools, for unit tests: no Debian packages but the demo's
#   .ci/setup.sh test     also the test tools, StandardFirmata and two Firmata clients (npm), edlio
#                         in a venv of its own, and the rig (QEMU, a kernel)
#
# MLINK_SIMULATOR=no leaves out the AVR simulator, and what compiles it: simulated boards then have
# mlink's own, simpler simulation of the protocol.
#
# Python packages come from the lock files in .ci/lock, checked by hash. Missing Debian packages are
# installed when root; else this prints the command that installs them, and stops.
set -eu
cd "$(dirname "$0")/.."
what=${1:-demo}
case $what in
    demo | quick | test) ;;
    *) echo "usage: $0 demo|quick|test" >&2; exit 2 ;;
esac

report() { echo "set-up: $*"; }
die() { echo "set-up: $*" >&2; exit 1; }

# --- Python ------------------------------------------------------------------------------------

python=${PYTHON:-}
for candidate in python3.11 python3 python3.12 python3.13 python3.14; do
    [ -z "$python" ] || break
    if command -v "$candidate" >/dev/null &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
    fi
done

[ -z "$python" ] || command -v "$python" >/dev/null || die "PYTHON=$python is not a program"

# --- Nothing to do? ----------------------------------------------------------------------------

# The stamp is a digest of all inputs: a changed dependency or set-up runs it again. An incomplete
# set-up (often: no network) is tried again each time.
key=$(cat pyproject.toml .ci/setup.sh .ci/lock/*.txt tests/support/setup_*.sh tests/support/pyfirmata2_tests.py \
    .ci/parallel_build/*.py tests/support/peers/*.json tests/rig/machine/kernel.py | sha256sum)${MLINK_SIMULATOR:-}
is_done() {
    [ -e ".venv/setup-$1" ] && [ "$(cat ".venv/setup-$1")" = "$key" ] &&
        { [ "$1" != test ] || [ ! -e .venv/incomplete ]; } && .venv/bin/python -c '' 2>/dev/null
}
if is_done test && [ -e .venv-edlio/ready ] || { [ "$what" != test ] && is_done "$what"; }; then
    exit 0
fi

# --- Debian packages ---------------------------------------------------------------------------

missing=
need() { # need PACKAGE COMMAND...: the package counts as missing when the command fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
has_library() { ldconfig -p | grep -q "$1" || /sbin/ldconfig -p | grep -q "$1"; }
has_python_header() {
    "$python" -c 'import os, sysconfig as s
os.stat(os.path.join(s.get_path("include"), "Python.h"))'
}

has_simulator() { [ "${MLINK_SIMULATOR:-yes}" != no ]; }

[ -n "$python" ] || missing="$missing python3"
need python3-venv "${python:-python3}" -c 'import ensurepip, venv'
if has_simulator; then # yasimavr is compiled here
    need python3-dev has_python_header
    need g++ command -v g++
    need libelf-dev test -e /usr/include/libelf.h
fi
need libgl1 has_library libGL.so.1 # for OpenCV, like the next two
need libxcb1 has_library libxcb.so.1
need libglib2.0-0 has_library libgthread-2.0.so.0
if [ "$what" = test ]; then
    need ffmpeg command -v ffprobe # checks our videos
    need sigrok-cli command -v sigrok-cli # checks our VCD files
    need aravis-tools command -v arv-fake-gv-camera-0.8 # the GenICam camera of the tests
    need xvfb command -v Xvfb # a screen for the window of `canvas`
    need chromium command -v chromium # shows the page of `mlink run --view` to its tests
    # A test builds our firmware and compares it with the committed files.
    need gcc-avr command -v avr-g++
    need avr-libc test -e /usr/lib/avr/include/avr/io.h
    need arduino-core-avr test -d /usr/share/arduino/hardware/arduino/avr
    need avrdude command -v avrdude
    need npm command -v npm # downloads StandardFirmata and a Firmata client
    if [ -z "${MLINK_RIG:-}" ] && [ "$(uname -m)" = x86_64 ]; then # tests/rig/machine/kernel.py
        for package in qemu-system-x86 busybox-static kmod udev v4l-utils libusb-1.0-0 socat; do
            need $package dpkg -s $package
        done
    fi
    report "this brings Debian packages (a browser, compilers for boards, QEMU), 2 GB of Python packages"
    report "and 0.5 GB for the rig; make test-quick runs the unit tests without the first and the last"
fi
is_root() { [ "$(id -u)" = 0 ]; }
if [ -n "$missing" ] && is_root && command -v apt-get >/dev/null; then
    report "installing Debian packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get -qq update && apt-get -qq install --no-install-recommends -y $missing; } \
        >/dev/null || die "apt-get install$missing failed"
    [ -n "$python" ] || python=python3
elif [ "$missing" = " npm" ]; then
    report "npm is missing (sudo apt-get install npm): tests that use StandardFirmata will be skipped"
elif [ -n "$missing" ]; then
    die "these Debian packages are missing. Run this, then try again:
    sudo apt-get install$missing"
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "Python 3.11 or newer is needed, but this is $("$python" -V). Choose one: make PYTHON=/path/to/python3.11 $what"

# --- .venv -------------------------------------------------------------------------------------

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    report "making .venv with $("$python" -V)"
    rm -rf .venv
    "$python" -m venv .venv
fi
install() {
    # -qq: errors only. No build isolation: an isolated build would install unchecked packages.
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-build-isolation \
        --no-warn-script-location --root-user-action=ignore "$@"
}
# yasimavr, the board simulator, has no wheel: it is compiled on all processors while the rest is
# downloaded, without its own dependencies, so that no two pips write the same package.
wheels=.venv/simulator
build_simulator() {
    sed -n '/^yasimavr==/,/[^\\]$/p' .ci/lock/sim.txt >"$wheels/yasimavr.txt"
    MLINK_BUILD_PROGRESS="$PWD/$wheels/progress" PYTHONPATH="$PWD/.ci/parallel_build" \
        PYTHONWARNINGS=ignore \
        .venv/bin/python -m pip wheel -qq --disable-pip-version-check --no-build-isolation --no-deps \
        --require-hashes -r "$wheels/yasimavr.txt" -w "$wheels"
}
install_simulator() {
    awk '/^yasimavr==/ {skip = 1} !skip {print} !/\\$/ {skip = 0}' .ci/lock/sim.txt >"$wheels/others.txt"
    install --require-hashes -r "$wheels/others.txt" &&
        install --no-deps --no-index "$wheels"/yasimavr-*.whl
}
simulator=
if ! [ -e ".venv/setup-$what" ] || [ "$(cat ".venv/setup-$what")" != "$key" ]; then
    case $what in demo) lock=run ;; *) lock=test ;; esac
    report "installing mlink into .venv"
    install --require-hashes -r .ci/lock/build.txt ||
        die "pip could not install mlink; the reason is printed above"
    rm -rf "$wheels"
    mkdir "$wheels"
    if has_simulator; then
        if ! .venv/bin/python -c 'import yasimavr' 2>/dev/null; then
            report "compiling the board simulator, beside the rest: about two minutes of processor time"
        fi
        build_simulator & # pip takes it from its cache when it has been compiled before
        simulator=$!
        trap 'kill $simulator 2>/dev/null || true' EXIT
    fi
    install --require-hashes -r ".ci/lock/$lock.txt" && install --no-deps -e . ||
        die "pip could not install mlink; the reason is printed above"
    report "mlink is installed"
fi

# --- What only the tests need ------------------------------------------------------------------

incomplete() {
    report "$@"
    touch .venv/incomplete
}
if [ "$what" = test ]; then
    rm -f .venv/incomplete
    .venv/bin/python -m mlink_hil.sim.fetch_firmware >/dev/null ||
        incomplete "could not download StandardFirmata: tests that use it will be skipped"
    .venv/bin/python -m tests.support.pyfirmata2_tests ||
        incomplete "could not download pyFirmata2's own tests: they will be skipped"
    report "making .venv-edlio, an independent reader that checks our recordings"
    PYTHON=$python sh tests/support/setup_edlio.sh
    if command -v npm >/dev/null; then
        report "installing two other Firmata clients, which drive our firmware in a test"
        PYTHON=$python sh tests/support/setup_peers.sh ||
            incomplete "could not install the Firmata clients: THEIR TEST WILL BE SKIPPED"
    fi
    if [ -z "${MLINK_RIG:-}" ] && [ "$(uname -m)" != x86_64 ]; then
        report "the rig needs x86-64: its tests will be skipped"
    else
        report "setting up the rig (0.5 GB the first time: QEMU, a kernel)"
        "${MLINK_RIG:-tests/rig/machine/rig}" --setup >/dev/null ||
            incomplete "could not set up the rig: ITS TESTS WILL BE SKIPPED"
    fi
fi

while [ -n "$simulator" ] && kill -0 $simulator 2>/dev/null; do
    if [ -e "$wheels/progress" ]; then
        report "compiling the board simulator: $(($(wc -c <"$wheels/progress"))) of about 87 files"
    fi
    for _ in 1 2 3 4 5; do kill -0 $simulator 2>/dev/null && sleep 1; done
done
if [ -n "$simulator" ] && ! { wait $simulator && install_simulator; }; then
    [ "$what" = demo ] || die "pip could not install the board simulator"
    report "the board simulator could not be installed: the demo will use a simpler one"
fi
trap - EXIT
echo "$key" >".venv/setup-$what"
report "done"
