//! What follows when WeCom says that a limit is used up, although we had counted less, or had not been alone.
//!
//! How long it blocks is documented by the window that was exceeded (60 s, 60 min, the rest of the natural day, 30
//! days: <https://developer.work.weixin.qq.com/document/path/90454>), but its answer does not say which one that was.
//! So the limit that we had counted nearly full is taken for it. Where none is, it blocks for a minute, and the calls of
//! those whom the shortest limit is about. If the call that tries afterwards is refused as well, it was a longer one.
//!
//! A client that makes its calls itself may say what it likes of their answers: its word holds back its own app alone,
//! for a minute at most, and teaches nothing.

use std::cmp::Reverse;

use crate::ledger::command::Now;
use crate::ledger::entry::{Blocks, Body, Counted, Draft, PenaltyEnded, PenaltyLevel, PenaltyStarted, Seq};
use crate::ledger::penalties::Penalty;
use crate::ledger::state::{Pending, PendingWhat, State};
use crate::quota::{Dimension, Limit, Mode, Reading, Window};
use crate::wecom::catalogue::Credential;
use crate::wecom::errcodes::{self, BUSY, CONCURRENCY_LIMIT};

use super::{draft, learned, refs_of};

/// A limit of which we had counted this many percent is taken for the one that WeCom means.
const NEARLY_FULL_PERCENT: u64 = 90;

/// The natural day is China's.
const ZONE_MS: i64 = 8 * 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// No time is documented for too many calls at once: so long first, and twice as long each time after.
const CONCURRENT_MS: i64 = 1_000;
const CONCURRENT_MAX_MS: i64 = 60_000;

/// What is known of the refusal besides the call.
#[derive(Default)]
pub(super) struct Words<'a> {
    pub hint: Option<&'a str>,
    pub from_ip: Option<&'a str>,
}

/// The entry of a block, if this refusal begins one: a call that was on its way when it began says nothing new.
pub(super) fn start(
    state: &State,
    seq: Seq,
    pending: &Pending,
    errcode: i64,
    words: &Words<'_>,
    now: Now,
) -> Option<Draft> {
    // A client's word says nothing of how long WeCom's own block is, and of whom.
    let tried = state.penalties.probed_by(pending).filter(|(_, penalty)| !penalty.first.told);
    let is_old = tried.is_none() && state.penalties.was_under_way(seq, pending);
    if is_old || state.penalties.is_known_better(pending) {
        return None;
    }
    let name = state.directory.apis.get(&pending.api).map_or("", String::as_str);
    let account_cap = state.directory.corps.get(&pending.corp).map_or(0, |corp| corp.account_cap);
    let readings = state.meters.readings(&pending.facets(name), &pending.cost, account_cap, now);
    let limits: Vec<(&Limit, Reading)> = readings
        .into_iter()
        .filter_map(|reading| Some((state.meters.limits().find(|it| it.name == reading.limit)?, reading)))
        .filter(|(limit, _)| can_be_meant(limit, errcode))
        .collect();
    let meant = meant(&limits);
    let likely = meant.or_else(|| limits.iter().min_by_key(|(limit, it)| likeliest(limit, it)));
    let told = pending.what == PendingWhat::Reserved;
    let blocks = match tried {
        _ if told => Blocks::App,
        Some((blocked, _)) => blocked.blocks,
        None => likely.map_or(Blocks::Corp, |(limit, _)| blocks(limit)),
    };
    let level = match level(&limits, meant, errcode, tried.map(|(_, penalty)| penalty)) {
        level if told => level.min(PenaltyLevel::Minute),
        level => level,
    };
    let until_tick = now.tick + duration(state, level, tried.map(|(_, penalty)| penalty), now.tick);
    let body = PenaltyStarted {
        level,
        blocks,
        whose: match blocks {
            Blocks::Corp => pending.corp,
            Blocks::App => pending.app,
            Blocks::EgressIp => pending.egress_ip,
        },
        until_tick,
        errcode,
        call_seq: seq,
        told,
        hint: words.hint.map(str::to_owned),
        from_ip: words.from_ip.map(str::to_owned),
        limit: meant.map(|(limit, _)| limit.name.to_string()),
        counted: limits
            .iter()
            .map(|(limit, it)| Counted {
                limit: limit.name.to_string(),
                used: it.used,
                cap: it.cap,
                in_flight: it.in_flight,
                rule: it.rule,
            })
            .collect(),
    };
    Some(draft(refs_of(pending), Body::PenaltyStarted(body)))
}

/// Whether an answer shows that WeCom lets calls in again. One that WeCom could not work on, or whose token it did not
/// take, shows nothing: the next call tries.
pub(super) fn lets_in(errcode: Option<i64>, http_status: u16, whole: bool) -> bool {
    match errcode {
        // A file, say.
        None => whole && (200..300).contains(&http_status),
        Some(errcode) => errcode != BUSY && !errcodes::refreshes_credential(errcode, Credential::AccessToken),
    }
}

/// The call that tried was let in: the block is over, and maybe a lower cap has been learned. `process`: the one that
/// asks, whose setting says whether that is wanted.
pub(super) fn passed(state: &State, pending: &Pending, now: Now, process: Option<Seq>) -> Vec<Draft> {
    let Some((blocked, penalty)) = state.penalties.probed_by(pending) else { return Vec::new() };
    let (about, drift) = learned::drift(state, blocked, penalty).unzip();
    let after = process.and_then(|process| state.processes.get(&process)?.learn_caps_after);
    let lowered = about.as_ref().zip(drift.as_ref()).zip(after);
    let lowered =
        lowered.and_then(|((about, drift), after)| learned::lowered(state, about, drift, after, now));
    let ended = PenaltyEnded { started: penalty.started, reason: "probe_passed".to_owned(), drift };
    [draft(refs_of(pending), Body::PenaltyEnded(ended))].into_iter().chain(lowered).collect()
}

/// Whether WeCom answers with this errcode when such a limit is used up.
fn can_be_meant(limit: &Limit, errcode: i64) -> bool {
    // Of a limit per API key WeCom knows nothing; what is over a limit per member it drops without an error.
    let of_wecom = ![Dimension::ApiKey, Dimension::Member].iter().any(|&it| limit.scope.has(it));
    // That too many came at once says nothing of how many came in a window.
    let fits = (limit.window == Window::Concurrent) == (errcode == CONCURRENCY_LIMIT);
    limit.mode == Mode::Enforce && of_wecom && fits
}

/// The fullest limit, if it is nearly full.
fn meant<'a, 'b>(limits: &'b [(&'a Limit, Reading)]) -> Option<&'b (&'a Limit, Reading)> {
    limits
        .iter()
        .filter(|(_, it)| is_nearly_full(it.used, it.cap))
        .max_by_key(|(_, it)| share(it.used, it.cap))
}

/// Where nothing is nearly full: a short limit before a long one, one of the corp before the IP's, which is everybody's,
/// and then the fuller one.
fn likeliest(limit: &Limit, reading: &Reading) -> impl Ord + use<> {
    (level_of(limit), blocks(limit) == Blocks::EgressIp, Reverse(share(reading.used, reading.cap)))
}

pub(super) fn is_nearly_full(used: u64, cap: u64) -> bool {
    used.saturating_mul(100) >= cap.saturating_mul(NEARLY_FULL_PERCENT)
}

/// Of the cap, in millionths.
pub(super) fn share(used: u64, cap: u64) -> u128 {
    u128::from(used) * 1_000_000 / u128::from(cap.max(1))
}

/// A group robot has no block of its own: the narrowest there is, is the app's.
fn blocks(limit: &Limit) -> Blocks {
    if limit.scope.has(Dimension::App) || limit.scope.has(Dimension::Chat) {
        Blocks::App
    } else if limit.scope.has(Dimension::Corp) {
        Blocks::Corp
    } else {
        Blocks::EgressIp
    }
}

fn level(
    limits: &[(&Limit, Reading)],
    meant: Option<&(&Limit, Reading)>,
    errcode: i64,
    before: Option<&Penalty>,
) -> PenaltyLevel {
    if errcode == CONCURRENCY_LIMIT {
        return PenaltyLevel::Concurrent;
    }
    let mut levels: Vec<PenaltyLevel> = limits.iter().map(|(limit, _)| level_of(limit)).collect();
    levels.sort_unstable();
    let first = meant.map_or(PenaltyLevel::Minute, |(limit, _)| level_of(limit));
    match before.map(|penalty| penalty.level).filter(|level| *level != PenaltyLevel::Concurrent) {
        None => first,
        Some(before) => levels.into_iter().find(|level| *level > before).unwrap_or(before).max(first),
    }
}

pub(super) fn level_of(limit: &Limit) -> PenaltyLevel {
    match limit.window.longest_ms() {
        // No time is documented where the window has none.
        None => PenaltyLevel::Minute,
        Some(ms) if ms <= 60_000 => PenaltyLevel::Minute,
        Some(ms) if ms <= 3_600_000 => PenaltyLevel::Hour,
        Some(ms) if ms <= DAY_MS => PenaltyLevel::Day,
        Some(_) => PenaltyLevel::Month,
    }
}

/// How long the natural day still lasts at a wall time.
pub fn until_midnight(at: i64) -> i64 {
    DAY_MS - (at + ZONE_MS).rem_euclid(DAY_MS)
}

fn duration(state: &State, level: PenaltyLevel, before: Option<&Penalty>, tick: i64) -> i64 {
    match level {
        PenaltyLevel::Concurrent => {
            let same = before.filter(|penalty| penalty.level == level);
            let times = same.map_or(0, |penalty| penalty.repeated + 1).min(6);
            (CONCURRENT_MS << times).min(CONCURRENT_MAX_MS)
        }
        PenaltyLevel::Minute => 60_000,
        PenaltyLevel::Hour => 3_600_000,
        // After the clock was set, until the later midnight.
        PenaltyLevel::Day => state.meters.walls(tick).map(until_midnight).max().unwrap_or(DAY_MS),
        PenaltyLevel::Month => 30 * DAY_MS,
    }
}
