//! The limits, and WeCom's blocks.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::ledger::Seq;

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
    /// Take back a cap that was learned from WeCom's refusals
    Restore {
        /// The number of the learned cap, as `limits list` shows it
        #[arg(required_unless_present = "all")]
        seq: Option<Seq>,
        /// All of them
        #[arg(long, conflicts_with = "seq")]
        all: bool,
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
    Clear {
        /// The number of the block, as `penalty list` shows it
        #[arg(required_unless_present = "all")]
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
