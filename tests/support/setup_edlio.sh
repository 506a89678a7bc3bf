#!/bin/sh
# Makes .venv-edlio: edlio 0.3.4, an independent reader that checks our recordings, in a venv of its
# own; beside it edlio 0.2.1, the last release that reads tsync files of the 2.x form.
# edlio's metadata asks for Python 3.12, but it runs on 3.11. Does nothing if all is there already.
set -eu
cd "$(dirname "$0")/../.."
venv=.venv-edlio
lock=.ci/lock
key=$(cat "$0" $lock/edlio*.txt | sha256sum)
if [ "$(cat "$venv/ready" 2>/dev/null)" = "$key" ]; then
    exit 0
fi
rm -rf "$venv"
"${PYTHON:-python3.11}" -m venv "$venv"
install() {
    "$venv/bin/pip" install -qq --disable-pip-version-check --root-user-action=ignore \
        --require-hashes --only-binary :all: --no-deps --ignore-requires-python "$@"
}
sed -n '/^\(pip\|setuptools\)==/,/[^\\]$/p' $lock/build.txt >"$venv/tools.txt"
install -r "$venv/tools.txt"
install -r $lock/edlio.txt
install --target "$venv/edlio-0.2.1" -r $lock/edlio-0.2.1.txt
"$venv/bin/python" -c "import edlio, cv2, pandas"
echo "$key" >"$venv/ready"
