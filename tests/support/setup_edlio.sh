#!/bin/sh
# Makes .venv-edlio: edlio 0.3.4, the reader that judges our recordings, in a venv of its own, and
# beside it edlio 0.2.1, which reads the tsync files of the 2.x form and no others.
# Its metadata asks for Python 3.12, but it runs on 3.11. Does nothing when it is there already.
set -eu
cd "$(dirname "$0")/../.."
venv=.venv-edlio
if [ -e "$venv/ready" ] && [ -e "$venv/edlio-0.2.1" ]; then
    exit 0
fi
rm -rf "$venv"
"${PYTHON:-python3.11}" -m venv "$venv"
"$venv/bin/pip" install -qq --disable-pip-version-check \
    --no-deps --ignore-requires-python edlio==0.3.4
"$venv/bin/pip" install -qq --disable-pip-version-check \
    numpy xxhash Pint zstandard tomlkit opencv-python-headless pandas
"$venv/bin/pip" install -qq --disable-pip-version-check --no-deps --ignore-requires-python \
    --target "$venv/edlio-0.2.1" edlio==0.2.1
"$venv/bin/python" -c "import edlio, cv2, pandas"
touch "$venv/ready"
