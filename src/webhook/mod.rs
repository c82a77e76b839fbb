//! Tells somebody of alerts: HTTP POST to an address that the operator chose, each alert at least once, in order.
//!
//! What is to be delivered, and what has been, is in the ledger, so a restart neither loses an alert nor begins anew.
//! Of several processes on one data directory one delivers: whoever holds the lock file.

mod message;
mod pace;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use crate::clock::Clock;
use crate::ledger::{Command, LedgerHandle, Row, Seq, hex_bytes};
use crate::store::FileLock;
use crate::store::sqlite::Reader;
use crate::wecom::{answer, errcodes};

pub use message::Format;
use pace::{Failure, Next, Pace};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Of a group robot's answer.
const ANSWER_MAX: usize = 64 * 1024;

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
        let mut pace = Pace::new(self.settings.format.every());
        let mut dropped = None;
        loop {
            self.warn_of_dropped(&mut dropped).await;
            let wait = self.round(&client, &mut lock, &mut pace).await.unwrap_or_else(|reason| {
                let wait = pace.wait();
                tracing::warn!(reason, "alerts can't be delivered; trying again in {wait:?}");
                wait
            });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.ledger.ended() => return,
            }
        }
    }

    /// Says it aloud when alerts were pushed out that nobody was told of. `seen`: as many as there were the last time.
    async fn warn_of_dropped(&self, seen: &mut Option<u64>) {
        let Ok(dropped) = self.ledger.read(|state, _| state.alerts.dropped).await else { return };
        let more = dropped - seen.replace(dropped).unwrap_or(dropped);
        if more > 0 {
            tracing::warn!(
                more,
                "alerts were pushed out of the queue; they are in the ledger and nowhere else"
            );
        }
    }

    /// Delivers what waits, one after the other, until a failure ends it, and tells when to go on.
    async fn round(
        &self,
        client: &reqwest::Client,
        lock: &mut Option<FileLock>,
        pace: &mut Pace,
    ) -> Result<Duration, String> {
        let waiting = self.ledger.read(|state, _| state.alerts.queue().collect::<Vec<Seq>>()).await;
        let Ok(waiting) = waiting else { return Ok(pace.every) };
        if waiting.is_empty() {
            return Ok(pace.every);
        }
        if lock.is_none() {
            *lock = FileLock::try_acquire(&self.settings.lock_file).map_err(|error| error.to_string())?;
        }
        if lock.is_none() {
            return Ok(pace.every); // Another process delivers.
        }
        for seq in waiting {
            let row = self.reader.entry(seq).await.map_err(|error| error.to_string())?;
            let failed = match row {
                Some(row) => self.deliver(client, &row).await.err(),
                None => None,
            };
            let refused = match failed.map(|failure| (failure.clone(), pace.failed(seq, failure))) {
                None => None,
                Some((failure, Next::Wait(wait))) => {
                    tracing::warn!(
                        seq,
                        ?failure,
                        "an alert could not be delivered; trying again in {wait:?}"
                    );
                    return Ok(wait);
                }
                Some((_, Next::GiveUp(reason))) => {
                    tracing::error!(seq, reason, "an alert is given up: its receiver refuses what it says");
                    Some(reason)
                }
            };
            let done = Command::WebhookDelivered { through: seq, refused };
            self.ledger.decide(done).await.map_err(|error| error.to_string())?;
            pace.delivered();
            if self.settings.format == Format::WecomRobot {
                break; // The next one has to wait for its time.
            }
        }
        Ok(pace.every)
    }

    async fn deliver(&self, client: &reqwest::Client, row: &Row) -> Result<(), Failure> {
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
        let later = |error: reqwest::Error| Failure::Later(error.without_url().to_string());
        let mut answer = request.body(body).send().await.map_err(later)?;
        by_status(answer.status())?;
        if self.settings.format == Format::Json {
            return Ok(());
        }
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(later)? {
            if text.len() + piece.len() > ANSWER_MAX {
                return Err(Failure::Later("the group robot's answer is too long".to_owned()));
            }
            text.extend_from_slice(&piece);
        }
        by_answer(&text)
    }
}

/// Whether the receiver took it, and whose fault it is if not.
fn by_status(status: StatusCode) -> Result<(), Failure> {
    let said = format!("the receiver answered HTTP {status}");
    match status.as_u16() {
        _ if status.is_success() => Ok(()),
        // About this message; the others are about the address, the sender, or the moment.
        400 | 413 | 415 | 422 => Err(Failure::Refused(said)),
        _ => Err(Failure::Later(said)),
    }
}

/// A group robot refuses with HTTP 200.
fn by_answer(text: &[u8]) -> Result<(), Failure> {
    let head = answer::Head { status: 200, ..Default::default() };
    match answer::inspect(&head, text, true).errcode {
        None | Some(errcodes::OK) => Ok(()),
        Some(errcode) => {
            let said = format!("the group robot answered errcode {errcode}");
            let refused = errcodes::class(errcode) == errcodes::Class::CallerError;
            Err(if refused { Failure::Refused(said) } else { Failure::Later(said) })
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
