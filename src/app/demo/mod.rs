//! `demo`: a simulated WeCom, the service in front of it, and a handful of programs that call through it.

mod narrate;
mod programs;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::{Config, DemoOptions, Settings};
use crate::datadir::{self, APP_SECRET};
use crate::ledger::Command;
use crate::ledger::entry::{Plain, Scope};
use crate::sandbox;

use super::serve::Service;

/// The company that the sandbox simulates.
const CORP: &str = "ww0123456789abcdef";

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
    let place = match &options.data_dir {
        Some(path) => Place::Given(path.clone()),
        None => Place::Temporary(tempfile::tempdir().context("no place for the demo's data")?),
    };
    let (stop, stopping) = watch::channel(false);
    let (sandbox_url, sandbox) = start_sandbox(stopping.clone())?;
    let (keys, admin) = prepare(place.path()).await?;
    let settings = Settings { upstream: Some(sandbox_url.clone()), ..Settings::default() };
    let config =
        Config { listen: options.listen, ..Config::load(place.path().to_owned(), settings, &|_| None)? };
    let service = Service::start(config).await?;
    let stage = Arc::new(Stage { gateway: service.url.clone(), sandbox: sandbox_url, keys, admin });
    narrate::opening(&stage, place.path());
    let programs = programs::start(&stage, &stopping);
    let narrator =
        tokio::spawn(narrate::follow(service.opened.ledger.clone(), service.opened.reader.clone(), stopping));
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
    narrate::closing(&told, options.data_dir.as_deref());
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
    let admin =
        if datadir::is_initialised(dir).await? { None } else { Some(datadir::init(dir).await?.api_key) };
    let opened = datadir::open(dir, None).await?;
    let ledger = &opened.ledger;
    datadir::done(ledger.decide(Command::PutCorp { corp_id: CORP.to_owned(), account_cap: 500 }).await?)?;
    let mut keys = Vec::new();
    for app in sandbox::CorpConfig::new(CORP, 500).apps {
        let (agent_id, secret) = (app.agent_id.to_string(), app.secret);
        let fingerprint = opened.vault.fingerprint(APP_SECRET, &secret);
        let secret = Plain(Arc::new(SecretString::from(secret)));
        let put =
            Command::PutApp { corp_id: CORP.to_owned(), agent_id: agent_id.clone(), secret, fingerprint };
        datadir::done(ledger.decide(put).await?)?;
        let label = format!("{CORP}/{agent_id}");
        let name = format!("demo {agent_id}");
        let apps = vec![label.clone()];
        let key = datadir::create_api_key(ledger, &opened.vault, &name, vec![Scope::Call], apps, Vec::new())
            .await?;
        keys.push((label, key.api_key));
    }
    let admin = if let Some(admin) = admin {
        admin
    } else {
        let scopes = vec![Scope::Report, Scope::Audit];
        datadir::create_api_key(ledger, &opened.vault, "demo reader", scopes, Vec::new(), Vec::new())
            .await?
            .api_key
    };
    ledger.stop().await;
    Ok((keys, admin))
}

impl Stage {
    fn key(&self, at: usize) -> (&str, &str) {
        let (label, key) = &self.keys[at % self.keys.len()];
        (label, key.expose_secret())
    }
}
