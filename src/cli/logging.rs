//! The program's own log, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

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
    let Ok(filter) = EnvFilter::builder().parse(directives) else { return };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    let _ = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
