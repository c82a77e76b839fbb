//! `demo`: a simulated WeCom, the service in front of it, and a handful of programs that call through it.

mod narrate;
mod programs;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::{Config, DemoOptions, MessageSettings, Settings};
use crate::datadir::{self, APP_SECRET, Opened};
use crate::ledger::Command;
use crate::ledger::command::ApiKeyTerms;
use crate::ledger::entry::{Plain, Scope};
use crate::sandbox;

use super::listen;
use super::serve::Service;

/// The company that the sandbox simulates.
const CORP: &str = "ww0123456789abcdef";

/// The demo judges by less than the profile does, so that a refusal can be seen within seconds.
const CAP: u64 = 300;
const CAPPED: &str = "corp-api-minute";
/// In a data directory that a demo made: only such a one is furnished again, since that replaces secrets of apps.
const MARKER: &str = "demo";

/// Where the data is kept, and whether it goes when the demo ends.
enum Place {
    Given(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Place::Given(path) => path,
            Place::Temporary(dir) => dir.path(),
        }
    }
}

/// What the demo's programs need.
struct Stage {
    gateway: String,
    sandbox: String,
    /// One API key for each of the sandbox's apps.
    keys: Vec<(String, SecretString)>,
    admin: SecretString,
}

/// Runs until Ctrl-C, SIGTERM or the end of the given time.
pub async fn demo(options: DemoOptions) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Before there is anything to clean up; the service binds it itself.
    drop(listen::bind(options.listen, false).with_context(|| {
        format!("can't listen on {}; is another process there? see --listen", options.listen)
    })?);
    let place = match &options.data_dir {
        Some(path) => Place::Given(path.clone()),
        None => Place::Temporary(tempfile::tempdir().context("no place for the demo's data")?),
    };
    let (stop, stopping) = watch::channel(false);
    let (sandbox_url, sandbox) = start_sandbox(stopping.clone())?;
    let (keys, admin) = prepare(place.path()).await?;
    // Not the default, so that one can see what an answer gives back.
    let messages =
        MessageSettings { invalid_recipients: Some("free".to_owned()), ..MessageSettings::default() };
    let settings = Settings { upstream: Some(sandbox_url.clone()), messages, ..Settings::default() };
    let config =
        Config { listen: options.listen, ..Config::load(place.path().to_owned(), settings, &|_| None)? };
    let service = Service::start(config).await?;
    let stage = Arc::new(Stage { gateway: service.url.clone(), sandbox: sandbox_url, keys, admin });
    words::opening(&stage, place.path(), options.data_dir.is_some());
    let programs = programs::start(&stage, &stopping);
    let narrator = narrate::Narrator::new(service.opened.ledger.clone(), service.opened.reader.clone());
    let narrator = tokio::spawn(narrator.follow(stopping));
    let end = async {
        match options.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = end => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.send_replace(true);
    for program in programs {
        let _ = program.await;
    }
    let told = narrator.await.unwrap_or_default();
    service.stop().await?;
    sandbox.await??;
    words::closing(&told, options.data_dir.as_deref());
    Ok(())
}

type SandboxTask = tokio::task::JoinHandle<anyhow::Result<()>>;

fn start_sandbox(mut stopping: watch::Receiver<bool>) -> anyhow::Result<(String, SandboxTask)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no port for the sandbox")?;
    let url = format!("http://{}", listener.local_addr()?);
    let config = sandbox::Config { same_token_on_refetch: false, ..sandbox::Config::default() };
    let shutdown = async move {
        let _ = stopping.wait_for(|stopping| *stopping).await;
        // The service drains first, and its last calls want an answer.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    };
    Ok((url, tokio::spawn(sandbox::run(listener, config, shutdown))))
}

/// An initialised directory with the sandbox's company, its apps, and a key for each.
async fn prepare(dir: &Path) -> anyhow::Result<(Vec<(String, SecretString)>, SecretString)> {
    let marker = dir.join(MARKER);
    let admin = if datadir::is_initialised(dir).await? {
        anyhow::ensure!(marker.exists(), not_ours(dir));
        None
    } else {
        let admin = datadir::init(dir).await?.api_key;
        std::fs::write(&marker, "This directory was made by `wecom-ledger demo`, which may use it again.\n")
            .with_context(|| format!("can't write {}", marker.display()))?;
        Some(admin)
    };
    let opened = datadir::open(dir, None).await?;
    let furnished = furnish(&opened, dir, admin).await;
    opened.ledger.stop().await;
    furnished
}

fn not_ours(dir: &Path) -> String {
    format!(
        "{} holds a ledger that is not a demo's, and the demo would replace secrets of its apps; name a new directory, \
         or leave --data-dir out",
        dir.display()
    )
}

async fn furnish(
    opened: &Opened,
    dir: &Path,
    admin: Option<SecretString>,
) -> anyhow::Result<(Vec<(String, SecretString)>, SecretString)> {
    let ledger = &opened.ledger;
    anyhow::ensure!(ledger.directory().corps.values().all(|corp| corp.corp_id == CORP), not_ours(dir));
    datadir::done(ledger.decide(Command::PutCorp { corp_id: CORP.to_owned(), account_cap: 500 }).await?)?;
    let cap = Command::PutCap { corp_id: CORP.to_owned(), limit: CAPPED.to_owned(), cap: Some(CAP) };
    datadir::done(ledger.decide(cap).await?)?;
    let mut keys = Vec::new();
    for app in sandbox::CorpConfig::new(CORP, 500).apps {
        let (agent_id, secret) = (app.agent_id.to_string(), app.secret);
        let fingerprint = opened.vault.fingerprint(APP_SECRET, &secret);
        let secret = Plain(Arc::new(SecretString::from(secret)));
        let put =
            Command::PutApp { corp_id: CORP.to_owned(), agent_id: agent_id.clone(), secret, fingerprint };
        datadir::done(ledger.decide(put).await?)?;
        let label = format!("{CORP}/{agent_id}");
        let (name, scopes, apps) = (format!("demo {agent_id}"), vec![Scope::Call], vec![label.clone()]);
        let terms = ApiKeyTerms { name, scopes, apps, ..ApiKeyTerms::default() };
        let key = datadir::create_api_key(ledger, &opened.vault, terms).await?;
        keys.push((label, key.api_key));
    }
    let admin = if let Some(admin) = admin {
        admin
    } else {
        let scopes = vec![Scope::Report, Scope::Audit];
        let terms = ApiKeyTerms { name: "demo reader".to_owned(), scopes, ..ApiKeyTerms::default() };
        datadir::create_api_key(ledger, &opened.vault, terms).await?.api_key
    };
    Ok((keys, admin))
}

impl Stage {
    fn key(&self, at: usize) -> (&str, &str) {
        let (label, key) = &self.keys[at % self.keys.len()];
        (label, key.expose_secret())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_demo_furnishes_its_own_directory_again_and_no_other_one() {
        let own = tempfile::tempdir().unwrap();
        let dir = own.path();
        prepare(dir).await.unwrap();
        assert_eq!(prepare(dir).await.unwrap().0.len(), 3);
        let opened = datadir::open(dir, None).await.unwrap();
        let put = Command::PutCorp { corp_id: "ww1234567890abcdef".to_owned(), account_cap: 1 };
        datadir::done(opened.ledger.decide(put).await.unwrap()).unwrap();
        opened.ledger.stop().await;
        let head = opened.ledger.head();
        let error = prepare(dir).await.unwrap_err().to_string();
        assert!(error.contains("not a demo's"), "{error}");

        let real = tempfile::tempdir().unwrap();
        datadir::init(real.path()).await.unwrap();
        let error = prepare(real.path()).await.unwrap_err().to_string();
        assert!(error.contains("leave --data-dir out"), "{error}");
        let opened = datadir::open(dir, None).await.unwrap();
        assert_eq!(opened.ledger.head(), head, "nothing was changed");
    }
}
