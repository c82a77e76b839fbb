//! The folded state: everything that the entries say, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::quota::{Cost, Facets, Meters, Operator, Profile, shipped};

use super::alerts::Alerts;
use super::command::{Caller, RefusalKey};
use super::delivered::Delivered;
use super::directory::Directory;
use super::entry::{CapOverride, Reserve, Scope, Seq, ShortDigest, Target};
use super::learned::Learned;
use super::penalties::Penalties;
use super::remembered::Remembered;
use super::sizes::Sizes;

/// Raised whenever `apply` or the shape of `State` changes: older snapshots are then refolded from the entries.
pub const FOLD_VERSION: u32 = 19;

/// Calls without an outcome, at most: one more is refused. Each takes about 250 bytes.
pub const PENDINGS_MAX: usize = 250_000;

/// Of them, those of one API key: nobody takes all places.
pub const PENDINGS_OF_KEY_MAX: usize = PENDINGS_MAX / 2;

/// Recipients that all pending calls may name together, where a limit tells members apart: 8 bytes each.
pub const MEMBERS_PENDING_MAX: usize = 4_000_000;

/// Names of APIs that the catalogue does not know, at most; further ones share the name [`OTHER_API`] and its limits.
pub const UNKNOWN_APIS_MAX: usize = 1_000;

/// Stands for every unknown API beyond [`UNKNOWN_APIS_MAX`].
pub const OTHER_API: &str = "(other)";

/// Expired calls whose late answer is still recognised.
const EXPIRED_MAX: usize = 10_000;

/// What was written before a process died may reach WeCom a little after its death is noticed.
pub const EXPIRY_MARGIN_MS: i64 = 500;

/// Nothing within it may have serde attributes that leave something out or look ahead (`skip_serializing_if`, `flatten`,
/// `untagged`): a snapshot's format does not say what it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub head: Seq,
    pub tick: i64,
    pub at: i64,
    pub ledger_id: String,
    pub clock: ClockBase,
    pub directory: Arc<Directory>,
    pub limits: Limits,
    pub meters: Meters,
    /// Boxed, because they are removed from everywhere, and a map moves what comes after.
    pub pendings: BTreeMap<Seq, Box<Pending>>,
    /// How many of them each API key has (0: none), so that one key can't take all places.
    pub pendings_of: BTreeMap<Seq, usize>,
    /// Hashes of members that all pendings have together.
    pub members_pending: usize,
    pub sizes: Sizes,
    /// What limits in shadow mode would have refused, by their names.
    pub shadowed: BTreeMap<String, Shadowed>,
    pub penalties: Penalties,
    pub learned: Learned,
    pub alerts: Alerts,
    pub delivered: Delivered,
    pub remembered: Remembered,
    /// (tick, pending) of every pending call and fetch.
    pub deadlines: BTreeSet<(i64, Seq)>,
    pub expired: BTreeMap<Seq, Pending>,
    pub processes: BTreeMap<Seq, Process>,
    /// Each egress IP is known by the entry that first named it.
    pub egress_ips: BTreeMap<String, Seq>,
    /// The second of the latest refusal entry of its kind.
    pub refused: BTreeMap<RefusalKey, i64>,
    pub unknown_apis: usize,
}

/// How ledger time relates to the machine's clocks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClockBase {
    pub boot_id: String,
    pub offset_ms: i64,
    /// `at - tick` when wall time was last in step.
    pub wall_minus_tick_ms: Option<i64>,
    /// The most that `at` has ever been ahead of `tick`: what the wall clock would show by now at the latest.
    pub furthest_ahead_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    pub profile: String,
    pub operator: Operator,
    pub overrides: Vec<CapOverride>,
    /// Percent of a limit at which an alert is raised.
    pub alert_at: Vec<u8>,
    pub own_profile: Option<Profile>,
    pub reserves: Vec<Reserve>,
}

/// Calls that a limit in shadow mode would have refused, since it is in force so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadowed {
    pub calls: u64,
    pub first_at: i64,
    pub last_at: i64,
}

/// Percent of a limit at which an alert is raised, where the operator has not said otherwise.
pub const ALERT_AT: [u8; 3] = [80, 90, 100];

impl Default for Limits {
    fn default() -> Self {
        Self {
            profile: "qyh-2015".to_owned(),
            operator: Operator::Corp,
            overrides: Vec::new(),
            alert_at: ALERT_AT.to_vec(),
            own_profile: None,
            reserves: Vec::new(),
        }
    }
}

/// A call or a fetch of which the outcome is not yet known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    pub what: PendingWhat,
    pub corp: Seq,
    pub app: Seq,
    pub api: Seq,
    pub api_key: Option<Seq>,
    pub process: Option<Seq>,
    pub egress_ip: Seq,
    pub cost: Cost,
    /// None for the usual call, which goes to nobody in particular.
    pub target: Option<Box<Target>>,
    pub tick: i64,
    pub deadline: i64,
    /// The client may ask again for what it was told: the digest of its `Idempotency-Key`.
    pub once: Option<ShortDigest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PendingWhat {
    Call,
    Fetch,
    /// A call that the client makes itself.
    Reserved,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    pub instance: String,
    pub egress_ip: Seq,
    /// After so many drifts of a limit its cap is lowered; none: never.
    pub learn_caps_after: Option<u8>,
}

impl Default for State {
    fn default() -> Self {
        let limits = Limits::default();
        #[expect(clippy::expect_used, reason = "a test checks every profile that ships")]
        let meters = shipped(&limits.profile, limits.operator)
            .and_then(|profile| Meters::new(&profile).ok())
            .expect("the default profile ships and is sound");
        Self {
            head: 0,
            tick: 0,
            at: 0,
            ledger_id: String::new(),
            clock: ClockBase::default(),
            directory: Arc::default(),
            meters,
            limits,
            pendings: BTreeMap::new(),
            pendings_of: BTreeMap::new(),
            members_pending: 0,
            sizes: Sizes::default(),
            shadowed: BTreeMap::new(),
            alerts: Alerts::default(),
            delivered: Delivered::default(),
            penalties: Penalties::default(),
            learned: Learned::default(),
            remembered: Remembered::default(),
            deadlines: BTreeSet::new(),
            expired: BTreeMap::new(),
            processes: BTreeMap::new(),
            egress_ips: BTreeMap::new(),
            refused: BTreeMap::new(),
            unknown_apis: 0,
        }
    }
}

impl State {
    /// Why `caller` may not act for `app`, if it may not.
    pub fn app_of(&self, caller: Caller, app: Seq) -> Option<&super::directory::App> {
        let live = self.directory.live_app(app)?;
        let may = match caller {
            Caller::Key(key) => {
                self.directory.api_keys.get(&key).is_some_and(|key| key.is_active() && key.may_use_app(app))
            }
            Caller::Secret(secret) => live.secret == secret,
        };
        may.then_some(live)
    }

    pub fn key_has(&self, caller: Caller, scope: Scope) -> bool {
        match caller {
            Caller::Key(key) => self.directory.api_keys.get(&key).is_some_and(|key| key.has(scope)),
            Caller::Secret(_) => scope == Scope::Call,
        }
    }

    /// The egress IP of a process; calls without a process share one key of their own.
    pub fn egress_ip_of(&self, process: Option<Seq>) -> Seq {
        process.and_then(|process| self.processes.get(&process)).map_or(0, |process| process.egress_ip)
    }

    pub(super) fn remember_expired(&mut self, seq: Seq, pending: &Pending) {
        // Nothing is counted any more, so whom it was for does not matter.
        self.expired.insert(seq, Pending { target: None, ..*pending });
        while self.expired.len() > EXPIRED_MAX {
            self.expired.pop_first();
        }
    }
}

impl Pending {
    pub(super) fn members(&self) -> usize {
        self.target.as_ref().map_or(0, |target| target.members.len())
    }

    pub fn facets<'a>(&'a self, api_name: &'a str) -> Facets<'a> {
        let target = self.target.as_deref();
        Facets {
            corp: self.corp,
            app: self.app,
            api: self.api,
            api_name,
            egress_ip: self.egress_ip,
            api_key: self.api_key.unwrap_or(0),
            members: target.map_or(&[], |target| &target.members),
            broadcast: target.is_some_and(|target| target.broadcast),
            chat: target.map_or(0, |target| target.chat),
            // Only a judgement asks.
            critical: false,
        }
    }
}
