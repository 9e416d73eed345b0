#!/bin/sh
# Installs what the tests need and this machine lacks: MariaDB's server, from the distribution's
# packages. The tests start an instance of their own; no server of the system is used or started.
set -eu

PATH="$PATH:/usr/sbin:/usr/local/sbin"
if command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "tests/setup.sh: install MariaDB's server (mariadbd, mariadb-install-db)" >&2
    exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    as_root=sudo
fi
# policy-rc.d keeps the package from starting a server; one that is there stays as it is.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod +x "$policy"
    trap '$as_root rm -f "$policy"' EXIT
fi
$as_root apt-get update
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends mariadb-server
