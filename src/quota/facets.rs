//! What of a call the limits look at: its facets, from which keys are derived, and its cost.

use serde::{Deserialize, Serialize};

use super::limit::{Dimension, Scope, Unit};

/// A moment in both of the ledger's times; neither goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Milliseconds of monotonic time: drives all windows.
    pub tick: i64,
    /// Wall time, Unix milliseconds in UTC, for people. What calendar windows go by is told to [`super::Meters::show`].
    pub at: i64,
}

/// The facets of one call. The numbers are references: `seq` of the entry that introduced the thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facets<'a> {
    pub corp: u64,
    pub app: u64,
    pub api: u64,
    pub api_name: &'a str,
    pub egress_ip: u64,
    pub api_key: u64,
    /// Keyed hashes of the members that a message goes to, each once; empty where they are not known one by one.
    pub members: &'a [u64],
    /// A message goes to members that are not known one by one: it counts for every member of the app.
    pub broadcast: bool,
    /// Keyed hash of the group chat or group robot that a message goes to; 0: none.
    pub chat: u64,
    /// The call may use what is reserved for the most important ones.
    pub critical: bool,
}

impl Facets<'_> {
    /// Whether everything is known that the scope tells apart.
    pub(super) fn knows(&self, scope: Scope) -> bool {
        scope.dimensions().all(|dimension| match dimension {
            Dimension::Corp => self.corp != 0,
            Dimension::App => self.app != 0,
            Dimension::Api => self.api != 0,
            Dimension::EgressIp => self.egress_ip != 0,
            Dimension::ApiKey => self.api_key != 0,
            Dimension::Member => self.broadcast || !self.members.is_empty(),
            Dimension::Chat => self.chat != 0,
        })
    }
}

/// What a call takes from the limits, in each unit. A limit in whose unit a call costs nothing ignores the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    pub calls: u64,
    pub person_times: u64,
    pub accounts: u64,
    pub apps: u64,
    /// Trusted domains that are set.
    pub domains: u64,
    /// Times that somebody outside reads an article.
    pub reads: u64,
}

impl Cost {
    /// One call that takes nothing else.
    pub const CALL: Self = Self { calls: 1, person_times: 0, accounts: 0, apps: 0, domains: 0, reads: 0 };

    /// So much of one unit and nothing of the others.
    pub fn in_unit(unit: Unit, amount: u64) -> Self {
        let mut cost = Self::default();
        let place = match unit {
            Unit::Calls => &mut cost.calls,
            Unit::PersonTimes => &mut cost.person_times,
            Unit::Accounts => &mut cost.accounts,
            Unit::Apps => &mut cost.apps,
            Unit::Domains => &mut cost.domains,
            Unit::Reads => &mut cost.reads,
        };
        *place = amount;
        cost
    }

    #[inline]
    pub fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Calls => self.calls,
            Unit::PersonTimes => self.person_times,
            Unit::Accounts => self.accounts,
            Unit::Apps => self.apps,
            Unit::Domains => self.domains,
            Unit::Reads => self.reads,
        }
    }
}
