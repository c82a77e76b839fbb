//! The program's own log, on standard error.

use std::io::IsTerminal as _;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt};

use crate::config::{ConfigError, Environment, Log, LogFormat, Settings};

/// Commands without a settings file look at the environment alone, and are quieter unless told otherwise.
pub(super) fn without_file(level: &str, env: Environment<'_>) -> Result<Log, ConfigError> {
    let mut settings = Settings::from_env(env)?;
    settings.log.level.get_or_insert_with(|| level.to_owned());
    settings.log.format.get_or_insert_with(|| "text".to_owned());
    crate::config::check_log(settings.log)
}

/// A second start in one process changes nothing.
pub(super) fn start(log: &Log) {
    // How many workers actix starts is of interest only to those who ask for it.
    let directives = format!("actix_server=warn,{}", log.level);
    let Ok(filter) = directives.parse::<Targets>() else { return };
    let layer = fmt::layer()
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    let layer = match log.format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    let _ =
        Registry::default().with(layer.with_filter(filter).with_filter(filter_fn(is_discreet))).try_init();
}

/// HTTP libraries write whole requests into their most verbose logs, with every secret in them. Whatever level is
/// asked for, these stay out.
fn is_discreet(event: &Metadata<'_>) -> bool {
    event.target().starts_with(env!("CARGO_CRATE_NAME")) || *event.level() <= Level::INFO
}
