//! The only owner of a write connection.

use std::path::{Path, PathBuf};

use sqlx::{ConnectOptions as _, SqliteConnection};

use crate::ledger::{Row, Seq};
use crate::store::{Batch, LockFiles, Log, StoreError};

use super::row::Raw;
use super::{check_version, insert, snapshot, writer_options};

pub struct Writer {
    data_dir: PathBuf,
    locks: LockFiles,
    /// None after a failure, until it is replaced: a connection whose commit failed is never used again.
    connection: Option<SqliteConnection>,
    /// The snapshot that is being written, if any: one at a time, and none is left behind when we end.
    snapshot: Option<std::thread::JoinHandle<()>>,
}

fn write_error(error: impl std::fmt::Display) -> StoreError {
    StoreError::Write(error.to_string())
}

impl Writer {
    /// Opens an existing ledger.
    pub async fn open(data_dir: &Path, owner: [u8; 8]) -> Result<Self, StoreError> {
        let locks = LockFiles::open(&data_dir.join("lock"), owner)
            .map_err(|error| StoreError::Setup(format!("{}: {error}", data_dir.join("lock").display())))?;
        locks.lock().map_err(|error| StoreError::Setup(format!("the write lock: {error}")))?;
        let migrated = super::migrate(data_dir).await;
        locks.unlock();
        migrated?;
        let mut writer = Self { data_dir: data_dir.to_owned(), locks, connection: None, snapshot: None };
        let mut connection = writer.connect().await?;
        check_version(&mut connection).await?;
        writer.connection = Some(connection);
        Ok(writer)
    }

    async fn connect(&self) -> Result<SqliteConnection, StoreError> {
        writer_options(&self.data_dir).connect().await.map_err(write_error)
    }

    fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.connection.as_mut().ok_or_else(|| StoreError::Write("the last write failed".to_owned()))
    }

    async fn try_append(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let connection = self.connection()?;
        let single =
            batch.rows.len() <= insert::ROWS_MAX && batch.sealed.is_empty() && batch.erase.is_empty();
        if single {
            // One statement is a transaction of its own, and saves two round trips.
            insert::statement(&batch.rows)
                .map_err(write_error)?
                .execute(connection)
                .await
                .map_err(write_error)?;
            return Ok(());
        }
        sqlx::query!("begin immediate").execute(&mut *connection).await.map_err(write_error)?;
        for rows in batch.rows.chunks(insert::ROWS_MAX) {
            insert::statement(rows)
                .map_err(write_error)?
                .execute(&mut *connection)
                .await
                .map_err(write_error)?;
        }
        for (seq, sealed) in &batch.sealed {
            let seq = *seq as i64;
            sqlx::query!("insert into sealed_secret (seq, sealed) values (?, ?)", seq, sealed)
                .execute(&mut *connection)
                .await
                .map_err(write_error)?;
        }
        for &seq in &batch.erase {
            let seq = seq as i64;
            sqlx::query!("delete from sealed_secret where seq = ?", seq)
                .execute(&mut *connection)
                .await
                .map_err(write_error)?;
        }
        sqlx::query!("commit").execute(connection).await.map_err(write_error)?;
        Ok(())
    }
}

impl Log for Writer {
    fn lock(&mut self) -> Result<bool, StoreError> {
        self.locks.lock().map_err(|error| StoreError::Write(format!("the write lock: {error}")))
    }

    fn unlock(&mut self) {
        self.locks.unlock();
    }

    async fn rows_after(&mut self, after: Seq, max: u32) -> Result<Vec<Row>, StoreError> {
        let (after, max) = (after as i64, i64::from(max));
        let connection = self.connection()?;
        let rows = sqlx::query_as!(Raw, "select * from entry where seq > ? order by seq limit ?", after, max)
            .fetch_all(connection)
            .await
            .map_err(|error| StoreError::Read(error.to_string()))?;
        rows.into_iter().map(|raw| Row::try_from(raw).map_err(StoreError::from)).collect()
    }

    async fn append(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let result = self.try_append(batch).await;
        if result.is_err() {
            // sqlx and SQLite may disagree about the open transaction after a full disk; a new connection can't.
            self.connection = None;
        }
        result
    }

    /// A failed fsync may have left pages in the cache that are not on disk. Moving the whole WAL into the database
    /// file, with its own fsync, writes them again or says that it can't.
    async fn reopen(&mut self) -> Result<(), StoreError> {
        self.connection = None;
        let mut connection = self.connect().await?;
        // The macro can't know the columns of this pragma: busy, pages in the WAL, pages moved. Passive, because readers
        // may stay; they only have to have seen the last pages.
        let checkpoint = sqlx::query_as("pragma wal_checkpoint(passive)").fetch_one(&mut connection).await;
        let (busy, pages, moved): (i64, i64, i64) = checkpoint.map_err(write_error)?;
        if busy != 0 || pages != moved {
            return Err(StoreError::Write(
                "a reader keeps the ledger from being verified; trying again".to_owned(),
            ));
        }
        self.connection = Some(connection);
        Ok(())
    }

    fn load_snapshot(&mut self) -> Option<Vec<u8>> {
        snapshot::load(&self.data_dir)
    }

    fn save_snapshot(&mut self, bytes: Vec<u8>) {
        if self.snapshot.as_ref().is_some_and(|writing| !writing.is_finished()) {
            // A disk that is slower than our snapshots gets fewer of them.
            return;
        }
        let data_dir = self.data_dir.clone();
        self.snapshot = Some(std::thread::spawn(move || snapshot::save(&data_dir, &bytes)));
    }

    fn is_dead(&mut self, instance: &str) -> bool {
        self.locks.is_dead(instance)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(writing) = self.snapshot.take() {
            let _ = writing.join();
        }
    }
}
