//! `usage reconcile` and `usage reconciled`.

use clap::{Args, ValueEnum};

use super::AppLabel;
use crate::ledger::Seq;
use crate::ledger::delivered::Which;

/// Which apps and which day.
#[derive(Debug, Args)]
pub struct Wanted {
    /// Only of this enterprise
    #[arg(long, value_name = "CORP_ID")]
    pub corp: Option<String>,
    /// Only this app
    #[arg(long, value_name = "CORP_ID/AGENT_ID")]
    pub app: Option<AppLabel>,
    /// WeCom knows of no others; today is not over, so only too many show
    #[arg(long, value_enum, default_value = "yesterday")]
    pub day: Day,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Day {
    Yesterday,
    Today,
}

impl From<Day> for Which {
    fn from(day: Day) -> Self {
        match day {
            Day::Yesterday => Self::Yesterday,
            Day::Today => Self::Today,
        }
    }
}

#[derive(Debug, Args)]
pub struct Listed {
    /// Only of this enterprise
    #[arg(long, value_name = "CORP_ID")]
    pub corp: Option<String>,
    /// Only this app
    #[arg(long, value_name = "CORP_ID/AGENT_ID")]
    pub app: Option<AppLabel>,
    /// Only those before this one
    #[arg(long, value_name = "SEQ")]
    pub before: Option<Seq>,
    /// How many at most, the newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=200))]
    pub limit: u64,
}
