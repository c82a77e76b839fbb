//! What the line before a limit and the ledger tell each other.

use crate::ledger::entry::{Blocks, PenaltyLevel, Seq};
use crate::quota::{Dimension, Reading, Scope, Unit};

use super::{Refusal, RefusalKey};

/// What the line before a limit has to do with an admission: nothing, unless somebody waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InLine {
    /// Whoever asks waits on if a limit refuses, so a refusal is not recorded.
    pub waits: bool,
    /// Others are before it and were refused like this; so is this call, whatever room there is by now.
    pub standing: Option<Box<Standing>>,
    /// What those before it need of that limit: it passes after them. 0: the refusal is its own.
    pub ahead: u64,
}

/// What a refusal by a limit says to whoever is refused next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub hit: Hit,
    pub retry_at: Option<i64>,
    /// What the refused call would have taken of the limit.
    pub needed: u64,
    pub reach: Reach,
}

/// What holds a call back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hit {
    Limit(Reading),
    /// See [`Refusal::Blocked`].
    Blocked {
        penalty: Seq,
        level: PenaltyLevel,
        errcode: i64,
    },
}

impl Standing {
    /// Whether every call needs as much as the refused one: none of those whom it reaches can pass while that can't.
    pub fn is_alike_for_all(&self) -> bool {
        match &self.hit {
            Hit::Limit(reading) => reading.unit == Unit::Calls,
            Hit::Blocked { .. } => true,
        }
    }

    /// Whether a call that was refused like that by the same counters is refused wherever this one is.
    pub fn implies(&self, other: &Self) -> bool {
        match (&self.hit, &other.hit) {
            (Hit::Limit(one), Hit::Limit(it)) => {
                let same = one.limit == it.limit && one.rule == it.rule && self.reach == other.reach;
                same && self.reach != Reach::Call && self.needed <= other.needed
            }
            _ => false,
        }
    }

    /// Whether both are about the same number.
    pub fn is_of_same_limit(&self, other: &Self) -> bool {
        match (&self.hit, &other.hit) {
            (Hit::Limit(one), Hit::Limit(it)) => {
                one.limit == it.limit && one.rule.is_of_api_key() == it.rule.is_of_api_key()
            }
            _ => false,
        }
    }

    /// The same for another call.
    pub fn refusal(self, key: RefusalKey, recorded: bool) -> Refusal {
        let Self { hit, retry_at, needed, reach } = self;
        match hit {
            Hit::Limit(reading) => Refusal::Limit { reading, retry_at, needed, reach, key, recorded },
            Hit::Blocked { penalty, level, errcode } => {
                let retry_at = retry_at.unwrap_or_default();
                Refusal::Blocked { penalty, level, errcode, retry_at, reach, key, recorded }
            }
        }
    }
}

/// Which other calls, of the same corp and API, share a refusal by a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    Everybody,
    /// Those of the same API key.
    Caller,
    /// None for sure: it depends on what else the call is about.
    Call,
}

impl Reach {
    pub fn of_block(blocks: Blocks) -> Self {
        match blocks {
            Blocks::Corp | Blocks::EgressIp => Self::Everybody,
            Blocks::App => Self::Call,
        }
    }

    pub fn of(scope: Scope) -> Self {
        const EVERYBODY: Scope = Scope::of(&[Dimension::Corp, Dimension::Api, Dimension::EgressIp]);
        const CALLER: Scope =
            Scope::of(&[Dimension::Corp, Dimension::Api, Dimension::EgressIp, Dimension::ApiKey]);
        if scope.is_within(EVERYBODY) {
            Self::Everybody
        } else if scope.is_within(CALLER) {
            Self::Caller
        } else {
            Self::Call
        }
    }
}

impl Refusal {
    /// What it says to whoever is refused next; none where waiting for room is of no use.
    pub fn standing(&self) -> Option<Standing> {
        match self {
            Self::Limit { reading, retry_at, needed, reach, .. } => Some(Standing {
                hit: Hit::Limit(reading.clone()),
                retry_at: *retry_at,
                needed: *needed,
                reach: *reach,
            }),
            Self::Blocked { penalty, level, errcode, retry_at, reach, .. } => Some(Standing {
                hit: Hit::Blocked { penalty: *penalty, level: *level, errcode: *errcode },
                retry_at: Some(*retry_at),
                needed: 1,
                reach: *reach,
            }),
            _ => None,
        }
    }
}
