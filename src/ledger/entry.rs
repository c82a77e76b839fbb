//! Typed entries, and what each kind carries.
//!
//! References between entries are sequence numbers: a corp, an app, an API key, an API name and a process are each
//! known by the `seq` of the entry that introduced them, so the log explains itself without any other table.

mod keys;
mod metered;
mod once;
mod reconciled;

use serde::{Deserialize, Serialize};

use crate::quota::{Cost, Operator, Profile, Rule};

pub use keys::{ApiKeyCreated, ApiKeySet, OwnRule, Priority, Scope};
pub use metered::{
    AlertRaised, Blocks, CapLearned, CapRestored, Counted, Drift, PenaltyEnded, PenaltyLevel, PenaltyStarted,
    Size, SizeLearned, UsageDeclared, WebhookDelivered,
};
pub use once::{Once, ShortDigest, Told};
pub use reconciled::{Compared, Failed, Reconciled, UsageReconciled};

/// The position of an entry in the log: dense from 1. As a reference, 0 never occurs.
pub type Seq = u64;

/// 32 bytes of a keyed digest: recognises a secret without holding it.
pub type Fingerprint = [u8; 32];

/// The dimensions that entries share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refs {
    pub corp: Option<Seq>,
    pub app: Option<Seq>,
    pub api: Option<Seq>,
    pub api_key: Option<Seq>,
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub seq: Seq,
    /// Milliseconds of the ledger's own time: advances with the monotonic clock, never goes back.
    pub tick: i64,
    /// Wall time, Unix milliseconds in UTC, never goes back.
    pub at: i64,
    /// The process that wrote it; none for the command line.
    pub process: Option<Seq>,
    /// Who did an administrative act; none for what programs do.
    pub actor: Option<String>,
    pub refs: Refs,
    pub body: Body,
}

/// An entry before it has its place and its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub refs: Refs,
    pub body: Body,
    /// Stored encrypted in the same transaction, under the entry's `seq`; never part of the entry.
    pub secret: Option<Plain>,
}

/// A secret on its way into the store.
#[derive(Clone)]
pub struct Plain(pub std::sync::Arc<secrecy::SecretString>);

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Plain(…)")
    }
}

impl PartialEq for Plain {
    fn eq(&self, other: &Self) -> bool {
        std::sync::Arc::ptr_eq(&self.0, &other.0)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    LedgerCreated(LedgerCreated),
    ClockBooted(ClockBooted),
    ClockStepped(ClockStepped),
    ProcessStarted(ProcessStarted),
    ProcessEnded(ProcessEnded),
    StoreRecovered(StoreRecovered),
    ApiNamed(ApiNamed),
    CorpPut(CorpPut),
    CorpRemoved,
    AppPut(AppPut),
    AppReset,
    AppRemoved,
    ApiKeyCreated(ApiKeyCreated),
    ApiKeyRevoked,
    ApiKeyPaused,
    ApiKeyResumed,
    ApiKeySet(ApiKeySet),
    LimitsPut(LimitsPut),
    UsageDeclared(UsageDeclared),
    SizeLearned(SizeLearned),
    PenaltyStarted(PenaltyStarted),
    PenaltyEnded(PenaltyEnded),
    PenaltyCleared(PenaltyEnded),
    CapLearned(CapLearned),
    CapRestored(CapRestored),
    AlertRaised(AlertRaised),
    WebhookDelivered(WebhookDelivered),
    UsageReconciled(UsageReconciled),
    SizeDeclared(SizeLearned),
    CallPending(CallPending),
    CallPosted(CallPosted),
    CallVoided(CallEnded),
    CallExpired(CallEnded),
    CallLate(CallPosted),
    CallRefused(CallRefused),
    CredentialPending(CredentialPending),
    CredentialPosted(CredentialPosted),
    CredentialExpired(CallEnded),
    CredentialInvalidated(CredentialInvalidated),
    CredentialIssued(CredentialIssued),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerCreated {
    pub ledger_id: String,
    pub version: String,
    /// Recognises the master key that the ledger was created with.
    #[serde(with = "hex_bytes")]
    pub key_check: Fingerprint,
}

/// Ledger time in this boot is `CLOCK_BOOTTIME + offset_ms`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClockBooted {
    pub boot_id: String,
    pub offset_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClockStepped {
    pub step_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessStarted {
    /// Names the lock that this process holds as long as it lives.
    pub instance: String,
    pub pid: u32,
    pub egress_ip: String,
    pub version: String,
    /// After so many drifts of a limit this process lowers its cap; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learn_caps_after: Option<u8>,
    /// Alerts are delivered somewhere, until a process starts for which they are not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub webhook: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessEnded {
    pub ended: Seq,
    /// `drained` or `died`.
    pub how: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreRecovered {
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiNamed {
    pub name: String,
    /// Whether the catalogue of the version that wrote it knew the API; others are bounded in number.
    pub known: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CorpPut {
    pub id: String,
    pub account_cap: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppPut {
    pub id: String,
    #[serde(with = "hex_bytes")]
    pub secret_fingerprint: Fingerprint,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitsPut {
    pub profile: String,
    pub operator: Operator,
    pub overrides: Vec<CapOverride>,
    /// Percent of a limit at which an alert is raised.
    pub alert_at: Vec<u8>,
    /// The limits themselves, where `profile` is the name of one that the operator wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_profile: Option<Profile>,
    /// What only critical calls may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserves: Vec<Reserve>,
}

/// So many percent of a limit, or of all without a number of their own, that only critical calls may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserve {
    pub limit: Option<String>,
    pub percent: u8,
}

/// An operator's own number for one limit, of one corp or of all that have none of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapOverride {
    pub corp: Option<Seq>,
    pub limit: String,
    pub cap: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CallPending {
    pub method: String,
    /// Reserved: an upper bound of what the call will turn out to take.
    pub cost: Cost,
    pub target: Target,
    /// Limits in shadow mode that would have refused it.
    pub shadowed: Vec<String>,
    /// The credential row whose token the call carries.
    pub credential: Option<Seq>,
    /// After this many milliseconds without an outcome the call counts as spent.
    pub timeout_ms: u32,
    pub request_bytes: u64,
    pub request_sha256: Option<[u8; 32]>,
    /// The client makes the call itself, and says itself how it ended.
    pub reserved: bool,
    /// The earlier attempt that this one repeats after a refreshed credential.
    pub retry_of: Option<Seq>,
    /// The client may send the request again.
    pub once: Option<Once>,
    /// What it is told then.
    pub told: Option<Told>,
}

/// Who or what a call reaches, where a limit tells them apart. Hashes are keyed: nobody is named here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The members that a message goes to, in rising order; empty where no limit asks for them.
    pub members: Vec<u64>,
    /// It goes to members that are not known one by one.
    pub broadcast: bool,
    /// The group chat or group robot; 0: none.
    pub chat: u64,
    /// What the person-times are the sum of; none for a call that sends no message.
    pub people: Option<People>,
    /// Why the upper bound stands there instead of what was asked for.
    pub unread: Option<String>,
}

/// The upper bound of a message's person-times, as it was put together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    /// People who were named one by one.
    pub users: u64,
    /// Departments, each with the size that was assumed.
    pub parties: Vec<(u64, u64)>,
    /// Tags, likewise.
    pub tags: Vec<(u64, u64)>,
    /// What was assumed for departments and tags that could not be read.
    pub unreadable: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CallPosted {
    pub pending: Seq,
    pub cost: Cost,
    /// Person-times that the answer to a message names as not reached, whether or not they count.
    pub unreached: u64,
    pub errcode: Option<i64>,
    pub http_status: u16,
    pub latency_us: u64,
    pub response_bytes: u64,
    pub answer: AnswerNotes,
}

/// What else is known of an answer; empty for an ordinary one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AnswerNotes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errmsg: Option<String>,
    /// `truncated`, `garbage` or `client_gone`: the answer was not read, or not delivered, as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
}

/// The end of a pending call or fetch without an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct CallEnded {
    pub pending: Seq,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CallRefused {
    /// The limit that refused, or `not_allowed`.
    pub limit: String,
    /// Whose number `cap` is.
    pub rule: Rule,
    pub errcode: i64,
    pub used: u64,
    pub cap: u64,
    /// How many refusals of the same second this entry stands for.
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CredentialPending {
    pub credential: String,
    pub timeout_ms: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CredentialPosted {
    pub pending: Seq,
    pub errcode: Option<i64>,
    pub http_status: u16,
    pub latency_us: u64,
    pub fetched: Fetched,
}

/// What a fetch of a credential brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fetched {
    Token {
        #[serde(with = "hex_bytes")]
        fingerprint: Fingerprint,
        expires_tick: i64,
        refresh_tick: i64,
        /// WeCom gave back the string that it had given before.
        same: bool,
    },
    Error {
        errmsg: String,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct CredentialInvalidated {
    pub credential: Seq,
    pub errcode: i64,
    /// The call whose answer said so; none when an operator did.
    pub call: Option<Seq>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CredentialIssued {
    pub credential: Seq,
}

/// Lower-case hex in JSON.
pub mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn encode(bytes: &[u8]) -> String {
        bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
            text
        })
    }

    pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
        if text.len() != N * 2 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; N];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(i * 2..i * 2 + 2)?, 16).ok()?;
        }
        Some(bytes)
    }

    pub fn serialize<S: Serializer>(bytes: &[u8; 32], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(d)?;
        decode(&text).ok_or_else(|| D::Error::custom("expected 64 hex digits"))
    }
}
