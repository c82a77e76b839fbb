//! The settings as they are written down: each may be missing, and layers are laid over each other.

use serde::{Deserialize, Serialize};

use super::{ConfigError, Environment};

/// Settings in one TOML table, each with the environment variable that overrides it.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident {
        $($field:ident: $type:ty = $variable:literal,)*
        $([$section:ident: $section_type:ty])*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $(pub $field: Option<$type>,)*
            $(pub $section: $section_type,)*
        }

        impl $name {
            /// The environment variables of this table.
            pub const VARIABLES: &'static [&'static str] = &[$($variable,)*];

            /// These settings, and those of `below` where these say nothing.
            #[must_use]
            pub fn over(self, below: Self) -> Self {
                Self {
                    $($field: self.$field.or(below.$field),)*
                    $($section: self.$section.over(below.$section),)*
                }
            }

            /// An empty variable counts as not set.
            pub fn from_env(env: Environment<'_>) -> Result<Self, ConfigError> {
                Ok(Self {
                    $($field: read::<$type>($variable, env)?,)*
                    $($section: <$section_type>::from_env(env)?,)*
                })
            }

            /// Whether every setting is given.
            #[cfg(test)]
            pub fn is_complete(&self) -> bool {
                true $(&& self.$field.is_some())* $(&& self.$section.is_complete())*
            }
        }
    };
}

table! {
    /// The top of `wecom-ledger.toml`.
    Settings {
        listen: String = "WECOM_LEDGER_LISTEN",
        upstream: String = "WECOM_LEDGER_UPSTREAM",
        egress_ip: String = "WECOM_LEDGER_EGRESS_IP",
        workers: u64 = "WECOM_LEDGER_WORKERS",
        reuse_port: bool = "WECOM_LEDGER_REUSE_PORT",
        insecure_listen: bool = "WECOM_LEDGER_INSECURE_LISTEN",
        tls_cert: String = "WECOM_LEDGER_TLS_CERT",
        tls_key: String = "WECOM_LEDGER_TLS_KEY",
        [token: TokenSettings]
        [call: CallSettings]
        [messages: MessageSettings]
        [reconcile: ReconcileSettings]
        [penalties: PenaltySettings]
        [webhook: WebhookSettings]
        [log: LogSettings]
    }
}

table! {
    TokenSettings {
        refresh_at_secs: u64 = "WECOM_LEDGER_TOKEN_REFRESH_AT_SECS",
        refresh_jitter_secs: u64 = "WECOM_LEDGER_TOKEN_REFRESH_JITTER_SECS",
        fetch_timeout_secs: u64 = "WECOM_LEDGER_TOKEN_FETCH_TIMEOUT_SECS",
    }
}

table! {
    CallSettings {
        connect_timeout_secs: u64 = "WECOM_LEDGER_CALL_CONNECT_TIMEOUT_SECS",
        head_timeout_secs: u64 = "WECOM_LEDGER_CALL_HEAD_TIMEOUT_SECS",
        idle_timeout_secs: u64 = "WECOM_LEDGER_CALL_IDLE_TIMEOUT_SECS",
        total_timeout_secs: u64 = "WECOM_LEDGER_CALL_TOTAL_TIMEOUT_SECS",
        body_max_bytes: u64 = "WECOM_LEDGER_CALL_BODY_MAX_BYTES",
    }
}

table! {
    MessageSettings {
        failed: String = "WECOM_LEDGER_MESSAGES_FAILED",
        invalid_recipients: String = "WECOM_LEDGER_MESSAGES_INVALID_RECIPIENTS",
    }
}

table! {
    ReconcileSettings {
        messages: bool = "WECOM_LEDGER_RECONCILE_MESSAGES",
        at: String = "WECOM_LEDGER_RECONCILE_AT",
    }
}

table! {
    PenaltySettings {
        learn_caps: bool = "WECOM_LEDGER_PENALTIES_LEARN_CAPS",
        learn_after_drifts: u64 = "WECOM_LEDGER_PENALTIES_LEARN_AFTER_DRIFTS",
    }
}

table! {
    WebhookSettings {
        url_file: String = "WECOM_LEDGER_WEBHOOK_URL_FILE",
        format: String = "WECOM_LEDGER_WEBHOOK_FORMAT",
        secret_file: String = "WECOM_LEDGER_WEBHOOK_SECRET_FILE",
    }
}

table! {
    LogSettings {
        format: String = "WECOM_LEDGER_LOG_FORMAT",
        level: String = "WECOM_LEDGER_LOG",
    }
}

/// What an environment variable can hold.
trait FromText: Sized {
    const EXPECTED: &'static str;
    fn from_text(text: &str) -> Option<Self>;
}

impl FromText for String {
    const EXPECTED: &'static str = "text";
    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl FromText for u64 {
    const EXPECTED: &'static str = "a whole number";
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl FromText for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_text(text: &str) -> Option<Self> {
        match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }
}

fn read<T: FromText>(variable: &str, env: Environment<'_>) -> Result<Option<T>, ConfigError> {
    let Some(text) = env(variable).filter(|text| !text.is_empty()) else { return Ok(None) };
    T::from_text(&text).map(Some).ok_or_else(|| {
        let expected = T::EXPECTED;
        ConfigError::Invalid(format!("the environment variable {variable} must be {expected}, not `{text}`"))
    })
}
