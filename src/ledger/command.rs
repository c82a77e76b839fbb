//! What can be asked of the ledger, and what it answers.

mod ask;
mod keys;
mod line;
mod reconcile;

use crate::quota::{Cost, Operator, Profile, Reading, Rule, Unit};

use super::entry::{AnswerNotes, Fingerprint, Once, PenaltyLevel, Plain, Seq, Size, UsageReconciled};
use super::remembered::Ended;

pub use ask::{Ask, NotSent, To};
pub use keys::{ApiKeyChange, ApiKeyEdit, ApiKeyTerms, OwnChange, OwnNumber};
pub use line::{Hit, InLine, Reach, Standing};
pub use reconcile::Reconcile;

/// The time of a decision: see `clock`.
pub use crate::quota::Moment as Now;

/// On whose authority a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// An API key.
    Key(Seq),
    /// Whoever showed the app's own secret; ends when the secret changes (`app.put` entry).
    Secret(Seq),
}

impl Caller {
    pub fn api_key(self) -> Option<Seq> {
        match self {
            Caller::Key(seq) => Some(seq),
            Caller::Secret(_) => None,
        }
    }
}

#[derive(Debug, Clone)]
pub enum Command {
    CreateLedger {
        ledger_id: String,
        version: String,
        key_check: Fingerprint,
    },
    StartProcess {
        instance: String,
        pid: u32,
        egress_ip: String,
        version: String,
        /// After so many drifts of a limit its cap is lowered; none: never.
        learn_caps_after: Option<u8>,
        /// Whether alerts are delivered anywhere.
        webhook: bool,
    },
    EndProcess {
        process: Seq,
        how: EndedHow,
    },
    Recovered {
        reason: String,
    },
    PutCorp {
        corp_id: String,
        account_cap: u64,
    },
    RemoveCorp {
        corp_id: String,
    },
    PutApp {
        corp_id: String,
        agent_id: String,
        secret: Plain,
        fingerprint: Fingerprint,
    },
    ResetApp {
        corp_id: String,
        agent_id: String,
    },
    RemoveApp {
        corp_id: String,
        agent_id: String,
    },
    CreateApiKey {
        terms: ApiKeyTerms,
        fingerprint: Fingerprint,
    },
    SetApiKey {
        api_key: Seq,
        change: ApiKeyChange,
    },
    /// One that ships, by its name, or the operator's own.
    PutLimits {
        profile: String,
        operator: Operator,
        own: Option<Box<Profile>>,
    },
    /// Percent of a limit, or of all without a number of their own, for critical calls only; 0: none.
    PutReserve {
        limit: Option<String>,
        percent: u8,
    },
    PutCap {
        corp_id: String,
        limit: String,
        cap: Option<u64>,
    },
    /// An administrative act on the authority of an API key, which its entries name.
    ByKey {
        api_key: Seq,
        act: Box<Command>,
    },
    Admit(Admit),
    /// Admits a call that the client makes itself; only such a call can be settled by a client.
    Reserve(Admit),
    /// What would become of it; takes nothing and writes nothing.
    Check(Admit),
    /// Decided one after the other, each on its own, and committed together.
    Together(Vec<Command>),
    Settle {
        pending: Seq,
        outcome: Outcome,
        caller: Option<Caller>,
    },
    BeginFetch {
        app: Seq,
        why: FetchReason,
        timeout_ms: u32,
    },
    EndFetch {
        pending: Seq,
        outcome: FetchOutcome,
    },
    Invalidate {
        credential: Seq,
        app: Seq,
        errcode: i64,
        call: Option<Seq>,
    },
    Issue {
        app: Seq,
        caller: Caller,
    },
    /// A call came back that makes something larger; `taught`: by how much, as far as that was understood.
    SettleTaught {
        pending: Seq,
        outcome: Outcome,
        taught: Option<Vec<Size>>,
    },
    /// How large something is, as the answer of `call` says.
    Learn {
        app: Seq,
        size: Size,
        call: Seq,
    },
    /// How large something is, as an operator says: for one app or for every app of the corp. `by`: an API key.
    DeclareSize {
        corp_id: String,
        agent_id: Option<String>,
        size: Size,
        by: Option<Seq>,
    },
    /// Usage that no call shows.
    Declare {
        corp_id: String,
        agent_id: Option<String>,
        /// In whose limits it counts; none: person-times are of messages, anything else counts in every limit of its unit.
        api: Option<String>,
        unit: Unit,
        amount: i64,
        note: String,
        /// Keyed hash of the article that was read; 0: it is about none.
        article: u64,
    },
    /// WeCom's own count of a day.
    Reconcile(Reconcile),
    /// The webhook has taken the alerts up to this entry, unless it refused this last one for good.
    WebhookDelivered {
        through: Seq,
        refused: Option<String>,
    },
    /// Percent of a limit at which alerts are raised; empty: none.
    PutAlertAt {
        percents: Vec<u8>,
    },
    /// An operator knows that WeCom's block is over.
    ClearPenalty {
        started: Seq,
    },
    /// An operator knows that WeCom lets through again what the profile says; `learned`: the `cap.learned` entry.
    RestoreCap {
        learned: Seq,
    },
    /// Writes down refusals that were answered without an entry of their own.
    FlushRefusals {
        refusal: RefusalKey,
        count: u64,
        errcode: i64,
        used: u64,
        cap: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedHow {
    Drained,
    Died,
}

/// Asks for permission to make one call.
#[derive(Debug, Clone)]
pub struct Admit {
    pub caller: Caller,
    pub app: Seq,
    pub api: String,
    pub method: String,
    pub ask: Ask,
    /// The call carries the app's access token, so one must be valid.
    pub needs_credential: bool,
    /// Not this row: WeCom has just rejected it.
    pub not_credential: Option<Seq>,
    pub retry_of: Option<Seq>,
    pub timeout_ms: u32,
    pub request_bytes: u64,
    pub request_sha256: Option<[u8; 32]>,
    /// The client may send its request again, and must not take twice by that.
    pub once: Option<Once>,
    pub line: InLine,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    Posted {
        not_sent: NotSent,
        /// Whom the answer names as not reached, whether or not that is to count.
        unreached: NotSent,
        errcode: Option<i64>,
        http_status: u16,
        latency_us: u64,
        response_bytes: u64,
        answer: AnswerNotes,
    },
    Voided {
        reason: String,
    },
    Expired {
        reason: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchReason {
    /// Somebody waits for a token and none is valid.
    Demand,
    /// The newest token is still valid and old enough to be replaced.
    Refresh,
}

#[derive(Debug, Clone)]
pub enum FetchOutcome {
    Token {
        token: Plain,
        fingerprint: Fingerprint,
        expires_in_ms: i64,
        refresh_after_ms: i64,
        http_status: u16,
        latency_us: u64,
    },
    Refused {
        errcode: i64,
        errmsg: String,
        hint: Option<String>,
        from_ip: Option<String>,
        http_status: u16,
        latency_us: u64,
    },
    /// No byte was written.
    NotSent {
        reason: String,
    },
    Unknown {
        reason: String,
    },
}

/// Refusals of one second that share this are counted in one entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct RefusalKey {
    pub corp: Seq,
    pub app: Seq,
    pub api: Option<Seq>,
    pub api_key: Option<Seq>,
    pub limit: String,
    pub rule: Rule,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The entry that the command introduced, or the one that says the same already.
    Done {
        seq: Seq,
        changed: bool,
    },
    Admitted {
        pending: Seq,
        credential: Option<Seq>,
        reading: Option<Reading>,
        /// The tick at which it expires without an outcome.
        deadline: i64,
    },
    /// The same request came before, and was admitted then.
    Remembered {
        pending: Seq,
        /// What became of it; none: it is still pending.
        ended: Option<Ended>,
    },
    Checked {
        would: Box<Reply>,
        cost: Cost,
        /// Every limit that has to do with the call, as it stands without it.
        readings: Vec<Reading>,
    },
    Together(Vec<Reply>),
    /// Permission is not given; nothing was taken.
    Refused(Refusal),
    Settled {
        seq: Seq,
    },
    Fetch {
        pending: Seq,
        secret: Seq,
    },
    /// A valid row is there, nothing to fetch.
    Have {
        credential: Seq,
    },
    /// Somebody else is fetching.
    Wait,
    /// The rejected credential stands all the same: too many were rejected within a minute.
    Kept,
    Reconciled {
        seq: Seq,
        reconciled: Box<UsageReconciled>,
    },
    Issued {
        credential: Seq,
        expires_tick: i64,
    },
    /// The command does not fit what the ledger holds; says what to do.
    Rejected(Rejected),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    Limit {
        reading: Reading,
        retry_at: Option<i64>,
        /// What the call would have taken.
        needed: u64,
        reach: Reach,
        key: RefusalKey,
        recorded: bool,
    },
    /// WeCom blocks this API after a limit was hit.
    Blocked {
        /// The `penalty.started` entry.
        penalty: Seq,
        level: PenaltyLevel,
        errcode: i64,
        /// When one call may try.
        retry_at: i64,
        reach: Reach,
        key: RefusalKey,
        recorded: bool,
    },
    Unauthorized(Unauthorized),
    /// No valid credential: ask for one to be fetched.
    NoCredential,
    /// Too many calls without an outcome.
    Busy,
    /// A limit counts for each group chat, and the client does not say which one its call goes to.
    NeedsChat,
    /// Too many requests are remembered that may come again.
    RemembersTooMuch {
        /// When the first of them is forgotten.
        retry_at: i64,
    },
    /// The credential can't be fetched now.
    CredentialUnavailable {
        errcode: Option<i64>,
        reason: String,
        retry_at: Option<i64>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unauthorized {
    /// The API key was revoked or paused, the secret has changed, or the app is gone.
    Ended,
    /// The key may not use this app, this API, or the gateway at all.
    NotAllowed,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
}
