//! Settings: the defaults < `wecom-ledger.toml` in the data directory < environment < flags.

mod check;
mod settings;
#[cfg(test)]
mod tests;
pub mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

pub(crate) use check::check_log;
use check::{
    check_call, check_egress_ip, check_messages, check_penalties, check_reconcile, check_tls, check_token,
    check_upstream, check_webhook, given, range,
};
pub use check::{check_exposed_sandbox, check_variables};
pub use settings::{
    CallSettings, LogSettings, MessageSettings, PenaltySettings, ReconcileSettings, Settings, TokenSettings,
    WebhookSettings,
};

/// The documented sample is what the defaults are read from.
pub const SAMPLE: &str = include_str!("config.default.toml");

/// The settings file in the data directory.
pub const FILE: &str = "wecom-ledger.toml";

pub const DATA_DIR_VARIABLE: &str = "WECOM_LEDGER_DATA_DIR";
const DEFAULT_DATA_DIR: &str = "./wecom-ledger-data";

/// How to look up an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The settings of a service, complete and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    pub upstream: String,
    pub egress_ip: String,
    /// At least 1.
    pub workers: usize,
    pub reuse_port: bool,
    pub insecure_listen: bool,
    pub tls: Option<Tls>,
    pub token: Token,
    pub call: Call,
    pub messages: Messages,
    /// The minute of the day from which on the messages of the day before are reconciled, if they are.
    pub reconcile: Option<u32>,
    /// After so many drifts of a limit its cap is lowered; none: never.
    pub learn_caps_after: Option<u8>,
    pub webhook: Option<Webhook>,
    pub log: Log,
}

/// Where alerts go. The files are read when the service starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub url_file: PathBuf,
    pub robot: bool,
    pub secret_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub refresh_at_secs: u64,
    pub refresh_jitter_secs: u64,
    pub fetch_timeout_secs: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub connect_timeout_secs: u64,
    pub head_timeout_secs: u64,
    pub idle_timeout_secs: u64,
    pub total_timeout_secs: u64,
    pub body_max_bytes: u64,
}

/// What of a message counts although it did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Messages {
    pub failed_count: bool,
    pub invalid_recipients_count: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// What `demo` was asked for.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// None: a temporary one that is removed at the end.
    pub data_dir: Option<PathBuf>,
    pub listen: SocketAddr,
    /// None: until it is interrupted.
    pub duration: Option<Duration>,
}

/// What `sandbox` was asked for.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    pub listen: SocketAddr,
    pub windows: Windows,
    /// A token fetch gives back the token that is still valid, as WeCom does, instead of a new one.
    pub same_token: bool,
    pub corp_id: String,
    pub account_cap: u64,
    /// Agent ids and their secrets.
    pub apps: Vec<(String, SecretString)>,
    /// The name of the profile whose limits it enforces; none enforces none.
    pub limits: Option<&'static str>,
    pub workers: usize,
}

/// How the simulated WeCom aligns its windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Windows {
    /// Any interval of a window's length.
    Sliding,
    /// Full minutes and hours.
    Clock,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0}")]
    Invalid(String),
    #[error("{path}: {source}")]
    Read { path: String, source: std::io::Error },
}

fn invalid<T>(what: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Invalid(what.into()))
}

/// Flag < environment < default.
pub fn data_dir(flag: Option<PathBuf>, env: Environment<'_>) -> PathBuf {
    let from_env = || env(DATA_DIR_VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    flag.or_else(from_env).unwrap_or_else(|| DEFAULT_DATA_DIR.into())
}

impl Settings {
    /// Every setting as it holds for this data directory, unchecked.
    pub fn load(data_dir: &Path, flags: Self, env: Environment<'_>) -> Result<Self, ConfigError> {
        let path = data_dir.join(FILE);
        let file = match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text, &path)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(source) => return Err(ConfigError::Read { path: path.display().to_string(), source }),
        };
        let defaults = parse(SAMPLE, Path::new("the defaults"))?;
        Ok(flags.over(Self::from_env(env)?).over(file).over(defaults))
    }
}

impl Config {
    /// Reads the file in `data_dir`, if there is one, lays environment and flags over it, and checks the whole.
    pub fn load(data_dir: PathBuf, flags: Settings, env: Environment<'_>) -> Result<Self, ConfigError> {
        let settings = Settings::load(&data_dir, flags, env)?;
        Self::check(data_dir, settings)
    }

    fn check(data_dir: PathBuf, settings: Settings) -> Result<Self, ConfigError> {
        let Settings { listen, upstream, egress_ip, workers, tls_cert, tls_key, .. } = settings;
        let listen = given(listen, "listen")?;
        let Ok(listen) = listen.parse::<SocketAddr>() else {
            return invalid(format!("listen must be IP:PORT, such as 127.0.0.1:8700, not `{listen}`"));
        };
        let workers = match range("workers", workers, 0..=512)? {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers as usize,
        };
        let config = Self {
            data_dir,
            listen,
            upstream: check_upstream(given(upstream, "upstream")?)?,
            egress_ip: check_egress_ip(given(egress_ip, "egress_ip")?)?,
            workers,
            reuse_port: given(settings.reuse_port, "reuse_port")?,
            insecure_listen: given(settings.insecure_listen, "insecure_listen")?,
            tls: check_tls(tls_cert, tls_key)?,
            token: check_token(&settings.token)?,
            call: check_call(&settings.call)?,
            messages: check_messages(settings.messages)?,
            reconcile: check_reconcile(settings.reconcile)?,
            learn_caps_after: check_penalties(&settings.penalties)?,
            webhook: check_webhook(&settings.webhook)?,
            log: check_log(settings.log)?,
        };
        config.check_exposure()?;
        Ok(config)
    }

    fn check_exposure(&self) -> Result<(), ConfigError> {
        let exposed = !self.listen.ip().is_loopback() && self.tls.is_none();
        if !exposed || self.insecure_listen {
            return Ok(());
        }
        invalid(format!(
            "listening on {} without TLS would show API keys to everybody on the way; set tls_cert and tls_key, or \
             say --insecure-listen if a proxy in front does TLS",
            self.listen
        ))
    }
}

/// Reads settings; an error names the file, the line, and what is allowed there.
fn parse(text: &str, path: &Path) -> Result<Settings, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let line =
            error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let shown = path.display();
        let what = error.message();
        ConfigError::Invalid(format!(
            "{shown}, line {line}: {what}; `wecom-ledger config` shows every setting"
        ))
    })
}
