//! Results: one JSON document, or text for people. And failures, with their exit codes.

use std::io::Write as _;

use serde::Serialize;

use crate::config::ConfigError;
use crate::datadir::DataDirError;
use crate::http::Problem;
use crate::ledger::{LedgerError, Rejected};

/// What a command has to say.
#[derive(Debug, Default)]
pub struct Answer {
    pub json: String,
    pub text: String,
    /// For people only, on standard error.
    pub hint: String,
    /// What to do if it can't be printed; empty: nothing is lost by that.
    pub if_lost: String,
}

impl Answer {
    pub fn new(json: &impl Serialize, text: impl Into<String>) -> Result<Self, Failure> {
        let json = serde_json::to_string(json).map_err(anyhow::Error::from)?;
        Ok(Self { json, text: text.into(), ..Self::default() })
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    pub fn print(&self, json: bool) -> Result<(), Failure> {
        let shown = if json { &self.json } else { &self.text };
        if !json && !self.hint.is_empty() {
            let _ = writeln!(std::io::stderr(), "{}", self.hint);
        }
        if shown.is_empty() {
            return Ok(());
        }
        let mut stdout = std::io::stdout().lock();
        let newline = if shown.ends_with('\n') { "" } else { "\n" };
        let written = write!(stdout, "{shown}{newline}").and_then(|()| stdout.flush());
        match written {
            Err(error) if !self.if_lost.is_empty() => {
                Err(anyhow::Error::from(error).context(self.if_lost.clone()).into())
            }
            // Whoever reads us has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(anyhow::Error::from(error).context("standard output").into()),
            Ok(()) => Ok(()),
        }
    }
}

/// Why a command did not do what it should.
#[derive(Debug)]
pub enum Failure {
    /// It was asked for something that makes no sense: exit code 2.
    Usage(String),
    /// Exit code 1.
    Failed(anyhow::Error),
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(what) => f.write_str(what),
            Self::Failed(error) => {
                let mut said = error.to_string();
                f.write_str(&said)?;
                // Some errors show their cause themselves.
                for cause in error.chain().skip(1).map(ToString::to_string) {
                    if !said.contains(&cause) {
                        write!(f, ": {cause}")?;
                        said = cause;
                    }
                }
                Ok(())
            }
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Rejected> for Failure {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Invalid(what) => Self::Usage(what),
            other => Self::Failed(other.into()),
        }
    }
}

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        match error {
            DataDirError::Rejected(rejected) => rejected.into(),
            other => Self::Failed(other.into()),
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        match problem.of.status {
            400 => Self::Usage(problem.detail),
            _ => Self::Failed(anyhow::Error::msg(problem.detail)),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Invalid(what) => Self::Usage(what),
            other @ ConfigError::Read { .. } => Self::Failed(other.into()),
        }
    }
}
