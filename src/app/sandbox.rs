//! `sandbox`: the simulated WeCom alone.

use std::io::Write as _;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{SandboxOptions, Windows};
use crate::sandbox::{AppConfig, Config, CorpConfig, Limits, WindowKind};

use super::listen;

/// Runs until SIGTERM or SIGINT.
pub async fn sandbox(options: SandboxOptions) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = listen::bind(options.listen, false)
        .and_then(|socket| listen::open(socket, false))
        .with_context(|| format!("can't listen on {}", options.listen))?;
    let url = format!("http://{}", listener.local_addr()?);
    let config = config(&options)?;
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "listening on {url}").and_then(|()| stdout.flush());
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    crate::sandbox::run(listener, config, shutdown).await
}

fn config(options: &SandboxOptions) -> anyhow::Result<Config> {
    let account_cap = u32::try_from(options.account_cap).context("--accounts is too large")?;
    let mut corp = CorpConfig::new(&options.corp_id, account_cap);
    if !options.apps.is_empty() {
        let app = |(agent_id, secret): &(String, secrecy::SecretString)| {
            let agent_id = agent_id.parse().context("the sandbox's apps have numbers as AGENT_ID")?;
            Ok(AppConfig { agent_id, secret: secret.expose_secret().to_owned() })
        };
        corp.apps = options.apps.iter().map(app).collect::<anyhow::Result<_>>()?;
    }
    let windows = match options.windows {
        Windows::Sliding => WindowKind::Sliding,
        Windows::Clock => WindowKind::ClockAligned,
    };
    let limits = options.limits.map_or_else(|| Some(Limits::none()), Limits::named);
    let limits = limits.context("the sandbox does not know these limits")?;
    let mut config = Config { limits, ..Config::default() };
    config.corps = vec![corp];
    config.windows = windows;
    config.same_token_on_refetch = options.same_token;
    config.workers = options.workers;
    Ok(config)
}
