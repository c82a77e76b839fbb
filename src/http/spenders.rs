//! Who had spent a limit: recounted from the entries, so that it can be asked of any moment that is over.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::ledger::canonical::instant;
use crate::ledger::directory::Directory;
use crate::ledger::entry::{Body, CallPosted};
use crate::ledger::{Row, Seq};
use crate::quota::{Cost, Unit, Window};
use crate::store::StoreError;
use crate::store::sqlite::{Counted, Reader};

/// Spenders that are named; the rest is summed up.
const SPENDERS_MAX: usize = 20;

/// Which calls share the counter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share<'a> {
    pub of: Counted,
    /// Only what went out by this IP.
    pub egress_ip: Option<&'a str>,
    pub unit: Unit,
    pub window_ms: i64,
}

#[derive(Debug, Serialize)]
pub struct Recount {
    pub window: String,
    pub since: String,
    pub until: String,
    pub unit: Unit,
    /// There was more in the window than is looked at: `since` is when this begins.
    pub cut: bool,
    pub spent: u64,
    /// How often a call was refused here, without being sent.
    pub refused: u64,
    pub spenders: Vec<Spender>,
    /// What those spent who are not named.
    pub others: u64,
}

#[derive(Debug, Serialize)]
pub struct Spender {
    /// None: by the app's own secret, or declared by an operator.
    pub api_key_id: Option<Seq>,
    pub api_key_name: Option<String>,
    pub corp_id: Option<String>,
    pub agent_id: Option<String>,
    pub api: Option<String>,
    pub spent: u64,
    pub refused: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Who {
    api_key: Option<Seq>,
    corp: Option<Seq>,
    app: Option<Seq>,
    api: Option<Seq>,
    process: Option<Seq>,
}

impl Who {
    fn of(row: &Row) -> Self {
        Self { api_key: row.api_key, corp: row.corp, app: row.app, api: row.api, process: row.process }
    }
}

/// The sums while entries are read, oldest first.
#[derive(Debug)]
struct Sums {
    unit: Unit,
    /// What is under way, with what was reserved for it.
    open: HashMap<Seq, (Who, u64)>,
    by: BTreeMap<Who, [u64; 2]>,
}

impl Sums {
    fn see(&mut self, row: &Row, matches: &impl Fn(&Row) -> bool) {
        let Ok(entry) = row.entry() else { return };
        match &entry.body {
            Body::UsageDeclared(x) if x.unit == self.unit && (row.api.is_none() || matches(row)) => {
                // Who wrote it down spent nothing.
                let who = Who { api_key: None, ..Who::of(row) };
                self.spent(who, u64::try_from(x.amount).unwrap_or(0));
            }
            _ if !matches(row) => {}
            Body::CallPending(x) => self.open(row, x.cost),
            Body::CredentialPending(_) => self.open(row, Cost::CALL),
            Body::CallPosted(CallPosted { pending, cost, .. }) => self.close(row, *pending, Some(*cost)),
            Body::CredentialPosted(x) => self.close(row, x.pending, Some(Cost::CALL)),
            Body::CallExpired(x) | Body::CredentialExpired(x) => self.close(row, x.pending, None),
            Body::CallVoided(x) => drop(self.open.remove(&x.pending)),
            Body::CallRefused(x) => self.by.entry(Who::of(row)).or_default()[1] += x.count,
            _ => {}
        }
    }

    fn open(&mut self, row: &Row, cost: Cost) {
        self.open.insert(row.seq, (Who::of(row), cost.of(self.unit)));
    }

    /// Without an answer it counts as reserved; where that was before the window, as one call.
    fn close(&mut self, row: &Row, pending: Seq, answered: Option<Cost>) {
        let known = self.open.remove(&pending);
        let (who, reserved) = known.unwrap_or((Who::of(row), Cost::CALL.of(self.unit)));
        self.spent(who, answered.map_or(reserved, |cost| cost.of(self.unit)));
    }

    fn spent(&mut self, who: Who, amount: u64) {
        let sum = &mut self.by.entry(who).or_default()[0];
        *sum = sum.saturating_add(amount);
    }

    fn whole(mut self) -> BTreeMap<Who, [u64; 2]> {
        for (who, cost) in std::mem::take(&mut self.open).into_values() {
            self.spent(who, cost);
        }
        self.by
    }
}

/// What was spent in the window that ends with the entry `until`. `only`: others than these apps are not named.
pub(super) async fn spent(
    reader: &Reader,
    directory: &Directory,
    share: Share<'_>,
    until: &Row,
    matches: impl Fn(&Row) -> bool,
    only: Option<&[Seq]>,
) -> Result<Recount, StoreError> {
    let mut sums = Sums { unit: share.unit, open: HashMap::new(), by: BTreeMap::new() };
    let since = until.tick.saturating_sub(share.window_ms);
    let counted = reader.recount(since, until.seq, share.of, |row| sums.see(row, &matches)).await?;
    let mut by = together(reader, sums.whole(), share.egress_ip).await?;
    let sum = |at: usize| by.iter().map(|(_, sums)| sums[at]).fold(0, u64::saturating_add);
    let (spent, refused) = (sum(0), sum(1));
    by.retain(|(who, _)| only.is_none_or(|only| who.app.is_some_and(|app| only.contains(&app))));
    by.sort_by_key(|(who, sums)| (std::cmp::Reverse(*sums), *who));
    by.truncate(SPENDERS_MAX);
    let named = by.iter().map(|(_, sums)| sums[0]).fold(0, u64::saturating_add);
    Ok(Recount {
        window: Window::Sliding { ms: share.window_ms }.to_string(),
        since: instant(if counted.cut { counted.since } else { until.at.saturating_sub(share.window_ms) }),
        until: instant(until.at),
        unit: share.unit,
        cut: counted.cut,
        spent,
        refused,
        spenders: by.into_iter().map(|(who, sums)| spender(who, sums, directory)).collect(),
        others: spent.saturating_sub(named),
    })
}

/// The sums without the process, of those that went out by `egress_ip`, if one is given.
async fn together(
    reader: &Reader,
    by: BTreeMap<Who, [u64; 2]>,
    egress_ip: Option<&str>,
) -> Result<Vec<(Who, [u64; 2])>, StoreError> {
    let mut ips: HashMap<Seq, Option<String>> = HashMap::new();
    let mut merged: BTreeMap<Who, [u64; 2]> = BTreeMap::new();
    for (who, sums) in by {
        if let (Some(wanted), Some(process)) = (egress_ip, who.process) {
            if let std::collections::hash_map::Entry::Vacant(unknown) = ips.entry(process) {
                unknown.insert(ip_of(reader, process).await?);
            }
            if ips.get(&process).is_none_or(|ip| ip.as_deref() != Some(wanted)) {
                continue;
            }
        }
        let merged = merged.entry(Who { process: None, ..who }).or_default();
        merged.iter_mut().zip(sums).for_each(|(sum, more)| *sum = sum.saturating_add(more));
    }
    Ok(merged.into_iter().collect())
}

async fn ip_of(reader: &Reader, process: Seq) -> Result<Option<String>, StoreError> {
    let entry = reader.entry(process).await?.map(|row| row.entry()).transpose()?;
    Ok(match entry.map(|entry| entry.body) {
        Some(Body::ProcessStarted(x)) => Some(x.egress_ip),
        _ => None,
    })
}

fn spender(who: Who, [spent, refused]: [u64; 2], directory: &Directory) -> Spender {
    Spender {
        api_key_id: who.api_key,
        api_key_name: who.api_key.and_then(|key| Some(directory.api_keys.get(&key)?.name.clone())),
        corp_id: who.corp.and_then(|corp| Some(directory.corps.get(&corp)?.corp_id.clone())),
        agent_id: who.app.and_then(|app| Some(directory.apps.get(&app)?.agent_id.clone())),
        api: who.api.and_then(|api| directory.apis.get(&api).cloned()),
        spent,
        refused,
    }
}
