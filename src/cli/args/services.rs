//! Commands that run until they are stopped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use secrecy::SecretString;

use crate::config::{self, ConfigError, DemoOptions, SandboxOptions, Settings, Windows};

#[derive(Debug, Args)]
pub struct Demo {
    /// Where to listen
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8700")]
    listen: SocketAddr,
    /// End after this many seconds [default: at Ctrl-C]
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    duration: Option<u64>,
    /// Where to keep the data: a new directory, or that of an earlier demo [default: a temporary one]
    // In place of the global flag: never, by an environment variable, the directory of a real service.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    // This command has no result to print.
    #[arg(long, hide = true)]
    json: bool,
}

impl Demo {
    pub fn options(self) -> DemoOptions {
        let duration = self.duration.map(Duration::from_secs);
        DemoOptions { data_dir: self.data_dir, listen: self.listen, duration }
    }
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen; beyond loopback this needs TLS or --insecure-listen [default: 127.0.0.1:8700]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// The WeCom that calls go to [default: https://qyapi.weixin.qq.com]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// A name for the IP address that WeCom sees; limits per IP are shared under it
    #[arg(long, value_name = "IP")]
    egress_ip: Option<String>,
    /// Threads that answer requests; 0: one for each core
    #[arg(long, value_name = "N")]
    workers: Option<u64>,
    /// Let a second process listen on the same port, for deploys that drop no connection
    #[arg(long)]
    reuse_port: bool,
    /// Listen beyond loopback without TLS
    #[arg(long)]
    insecure_listen: bool,
    /// Certificate chain, a PEM file
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key, a PEM file
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
}

impl Serve {
    pub fn settings(self) -> Settings {
        Settings {
            listen: self.listen.map(|listen| listen.to_string()),
            upstream: self.upstream,
            egress_ip: self.egress_ip,
            workers: self.workers,
            reuse_port: self.reuse_port.then_some(true),
            insecure_listen: self.insecure_listen.then_some(true),
            tls_cert: self.tls_cert,
            tls_key: self.tls_key,
            ..Settings::default()
        }
    }
}

#[derive(Debug, Args)]
pub struct Sandbox {
    /// Where to listen
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8701")]
    listen: SocketAddr,
    /// How the simulated WeCom aligns the windows of its limits
    #[arg(long, value_enum, default_value = "sliding")]
    windows: Windows,
    /// A token fetch gives back the token that is still valid, as WeCom does
    #[arg(long)]
    same_token: bool,
    /// The enterprise that it knows
    #[arg(long, value_name = "CORP_ID", default_value = "ww0123456789abcdef")]
    corp: String,
    /// The enterprise's number of accounts (帐号上限数)
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    accounts: u64,
    /// The enterprise's apps and their secrets [default: 1000001 to 1000003, each with sandbox-secret-AGENT_ID]
    #[arg(long = "app", value_name = "AGENT_ID=SECRET", num_args = 1..)]
    apps: Vec<AgentSecret>,
    /// Whose limits it enforces
    #[arg(long, value_enum, default_value = "qyh-2015")]
    limits: SandboxLimits,
    /// Threads that answer requests [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=512))]
    workers: Option<u64>,
    /// Listen beyond loopback, where everybody can use the control API
    #[arg(long)]
    insecure_listen: bool,
    // In place of the global flags, which have no meaning here: the sandbox keeps nothing.
    #[arg(long, hide = true)]
    data_dir: Option<PathBuf>,
    #[arg(long, hide = true)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SandboxLimits {
    /// Those of the enterprise account of 2015
    #[value(name = "qyh-2015", alias = "default")]
    Qyh2015,
    /// Those of WeCom around 2020
    #[value(name = "wecom-2020")]
    Wecom2020,
    /// Those of WeCom since 2023
    #[value(name = "wecom-2023")]
    Wecom2023,
    /// None
    Off,
}

impl Sandbox {
    pub fn options(self) -> Result<SandboxOptions, ConfigError> {
        config::check_exposed_sandbox(self.listen, self.insecure_listen)?;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(SandboxOptions {
            listen: self.listen,
            windows: self.windows,
            same_token: self.same_token,
            corp_id: self.corp,
            account_cap: self.accounts,
            apps: self.apps.into_iter().map(|app| (app.agent_id, app.secret)).collect(),
            limits: match self.limits {
                SandboxLimits::Qyh2015 => Some("qyh-2015"),
                SandboxLimits::Wecom2020 => Some("wecom-2020"),
                SandboxLimits::Wecom2023 => Some("wecom-2023"),
                SandboxLimits::Off => None,
            },
            workers: self.workers.map_or_else(cores, |workers| workers as usize),
        })
    }
}

#[derive(Debug, Clone)]
pub struct AgentSecret {
    agent_id: String,
    secret: SecretString,
}

impl FromStr for AgentSecret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((agent_id, secret)) if agent_id.parse::<u32>().is_ok() && !secret.is_empty() => {
                Ok(Self { agent_id: agent_id.to_owned(), secret: SecretString::from(secret) })
            }
            _ => Err("write it AGENT_ID=SECRET, with a number for AGENT_ID".to_owned()),
        }
    }
}
