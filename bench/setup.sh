#!/bin/sh
# Installs what the benchmark measures with and against, where it is absent (Debian, Ubuntu).
# None of it is left running: the benchmark starts private instances of its own.
set -eu

# Debian keeps servers in /usr/sbin, which is not on every user's path.
PATH="$PATH:/usr/sbin:/sbin"

missing=
need() { command -v "$1" >/dev/null || missing="$missing $2"; }
need nginx nginx
need wrk wrk
need redis-server redis-server
need redis-benchmark redis-tools
need mariadbd mariadb-server-core
need mariadb mariadb-client-core
need sqlite3 sqlite3
need taskset util-linux
need vmtouch vmtouch
[ -n "$missing" ] || exit 0

echo "bench: installing$missing" >&2
if [ "$(id -u)" -eq 0 ]; then sudo=; else sudo=sudo; fi

# The packages of nginx and redis would start services; this file forbids it for the while.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$sudo rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod 755 "$policy"
fi

$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >&2
