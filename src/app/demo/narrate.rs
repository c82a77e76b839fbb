//! What the person who watches the demo is told: read from the ledger, like everything that is claimed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use tokio::sync::watch;

use crate::http::{forecast, incidents, usage};
use crate::ledger::canonical::instant;
use crate::ledger::command::{Admit, Ask, Caller, InLine, Refusal};
use crate::ledger::decide::BLOCKED;
use crate::ledger::directory::Directory;
use crate::ledger::entry::{Body, CallPosted, CallRefused, Entry, Fetched, Size};
use crate::ledger::{Command, LedgerHandle, Reply, Seq};
use crate::store::sqlite::{EntryFilter, Reader};
use crate::wecom::errcodes::FREQUENCY_LIMIT;

use super::words::{count, paragraph, say};

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// In looks: the numbers so far, and what they will come to.
const STATUS_EVERY: u32 = 25;
const FORECASTS: [u32; 2] = [30, 200];
const FORECAST_ROWS: usize = 3;
const SPENDERS: usize = 3;

/// What happened, in numbers.
#[derive(Debug, Default, Clone)]
pub(super) struct Told {
    pub(super) fetches: u64,
    pub(super) calls: u64,
    pub(super) refused: u64,
    pub(super) healed: u64,
    pub(super) incidents: u64,
    /// Person-times of messages that were answered.
    pub(super) reserved: u64,
    pub(super) settled: u64,
    pub(super) head: Seq,
}

pub(super) struct Narrator {
    ledger: LedgerHandle,
    reader: Reader,
    told: Told,
    /// What was said once and is not news any more.
    said: BTreeSet<String>,
    messages: BTreeMap<Seq, Message>,
}

/// Under way: its person-times.
struct Message {
    reserved: u64,
    to_unknown: bool,
}

/// What an entry is about, for people.
struct About {
    app: String,
    api: String,
}

impl About {
    fn of(entry: &Entry, directory: &Directory) -> Self {
        let app = entry.refs.app.and_then(|app| directory.apps.get(&app));
        let api = entry.refs.api.and_then(|api| directory.apis.get(&api).cloned());
        let app = app.map_or_else(String::new, |app| format!("app {}", app.agent_id));
        Self { app, api: api.unwrap_or_default() }
    }
}

impl Narrator {
    pub(super) fn new(ledger: LedgerHandle, reader: Reader) -> Self {
        let (told, said, messages) = (Told::default(), BTreeSet::new(), BTreeMap::new());
        Self { ledger, reader, told, said, messages }
    }

    /// Follows the ledger and tells what is worth telling, until `stopping` turns true.
    pub(super) async fn follow(mut self, mut stopping: watch::Receiver<bool>) -> Told {
        let mut looks = 0_u32;
        loop {
            let stop = stopping.wait_for(|stopping| *stopping);
            let stopped = tokio::time::timeout(LOOK_EVERY, stop).await.is_ok();
            while let Ok(page) = self.reader.entries(self.told.head, 1000, &EntryFilter::default()).await {
                let Some(last) = page.rows.last() else { break };
                self.told.head = last.seq;
                let directory = self.ledger.directory();
                for entry in page.rows.iter().filter_map(|row| row.entry().ok()) {
                    if let Some((what, text)) = self.tell(&entry, &directory).await {
                        say(&paragraph(Some(entry.seq), what, &text));
                    }
                }
            }
            looks += 1;
            if stopped {
                return self.told;
            }
            if looks.is_multiple_of(STATUS_EVERY) {
                self.status().await;
            }
            if FORECASTS.contains(&looks) {
                self.forecast().await;
            }
        }
    }

    async fn tell(&mut self, entry: &Entry, directory: &Directory) -> Option<(&'static str, String)> {
        let about = About::of(entry, directory);
        let About { app, api } = &about;
        Some(match &entry.body {
            Body::CredentialPosted(posted) => ("token", self.fetched(app, &posted.fetched)),
            Body::CredentialInvalidated(ended) => {
                ("token", format!("{app}: WeCom ended it early ({}); one refresh for all", ended.errcode))
            }
            Body::CallPending(call) => {
                let reserved = call.cost.person_times;
                if reserved > 0 {
                    let corp = entry.refs.corp.and_then(|corp| directory.corps.get(&corp));
                    let to_unknown = corp.is_some_and(|corp| reserved >= corp.account_cap);
                    self.messages.insert(entry.seq, Message { reserved, to_unknown });
                }
                let first = call.retry_of?;
                self.told.healed += 1;
                ("healed", format!("{app}: {api} again with the new token (see entry {first})"))
            }
            Body::CallPosted(posted) => return self.posted(&about, posted),
            Body::CallRefused(refused) => return self.refused(entry, &about, refused).await,
            Body::CallExpired(ended) => ("expired", format!("{app}: {api}: {}", ended.reason)),
            Body::CallVoided(voided) => {
                self.messages.remove(&voided.pending);
                return None;
            }
            Body::SizeLearned(learned) => {
                let scope = matches!(learned.size, Size::Scope { .. });
                let what = "whom its @all reaches, from answers that passed through";
                return self.once(scope, app).then(|| ("learned", format!("{app}: {what}")));
            }
            Body::AlertRaised(x) => {
                let reached = format!("{} of {api} has reached {} %", x.limit, x.percent);
                let fresh = self.once(true, &format!("alert {} {api}", x.limit));
                return fresh.then(|| ("alert", format!("{reached}: {} of {} used", x.used, x.cap)));
            }
            Body::PenaltyStarted(_) => ("incident", self.incident(entry.seq).await?),
            Body::PenaltyEnded(_) => ("let in", format!("{api}: one call tried, and WeCom let it in")),
            _ => return None,
        })
    }

    /// Whether this was never said before, if it is to be said at all.
    fn once(&mut self, wanted: bool, what: &str) -> bool {
        wanted && self.said.insert(what.to_owned())
    }

    fn fetched(&mut self, app: &str, fetched: &Fetched) -> String {
        match fetched {
            Fetched::Token { .. } => {
                self.told.fetches += 1;
                format!("{app}: fetched once, now issued to everybody who asks")
            }
            Fetched::Error { errmsg } => format!("{app}: WeCom said no: {errmsg}"),
        }
    }

    fn posted(&mut self, about: &About, posted: &CallPosted) -> Option<(&'static str, String)> {
        let About { app, api } = about;
        self.told.calls += 1;
        if let Some(message) = self.messages.remove(&posted.pending) {
            let (reserved, settled) = (message.reserved, posted.cost.person_times);
            self.told.reserved += reserved;
            self.told.settled += settled;
            let why = match reserved.saturating_sub(settled) {
                0 if message.to_unknown => {
                    "; whom it reaches is not known yet, so the account cap counts".to_owned()
                }
                0 => String::new(),
                more => format!("; {more} unreachable"),
            };
            let text = format!("{app}: reserved {}, settled {settled}{why}", count(reserved, "person-time"));
            let told = posted.errcode == Some(0) && self.once(true, &text);
            return told.then_some(("message", text));
        }
        let text = format!("{app}: first {api}; on disk before and after");
        self.once(true, &format!("call {api}")).then_some(("call", text))
    }

    async fn refused(
        &mut self,
        entry: &Entry,
        about: &About,
        x: &CallRefused,
    ) -> Option<(&'static str, String)> {
        let About { app, api } = about;
        let CallRefused { limit, errcode, used, cap, count, .. } = x;
        self.told.refused += count;
        if !self.once(true, &format!("refused {limit} {app} {api}")) {
            return None;
        }
        let text = if limit == BLOCKED {
            format!("{app}: {api} is held back, since WeCom blocks it: {errcode} without asking WeCom")
        } else if *errcode == FREQUENCY_LIMIT {
            let free = self.first_free(entry, limit).await;
            let free = free.map(|at| format!("; the first free moment is {at}")).unwrap_or_default();
            format!("{app}: {api} is at {used} of {cap} ({limit}): 45009 without asking WeCom{free}")
        } else {
            format!("{app}: the key may not use {api}: {errcode} without asking WeCom")
        };
        Some(("refused", text))
    }

    /// When the same call would pass, by asking without taking.
    async fn first_free(&self, entry: &Entry, limit: &str) -> Option<String> {
        let (app, api_key, api) = (entry.refs.app?, entry.refs.api_key?, entry.refs.api?);
        let check = Command::Check(Admit {
            caller: Caller::Key(api_key),
            app,
            api: self.ledger.directory().apis.get(&api)?.clone(),
            method: "GET".to_owned(),
            ask: Ask::default(),
            needs_credential: false,
            not_credential: None,
            retry_of: None,
            timeout_ms: 1_000,
            request_bytes: 0,
            request_sha256: None,
            once: None,
            line: InLine::default(),
        });
        let Reply::Checked { would, .. } = self.ledger.decide(check).await.ok()? else { return None };
        match *would {
            Reply::Refused(Refusal::Limit { reading, retry_at: Some(retry_at), .. })
                if *reading.limit == *limit =>
            {
                let ms = retry_at - entry.tick;
                Some(format!("{}, in {} s", time(&instant(entry.at + ms)), ms.max(0) / 1000))
            }
            _ => None,
        }
    }

    /// What WeCom said, what we had counted, and who had spent that.
    async fn incident(&mut self, seq: Seq) -> Option<String> {
        self.told.incidents += 1;
        let incident = incidents::one(&self.ledger, &self.reader, seq, None).await.ok()?;
        let mut text = incident.summary;
        if let Some(spent) = incident.spent.as_ref().and_then(|spent| spent.first()) {
            let names = spent
                .spenders
                .iter()
                .take(SPENDERS)
                .map(|it| format!("{} {}", it.api_key_name.as_deref().unwrap_or("no API key"), it.spent));
            let names: Vec<_> = names.collect();
            let _ = write!(text, " Spent through us in {}: {}.", spent.window, names.join(", "));
        }
        Some(format!("{text} Held back until {}; then one call tries.", time(&incident.until)))
    }

    async fn forecast(&self) {
        let (query, viewer) = (usage::UsageQuery::default(), usage::Viewer::default());
        let Ok(report) = forecast::report(&self.ledger, query, viewer).await else { return };
        let ahead = report.forecast.iter().filter(|row| row.exhausted_in_seconds.is_some_and(|it| it > 0));
        for row in ahead.take(FORECAST_ROWS) {
            let usage = &row.usage;
            let of = usage.api.as_deref().map(|api| format!(" of {api}")).unwrap_or_default();
            let seconds = row.exhausted_in_seconds.unwrap_or_default();
            let text = format!(
                "{}{of}: {} of {}, {} a minute; full in {} min",
                usage.limit,
                usage.used,
                usage.cap,
                row.per_minute,
                seconds.div_ceil(60)
            );
            say(&paragraph(None, "forecast", &text));
        }
    }

    async fn status(&self) {
        let busiest = self.ledger.read(|state, now| {
            let directory = &state.directory;
            let cap = |corp| directory.corps.get(&corp).map_or(0, |corp| corp.account_cap);
            let api_name = |api| directory.apis.get(&api).map_or("", String::as_str);
            let usage = state.meters.usage(now, &crate::quota::Filter::default(), cap, api_name);
            let fullest = usage.into_iter().max_by_key(|it| it.reading.used * 1000 / it.reading.cap.max(1));
            fullest.map(|it| {
                let api = it.api.and_then(|api| directory.apis.get(&api).cloned());
                let of = api.unwrap_or_else(|| it.reading.limit.to_string());
                format!("{of} {}/{}", it.reading.used, it.reading.cap)
            })
        });
        let busiest = busiest.await.ok().flatten().unwrap_or_else(|| "nothing used".to_owned());
        let Told { calls, refused, settled, .. } = self.told;
        let numbers = format!("{}, {refused} refused, {settled} person-times", count(calls, "call"));
        say(&paragraph(None, "────", &format!("{numbers}; fullest {busiest}")));
    }
}

/// Of an RFC 3339 instant in UTC, what matters within a minute or an hour.
fn time(instant: &str) -> String {
    format!("{} UTC", instant.get(11..19).unwrap_or(instant))
}
