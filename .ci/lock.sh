#!/bin/sh
# Makes the lock files of set-up anew, from the newest releases that the ranges allow: `make lock`.
# One package only: .ci/lock.sh --upgrade-package NAME (repeatable). README: .ci/lock/README.md.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
[ $# -gt 0 ] || set -- --upgrade
tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
"$python" -m venv "$tool"
"$tool/bin/pip" install -qq --disable-pip-version-check uv==0.13.9
lock=.ci/lock

compile() { # compile NAME ARGUMENT...: what is already in the file stays unless it is upgraded
    name=$1
    shift
    "$tool/bin/uv" pip compile --quiet --universal --python-version "${oldest:-3.11}" --generate-hashes \
        --custom-compile-command "make lock" --no-annotate "$@" -o "$lock/$name.txt"
}
requirements_of() { # requirements_of EXTRA
    "$tool/bin/python" -c 'import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*project["optional-dependencies"][sys.argv[1]], sep="\n")' "$1"
}
without_hashes() { # constraints need no hashes
    sed -n 's/^\([a-zA-Z][^ ]*==[^\\]*\).*/\1/p' "$1"
}

compile all pyproject.toml --all-extras "$@"
without_hashes $lock/all.txt >"$tool/all.txt"
compile run pyproject.toml -c "$tool/all.txt"
compile test pyproject.toml --extra test -c "$tool/all.txt"
requirements_of sim | compile sim - -c "$tool/all.txt"
compile build $lock/build.in -c "$tool/all.txt" "$@"

compile site $lock/site.in "$@"
compile edlio $lock/edlio.in "$@"
for version in 0.3.4 0.2.1; do
    echo edlio==$version | oldest=3.12 compile edlio-$version - --no-deps
done
sed '/^#/d' $lock/edlio-0.3.4.txt >>$lock/edlio.txt
rm $lock/edlio-0.3.4.txt
echo pymata-express==1.21 | compile peers - "$@"

# Both architectures find a wheel of each release, but of what is compiled in set-up.
for machine in x86_64 aarch64; do
    for minor in 11 12 13; do
        for name in run test build peers; do
            "$tool/bin/uv" pip install --quiet --dry-run --no-deps --require-hashes --only-binary :all: \
                --python-version 3.$minor --python-platform $machine-manylinux_2_28 \
                --target "$tool/none" -r "$lock/$name.txt"
        done
    done
done

# Without the addresses of a registry: each machine uses its own.
(cd tests/support/peers && npm install --silent --no-audit --no-fund --ignore-scripts \
    --package-lock-only --omit-lockfile-registry-resolved)
