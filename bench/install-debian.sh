#!/bin/sh
# Installs what `make bench` and `forebay bench peers` compare Forebay with, on Debian or Ubuntu: nginx (the smallest
# package that serves files) and Varnish. The packaged services are not started: the bench runs workers of its own, on
# ports of its own. (rclone comes from PyPI, with forebay[dev].)
set -eu

is_here() { [ -x "$(command -v "$1" || true)" ] || [ -x "/usr/sbin/$1" ]; }

wanted=""
is_here nginx || wanted="$wanted nginx-light"
is_here varnishd || wanted="$wanted varnish"
if [ -z "$wanted" ]; then
    echo "nginx and varnish are installed already"
    exit 0
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then as_root="sudo"; fi

policy=/usr/sbin/policy-rc.d
made_policy=""
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
    made_policy=yes
fi
trap 'if [ -n "$made_policy" ]; then $as_root rm -f "$policy"; fi' EXIT

$as_root apt-get update -q
# shellcheck disable=SC2086 # the names are words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $wanted
