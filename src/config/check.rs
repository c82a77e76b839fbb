//! What each setting may be.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::wecom::client::{Upstream, UpstreamError};

use super::{
    Call, CallSettings, ConfigError, DATA_DIR_VARIABLE, Log, LogFormat, LogSettings, MessageSettings,
    Messages, PenaltySettings, ReconcileSettings, Settings, Tls, Token, TokenSettings, Webhook,
    WebhookSettings, invalid, tls,
};

const PREFIX: &str = "WECOM_LEDGER_";
/// Variables that only the tests look at.
const OF_TESTS: &[&str] = &["WECOM_LEDGER_LONG", "WECOM_LEDGER_MODEL_CASES"];

/// A variable of ours that nothing reads is a slip of the pen: whoever set it relies on it.
pub fn check_variables(names: impl IntoIterator<Item = String>) -> Result<(), ConfigError> {
    let test_clock = if cfg!(feature = "test-clock") { "WECOM_LEDGER_TEST_CLOCK_FILE" } else { "" };
    let is_known = |name: &str| {
        let tables = [
            Settings::VARIABLES,
            TokenSettings::VARIABLES,
            CallSettings::VARIABLES,
            MessageSettings::VARIABLES,
            ReconcileSettings::VARIABLES,
            PenaltySettings::VARIABLES,
            WebhookSettings::VARIABLES,
            LogSettings::VARIABLES,
            OF_TESTS,
            &[DATA_DIR_VARIABLE, test_clock],
        ];
        tables.iter().any(|table| table.contains(&name))
    };
    match names.into_iter().find(|name| name.starts_with(PREFIX) && !is_known(name)) {
        None => Ok(()),
        Some(name) => invalid(format!(
            "the environment variable {name} is not a setting; `wecom-ledger config` shows every one"
        )),
    }
}

/// The sandbox asks nobody who they are.
pub fn check_exposed_sandbox(listen: SocketAddr, insecure_listen: bool) -> Result<(), ConfigError> {
    if listen.ip().is_loopback() || insecure_listen {
        return Ok(());
    }
    invalid(format!(
        "listening on {listen} would let everybody there control the sandbox and read what was sent to it; say \
         --insecure-listen if that is wanted"
    ))
}

pub(super) fn given<T>(value: Option<T>, name: &str) -> Result<T, ConfigError> {
    value.map_or_else(|| invalid(format!("{name} has no default")), Ok)
}

pub(super) fn range(
    name: &str,
    value: Option<u64>,
    allowed: RangeInclusive<u64>,
) -> Result<u64, ConfigError> {
    let value = given(value, name)?;
    if allowed.contains(&value) {
        return Ok(value);
    }
    let (from, to) = allowed.into_inner();
    invalid(format!("{name} must be {from} to {to}, not {value}"))
}

pub(super) fn check_upstream(upstream: String) -> Result<String, ConfigError> {
    match Upstream::new(&upstream, Duration::ZERO) {
        Err(error @ UpstreamError::Base(_)) => invalid(format!("{error}, not `{upstream}`")),
        // What else can go wrong there is the machine's fault, and shows when the service starts.
        Ok(_) | Err(UpstreamError::Client(_)) => Ok(upstream),
    }
}

pub(super) fn check_egress_ip(name: String) -> Result<String, ConfigError> {
    if (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(name);
    }
    invalid("egress_ip must be 1 to 64 printable ASCII characters without spaces, such as 203.0.113.7")
}

pub(super) fn check_tls(cert: Option<String>, key: Option<String>) -> Result<Option<Tls>, ConfigError> {
    let path = |text: Option<String>| text.filter(|text| !text.is_empty()).map(PathBuf::from);
    match (path(cert), path(key)) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => {
            tls::load(&cert, &key)?;
            Ok(Some(Tls { cert, key }))
        }
        (Some(_), None) => invalid("tls_cert is set but tls_key is not; set both or none"),
        (None, Some(_)) => invalid("tls_key is set but tls_cert is not; set both or none"),
    }
}

pub(super) fn check_token(token: &TokenSettings) -> Result<Token, ConfigError> {
    let refresh_at_secs = range("token.refresh_at_secs", token.refresh_at_secs, 60..=7190)?;
    let refresh_jitter_secs = range("token.refresh_jitter_secs", token.refresh_jitter_secs, 0..=3600)?;
    if refresh_jitter_secs > refresh_at_secs / 2 {
        return invalid("token.refresh_jitter_secs must be at most half of token.refresh_at_secs");
    }
    let fetch_timeout_secs = range("token.fetch_timeout_secs", token.fetch_timeout_secs, 1..=120)?;
    Ok(Token { refresh_at_secs, refresh_jitter_secs, fetch_timeout_secs })
}

pub(super) fn check_call(call: &CallSettings) -> Result<Call, ConfigError> {
    let call = Call {
        connect_timeout_secs: range("call.connect_timeout_secs", call.connect_timeout_secs, 1..=60)?,
        head_timeout_secs: range("call.head_timeout_secs", call.head_timeout_secs, 1..=3600)?,
        idle_timeout_secs: range("call.idle_timeout_secs", call.idle_timeout_secs, 1..=3600)?,
        total_timeout_secs: range("call.total_timeout_secs", call.total_timeout_secs, 1..=3600)?,
        body_max_bytes: range("call.body_max_bytes", call.body_max_bytes, 1024..=1 << 30)?,
    };
    if call.total_timeout_secs < call.head_timeout_secs {
        return invalid("call.total_timeout_secs must not be shorter than call.head_timeout_secs");
    }
    Ok(call)
}

pub(super) fn check_webhook(webhook: &WebhookSettings) -> Result<Option<Webhook>, ConfigError> {
    let path = |text: &Option<String>| text.clone().filter(|text| !text.is_empty()).map(PathBuf::from);
    let robot = match webhook.format.as_deref() {
        Some("json") => false,
        Some("wecom-robot") => true,
        other => {
            let other = other.unwrap_or_default();
            return invalid(format!("webhook.format must be \"json\" or \"wecom-robot\", not `{other}`"));
        }
    };
    let secret_file = path(&webhook.secret_file);
    match path(&webhook.url_file) {
        Some(url_file) => Ok(Some(Webhook { url_file, robot, secret_file })),
        None if secret_file.is_some() => {
            invalid("webhook.secret_file is set but webhook.url_file is not; nothing would be sent")
        }
        None => Ok(None),
    }
}

/// After how many drifts a cap is lowered, if it is at all.
pub(super) fn check_penalties(penalties: &PenaltySettings) -> Result<Option<u8>, ConfigError> {
    let after = range("penalties.learn_after_drifts", penalties.learn_after_drifts, 2..=10)?;
    let wanted = given(penalties.learn_caps, "penalties.learn_caps")?;
    Ok(u8::try_from(after).ok().filter(|_| wanted))
}

pub(super) fn check_messages(messages: MessageSettings) -> Result<Messages, ConfigError> {
    let counts = |name: &str, value| match given::<String>(value, name)?.as_str() {
        "count" => Ok(true),
        "free" => Ok(false),
        other => invalid(format!("{name} must be \"count\" or \"free\", not `{other}`")),
    };
    Ok(Messages {
        failed_count: counts("messages.failed", messages.failed)?,
        invalid_recipients_count: counts("messages.invalid_recipients", messages.invalid_recipients)?,
    })
}

/// The minute of the day from which on the day before is asked about, if it is.
pub(super) fn check_reconcile(reconcile: ReconcileSettings) -> Result<Option<u32>, ConfigError> {
    let text = given(reconcile.at, "reconcile.at")?;
    let two = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| digits)
    };
    let parsed = text.split_once(':').and_then(|(hour, minute)| Some((two(hour)?, two(minute)?)));
    let minute = parsed.filter(|(_, minute)| *minute < 60).map(|(hour, minute)| hour * 60 + minute);
    // About midnight WeCom's day may be another one than ours, and what fails late in the day is not tried again.
    match minute.filter(|minute| (10..=23 * 60).contains(minute)) {
        Some(minute) => Ok(given(reconcile.messages, "reconcile.messages")?.then_some(minute)),
        None => {
            invalid(format!("reconcile.at must be HH:MM from 00:10 to 23:00, such as 03:30, not `{text}`"))
        }
    }
}

pub(crate) fn check_log(log: LogSettings) -> Result<Log, ConfigError> {
    let format = match given(log.format, "log.format")?.as_str() {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => return invalid(format!("log.format must be \"text\" or \"json\", not `{other}`")),
    };
    let level = given(log.level, "log.level")?;
    if let Err(error) = level.parse::<tracing_subscriber::filter::Targets>() {
        return invalid(format!(
            "log.level must be error, warn, info, debug or trace, not `{level}`: {error}"
        ));
    }
    Ok(Log { format, level })
}
