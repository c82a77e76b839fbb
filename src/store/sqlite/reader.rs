//! Read-only access for REST and for opening sealed secrets.

use std::path::Path;

use sqlx::SqlitePool;
use sqlx::sqlite::SqlitePoolOptions;

use crate::ledger::{Kind, Row, Seq};
use crate::store::StoreError;

use super::options;
use super::row::Raw;

/// One request looks at this many entries at most; a longer search goes on with the next page.
const SCAN_MAX: i64 = 200_000;

#[derive(Clone)]
pub struct Reader {
    pool: SqlitePool,
    /// Slow searches must not keep a call from its token.
    secrets: SqlitePool,
}

/// Which entries are wanted; what is not given matches everything.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    pub kind: Option<Kind>,
    pub corp: Option<Seq>,
    pub app: Option<Seq>,
    /// Any of these.
    pub apps: Option<Vec<Seq>>,
    pub api: Option<Seq>,
    pub api_key: Option<Seq>,
    pub errcode: Option<i64>,
    /// Wall time in Unix milliseconds, inclusive.
    pub from: Option<i64>,
    /// Wall time in Unix milliseconds, exclusive.
    pub to: Option<i64>,
}

#[derive(Debug)]
pub struct Page {
    pub rows: Vec<Row>,
    /// Where the next page begins, if there is one. A filtered page can be short and still have a next one.
    pub next: Option<Seq>,
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn read_error(error: sqlx::Error) -> StoreError {
    StoreError::Read(error.to_string())
}

async fn pool(data_dir: &Path, connections: u32) -> Result<SqlitePool, StoreError> {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .max_lifetime(None)
        .idle_timeout(None)
        .test_before_acquire(false)
        .connect_with(options(data_dir).read_only(true))
        .await
        .map_err(read_error)
}

impl Reader {
    pub async fn open(data_dir: &Path) -> Result<Self, StoreError> {
        Ok(Self { pool: pool(data_dir, 4).await?, secrets: pool(data_dir, 1).await? })
    }

    pub(super) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    pub async fn head(&self) -> Result<Seq, StoreError> {
        let head = sqlx::query_scalar!("select coalesce(max(seq), 0) as \"head!: i64\" from entry")
            .fetch_one(&self.pool)
            .await
            .map_err(read_error)?;
        Ok(head as Seq)
    }

    pub async fn entry(&self, seq: Seq) -> Result<Option<Row>, StoreError> {
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let raw = sqlx::query_as!(Raw, "select * from entry where seq = ?", seq)
            .fetch_optional(&self.pool)
            .await
            .map_err(read_error)?;
        Ok(raw.map(Row::try_from).transpose()?)
    }

    /// A page of entries after `after`, oldest first.
    pub async fn entries(&self, after: Seq, limit: u32, filter: &EntryFilter) -> Result<Page, StoreError> {
        let head = self.head().await? as i64;
        let from = match filter.from {
            Some(at) => self.first_at(at, head).await?,
            None => 1,
        };
        let end = match filter.to {
            Some(at) => self.first_at(at, head).await? - 1,
            None => head,
        };
        let after = i64::try_from(after).unwrap_or(i64::MAX).max(from - 1);
        let until = end.min(after.saturating_add(SCAN_MAX));
        let rows = self.scan(after, until, limit, filter).await?;
        let full = rows.len() == limit as usize;
        let last = rows.last().map(|row| row.seq as i64);
        let reached = if full { last.unwrap_or(until) } else { until };
        Ok(Page { rows, next: (reached < end && reached > 0).then_some(reached as Seq) })
    }

    async fn scan(
        &self,
        after: i64,
        until: i64,
        limit: u32,
        filter: &EntryFilter,
    ) -> Result<Vec<Row>, StoreError> {
        let kind = filter.kind.map(|kind| kind as i64);
        let int = |value: Option<Seq>| value.map(|value| value as i64);
        let (corp, app, api, api_key) =
            (int(filter.corp), int(filter.app), int(filter.api), int(filter.api_key));
        let (errcode, limit) = (filter.errcode, i64::from(limit));
        // A JSON list, because SQLite binds no lists.
        let apps = filter.apps.as_ref().map(|apps| format!("{apps:?}"));
        let rows = sqlx::query_as!(
            Raw,
            "select * from entry where seq > ?1 and seq <= ?2 and (?3 is null or kind = ?3) \
             and (?4 is null or corp = ?4) and (?5 is null or app = ?5) and (?6 is null or api = ?6) \
             and (?7 is null or api_key = ?7) and (?8 is null or errcode = ?8) \
             and (?9 is null or app in (select value from json_each(?9))) order by seq limit ?10",
            after,
            until,
            kind,
            corp,
            app,
            api,
            api_key,
            errcode,
            apps,
            limit,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(read_error)?;
        rows.into_iter().map(|raw| Row::try_from(raw).map_err(StoreError::from)).collect()
    }

    /// The first `seq` whose time is not before `at`: time never goes back, so the primary key finds it.
    async fn first_at(&self, at: i64, head: i64) -> Result<i64, StoreError> {
        let (mut low, mut high) = (1, head + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = sqlx::query_scalar!("select at from entry where seq = ?", middle)
                .fetch_optional(&self.pool)
                .await
                .map_err(read_error)?;
            if found.is_some_and(|found| found < at) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    pub async fn sealed_secret(&self, seq: Seq) -> Result<Option<Vec<u8>>, StoreError> {
        let seq = seq as i64;
        sqlx::query_scalar!("select sealed from sealed_secret where seq = ?", seq)
            .fetch_optional(&self.secrets)
            .await
            .map_err(read_error)
    }
}
