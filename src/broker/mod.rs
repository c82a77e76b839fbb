//! The broker: each credential is fetched once, over all processes, and issued only from its newest valid row.
//!
//! Who may fetch is decided by the ledger: a pending fetch is an entry, and whoever sees one waits for its outcome.
//! Inside a process one detached task per app does the fetching, so a caller that goes away cancels nothing.

mod fetch;
mod plain;
mod refresh;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;

use crate::ledger::command::{Caller, Command, FetchReason, Refusal, Reply, Unauthorized};
use crate::ledger::{LedgerError, LedgerHandle, Seq};
use crate::store::sqlite::Reader;
use crate::vault::Vault;
use crate::wecom::issue::TokenSource;

use plain::PlainTokens;
pub use refresh::keep_fresh;

/// How often issuing is tried again when a token ends between its fetch and its issue.
const ISSUE_ATTEMPTS: usize = 3;

#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The age at which a token of 7200 s is replaced; other lifetimes in proportion.
    pub refresh_at: Duration,
    /// Up to this much earlier, at random, so that many apps do not fetch at the same moment.
    pub refresh_jitter: Duration,
    pub fetch_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            refresh_at: Duration::from_secs(7000),
            refresh_jitter: Duration::from_mins(1),
            fetch_timeout: Duration::from_secs(15),
        }
    }
}

/// Why there is no credential to issue.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CredentialError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("{0:?}")]
    Unauthorized(Unauthorized),
    /// WeCom, or the way to it, says no. `errcode` is WeCom's, where it gave one.
    #[error("{reason}")]
    Unavailable { errcode: Option<i64>, reason: String, retry_at: Option<i64> },
}

impl CredentialError {
    fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { errcode: None, reason: reason.into(), retry_at: None }
    }
}

type Landed = Option<Result<Seq, CredentialError>>;

pub struct Broker {
    ledger: LedgerHandle,
    reader: Reader,
    vault: Arc<Vault>,
    source: Arc<dyn TokenSource>,
    settings: Settings,
    plain: PlainTokens,
    /// Fetches of this process that are under way, by app.
    flights: Mutex<HashMap<Seq, watch::Receiver<Landed>>>,
    runtime: tokio::runtime::Handle,
}

impl Broker {
    /// Fetches run on the runtime that this is called on.
    pub fn new(
        ledger: LedgerHandle,
        reader: Reader,
        vault: Arc<Vault>,
        source: Arc<dyn TokenSource>,
        settings: Settings,
    ) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            reader,
            vault,
            source,
            settings,
            plain: PlainTokens::default(),
            flights: Mutex::default(),
            runtime: tokio::runtime::Handle::current(),
        })
    }

    /// The newest valid credential of an app, fetched if there is none.
    pub async fn ensure(self: &Arc<Self>, app: Seq) -> Result<Seq, CredentialError> {
        let mut landed = self.join_flight(app, FetchReason::Demand);
        let result = landed.wait_for(Option::is_some).await;
        match result.map(|landed| landed.clone()) {
            Ok(Some(result)) => result,
            Ok(None) | Err(_) => Err(CredentialError::unavailable("the fetch was interrupted; try again")),
        }
    }

    /// The fetch under way for this app, or a new one.
    fn join_flight(self: &Arc<Self>, app: Seq, why: FetchReason) -> watch::Receiver<Landed> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landed) = flights.get(&app) {
            return landed.clone();
        }
        let (land, landed) = watch::channel(None);
        flights.insert(app, landed.clone());
        let broker = Arc::clone(self);
        self.runtime.spawn(async move {
            // Dropped however this task ends, so that no flight is ever stuck.
            let flight = Flight { broker: &broker, app };
            let result = broker.fly(app, why).await;
            drop(flight);
            let _ = land.send(Some(result));
        });
        landed
    }

    /// Issues the newest valid credential to `caller`, on record.
    pub async fn issue(self: &Arc<Self>, app: Seq, caller: Caller) -> Result<Seq, CredentialError> {
        if let Some(credential) = self.issued_before(app, caller) {
            return Ok(credential);
        }
        for _ in 0..ISSUE_ATTEMPTS {
            match self.ledger.decide(Command::Issue { app, caller }).await? {
                Reply::Issued { credential, .. } => return Ok(credential),
                Reply::Refused(Refusal::Unauthorized(why)) => return Err(CredentialError::Unauthorized(why)),
                Reply::Refused(Refusal::NoCredential) => {
                    self.ensure(app).await?;
                }
                other => return Err(CredentialError::unavailable(format!("unexpected answer {other:?}"))),
            }
        }
        Err(CredentialError::unavailable("WeCom's tokens end as soon as they are issued"))
    }

    /// What was issued to the same caller before needs no new entry, as long as it is still the newest valid row.
    fn issued_before(&self, app: Seq, caller: Caller) -> Option<Seq> {
        let directory = self.ledger.directory();
        let live = directory.live_app(app)?;
        let may = match caller {
            Caller::Key(key) => {
                directory.api_keys.get(&key).is_some_and(|key| key.is_active() && key.may_use_app(app))
            }
            Caller::Secret(secret) => live.secret == secret,
        };
        let row = live.credential.valid_row(self.ledger.tick()).filter(|_| may)?;
        row.issued_to.contains(&caller.api_key().unwrap_or(0)).then_some(row.seq)
    }

    /// The token of a credential row.
    pub async fn token(&self, credential: Seq) -> Result<Arc<SecretString>, CredentialError> {
        if let Some(token) = self.plain.get(credential) {
            return Ok(token);
        }
        let sealed = self.reader.sealed_secret(credential).await;
        let sealed = sealed.map_err(|error| CredentialError::unavailable(error.to_string()))?;
        let sealed = sealed.ok_or_else(|| CredentialError::unavailable("the token was erased meanwhile"))?;
        let token = self.vault.open_sealed(&self.ledger.ledger_id(), credential, &sealed);
        let token = Arc::new(token.map_err(|error| CredentialError::unavailable(error.to_string()))?);
        self.plain.put(credential, &token);
        Ok(token)
    }
}

struct Flight<'a> {
    broker: &'a Broker,
    app: Seq,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.broker.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.app);
    }
}
