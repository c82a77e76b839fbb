//! Compares WeCom's count of each app's messages with the ledger's: once a day by itself, if that is set, or on request.
//!
//! What was compared, and what failed and when it may be tried again, is in the ledger, so a restart asks nothing twice.
//! Of several processes on one data directory one asks: whoever holds the lock file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::admission::Admission;
use crate::config::Config;
use crate::datadir;
use crate::gateway::{AT_ONCE, Asked, Gateway};
use crate::http::reconcile::{Report, apps, report};
use crate::ledger::delivered::{Which, due};
use crate::ledger::{LedgerHandle, Seq};
use crate::quota::minute_of_day;
use crate::store::FileLock;

use super::drain::Drain;
use super::serve::{calling, gateway_settings, registration};

/// How often it is looked whether something is due.
const EVERY: Duration = Duration::from_secs(1);
/// The pause where the ledger could not even write down what failed.
const PAUSE: Duration = Duration::from_mins(1);

/// The task of a serving process.
pub(super) struct Daily {
    pub gateway: Arc<Gateway>,
    pub ledger: LedgerHandle,
    /// Minute of the day from which on yesterday is asked about.
    pub from_minute: u32,
    pub lock_file: PathBuf,
    pub drain: Arc<Drain>,
}

impl Daily {
    /// Runs until the process drains or the ledger ends.
    pub(super) async fn run(self) {
        let mut lock: Option<FileLock> = None;
        while !self.drain.has_begun() {
            let wait = match self.round(&mut lock).await {
                Ok(()) => EVERY,
                Err(reason) => {
                    tracing::warn!(reason, "messages can't be reconciled now; trying again in {PAUSE:?}");
                    PAUSE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.ledger.ended() => return,
            }
        }
    }

    /// Asks for what is due, a few apps at a time.
    async fn round(&self, lock: &mut Option<FileLock>) -> Result<(), String> {
        let apps = self.due().await;
        if apps.is_empty() {
            return Ok(());
        }
        if lock.is_none() {
            *lock = FileLock::try_acquire(&self.lock_file).map_err(|error| error.to_string())?;
        }
        if lock.is_none() {
            return Ok(()); // Another process asks.
        }
        for apps in apps.chunks(AT_ONCE) {
            if self.drain.has_begun() {
                return Ok(());
            }
            for (app, result) in
                self.gateway.reconcile_each(apps.to_vec(), Which::Yesterday, Asked::Daily).await
            {
                let written = result.map_err(|error| error.to_string())?;
                if let Some((seq, it)) = written {
                    tracing::info!(seq, app, day = %it.day, "messages of a day: {}", it.in_words());
                }
            }
        }
        Ok(())
    }

    async fn due(&self) -> Vec<Seq> {
        let from_minute = self.from_minute;
        let due = self.ledger.read(move |state, now| {
            let minute = minute_of_day(now.at, state.meters.zone_minutes());
            if minute >= from_minute { due(state, now) } else { Vec::new() }
        });
        // Without the ledger nothing is due.
        due.await.unwrap_or_default()
    }
}

/// Compares on request, from a process of its own that the ledger knows.
pub async fn reconcile(
    config: Config,
    corp: Option<String>,
    app: Option<String>,
    which: Which,
) -> anyhow::Result<Report> {
    datadir::expect_initialised(&config.data_dir).await?;
    let settings = gateway_settings(&config)?;
    let registration = registration(&config, &datadir::new_instance()?);
    let opened = datadir::open(&config.data_dir, Some(registration)).await?;
    let ledger = opened.ledger.clone();
    let reported = match apps(&ledger.directory(), corp.as_deref(), app.as_deref(), None) {
        Ok(apps) => {
            let admission = Admission::new(opened.ledger.clone());
            let (_broker, gateway) = calling(&config, &opened, &admission, settings)?;
            let results = gateway.reconcile_each(apps, which, Asked::Requested(None)).await;
            report(&opened.reader, &ledger.directory(), results).await
        }
        Err(unknown) => Err(unknown),
    };
    ledger.stop().await;
    reported.map_err(|problem| anyhow::anyhow!(problem.detail))
}
