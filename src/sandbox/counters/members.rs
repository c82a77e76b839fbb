//! What one member gets from one app: what is too much is dropped, and nobody is told.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Meter, Peaks, make_room};
use crate::sandbox::config::WindowKind;
use crate::sandbox::limits::{Caps, Row};
use crate::sandbox::tokens::Who;

/// Pairs of app and member that are followed; beyond it new pairs are not limited.
const MAX_PAIRS: usize = 200_000;

#[derive(Debug, Default)]
pub(in crate::sandbox) struct Members {
    pairs: HashMap<(Row, Who, Arc<str>), Meter>,
    by_app: HashMap<(Row, Who), Seen>,
    /// Messages that were not counted because there were too many pairs.
    pub uncounted: u64,
}

/// What was seen of an app's members, all together.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Seen {
    /// The most that one member was to get.
    pub peaks: Peaks,
    pub dropped: u64,
}

impl Members {
    /// Whether a message reaches this member, or is dropped because the app sent too many.
    pub(in crate::sandbox) fn reaches(
        &mut self,
        (row, caps): (Row, Caps),
        who: Who,
        member: &Arc<str>,
        now: i64,
        kind: WindowKind,
    ) -> bool {
        if caps.is_none() {
            return true;
        }
        let key = (row, who, member.clone());
        make_room(&mut self.pairs, MAX_PAIRS, &key, |meter| meter.is_idle(now));
        if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains_key(&key) {
            self.uncounted += 1;
            return true;
        }
        let meter = self.pairs.entry(key).or_default();
        let reaches = meter.over_until(&caps, 1, now, kind).is_none();
        if reaches {
            meter.add(&caps, 1, now);
        }
        let seen = self.by_app.entry((row, who)).or_default();
        seen.peaks = seen.peaks.or_more(meter.peaks());
        seen.dropped += u64::from(!reaches);
        reaches
    }

    pub(in crate::sandbox) fn iter(&self) -> impl Iterator<Item = (&(Row, Who), &Seen)> {
        self.by_app.iter()
    }

    pub(in crate::sandbox) fn clear(&mut self) {
        *self = Self::default();
    }
}
