#!/usr/bin/env bash
# Checks every query against the migrations and writes what the compiler needs to know of them to .sqlx.
#   tests/sqlx.sh           after a change of a query or a migration
#   tests/sqlx.sh --check   fails if .sqlx is not up to date
set -euo pipefail
cd "$(dirname "$0")/.."
schema="$PWD/target/sqlx/schema.db"
fresh="$PWD/target/sqlx/queries"
rm -rf "$schema" "$fresh"
mkdir -p "$fresh"
python3 - "$schema" migrations/*.sql <<'PYTHON'
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
for migration in sys.argv[2:]:
    database.executescript(open(migration, encoding="utf-8").read())
PYTHON
# Only a recompiled crate writes its queries down.
touch src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$fresh" DATABASE_URL="sqlite://$schema" cargo check --locked --quiet
if [ "${1:-}" = --check ]; then
    diff -r "$fresh" .sqlx || { echo "run tests/sqlx.sh and commit .sqlx" >&2; exit 1; }
else
    rm -rf .sqlx
    cp -r "$fresh" .sqlx
fi
