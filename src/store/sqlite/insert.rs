//! The one hot statement: many entries in one INSERT.
//!
//! A row per `execute` gives 9 thousand rows a second, one multi-row statement more than 80 thousand, so its text
//! depends on the number of rows. It is put together from constants only, and kept.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

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
pub fn statement(rows: &[Row]) -> Query<'_, Sqlite, SqliteArguments> {
    let mut query = sqlx::query(sqlx::AssertSqlSafe(text(rows.len())));
    let int = |value: Option<u64>| value.map(|value| value as i64);
    for row in rows {
        query = query
            .bind(row.seq as i64)
            .bind(row.kind as i64)
            .bind(row.tick)
            .bind(row.at)
            .bind(int(row.process))
            .bind(int(row.corp))
            .bind(int(row.app))
            .bind(int(row.api))
            .bind(int(row.api_key))
            .bind(row.actor.as_deref())
            .bind(int(row.pending_seq))
            .bind(int(row.credential_seq))
            .bind(int(row.cost))
            .bind(row.errcode)
            .bind(row.method.as_deref())
            .bind(row.timeout_ms.map(i64::from))
            .bind(row.http_status.map(i64::from))
            .bind(int(row.latency_us))
            .bind(int(row.request_bytes))
            .bind(int(row.response_bytes))
            .bind(row.request_sha256.as_ref().map(<[u8; 32]>::as_slice))
            .bind(row.detail.as_deref());
    }
    query
}
