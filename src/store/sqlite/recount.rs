//! What calls took in a time that is over, entry by entry.

use futures_util::TryStreamExt as _;

use crate::ledger::{Row, Seq};
use crate::store::StoreError;

use super::reader::{Reader, read_error};
use super::row::Raw;

/// Entries that one recount looks at, at most: about a second's work.
const RECOUNT_MAX: i64 = 300_000;

/// Which calls are to be counted; what is not given matches everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    pub corp: Option<Seq>,
    pub app: Option<Seq>,
    pub api: Option<Seq>,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recounted {
    /// Wall time of the first entry, in Unix milliseconds.
    pub since: i64,
    /// There are earlier entries in the window that were not looked at.
    pub cut: bool,
}

impl Reader {
    /// Shows, oldest first, what `until` and the entries before it say of calls, fetches, refusals and declared usage,
    /// back to the ledger time `since_tick`.
    pub async fn recount(
        &self,
        since_tick: i64,
        until: Seq,
        of: Counted,
        mut see: impl FnMut(&Row),
    ) -> Result<Recounted, StoreError> {
        let until = i64::try_from(until).unwrap_or(i64::MAX);
        let first = self.first_tick(since_tick, until).await?;
        let from = first.max(until.saturating_sub(RECOUNT_MAX - 1));
        let int = |value: Option<Seq>| value.map(|value| value as i64);
        let (corp, app, api) = (int(of.corp), int(of.app), int(of.api));
        let mut rows = sqlx::query_as!(
            Raw,
            "select * from entry where seq >= ?1 and seq <= ?2 \
             and (kind = 31 or kind between 40 and 45 or kind between 60 and 62) \
             and (?3 is null or corp = ?3) and (?4 is null or app = ?4) and (?5 is null or api = ?5) order by seq",
            from,
            until,
            corp,
            app,
            api,
        )
        .fetch(self.pool());
        while let Some(raw) = rows.try_next().await.map_err(read_error)? {
            see(&Row::try_from(raw)?);
        }
        let since = self.entry(from as Seq).await?.map_or(0, |row| row.at);
        Ok(Recounted { since, cut: from > first })
    }

    /// The first `seq` whose tick is not before `tick`, up to `until`: ledger time never goes back, so the primary key
    /// finds it.
    async fn first_tick(&self, tick: i64, until: i64) -> Result<i64, StoreError> {
        let (mut low, mut high) = (1, until);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = sqlx::query_scalar!("select tick from entry where seq = ?", middle)
                .fetch_optional(self.pool())
                .await
                .map_err(read_error)?;
            if found.is_some_and(|found| found < tick) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}
