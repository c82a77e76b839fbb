//! What a sandbox is started with, and what can be changed while it runs.

use serde::{Deserialize, Serialize};

use super::limits::{self, Limits};

/// How the sandbox aligns its windows. WeCom documents neither, so a client has to survive both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// The last 60 s or 3600 s before each call. Days and months are the calendar's all the same.
    #[default]
    Sliding,
    /// From one full minute or hour of the sandbox's clock to the next.
    ClockAligned,
}

/// What `expires_in` says when an unexpired token is handed out again. Not documented by WeCom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefetchLifetime {
    #[default]
    Remaining,
    /// The whole lifetime again, which is a lie: whoever believes it uses the token too long.
    Full,
}

/// Everything a sandbox needs to start; `Config::default()` works as it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub corps: Vec<CorpConfig>,
    pub windows: WindowKind,
    /// As JSON the name of a preset, or an object, whose members `preset` and `operator` name what it differs from.
    #[serde(deserialize_with = "limits::deserialize")]
    pub limits: Limits,
    pub same_token_on_refetch: bool,
    pub refetch_lifetime: RefetchLifetime,
    pub token_lifetime_secs: u32,
    /// So many wrong secrets from one IP within an hour ban it from gettoken for an hour; 0 never bans.
    pub bad_secret_ban_after: u32,
    pub workers: usize,
    /// Entries that the request log keeps; 0 switches it off.
    pub request_log: usize,
    /// Bytes that the log of delivered messages keeps; 0 switches it off.
    pub message_log_bytes: usize,
    /// Makes tokens, ids and the luck of faults repeatable; without it they come from the system.
    pub seed: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            corps: vec![CorpConfig::default()],
            windows: WindowKind::default(),
            limits: Limits::default(),
            same_token_on_refetch: true,
            refetch_lifetime: RefetchLifetime::default(),
            token_lifetime_secs: 7200,
            bad_secret_ban_after: 5,
            workers: 2,
            request_log: 2_000_000,
            message_log_bytes: 64 << 20,
            seed: None,
        }
    }
}

impl Config {
    /// For benches: nothing is counted and nothing is kept.
    pub fn fast() -> Self {
        Self { limits: Limits::none(), request_log: 0, message_log_bytes: 0, ..Self::default() }
    }
}

/// One simulated company.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorpConfig {
    pub corp_id: String,
    pub account_cap: u32,
    pub apps: Vec<AppConfig>,
    /// How many members the directory starts with.
    pub members: u32,
}

impl Default for CorpConfig {
    fn default() -> Self {
        Self::new("ww0123456789abcdef", 500)
    }
}

impl CorpConfig {
    /// A company with the apps 1000001 to 1000003 and twelve members.
    pub fn new(corp_id: impl Into<String>, account_cap: u32) -> Self {
        let apps = (1_000_001..=1_000_003).map(AppConfig::new).collect();
        Self { corp_id: corp_id.into(), account_cap, apps, members: 12 }
    }
}

/// One application of a company.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppConfig {
    pub agent_id: u32,
    pub secret: String,
}

impl AppConfig {
    /// An app whose secret can be guessed: `sandbox-secret-AGENT_ID`.
    pub fn new(agent_id: u32) -> Self {
        Self { agent_id, secret: format!("sandbox-secret-{agent_id}") }
    }
}
