//! API keys.

use clap::{Args, Subcommand};

use super::AppLabel;
use crate::ledger::Seq;
use crate::ledger::entry::{Priority, Scope};

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
