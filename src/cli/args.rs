//! The command line as it is written. People script against it: names here are promises.

mod corps;
mod keys;
mod labels;
mod limits;
mod reconcile;
mod services;
mod usage;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use corps::{App, Corp, DeclaredSize, Members};
pub use keys::{Key, KeyChange, NewKey, SetKey};
pub use labels::{AppLabel, Whose};
pub use limits::{Incidents, Limits, Penalty};
pub use reconcile::{Listed, Wanted};
pub use services::{Demo, Sandbox, Serve};
pub use usage::{Declare, Declared, Usage};

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
