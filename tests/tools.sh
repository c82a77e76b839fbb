#!/usr/bin/env bash
# Fetches the programs that the tests put in front of the gateway into target/tools, unpacked, not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/debian.sh

debian prometheus-alertmanager usr/bin/prometheus-alertmanager
debian fiu-utils usr/bin/fiu-run
debian libfiu0 usr/lib/fiu/fiu_posix_preload.so
ln -sf libfiu.so.1.1 "$tools/debian/usr/lib/libfiu.so.0"

if ! PYTHONPATH="$tools/python" python3 -c 'import wechatpy.work' 2>/dev/null; then
    python3 -m pip install --quiet --disable-pip-version-check --target "$tools/python" --upgrade \
        'wechatpy==2.0.0a26' 'requests>=2.31' cryptography
fi
PYTHONPATH="$tools/python" python3 -c 'import wechatpy.work'
