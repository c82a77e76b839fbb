//! What is used, and what no call shows.

use clap::{Args, Subcommand};

use super::{AppLabel, Listed, Wanted};
use crate::http::usage::UsageQuery;
use crate::quota::Unit;

#[derive(Debug, Subcommand)]
pub enum Declare {
    /// Count what no call shows: an import that creates accounts, messages that others have sent
    Declare(Declared),
    /// When each limit is used up, at the pace of the last minutes
    Forecast(Filters),
    /// Ask WeCom how many people each app's messages reached, and compare that with what was counted here
    ///
    /// These are real calls, one for each app: they are recorded, and count against the limits.
    Reconcile(Wanted),
    /// What was compared so far, the newest first
    Reconciled(Listed),
}

#[derive(Debug, Args)]
pub struct Declared {
    /// The enterprise, or one app of it
    #[arg(value_name = "CORP_ID[/AGENT_ID]", value_parser = owner)]
    pub owner: (String, Option<String>),
    /// person_times, accounts, apps, domains, or reads of an article
    #[arg(value_parser = unit)]
    pub unit: Unit,
    /// Below zero it takes back, which only a limit without a window can: -1 for an app that was deleted
    #[arg(allow_negative_numbers = true)]
    pub amount: i64,
    /// In which API's limits it counts [of person_times: message/send; of anything else: each limit of the unit]
    #[arg(long)]
    pub api: Option<String>,
    /// What it is, for whoever reads the ledger
    #[arg(long, default_value = "", hide_default_value = true)]
    pub note: String,
    /// Which article was read: any name that stays the same; its hash alone is kept
    #[arg(long, value_name = "NAME")]
    pub article: Option<String>,
}

fn owner(text: &str) -> Result<(String, Option<String>), String> {
    match text.split_once('/') {
        None if !text.is_empty() => Ok((text.to_owned(), None)),
        _ => text.parse().map(|AppLabel { corp_id, agent_id }| (corp_id, Some(agent_id))),
    }
}

fn unit(text: &str) -> Result<Unit, String> {
    let known = "person_times, accounts, apps, domains or reads";
    serde_json::from_value(text.into()).map_err(|_| format!("unknown unit; use {known}"))
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Usage {
    #[command(subcommand)]
    pub declare: Option<Declare>,
    #[command(flatten)]
    pub filters: Filters,
}

/// Which limits are wanted.
#[derive(Debug, Args)]
pub struct Filters {
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

impl Filters {
    pub fn query(self) -> UsageQuery {
        let app = self.app.map(|app| app.to_string());
        UsageQuery { corp: self.corp, app, api: self.api, limit: self.limit }
    }
}
