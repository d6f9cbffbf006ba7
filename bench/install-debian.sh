#!/bin/sh
# Installs what `make bench` compares Forebay with, on Debian or Ubuntu: nginx (the smallest package that serves files).
# The packaged service is not started: the bench runs a worker of its own, on a port of its own.
set -eu

if [ -x "$(command -v nginx || true)" ] || [ -x /usr/sbin/nginx ]; then
    echo "nginx is installed already"
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
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends nginx-light
