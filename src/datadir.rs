//! The data directory: what lies where, how it comes to be, and how it is opened.
//!
//! | name | what it is |
//! |---|---|
//! | `ledger.db` (and `-wal`, `-shm`) | the entries and the sealed secrets |
//! | `master.key` | what secrets are sealed and recognised with; mode 0600, keep a copy elsewhere |
//! | `lock/` | the write lock, and one lock for each process that serves |
//! | `snapshot.bin` | the folded state, to start faster; can be deleted |
//! | `wecom-ledger.toml` | settings, optional |

#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use crate::clock::{Clock, SystemClock};
use crate::ledger::command::ApiKeyTerms;
use crate::ledger::committer::{self, Registration};
use crate::ledger::entry::{Body, Scope};
use crate::ledger::{ClockReading, Command, LedgerError, LedgerHandle, Rejected, Reply, Seq, hex_bytes};
use crate::store::sqlite::{Reader, Writer};
use crate::store::{ProcessLock, StoreError};
use crate::vault::{self, Vault, VaultError};

const DATABASE: &str = "ledger.db";
const KEY: &str = "master.key";
const LOCKS: &str = "lock";

/// Where lock files lie.
pub fn lock_dir(dir: &Path) -> PathBuf {
    dir.join(LOCKS)
}

/// Purposes of keyed fingerprints: equal strings of different kinds have different ones.
pub const API_KEY: &str = "api_key";
const KEY_CHECK: &str = "ledger";
pub const APP_SECRET: &str = "app_secret";

#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("{0} is not initialised; run: wecom-ledger init --data-dir {0}")]
    NotInitialised(String),
    #[error(
        "{0} is initialised already. If its first API key was lost, create another one: \
         wecom-ledger key create --name admin --scope admin --data-dir {0}"
    )]
    Initialised(String),
    #[error("another `init` is at work in {0}; wait for it")]
    InitAtWork(String),
    #[error(
        "{0} holds a ledger but no master.key, and nothing can be opened without it; restore it from your backup"
    )]
    KeyMissing(String),
    #[error("{0} is not the key that this ledger was created with; restore the right one from your backup")]
    ForeignKey(String),
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

/// A data directory in use.
pub struct Opened {
    pub ledger: LedgerHandle,
    pub reader: Reader,
    pub vault: Arc<Vault>,
    pub clock: Arc<dyn Clock>,
}

/// A new API key: the only moment at which it can be seen.
pub struct NewApiKey {
    pub id: Seq,
    pub api_key: SecretString,
}

/// The clock of a process that serves. Whoever can still write or send holds it, so the process's sign of life lives
/// exactly as long: others expire our pending calls no earlier than nobody here can make them any more.
struct LivingClock {
    clock: SystemClock,
    _sign_of_life: ProcessLock,
}

impl Clock for LivingClock {
    fn read(&self) -> ClockReading {
        self.clock.read()
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.display().to_string();
    move |source| DataDirError::Io { path, source }
}

/// Whether a ledger was created here.
pub async fn is_initialised(dir: &Path) -> Result<bool, DataDirError> {
    let database = dir.join(DATABASE);
    match std::fs::metadata(&database) {
        Ok(file) if file.len() > 0 => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(at(&database)(error)),
    }
    match Reader::open(dir).await?.head().await {
        Ok(head) => Ok(head > 0),
        // An `init` that was interrupted before the table was there.
        Err(StoreError::Read(what)) if what.contains("no such table") => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Creates keys, database and the first API key. Goes on where an earlier attempt was interrupted.
pub async fn init(dir: &Path) -> Result<NewApiKey, DataDirError> {
    let shown = dir.display().to_string();
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
    let locks = dir.join(LOCKS);
    DirBuilder::new().recursive(true).mode(0o700).create(&locks).map_err(at(&locks))?;
    let _alone = ProcessLock::acquire(&locks, "init").map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => DataDirError::InitAtWork(shown.clone()),
        _ => at(&locks)(error),
    })?;
    let begun = is_initialised(dir).await?;
    let vault = Arc::new(if begun { open_key(dir)? } else { create_key(dir)? });
    if begun {
        check_key(dir, &vault).await?;
    }
    let clock: Arc<dyn Clock> = Arc::new(system_clock()?);
    let ledger = start(dir, &vault, clock, None).await?;
    let created = first_api_key(&ledger, &vault, &shown).await;
    ledger.stop().await;
    created
}

async fn first_api_key(ledger: &LedgerHandle, vault: &Vault, shown: &str) -> Result<NewApiKey, DataDirError> {
    if ledger.head() == 0 {
        let ledger_id = hex_bytes::encode(&vault::random::<16>()?);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let key_check = vault.fingerprint(KEY_CHECK, &ledger_id);
        done(ledger.decide(Command::CreateLedger { ledger_id, version, key_check }).await?)?;
    }
    // Without any key, an earlier attempt was interrupted between the two entries.
    if !ledger.directory().api_keys.is_empty() {
        return Err(DataDirError::Initialised(shown.to_owned()));
    }
    let (name, scopes) = ("admin".to_owned(), vec![Scope::Admin]);
    create_api_key(ledger, vault, ApiKeyTerms { name, scopes, ..ApiKeyTerms::default() }).await
}

/// Creates an API key and records it by its fingerprint.
pub async fn create_api_key(
    ledger: &LedgerHandle,
    vault: &Vault,
    terms: ApiKeyTerms,
) -> Result<NewApiKey, DataDirError> {
    let api_key = vault::new_api_key()?;
    let fingerprint = vault.fingerprint(API_KEY, api_key.expose_secret());
    let (id, _) = done(ledger.decide(Command::CreateApiKey { terms, fingerprint }).await?)?;
    Ok(NewApiKey { id, api_key })
}

/// The answer to an administrative act: the entry it is about, and whether anything has changed.
pub fn done(reply: Reply) -> Result<(Seq, bool), Rejected> {
    match reply {
        Reply::Done { seq, changed } => Ok((seq, changed)),
        Reply::Rejected(rejected) => Err(rejected),
        _ => Err(Rejected::Invalid("the ledger gave an answer to another question".to_owned())),
    }
}

/// An error that says what to do, unless the directory holds a ledger.
pub async fn expect_initialised(dir: &Path) -> Result<(), DataDirError> {
    if is_initialised(dir).await? {
        Ok(())
    } else {
        Err(DataDirError::NotInitialised(dir.display().to_string()))
    }
}

/// Opens an initialised directory. With a registration, this process holds its sign of life before the ledger hears
/// of it, and for as long as any handle or clock from here is in use.
pub async fn open(dir: &Path, registration: Option<Registration>) -> Result<Opened, DataDirError> {
    expect_initialised(dir).await?;
    let vault = Arc::new(open_key(dir)?);
    check_key(dir, &vault).await?;
    let clock: Arc<dyn Clock> = match &registration {
        Some(registration) => {
            let locks = dir.join(LOCKS);
            DirBuilder::new().recursive(true).mode(0o700).create(&locks).map_err(at(&locks))?;
            let sign_of_life = ProcessLock::acquire(&locks, &registration.instance).map_err(at(&locks))?;
            Arc::new(LivingClock { clock: system_clock()?, _sign_of_life: sign_of_life })
        }
        None => Arc::new(system_clock()?),
    };
    let ledger = start(dir, &vault, Arc::clone(&clock), registration).await?;
    let reader = Reader::open(dir).await?;
    Ok(Opened { ledger, reader, vault, clock })
}

/// A name for this process that no other one has.
pub fn new_instance() -> Result<String, DataDirError> {
    Ok(hex_bytes::encode(&vault::random::<8>()?))
}

async fn start(
    dir: &Path,
    vault: &Arc<Vault>,
    clock: Arc<dyn Clock>,
    registration: Option<Registration>,
) -> Result<LedgerHandle, DataDirError> {
    let actor = registration.is_none().then(actor);
    let writer = Writer::open(dir, vault::random::<8>()?).await?;
    Ok(committer::start(writer, Arc::clone(vault), clock, registration, actor).await?)
}

fn system_clock() -> Result<SystemClock, DataDirError> {
    SystemClock::new().map_err(at(Path::new("the system clock")))
}

/// A key file of another ledger would seal secrets that nobody can open, and know none of the API keys.
async fn check_key(dir: &Path, vault: &Vault) -> Result<(), DataDirError> {
    let first = Reader::open(dir).await?.entry(1).await?;
    let entry = first.map(|row| row.entry()).transpose().map_err(StoreError::from)?;
    match entry.map(|entry| entry.body) {
        Some(Body::LedgerCreated(created))
            if vault.fingerprint(KEY_CHECK, &created.ledger_id) == created.key_check =>
        {
            Ok(())
        }
        _ => Err(DataDirError::ForeignKey(dir.join(KEY).display().to_string())),
    }
}

/// Who runs this command: the name that the environment gives, and the number that the system knows.
fn actor() -> Arc<str> {
    // SAFETY: it has no arguments and can't fail.
    let uid = unsafe { libc::getuid() };
    let known = |name: &String| name.len() <= 64 && !name.chars().any(char::is_control);
    let name =
        ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(known));
    format!("user {} (uid {uid})", name.as_deref().unwrap_or("unknown")).into()
}

fn open_key(dir: &Path) -> Result<Vault, DataDirError> {
    let path = dir.join(KEY);
    if !path.exists() {
        return Err(DataDirError::KeyMissing(dir.display().to_string()));
    }
    Ok(Vault::open(&path)?)
}

/// Takes the key that is there, or creates one. It gets its name only when it is whole and on disk: an interrupted
/// attempt leaves nothing that the next one would stumble over.
fn create_key(dir: &Path) -> Result<Vault, DataDirError> {
    let path = dir.join(KEY);
    if path.exists() {
        tracing::info!(key = %path.display(), "going on with the key that is there");
        return Ok(Vault::open(&path)?);
    }
    let new = dir.join("master.key.new");
    remove_if_there(&new)?;
    let vault = Vault::create(&new)?;
    std::fs::rename(&new, &path).map_err(at(&path))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))?;
    Ok(vault)
}

fn remove_if_there(path: &PathBuf) -> Result<(), DataDirError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}
