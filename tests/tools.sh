#!/usr/bin/env bash
# Fetches the programs that the tests put in front of the gateway into target/tools, unpacked, not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
tools="$PWD/target/tools"
mkdir -p "$tools/debian" "$tools/python"

debian() { # PACKAGE FILE
    [ -e "$tools/debian/$2" ] && return
    if ! command -v apt-get >/dev/null; then
        echo "the tests need Debian's $1 (unpacked below target/tools/debian); this machine has no apt-get" >&2
        exit 1
    fi
    local downloads
    downloads=$(mktemp -d)
    (
        cd "$downloads"
        apt-get download -q "$1" >apt.log 2>&1 || {
            # The package lists may be missing or old; fetching them needs root.
            if [ "$(id -u)" = 0 ]; then apt-get update -qq; else sudo apt-get update -qq; fi
            apt-get download -q "$1" >apt.log 2>&1 || { cat apt.log >&2; exit 1; }
        }
        dpkg -x ./*.deb "$tools/debian"
    )
    rm -rf "$downloads"
    [ -e "$tools/debian/$2" ] || { echo "Debian's $1 does not hold $2" >&2; exit 1; }
}

debian prometheus-alertmanager usr/bin/prometheus-alertmanager
debian fiu-utils usr/bin/fiu-run
debian libfiu0 usr/lib/fiu/fiu_posix_preload.so
ln -sf libfiu.so.1.1 "$tools/debian/usr/lib/libfiu.so.0"

if ! PYTHONPATH="$tools/python" python3 -c 'import wechatpy.work' 2>/dev/null; then
    python3 -m pip install --quiet --disable-pip-version-check --target "$tools/python" --upgrade \
        'wechatpy==2.0.0a26' 'requests>=2.31' cryptography
fi
PYTHONPATH="$tools/python" python3 -c 'import wechatpy.work'
