//! The command line as it is written. People script against it: names here are promises.

mod services;

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};

use crate::http::usage::UsageQuery;
use crate::ledger::Seq;
use crate::ledger::entry::{Priority, Scope};
use crate::quota::Unit;

pub use services::{Demo, Sandbox, Serve};

/// Stands between a company's programs and WeCom: one access token, every call on record, every quota kept.
#[derive(Debug, Parser)]
#[command(name = "wecom-ledger", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// The data directory [default: ./wecom-ledger-data] [env: WECOM_LEDGER_DATA_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Print results as JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try everything: a simulated WeCom, the service and some traffic; nothing to configure
    Demo(Demo),
    /// Create the data directory, its keys and the first API key, which is printed once
    Init,
    /// Run the service
    Serve(Serve),
    /// Run the simulated WeCom alone
    ///
    /// Its control API is below /sandbox/, without any key: /sandbox/requests shows what was sent to it, and
    /// /sandbox/faults makes it fail.
    Sandbox(Sandbox),
    /// Enterprises on WeCom
    #[command(subcommand)]
    Corp(Corp),
    /// Applications of an enterprise, and their secrets
    #[command(subcommand)]
    App(App),
    /// API keys, with which your programs authenticate themselves here
    #[command(subcommand)]
    Key(Key),
    /// The limits that every call is judged against
    #[command(subcommand)]
    Limits(Limits),
    /// How many members departments, tags and apps have: what messages to them count
    #[command(subcommand)]
    Members(Members),
    /// How much of each limit is used, and usage that no call shows
    Usage(Usage),
    /// WeCom's own blocks after it said that a limit is used up
    #[command(subcommand)]
    Penalty(Penalty),
    /// When WeCom said that a limit is used up, and who had spent it
    Incidents(Incidents),
    /// Print the documented settings file; with --json, the settings in force
    Config,
}

/// `CORP_ID/AGENT_ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppLabel {
    pub corp_id: String,
    pub agent_id: String,
}

impl FromStr for AppLabel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((corp_id, agent_id))
                if !corp_id.is_empty() && !agent_id.is_empty() && !agent_id.contains('/') =>
            {
                Ok(Self { corp_id: corp_id.to_owned(), agent_id: agent_id.to_owned() })
            }
            _ => Err("write it CORP_ID/AGENT_ID, such as ww1234567890abcdef/1000002".to_owned()),
        }
    }
}

impl std::fmt::Display for AppLabel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.corp_id, self.agent_id)
    }
}

#[derive(Debug, Subcommand)]
pub enum Corp {
    /// Add an enterprise, or change its number of accounts
    Add {
        corp_id: String,
        /// The enterprise's number of accounts (帐号上限数): some limits are factors of it
        #[arg(long, value_name = "N")]
        accounts: u64,
    },
    /// Show all enterprises
    List,
    /// Remove an enterprise without apps; its entries remain
    Remove { corp_id: String },
}

#[derive(Debug, Subcommand)]
pub enum App {
    /// Add an app, or replace its secret
    Add {
        #[arg(value_name = "CORP_ID/AGENT_ID")]
        app: AppLabel,
        /// A file that holds the app's secret; `-`: standard input
        #[arg(long, value_name = "FILE")]
        secret_file: PathBuf,
    },
    /// Show all apps and what is known of their tokens
    List,
    /// Fetch tokens again after WeCom had rejected the secret
    Reset {
        #[arg(value_name = "CORP_ID/AGENT_ID")]
        app: AppLabel,
    },
    /// Remove an app, erase its secret and its tokens; its entries remain
    Remove {
        #[arg(value_name = "CORP_ID/AGENT_ID")]
        app: AppLabel,
    },
}

#[derive(Debug, Subcommand)]
pub enum Key {
    /// Create an API key and print it, once
    Create(NewKey),
    /// Show all API keys
    List,
    /// End an API key for ever
    Revoke { id: Seq },
    /// Refuse an API key until it is resumed
    Pause { id: Seq },
    /// Let a paused API key in again
    Resume { id: Seq },
    /// Change what was chosen when an API key was created
    Set(SetKey),
}

#[derive(Debug, Args)]
pub struct NewKey {
    /// Whose key this is
    #[arg(long)]
    pub name: String,
    /// What it may do: call, browser, reveal, report, audit, admin (all but reveal)
    #[arg(long = "scope", value_name = "SCOPES", value_delimiter = ',', required = true)]
    pub scopes: Vec<Scope>,
    /// Only for this app; can be repeated [default: every app]
    #[arg(long = "app", value_name = "CORP_ID/AGENT_ID", value_delimiter = ',')]
    pub apps: Vec<AppLabel>,
    /// Only this API, or those that begin so: message/*; can be repeated [default: every API]
    #[arg(long = "api", value_name = "API", value_delimiter = ',', value_parser = api_pattern)]
    pub apis: Vec<String>,
    /// Whose calls go first where calls wait for room in a limit: critical, normal or batch
    #[arg(long, default_value = "normal")]
    pub priority: Priority,
}

#[derive(Debug, Args)]
pub struct SetKey {
    pub id: Seq,
    #[command(flatten)]
    pub change: KeyChange,
}

/// At least one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct KeyChange {
    /// Whose calls go first where calls wait for room in a limit: critical, normal or batch
    #[arg(long, required = true)]
    pub priority: Option<Priority>,
}

/// Refuses what can never match the name of an API, such as its path.
fn api_pattern(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('*').unwrap_or(text);
    let spelling = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    let whole = name.len() < text.len() || !(name.is_empty() || name.ends_with('/'));
    let path = name.starts_with('/') || name.starts_with("cgi-bin/");
    if !path && whole && name.bytes().all(spelling) {
        Ok(text.to_owned())
    } else {
        Err("write it without /cgi-bin/: message/send, or message/*".to_owned())
    }
}

/// `CORP_ID` or `CORP_ID/AGENT_ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    pub corp_id: String,
    pub agent_id: Option<String>,
}

impl FromStr for Whose {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            let AppLabel { corp_id, agent_id } = text.parse()?;
            return Ok(Self { corp_id, agent_id: Some(agent_id) });
        }
        if text.is_empty() {
            Err("name an enterprise".to_owned())
        } else {
            Ok(Self { corp_id: text.to_owned(), agent_id: None })
        }
    }
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.agent_id {
            Some(agent_id) => write!(f, "{}/{agent_id}", self.corp_id),
            None => f.write_str(&self.corp_id),
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Members {
    /// Say how many members something has, for every app of an enterprise or for one
    ///
    /// It holds until something else is declared. If WeCom's answers show more members, those count.
    Declare {
        #[arg(value_name = "CORP_ID[/AGENT_ID]")]
        whose: Whose,
        #[command(subcommand)]
        size: DeclaredSize,
    },
    /// Show what is known
    List {
        /// Only of this enterprise
        #[arg(long, value_name = "CORP_ID")]
        corp: Option<String>,
        /// Only what this app sees
        #[arg(long, value_name = "CORP_ID/AGENT_ID")]
        app: Option<AppLabel>,
    },
    /// Ask WeCom for departments, tags and scope of an app
    ///
    /// These are real calls: they are recorded, and count against the limits. It stops when WeCom or a limit refuses
    /// one; run it again then, and it goes on where it stopped.
    Learn {
        #[arg(value_name = "CORP_ID/AGENT_ID")]
        app: AppLabel,
    },
}

#[derive(Debug, Subcommand)]
pub enum DeclaredSize {
    /// A department with all below it
    Department { id: u64, members: u64 },
    /// A tag, with its departments
    Tag { id: u64, members: u64 },
    /// Everybody whom the app can see: its @all
    Everyone { members: u64 },
}

#[derive(Debug, Subcommand)]
pub enum Limits {
    /// Show the limits in force
    List,
    /// Judge by another profile from now on: one that ships, or a file of your own
    Use {
        #[arg(value_name = "PROFILE|FILE")]
        profile: String,
        /// The operator is a third-party provider (第三方应用提供商), which WeCom allows more calls per IP
        #[arg(long)]
        provider: bool,
    },
    /// Set a number of your own for one enterprise
    Set {
        corp_id: String,
        limit: String,
        #[arg(value_parser = clap::value_parser!(u64).range(..=u64::from(u32::MAX)))]
        cap: u64,
    },
    /// Go back to the profile's number
    Unset { corp_id: String, limit: String },
    /// Say what is wrong with a profile's file, or that nothing is
    Check { file: PathBuf },
    /// Keep so many percent of a limit (`'*'`: of each) for API keys of priority critical; 0: none
    Reserve {
        limit: String,
        #[arg(value_parser = clap::value_parser!(u8).range(..=90))]
        percent: u8,
    },
    /// Raise an alert when so much of a limit is used: percent, such as 80,90,100; `none` for no alerts
    AlertAt {
        #[arg(value_name = "PERCENTS")]
        percents: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Penalty {
    /// Show the blocks in force
    List,
    /// End a block: you know that WeCom lets calls in again
    #[command(arg_required_else_help = true)]
    Clear {
        /// The number of the block, as `penalty list` shows it
        seq: Option<Seq>,
        /// All of them
        #[arg(long, conflicts_with = "seq")]
        all: bool,
    },
}

#[derive(Debug, Args)]
pub struct Incidents {
    /// One incident, with who had spent what before it
    pub seq: Option<Seq>,
    /// Only those before this one
    #[arg(long, value_name = "SEQ", conflicts_with = "seq")]
    pub before: Option<Seq>,
    /// How many at most, the newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub limit: u64,
}

#[derive(Debug, Subcommand)]
pub enum Declare {
    /// Count what no call shows: an import that creates accounts, messages that others have sent
    Declare(Declared),
    /// When each limit is used up, at the pace of the last minutes
    Forecast,
}

#[derive(Debug, Args)]
pub struct Declared {
    /// The enterprise, or one app of it
    #[arg(value_name = "CORP_ID[/AGENT_ID]", value_parser = owner)]
    pub owner: (String, Option<String>),
    /// person_times, accounts, apps or domains
    #[arg(value_parser = unit)]
    pub unit: Unit,
    /// Below zero it takes back, which only a limit without a window can: -1 for an app that was deleted
    #[arg(allow_negative_numbers = true)]
    pub amount: i64,
    /// What it is, for whoever reads the ledger
    #[arg(long, default_value = "", hide_default_value = true)]
    pub note: String,
}

fn owner(text: &str) -> Result<(String, Option<String>), String> {
    match text.split_once('/') {
        None if !text.is_empty() => Ok((text.to_owned(), None)),
        _ => text.parse().map(|AppLabel { corp_id, agent_id }| (corp_id, Some(agent_id))),
    }
}

fn unit(text: &str) -> Result<Unit, String> {
    let known = "person_times, accounts, apps or domains";
    serde_json::from_value(text.into()).map_err(|_| format!("unknown unit; use {known}"))
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Usage {
    #[command(subcommand)]
    pub declare: Option<Declare>,
    /// Only of this enterprise
    #[arg(long, value_name = "CORP_ID")]
    pub corp: Option<String>,
    /// Only what calls of this app count against
    #[arg(long, value_name = "CORP_ID/AGENT_ID")]
    pub app: Option<AppLabel>,
    /// Only of this API
    #[arg(long)]
    pub api: Option<String>,
    /// Only of this limit
    #[arg(long)]
    pub limit: Option<String>,
}

impl Usage {
    pub fn query(self) -> UsageQuery {
        let app = self.app.map(|app| app.to_string());
        UsageQuery { corp: self.corp, app, api: self.api, limit: self.limit }
    }
}
