//! API keys.

use std::str::FromStr;

use clap::{Args, Subcommand};

use super::AppLabel;
use crate::ledger::Seq;
use crate::ledger::command::{OwnChange, OwnNumber};
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
    /// At most so much of a limit, in its unit, for this key alone; can be repeated
    #[arg(long, value_name = "LIMIT=CAP", value_delimiter = ',', value_parser = own_cap)]
    pub own: Vec<OwnChange>,
    /// At most this share of a limit; can be repeated
    #[arg(long, value_name = "LIMIT=PERCENT%", value_delimiter = ',', value_parser = max_share)]
    pub max_share: Vec<OwnChange>,
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
    #[arg(long)]
    pub priority: Option<Priority>,
    /// At most so much of a limit, in its unit, for this key alone; `LIMIT=` takes it back; can be repeated
    #[arg(long, value_name = "LIMIT=CAP", value_delimiter = ',', value_parser = own_cap_or_none)]
    pub own: Vec<OwnChange>,
    /// At most this share of a limit; `LIMIT=` takes it back; can be repeated
    #[arg(long, value_name = "LIMIT=PERCENT%", value_delimiter = ',', value_parser = max_share_or_none)]
    pub max_share: Vec<OwnChange>,
}

/// `LIMIT=NUMBER`, the number left out where a rule is taken back.
fn own<T: FromStr>(
    text: &str,
    expected: &str,
    number: impl Fn(Option<T>) -> OwnNumber,
) -> Result<OwnChange, String> {
    let (limit, value) = text.split_once('=').filter(|(limit, _)| !limit.is_empty()).ok_or(expected)?;
    let value = match value {
        "" => None,
        value => Some(value.parse().map_err(|_| expected)?),
    };
    Ok(OwnChange { limit: limit.to_owned(), number: number(value) })
}

fn own_cap_or_none(text: &str) -> Result<OwnChange, String> {
    own(text, "write it LIMIT=CAP, such as corp-api-minute=200", OwnNumber::Cap)
}

fn max_share_or_none(text: &str) -> Result<OwnChange, String> {
    let percent = text.strip_suffix('%').unwrap_or(text);
    own(percent, "write it LIMIT=PERCENT%, 1 to 100, such as corp-api-minute=20%", OwnNumber::MaxSharePercent)
}

fn given(change: OwnChange) -> Result<OwnChange, String> {
    match change.number {
        OwnNumber::Cap(None) | OwnNumber::MaxSharePercent(None) => {
            Err("a new key has no rule to take back; write a number after the `=`".to_owned())
        }
        _ => Ok(change),
    }
}

fn own_cap(text: &str) -> Result<OwnChange, String> {
    own_cap_or_none(text).and_then(given)
}

fn max_share(text: &str) -> Result<OwnChange, String> {
    max_share_or_none(text).and_then(given)
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
