#!/bin/sh
# Compares the hex files of a build with the committed ones; `make check` builds first.
set -eu
cd "$(dirname "$0")"
different=0
for committed in prebuilt/mlink_firmata-*.hex; do
    board=${committed#prebuilt/mlink_firmata-}
    if ! cmp -s "build/$board" "$committed"; then
        echo "prebuilt: $committed differs from a build of the source; run: make -C firmware prebuilt" >&2
        different=1
    fi
done
while IFS= read -r use; do
    if ! grep -qFx "    $use" README.md; then
        echo "README.md: '$use' is missing; run: make -C firmware prebuilt" >&2
        different=1
    fi
done <build/use.txt
[ "$different" = 0 ] && echo "prebuilt: the committed hex files match a build of the source"
exit "$different"
