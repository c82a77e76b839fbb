//! Faults that the control API asks for, and which call gets which.

use serde::{Deserialize, Serialize};

use super::random::{Random, nth};

/// Faults that may wait at the same time: every call looks at all of them.
pub(super) const MAX_FAULTS: usize = 1_000;
const HANG_MS: u64 = 3_600_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// The answer comes, late.
    Delay,
    /// An HTTP status without JSON.
    Status,
    /// HTTP 200 and JSON by its header, but not by its body.
    Garbage,
    /// Half of the body that `content-length` promised, then the connection ends.
    Truncate,
    /// As a delay, of an hour.
    Hang,
    /// A well-formed answer with the given errcode.
    Errcode,
    /// The connection ends without a byte.
    Close,
    /// The call is counted late and answered late, and nothing else happens to it; other faults may strike it as well.
    Late,
}

impl Kind {
    /// A delay changes only when the call is answered; the other kinds replace the answer.
    pub(super) const fn keeps_answer(self) -> bool {
        matches!(self, Self::Delay | Self::Hang | Self::Late)
    }
}

/// Whether the call takes effect before the fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum When {
    /// The fault comes first: no effect, or after a delay only.
    #[default]
    Before,
    /// The call took effect, only its answer suffers.
    After,
}

/// A fault as it is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    /// An API, `*`, or a beginning with `*` after it.
    #[serde(default = "everything")]
    path: String,
    pub kind: Kind,
    /// How long to wait before the answer, or its absence.
    #[serde(default)]
    delay_ms: Option<u64>,
    /// A late call waits a random time up to this long before it is counted, and one up to that before its answer.
    #[serde(default)]
    before_ms: u64,
    #[serde(default)]
    after_ms: u64,
    /// Decides the random times of late calls, in the order of their arrival; chosen if it is missing.
    #[serde(default)]
    seed: Option<u32>,
    #[serde(default = "bad_gateway")]
    pub status: u16,
    #[serde(default = "busy")]
    pub errcode: i32,
    /// How many calls to strike; without it all of them.
    #[serde(default)]
    times: Option<u64>,
    #[serde(default = "always")]
    probability: f64,
    /// How many matching calls to let pass first.
    #[serde(default)]
    skip: u64,
    #[serde(default)]
    pub when: When,
}

fn everything() -> String {
    "*".to_owned()
}

const fn bad_gateway() -> u16 {
    502
}

const fn busy() -> i32 {
    -1
}

const fn always() -> f64 {
    1.0
}

impl Spec {
    fn matches(&self, api: &str) -> bool {
        self.path.strip_suffix('*').map_or(self.path == api, |beginning| api.starts_with(beginning))
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        if !(0.0..=1.0).contains(&self.probability) {
            return Err("probability must be between 0 and 1");
        }
        if !(200..=599).contains(&self.status) {
            return Err("status must be between 200 and 599");
        }
        if self.before_ms.max(self.after_ms) > HANG_MS {
            return Err("before_ms and after_ms are an hour at most");
        }
        Ok(())
    }
}

/// What strikes one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strike {
    pub kind: Kind,
    pub when: When,
    pub delay_ms: u64,
    pub status: u16,
    pub errcode: i32,
}

/// How late one call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lateness {
    pub before_ms: u64,
    pub after_ms: u64,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Fault {
    id: u64,
    #[serde(flatten)]
    spec: Spec,
    /// Calls that matched, and calls that were struck.
    seen: u64,
    hits: u64,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    faults: Vec<Fault>,
    last_id: u64,
}

impl Faults {
    pub(super) fn add(&mut self, mut spec: Spec, random: &mut Random) -> Option<u64> {
        if self.faults.len() >= MAX_FAULTS {
            return None;
        }
        if spec.kind == Kind::Late {
            spec.seed = spec.seed.or_else(|| Some(random.seed()));
        }
        self.last_id += 1;
        self.faults.push(Fault { id: self.last_id, spec, seen: 0, hits: 0 });
        Some(self.last_id)
    }

    pub(super) fn list(&self) -> &[Fault] {
        &self.faults
    }

    /// Removes one fault, or all; answers how many went.
    pub(super) fn remove(&mut self, id: Option<u64>) -> usize {
        let before = self.faults.len();
        self.faults.retain(|fault| id.is_some_and(|id| fault.id != id));
        before - self.faults.len()
    }

    /// Whether a call may be late: only then is it asked for before it is counted.
    pub(super) fn any_late(&self) -> bool {
        self.faults.iter().any(|fault| fault.spec.kind == Kind::Late)
    }

    /// The first fault in the order of their ids that strikes this call.
    pub(super) fn choose(&mut self, api: &str, random: &mut Random) -> Option<Strike> {
        let others = self.faults.iter_mut().filter(|fault| fault.spec.kind != Kind::Late);
        others.filter(|fault| fault.spec.matches(api)).find_map(|fault| fault.strike(random))
    }

    /// How late this call is, by the first fault of that kind that takes it.
    pub(super) fn lateness(&mut self, api: &str, random: &mut Random) -> Option<Lateness> {
        let late = self.faults.iter_mut().filter(|fault| fault.spec.kind == Kind::Late);
        late.filter(|fault| fault.spec.matches(api)).find_map(|fault| fault.delay(random))
    }
}

impl Fault {
    /// Whether it takes a call that matches.
    fn takes(&mut self, random: &mut Random) -> bool {
        let spec = &self.spec;
        if spec.times.is_some_and(|times| self.hits >= times) {
            return false;
        }
        self.seen += 1;
        let takes = self.seen > spec.skip && random.chance(spec.probability);
        self.hits += u64::from(takes);
        takes
    }

    fn strike(&mut self, random: &mut Random) -> Option<Strike> {
        if !self.takes(random) {
            return None;
        }
        let spec = &self.spec;
        let default_ms = if spec.kind == Kind::Hang { HANG_MS } else { 0 };
        Some(Strike {
            kind: spec.kind,
            when: spec.when,
            delay_ms: spec.delay_ms.unwrap_or(default_ms),
            status: spec.status,
            errcode: spec.errcode,
        })
    }

    fn delay(&mut self, random: &mut Random) -> Option<Lateness> {
        if !self.takes(random) {
            return None;
        }
        let seed = self.spec.seed.unwrap_or_default();
        Some(Lateness {
            before_ms: nth(seed, 2 * self.hits, self.spec.before_ms),
            after_ms: nth(seed, 2 * self.hits + 1, self.spec.after_ms),
        })
    }
}
