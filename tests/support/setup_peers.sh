#!/bin/sh
# Other people's Firmata clients, to drive our firmware as they are: pymata-express (AGPL: a program
# of its own in a venv of its own) and npm's firmata. Does nothing when they are there already.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
peers=${XDG_CACHE_HOME:-$HOME/.cache}/mlink/peers
key=$(cat "$0" "$here/peers/package.json" | sha256sum)
if [ "$(cat "$peers/ready" 2>/dev/null)" = "$key" ]; then
    exit 0
fi
rm -rf "$peers"
mkdir -p "$peers"
"${PYTHON:-python3}" -m venv "$peers/venv"
"$peers/venv/bin/pip" install -qq --disable-pip-version-check pymata-express==1.21
cp "$here/peers/package.json" "$peers/"
(cd "$peers" && npm install --silent --no-audit --no-fund --ignore-scripts)
"$peers/venv/bin/python" -c "import pymata_express"
(cd "$peers" && node -e 'require("firmata"); require("serialport")')
echo "$key" >"$peers/ready"
