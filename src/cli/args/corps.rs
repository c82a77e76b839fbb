//! Enterprises, their apps, and how many members these see.

use std::path::PathBuf;

use clap::Subcommand;

use super::{AppLabel, Whose};

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
