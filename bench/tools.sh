#!/usr/bin/env bash
# Debian's nginx and wrk, unpacked below target/tools.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/debian.sh
debian nginx usr/sbin/nginx
debian wrk usr/bin/wrk
debian libluajit-5.1-2 usr/lib/x86_64-linux-gnu/libluajit-5.1.so.2
