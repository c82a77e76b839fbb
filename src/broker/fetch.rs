//! One fetch, from the permission to its outcome on disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;

use crate::ledger::Seq;
use crate::ledger::command::{Command, FetchOutcome, FetchReason, Refusal, Reply};
use crate::ledger::entry::Plain;
use crate::wecom::errmsg::ErrMsg;
use crate::wecom::issue::{self, CredentialRequest};

use super::{Broker, CredentialError};

/// While somebody else fetches: how often to look, and for how long at most.
const WAIT_STEP: Duration = Duration::from_millis(25);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What the pending entry lives longer than the fetch itself.
const PENDING_MARGIN: Duration = Duration::from_secs(5);

/// The lifetime for which the refresh age is stated.
const USUAL_LIFE_MS: i64 = 7_200_000;

impl Broker {
    /// Brings a valid credential about, or says why there is none.
    pub(super) async fn fly(&self, app: Seq, why: FetchReason) -> Result<Seq, CredentialError> {
        let timeout_ms = (self.settings.fetch_timeout + PENDING_MARGIN).as_millis() as u32;
        let begun = Instant::now();
        loop {
            let asked = Instant::now();
            match self.ledger.decide(Command::BeginFetch { app, why, timeout_ms }).await? {
                Reply::Have { credential } => return Ok(credential),
                Reply::Fetch { pending, secret } => self.fetch(app, pending, secret, asked).await?,
                Reply::Wait if begun.elapsed() < WAIT_MAX => tokio::time::sleep(WAIT_STEP).await,
                Reply::Wait => {
                    let reason = "another process has been fetching this token for too long";
                    return Err(CredentialError::unavailable(reason));
                }
                Reply::Refused(Refusal::CredentialUnavailable { errcode, reason, retry_at }) => {
                    return Err(CredentialError::Unavailable { errcode, reason, retry_at });
                }
                Reply::Rejected(rejected) => return Err(CredentialError::unavailable(rejected.to_string())),
                other => return Err(CredentialError::unavailable(format!("unexpected answer {other:?}"))),
            }
        }
    }

    /// The outcome is written whatever it is; if it can't be written, the fetch expires.
    async fn fetch(
        &self,
        app: Seq,
        pending: Seq,
        secret: Seq,
        asked: Instant,
    ) -> Result<(), CredentialError> {
        // If writing the pending entry took so long, others may take the fetch for dead before it ends.
        let outcome = if asked.elapsed() < PENDING_MARGIN {
            self.ask(app, secret).await
        } else {
            FetchOutcome::NotSent { reason: "the ledger took too long to write the fetch down".to_owned() }
        };
        let token = match &outcome {
            FetchOutcome::Token { token, .. } => Some(Arc::clone(&token.0)),
            _ => None,
        };
        match self.ledger.decide(Command::EndFetch { pending, outcome }).await {
            Ok(Reply::Settled { seq }) => {
                if let Some(token) = token {
                    self.plain.put(seq, &token);
                }
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => {
                self.ledger.abandon(pending);
                Err(error.into())
            }
        }
    }

    async fn ask(&self, app: Seq, secret: Seq) -> FetchOutcome {
        let not_sent = |reason: String| FetchOutcome::NotSent { reason };
        let directory = self.ledger.directory();
        let corp = directory.apps.get(&app).and_then(|app| directory.corps.get(&app.corp));
        let Some(corp) = corp else { return not_sent("the app was removed".to_owned()) };
        let secret = match self.token(secret).await {
            Ok(secret) => secret,
            Err(error) => return not_sent(format!("the app's secret can't be read: {error}")),
        };
        let request =
            CredentialRequest::AccessToken { corp_id: corp.corp_id.clone(), secret: (*secret).clone() };
        let begun = Instant::now();
        let outcome = self.source.fetch(&request, self.settings.fetch_timeout).await;
        let label = directory.app_label(app).unwrap_or_default();
        match &outcome {
            issue::FetchOutcome::Issued { .. } => tracing::info!(app = label, "fetched an access token"),
            issue::FetchOutcome::Refused { errcode, message, .. } => {
                tracing::error!(app = label, errcode, errmsg = message.text, "WeCom refuses an access token");
            }
            issue::FetchOutcome::NotSent { reason } | issue::FetchOutcome::Unknown { reason, .. } => {
                tracing::warn!(app = label, reason, "no access token could be fetched");
            }
        }
        self.outcome(outcome, begun.elapsed().as_micros() as u64)
    }

    fn outcome(&self, outcome: issue::FetchOutcome, latency_us: u64) -> FetchOutcome {
        match outcome {
            issue::FetchOutcome::Issued { token, expires_in } => {
                let fingerprint = self.vault.fingerprint("credential", token.expose_secret());
                let expires_in_ms = expires_in * 1000;
                FetchOutcome::Token {
                    token: Plain(Arc::new(token)),
                    fingerprint,
                    expires_in_ms,
                    refresh_after_ms: self.refresh_after_ms(expires_in_ms),
                    http_status: 200,
                    latency_us,
                }
            }
            issue::FetchOutcome::Refused { errcode, message, http_status } => {
                let ErrMsg { text, hint, from_ip } = message;
                FetchOutcome::Refused { errcode, errmsg: text, hint, from_ip, http_status, latency_us }
            }
            issue::FetchOutcome::NotSent { reason } => FetchOutcome::NotSent { reason },
            issue::FetchOutcome::Unknown { reason, .. } => FetchOutcome::Unknown { reason },
        }
    }

    /// In proportion to the lifetime, and earlier by a random part of the jitter.
    fn refresh_after_ms(&self, expires_in_ms: i64) -> i64 {
        let scaled = |duration: Duration| duration.as_millis() as i64 * expires_in_ms / USUAL_LIFE_MS;
        let jitter = scaled(self.settings.refresh_jitter);
        let random = crate::vault::random::<8>().map_or(0, u64::from_le_bytes);
        let early = if jitter > 0 { (random % (jitter as u64 + 1)) as i64 } else { 0 };
        (scaled(self.settings.refresh_at) - early).max(0)
    }
}
