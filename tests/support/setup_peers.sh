#!/bin/sh
# Installs two Firmata clients of other projects, which drive our firmware in a test: pymata-express
# (AGPL, so a separate program in a venv of its own) and npm's firmata. Does nothing if both are there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
peers=${XDG_CACHE_HOME:-$HOME/.cache}/mlink/peers
lock=$here/../../.ci/lock/peers.txt
key=$(cat "$0" "$lock" "$here"/peers/*.json | sha256sum)
if [ "$(cat "$peers/ready" 2>/dev/null)" = "$key" ]; then
    exit 0
fi
rm -rf "$peers"
mkdir -p "$peers"
"${PYTHON:-python3}" -m venv "$peers/venv"
sed -n '/^\(pip\|setuptools\)==/,/[^\\]$/p' "$(dirname "$lock")/build.txt" >"$peers/tools.txt"
for file in "$peers/tools.txt" "$lock"; do
    "$peers/venv/bin/python" -m pip install -qq --disable-pip-version-check \
        --root-user-action=ignore --require-hashes --only-binary :all: -r "$file"
done
cp "$here"/peers/*.json "$peers/"
(cd "$peers" && npm ci --silent --no-audit --no-fund --ignore-scripts)
"$peers/venv/bin/python" -c "import pymata_express"
(cd "$peers" && node -e 'require("firmata"); require("serialport")')
echo "$key" >"$peers/ready"
