#!/bin/sh
# Debian's packages that some tests need and pip doesn't have: PROGRAM:PACKAGE. Without one, its tests skip and say so.
# Installs those that are missing where that needs no password; never fails, since the other tests need none of them.
packages="strace:strace chromium:chromium"

missing=
for entry in $packages; do
    command -v "${entry%%:*}" >/dev/null || missing="$missing ${entry##*:}"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # shellcheck disable=SC2086 # one word each
    { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends $missing; } \
        >/dev/null 2>&1 && exit 0
fi
echo "not installed, so their tests will be skipped:$missing (sudo apt-get install$missing)"
