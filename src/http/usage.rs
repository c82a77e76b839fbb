//! How much of each limit is used, and by whom.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::ledger::directory::Directory;
use crate::ledger::entry::Scope;
use crate::ledger::{LedgerHandle, Seq};
use crate::quota::{Filter, Mode, Rule, Unit, Usage};

use super::params;
use super::present::Present;
use super::problem::Problem;
use super::{Client, HttpState, authenticate, known};

/// Rows of one answer, at most; the filters find the others.
pub(super) const ROWS_MAX: usize = 10_000;

/// Which usage is wanted; what is not given matches everything.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    pub corp: Option<String>,
    /// `CORP_ID/AGENT_ID`: every limit that its calls count against and that is not shared with other corps.
    pub app: Option<String>,
    pub api: Option<String>,
    pub limit: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct UsageReport {
    pub usage: Vec<UsageRow>,
    /// There is more than one answer shows.
    pub truncated: bool,
}

/// One limit for one key; dimensions that are not part of the limit's key are null.
#[derive(Debug, Serialize)]
pub struct UsageRow {
    pub limit: String,
    pub corp_id: Option<String>,
    pub agent_id: Option<String>,
    pub api: Option<String>,
    pub egress_ip: Option<String>,
    pub api_key_id: Option<Seq>,
    /// The keyed hash of the group chat, group robot or article, as entries have it.
    pub chat: Option<String>,
    /// Of how many members the fullest is shown, where the limit is per member; it is not said who.
    pub members: Option<u64>,
    pub unit: Unit,
    pub window: String,
    pub mode: Mode,
    /// Whose number `cap` is.
    pub rule: Rule,
    pub used: u64,
    pub in_flight: u64,
    pub cap: u64,
    pub remaining: u64,
    /// Null: never by itself.
    pub resets_at: Option<String>,
}

/// On whose behalf usage is shown.
#[derive(Debug, Clone, Default)]
pub struct Viewer {
    /// The API key, and the apps that it is limited to.
    limited: Option<(Seq, Vec<Seq>)>,
}

pub(super) async fn get(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Report)?;
    let query: UsageQuery = params::query(&request)?;
    Ok(HttpResponse::Ok().json(report(&state.ledger, query, Viewer::of(&client)).await?))
}

/// Asks the ledger.
pub async fn report(
    ledger: &LedgerHandle,
    query: UsageQuery,
    viewer: Viewer,
) -> Result<UsageReport, Problem> {
    let found = look(ledger, query, viewer, None).await?;
    let usage = found.usage.iter().map(|of| found.row(of)).collect();
    Ok(UsageReport { usage, truncated: found.truncated })
}

/// The limits in force of which nothing is left. An API key's own numbers are not among them: they are there to be met.
pub(super) async fn used_up(ledger: &LedgerHandle, most: usize) -> Result<Vec<UsageRow>, Problem> {
    let (usage, directory, egress_ips, present) = ledger
        .read(move |state, now| {
            let directory = Arc::clone(&state.directory);
            let account_cap = |corp: u64| directory.corps.get(&corp).map_or(0, |corp| corp.account_cap);
            let api_name = |api: u64| directory.apis.get(&api).map_or("", String::as_str);
            let filter = Filter { used_up: true, ..Filter::default() };
            let mut usage = Vec::new();
            let mut keep = |of: Usage| {
                if of.mode == Mode::Enforce && !of.reading.rule.is_of_api_key() {
                    usage.push(of);
                }
                if usage.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            let _ = state.meters.each_usage(now, &filter, account_cap, api_name, &mut keep);
            (usage, Arc::clone(&directory), state.egress_ips.clone(), Present::of(state, now.tick))
        })
        .await?;
    let names: BTreeMap<Seq, String> = egress_ips.into_iter().map(|(name, seq)| (seq, name)).collect();
    Ok(usage.iter().map(|usage| row(usage, &directory, &names, present)).collect())
}

/// What matches, and what its rows are put together from.
pub(super) struct Found {
    pub(super) usage: Vec<Usage>,
    /// There is more than `ROWS_MAX`.
    pub(super) truncated: bool,
    pub(super) present: Present,
    directory: Arc<Directory>,
    egress_ips: BTreeMap<Seq, String>,
}

impl Found {
    pub(super) fn row(&self, usage: &Usage) -> UsageRow {
        row(usage, &self.directory, &self.egress_ips, self.present)
    }
}

/// The smaller, the earlier it is shown; of the tick.
pub(super) type Urgency = fn(&Usage, i64) -> u64;

/// What is shown of what matches. Whoever looks stops the committer meanwhile, so it is never much more than that.
struct Kept {
    usage: Vec<Usage>,
    tick: i64,
    /// None: by limit and key.
    urgency: Option<Urgency>,
    truncated: bool,
}

impl Kept {
    fn take(&mut self, of: Usage) -> ControlFlow<()> {
        self.usage.push(of);
        match self.urgency {
            None if self.usage.len() > ROWS_MAX => {
                self.cut();
                return ControlFlow::Break(());
            }
            // Cut now and then, since each time sorts.
            Some(_) if self.usage.len() > 2 * ROWS_MAX => self.cut(),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn cut(&mut self) {
        if let Some(urgency) = self.urgency {
            self.usage.sort_by_cached_key(|of| urgency(of, self.tick));
        }
        self.truncated |= self.usage.len() > ROWS_MAX;
        self.usage.truncate(ROWS_MAX);
    }
}

/// The first of what matches: by limit and key, or the most urgent.
pub(super) async fn look(
    ledger: &LedgerHandle,
    query: UsageQuery,
    viewer: Viewer,
    urgency: Option<Urgency>,
) -> Result<Found, Problem> {
    let (kept, directory, egress_ips, present) = ledger
        .read(move |state, now| {
            let directory = Arc::clone(&state.directory);
            if let Some(limit) = &query.limit
                && !state.meters.limits().any(|known| *known.name == **limit)
            {
                return Err(known::unknown("limit", limit));
            }
            let mut kept = Kept { usage: Vec::new(), tick: now.tick, urgency, truncated: false };
            matching(&query, &directory, |filter, app| {
                let account_cap = |corp: u64| directory.corps.get(&corp).map_or(0, |corp| corp.account_cap);
                let api_name = |api: u64| directory.apis.get(&api).map_or("", String::as_str);
                let mut see = |of: Usage| {
                    let governed = app.is_none_or(|app| governs(&of, app, &directory));
                    if governed && viewer.sees(&of, &directory) {
                        kept.take(of)
                    } else {
                        ControlFlow::Continue(())
                    }
                };
                let _ = state.meters.each_usage(now, filter, account_cap, api_name, &mut see);
            })?;
            kept.cut();
            Ok((kept, directory, state.egress_ips.clone(), Present::of(state, now.tick)))
        })
        .await??;
    let egress_ips = egress_ips.into_iter().map(|(name, seq)| (seq, name)).collect();
    let Kept { usage, truncated, .. } = kept;
    Ok(Found { usage, truncated, present, directory, egress_ips })
}

/// Finds with what the query says; nothing where that can't match. An app is no part of the key of every limit that is
/// about it, so it is handed on.
fn matching(
    query: &UsageQuery,
    directory: &Directory,
    find: impl FnOnce(&Filter<'_>, Option<Seq>),
) -> Result<(), Problem> {
    let corp = query.corp.as_deref().map(|corp_id| known::corp(directory, corp_id)).transpose()?;
    let api = query.api.as_deref().map(|api| known::api(directory, api)).transpose()?;
    let app = query.app.as_deref().map(|label| known::app(directory, label)).transpose()?;
    if api == Some(None) {
        return Ok(());
    }
    let filter = Filter { limit: query.limit.as_deref(), corp, api: api.flatten(), ..Filter::default() };
    find(&filter, app);
    Ok(())
}

/// Whether calls of an app count here, and those of other corps do not.
fn governs(usage: &Usage, app: Seq, directory: &Directory) -> bool {
    match (usage.app, usage.corp) {
        (Some(of), _) => of == app,
        (None, Some(corp)) => directory.apps.get(&app).is_some_and(|app| app.corp == corp),
        (None, None) => false,
    }
}

impl Viewer {
    pub(super) fn of(client: &Client) -> Self {
        Self { limited: client.only_apps().map(|apps| (client.api_key, apps.to_vec())) }
    }

    fn sees(&self, usage: &Usage, directory: &Directory) -> bool {
        let Some((api_key, apps)) = &self.limited else { return true };
        let own = usage.app.is_some() || usage.api_key.is_none_or(|of| of == *api_key);
        own && apps.iter().any(|&app| governs(usage, app, directory))
    }
}

fn row(
    usage: &Usage,
    directory: &Directory,
    egress_ips: &BTreeMap<Seq, String>,
    present: Present,
) -> UsageRow {
    let reading = &usage.reading;
    UsageRow {
        limit: reading.limit.to_string(),
        corp_id: usage.corp.and_then(|corp| Some(directory.corps.get(&corp)?.corp_id.clone())),
        agent_id: usage.app.and_then(|app| Some(directory.apps.get(&app)?.agent_id.clone())),
        api: usage.api.and_then(|api| directory.apis.get(&api).cloned()),
        egress_ip: usage.egress_ip.and_then(|ip| egress_ips.get(&ip).cloned()),
        api_key_id: usage.api_key,
        chat: usage.chat.map(|chat| format!("{chat:016x}")),
        members: usage.members,
        unit: reading.unit,
        window: reading.window.to_string(),
        mode: usage.mode,
        rule: reading.rule,
        used: reading.used,
        in_flight: reading.in_flight,
        cap: reading.cap,
        remaining: reading.remaining,
        resets_at: reading.resets_at.map(|tick| present.instant(tick)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::{Pace, Reading};

    fn used(used: u64) -> Usage {
        let none = (None, None, None, None, None, None, None);
        let (corp, app, api, egress_ip, api_key, chat, members) = none;
        let (limit, rule, unit) = ("a".into(), Rule::Limit, Unit::Calls);
        let window = crate::quota::Window::Total;
        let (cap, in_flight, remaining, resets_at) = (0, 0, 0, None);
        let reading = Reading { limit, rule, unit, cap, used, in_flight, remaining, window, resets_at };
        let (mode, pace, ends) = (Mode::Enforce, Pace { amount: 0, over_ms: 1 }, None);
        Usage { corp, app, api, egress_ip, api_key, chat, members, mode, pace, ends, reading }
    }

    #[test]
    fn of_many_rows_the_first_are_kept_or_the_most_urgent_and_never_many_more() {
        let rows = 5 * ROWS_MAX as u64;
        let mut first = Kept { usage: Vec::new(), tick: 0, urgency: None, truncated: false };
        assert!((0..rows).rev().try_for_each(|row| first.take(used(row))).is_break());
        assert!(first.truncated && first.usage.len() == ROWS_MAX && first.usage[0].reading.used == rows - 1);
        let urgency: Option<Urgency> = Some(|of, _| of.reading.used);
        let mut urgent = Kept { usage: Vec::new(), tick: 0, urgency, truncated: false };
        for row in (0..rows).rev() {
            assert!(urgent.take(used(row)).is_continue());
            assert!(urgent.usage.len() <= 2 * ROWS_MAX);
        }
        urgent.cut();
        assert!(urgent.truncated);
        assert!(urgent.usage.iter().map(|of| of.reading.used).eq(0..ROWS_MAX as u64));
    }
}
