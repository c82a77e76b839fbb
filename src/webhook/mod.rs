//! Tells somebody of alerts: HTTP POST to an address that the operator chose, each alert at least once, in order.
//!
//! What is to be delivered, and what has been, is in the ledger, so a restart neither loses an alert nor begins anew.
//! Of several processes on one data directory one delivers: whoever holds the lock file.

mod message;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use crate::clock::Clock;
use crate::ledger::{Command, LedgerHandle, Row, Seq, hex_bytes};
use crate::store::FileLock;
use crate::store::sqlite::Reader;

pub use message::Format;

/// How often the queue is looked at.
const EVERY: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failure doubles from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));

/// Where alerts go.
#[derive(Clone)]
pub struct Settings {
    /// May hold a key, as those of group robots do: never shown.
    pub url: SecretString,
    pub format: Format,
    /// Signs what is sent.
    pub secret: Option<SecretString>,
    pub lock_file: PathBuf,
}

pub struct Webhook {
    pub ledger: LedgerHandle,
    pub reader: Reader,
    pub clock: std::sync::Arc<dyn Clock>,
    pub settings: Settings,
}

impl Webhook {
    /// Runs until the ledger ends.
    pub async fn run(self) {
        let Some(client) = client() else { return };
        let mut lock: Option<FileLock> = None;
        let mut pause = PAUSES.0;
        loop {
            let wait = match self.round(&client, &mut lock).await {
                Ok(()) => {
                    pause = PAUSES.0;
                    EVERY
                }
                Err(reason) => {
                    tracing::warn!(reason, "an alert could not be delivered; trying again in {pause:?}");
                    let wait = pause;
                    pause = (pause * 2).min(PAUSES.1);
                    wait
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.ledger.ended() => return,
            }
        }
    }

    /// Delivers what waits, one after the other; the first failure ends it.
    async fn round(&self, client: &reqwest::Client, lock: &mut Option<FileLock>) -> Result<(), String> {
        let waiting = self.ledger.read(|state, _| state.alerts.queue().collect::<Vec<Seq>>()).await;
        let Ok(waiting) = waiting else { return Ok(()) };
        if waiting.is_empty() {
            return Ok(());
        }
        if lock.is_none() {
            *lock = FileLock::try_acquire(&self.settings.lock_file).map_err(|error| error.to_string())?;
        }
        if lock.is_none() {
            return Ok(()); // Another process delivers.
        }
        for seq in waiting {
            let row = self.reader.entry(seq).await.map_err(|error| error.to_string())?;
            if let Some(row) = row {
                self.deliver(client, &row).await?;
            }
            let delivered = Command::WebhookDelivered { through: seq };
            self.ledger.decide(delivered).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn deliver(&self, client: &reqwest::Client, row: &Row) -> Result<(), String> {
        let directory = self.ledger.directory();
        let body = message::body(self.settings.format, row, &directory);
        let mut request = client
            .post(self.settings.url.expose_secret())
            .header("content-type", "application/json")
            .header("x-wecom-ledger-delivery", row.seq.to_string());
        if let Some(secret) = &self.settings.secret {
            let now = self.clock.read().wall_ms / 1000;
            request = request.header("x-wecom-ledger-signature", signature(secret, now, &body));
        }
        let answer = request.body(body).send().await.map_err(|error| error.without_url().to_string())?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("the receiver answered HTTP {status}"));
        }
        // A group robot refuses with HTTP 200.
        let text = answer.bytes().await.map_err(|error| error.without_url().to_string())?;
        let head = crate::wecom::answer::Head { status: 200, ..Default::default() };
        let refused = |errcode: &i64| self.settings.format == Format::WecomRobot && *errcode != 0;
        match crate::wecom::answer::inspect(&head, &text, true).errcode.filter(refused) {
            Some(errcode) => Err(format!("the group robot answered errcode {errcode}")),
            None => Ok(()),
        }
    }
}

fn client() -> Option<reqwest::Client> {
    crate::wecom::tls::install();
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .retry(reqwest::retry::never());
    match builder.build() {
        Ok(client) => Some(client),
        Err(error) => {
            tracing::error!(%error, "the webhook can't start; alerts stay in the ledger");
            None
        }
    }
}

/// `t=<Unix seconds>,v1=<hex of HMAC-SHA-256 over "<t>.<body>">`. The time lets a receiver refuse what is old.
pub fn signature(secret: &SecretString, now: i64, body: &str) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(secret.expose_secret().as_bytes())
        .expect("any key length fits");
    mac.update(format!("{now}.{body}").as_bytes());
    format!("t={now},v1={}", hex_bytes::encode(&mac.finalize().into_bytes()))
}
