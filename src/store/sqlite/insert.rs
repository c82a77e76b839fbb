//! The one hot statement: many entries in one INSERT.
//!
//! A row per `execute` gives 9 thousand rows a second, one multi-row statement more than 80 thousand, so its text
//! depends on the number of rows. It is put together from constants only, and kept.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use sqlx::Arguments as _;
use sqlx::error::BoxDynError;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments};

use crate::ledger::Row;

/// Rows per statement, at most; 22 values each stay far below SQLite's 32,766 variables.
pub const ROWS_MAX: usize = 256;

const INTO: &str = "insert into entry (seq, kind, tick, at, process, corp, app, api, api_key, actor, pending_seq, \
     credential_seq, cost, errcode, method, timeout_ms, http_status, latency_us, request_bytes, response_bytes, \
     request_sha256, detail) values ";
const COLUMNS: usize = 22;

fn text(rows: usize) -> Arc<str> {
    static TEXTS: OnceLock<Vec<Arc<str>>> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| (0..=ROWS_MAX).map(build).collect());
    Arc::clone(&texts[rows])
}

fn build(rows: usize) -> Arc<str> {
    let mut text = INTO.to_owned();
    for row in 0..rows {
        let _ = write!(text, "{}(?{}", if row == 0 { "" } else { ", " }, ", ?".repeat(COLUMNS - 1));
        text.push(')');
    }
    text.into()
}

/// The statement that appends `rows` (1 to [`ROWS_MAX`]).
pub fn statement(rows: &[Row]) -> Result<Query<'static, Sqlite, SqliteArguments>, BoxDynError> {
    let mut values = SqliteArguments::default();
    values.reserve(rows.len() * COLUMNS, 0);
    for row in rows {
        add(&mut values, row)?;
    }
    Ok(sqlx::query_with(sqlx::AssertSqlSafe(text(rows.len())), values))
}

static POST: OnceLock<Arc<str>> = OnceLock::new();
static GET: OnceLock<Arc<str>> = OnceLock::new();

/// Nearly every row has one of these, and an argument owns its text.
fn shared(known: &OnceLock<Arc<str>>, text: &str) -> Arc<str> {
    Arc::clone(known.get_or_init(|| text.into()))
}

/// In the order of the columns.
fn add(values: &mut SqliteArguments, row: &Row) -> Result<(), BoxDynError> {
    let int = |value: Option<u64>| value.map(|value| value as i64);
    values.add(row.seq as i64)?;
    values.add(row.kind as i64)?;
    values.add(row.tick)?;
    values.add(row.at)?;
    values.add(int(row.process))?;
    values.add(int(row.corp))?;
    values.add(int(row.app))?;
    values.add(int(row.api))?;
    values.add(int(row.api_key))?;
    values.add(row.actor.as_deref())?;
    values.add(int(row.pending_seq))?;
    values.add(int(row.credential_seq))?;
    values.add(int(row.cost))?;
    values.add(row.errcode)?;
    match row.method.as_deref() {
        Some("POST") => values.add(shared(&POST, "POST"))?,
        Some("GET") => values.add(shared(&GET, "GET"))?,
        other => values.add(other)?,
    }
    values.add(row.timeout_ms.map(i64::from))?;
    values.add(row.http_status.map(i64::from))?;
    values.add(int(row.latency_us))?;
    values.add(int(row.request_bytes))?;
    values.add(int(row.response_bytes))?;
    values.add(row.request_sha256.as_ref().map(<[u8; 32]>::as_slice))?;
    values.add(row.detail.as_deref())?;
    Ok(())
}
