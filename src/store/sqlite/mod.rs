//! SQLite: WAL, one writer connection per process, read-only readers.

mod insert;
mod reader;
mod recount;
mod row;
mod snapshot;
mod writer;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::StoreError;

pub use reader::{EntryFilter, Page, Reader};
pub use recount::{Counted, Recounted};
pub use writer::Writer;

/// Older ones can corrupt a WAL database that several connections write and checkpoint.
const SQLITE_MIN: (u32, u32, u32) = (3, 51, 3);

pub(crate) const DATABASE: &str = "ledger.db";

fn options(data_dir: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(data_dir.join(DATABASE))
        .busy_timeout(Duration::from_secs(10))
        .statement_cache_capacity(insert::ROWS_MAX + 64)
        .disable_statement_logging()
}

fn writer_options(data_dir: &Path) -> SqliteConnectOptions {
    options(data_dir)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(false)
        // A WAL that once grew is cut back at the next checkpoint.
        .pragma("journal_size_limit", "67108864")
}

/// Creates the database or brings it up to date. The caller holds the write lock: SQLite has no migration lock.
pub async fn migrate(data_dir: &Path) -> Result<(), StoreError> {
    let setup =
        |error: sqlx::Error| StoreError::Setup(format!("{}: {error}", data_dir.join(DATABASE).display()));
    let mut connection = writer_options(data_dir).create_if_missing(true).connect().await.map_err(setup)?;
    check_version(&mut connection).await?;
    sqlx::migrate!()
        .run(&mut connection)
        .await
        .map_err(|error| StoreError::Setup(format!("the database can't be brought up to date: {error}")))?;
    connection.close().await.map_err(setup)
}

async fn check_version(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let version = sqlx::query_scalar!("select sqlite_version() as \"version!: String\"")
        .fetch_one(connection)
        .await
        .map_err(|error| StoreError::Setup(error.to_string()))?;
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    if (part(), part(), part()) < SQLITE_MIN {
        let (major, minor, patch) = SQLITE_MIN;
        return Err(StoreError::Setup(format!(
            "SQLite {version} can corrupt a shared WAL database; this program needs {major}.{minor}.{patch} or newer: build it with the bundled SQLite"
        )));
    }
    Ok(())
}
