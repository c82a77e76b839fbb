//! The counters of all limits of the active profile: the part of the folded state that judges calls.
//!
//! The life of a call: [`Meters::judge`] at its admission, [`Meters::take`] with its pending entry, and then exactly
//! one of [`Meters::settle`] (posted), [`Meters::expire`] (expired) and [`Meters::give_back`] (voided), with the facets
//! and the cost it was taken with. Only `judge` looks at caps; the others do what the entry says.
//!
//! The moments of `judge`, `take`, `declare` and `prune` are the present and never go back (an earlier one is taken for
//! the latest seen); those of `settle` and `expire` may lie ahead of it by less than a day, for a call whose outcome is unknown. Only their
//! ticks matter; how far the wall clock is ahead of them is told by [`Meters::show`].

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::active::{ActiveLimit, Settings};
use super::eras::{Eras, When};
use super::facets::{Cost, Facets, Moment};
use super::keys::KEYS_MAX;
use super::layout::{Layout, Owns};
use super::limit::Limit;
use super::look::{Call, Look};
use super::plan::{Plan, Use};
use super::profile::{Profile, ProfileError};
use super::reading::{Filter, Judgement, Reading, Refusal, Usage};
use super::track::{PRUNE_STEP, Track};
use super::usage::Show;
use super::verdict::Verdict;

/// See the module's documentation. Equal states have equal bytes when serialised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Saved")]
pub struct Meters {
    pub(super) profile: String,
    pub(super) zone_minutes: i32,
    pub(super) limits: Vec<ActiveLimit>,
    /// Settings of limits that the active profile does not have.
    pub(super) parked: BTreeMap<Arc<str>, Settings>,
    pub(super) owns: Owns,
    /// Percent of every limit without its own number that only critical calls may use.
    pub(super) reserve: u8,
    pub(super) tracks: Vec<Track>,
    /// The latest tick that was the present.
    tick: i64,
    eras: Eras,
    /// The tick of the last look for keys that can go.
    pub(super) made_room: i64,
    /// Follows from the limits and the own rules.
    #[serde(skip)]
    pub(super) plan: Plan,
    /// Of all tracks.
    #[serde(skip)]
    pub(super) keys: usize,
    #[serde(skip)]
    pub(super) keys_max: usize,
}

/// Which way a declaration goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Declared {
    /// It was used, and no call shows it.
    Used,
    /// It is not there any more, or never was: lowers what only a declaration can lower, the windows without an end.
    Corrected,
}

impl Meters {
    pub fn new(profile: &Profile) -> Result<Self, ProfileError> {
        profile.check()?;
        let active = |limit: &Limit| ActiveLimit {
            limit: limit.clone(),
            settings: Settings { scope: limit.scope, ..Settings::default() },
        };
        let mut meters = Self {
            profile: profile.name.clone(),
            zone_minutes: profile.zone_offset_minutes,
            limits: profile.limits.iter().map(active).collect(),
            parked: BTreeMap::new(),
            owns: Owns::new(),
            reserve: 0,
            tracks: Vec::new(),
            tick: i64::MIN,
            eras: Eras::default(),
            made_room: i64::MIN,
            plan: Plan::default(),
            keys: 0,
            keys_max: KEYS_MAX,
        };
        meters.lay_out();
        Ok(meters)
    }

    /// Finds out what is to be counted, and keeps what was counted of it.
    pub(super) fn lay_out(&mut self) {
        let limits = self.limits.iter().map(|active| &active.limit);
        let Layout { tracks, uses, .. } = Layout::new(limits, self.zone_minutes, &self.owns);
        let mut old = std::mem::replace(&mut self.tracks, tracks);
        for track in &mut self.tracks {
            if let Some(old) = old.iter_mut().find(|old| old.id == track.id) {
                track.inherit(old, When { tick: self.tick, eras: &self.eras });
            }
        }
        self.plan = Plan::new(&self.tracks, uses);
        self.keys = self.tracks.iter().map(|track| track.rows.len()).sum();
    }

    /// The name of the active profile.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// The zone of the active profile's days, in minutes east of UTC.
    pub fn zone_minutes(&self) -> i32 {
        self.zone_minutes
    }

    /// The limits of the active profile, without overrides.
    pub fn limits(&self) -> impl Iterator<Item = &Limit> {
        self.limits.iter().map(|active| &active.limit)
    }

    /// Whether calls of an API count for each member: only then have members to be given.
    pub fn tells_members_apart(&self, api_name: &str) -> bool {
        let mut stops = self.plan.route(api_name).iter().filter(|stop| stop.is_for(api_name));
        stops.any(|stop| self.tracks[stop.track].is_per_member())
    }

    /// Whether a limit in force counts calls of an API for each group chat.
    pub fn tells_chats_apart(&self, api_name: &str) -> bool {
        let mut stops = self.plan.route(api_name).iter().filter(|stop| stop.is_for(api_name));
        stops.any(|stop| !stop.judged.is_empty() && self.tracks[stop.track].is_per_chat())
    }

    /// Whether a call may go out now, against every limit that it matches, all or nothing. Changes nothing.
    pub fn judge(&self, facets: &Facets<'_>, cost: &Cost, account_cap: u64, now: Moment) -> Judgement {
        let now = self.latest(now);
        let mut verdict = Verdict::default();
        self.look(&Call { facets, cost, account_cap, now }, &mut |limit, look| verdict.add(limit, look, now));
        match verdict.judgement(now) {
            refused @ Judgement::Refused(_) => refused,
            admitted => self.without_room(facets, cost, now).map_or(admitted, Judgement::Refused),
        }
    }

    /// How a limit, or an own rule on top of it, refuses a call that passes after others: these need `ahead` of it, and pass
    /// at `after` at the earliest. None: it has nothing to do with the call.
    pub fn refusal_behind(
        &self,
        (facets, cost, account_cap): (&Facets<'_>, &Cost, u64),
        (limit, own): (&str, bool),
        (ahead, after): (u64, i64),
        now: Moment,
    ) -> Option<Refusal> {
        let now = self.latest(now);
        let mut refusal = None;
        self.look(&Call { facets, cost, account_cap, now }, &mut |_, look| {
            if *look.active.limit.name == *limit && look.is_own() == own {
                refusal = Some(look.refusal_behind(ahead, after, now));
            }
        });
        refusal
    }

    /// All limits that have to do with a call, as they stand without it: of a limit per member, the fullest member. Own
    /// rules of API keys are not among them.
    pub fn readings(&self, facets: &Facets<'_>, cost: &Cost, account_cap: u64, now: Moment) -> Vec<Reading> {
        self.readings_of(facets, cost, account_cap, now, false)
    }

    /// The own rules of the call's API key that have to do with it, likewise.
    pub fn own_readings(
        &self,
        facets: &Facets<'_>,
        cost: &Cost,
        account_cap: u64,
        now: Moment,
    ) -> Vec<Reading> {
        self.readings_of(facets, cost, account_cap, now, true)
    }

    /// The limits of the active profile in which such a declaration counts, as they stand without it.
    pub fn declared_readings(
        &self,
        facets: &Facets<'_>,
        cost: &Cost,
        account_cap: u64,
        now: Moment,
    ) -> Vec<Reading> {
        let now = self.latest(now);
        let named = !facets.api_name.is_empty();
        let counts = |of: &&Use| {
            let track = &self.tracks[of.track];
            let counted = facets.knows(track.id.scope) && (!named || of.set.matches(facets.api_name));
            counted && track.id.own.is_none() && cost.of(track.counts[of.counter].unit) > 0
        };
        let call = Call { facets, cost, account_cap, now };
        let uses = self.plan.uses.iter().filter(counts);
        uses.map(|of| self.tracks[of.track].look_once(of, &self.limits[of.limit], &call).reading(now))
            .collect()
    }

    fn readings_of(
        &self,
        facets: &Facets<'_>,
        cost: &Cost,
        account_cap: u64,
        now: Moment,
        own: bool,
    ) -> Vec<Reading> {
        let now = self.latest(now);
        let mut readings: Vec<Reading> = Vec::new();
        self.look(&Call { facets, cost, account_cap, now }, &mut |_, look| {
            if look.is_own() != own {
                return;
            }
            let reading = look.reading(now);
            match readings.iter_mut().find(|other| other.limit == reading.limit) {
                Some(other) if other.used < reading.used => *other = reading,
                Some(_) => {}
                None => readings.push(reading),
            }
        });
        readings
    }

    fn look<'a>(&'a self, call: &Call<'_>, see: &mut impl FnMut(usize, &Look<'a>)) {
        let name = call.facets.api_name;
        for stop in self.plan.route(name).iter().filter(|stop| stop.is_for(name)) {
            self.tracks[stop.track].look(stop, &self.limits, self.reserve, call, see);
        }
    }

    /// A call is pending: it is in flight from now on.
    pub fn take(&mut self, facets: &Facets<'_>, cost: &Cost, now: Moment) {
        self.present(now);
        let now = When { tick: self.tick, eras: &self.eras };
        let name = facets.api_name;
        for stop in self.plan.route(name).iter().filter(|stop| stop.is_for(name)) {
            let track = &mut self.tracks[stop.track];
            self.keys += track.change(facets, &[cost], now, |count, counter| {
                counter.take(count.span, cost.of(count.unit), now);
            });
            if track.is_per_member() {
                // One message adds up to a thousand keys, so idle ones have to go faster than elsewhere.
                self.keys -= track.prune(now, 2 * facets.members.len());
            }
        }
    }

    /// A call was posted: what was `reserved` is no longer in flight, and what it turned out to cost counts from `when`, the latest moment at which it can have reached WeCom. `ok`: WeCom answered errcode 0.
    pub fn settle(&mut self, facets: &Facets<'_>, reserved: &Cost, posted: &Cost, when: Moment, ok: bool) {
        let now = When { tick: self.tick, eras: &self.eras };
        let when = When { tick: when.tick, ..now };
        let name = facets.api_name;
        for stop in self.plan.route(name).iter().filter(|stop| stop.is_for(name)) {
            let track = &mut self.tracks[stop.track];
            let free = ok && track.id.free.matches(name);
            self.keys += track.change(facets, &[reserved, posted], now, |count, counter| {
                let posted = if free { 0 } else { posted.of(count.unit) };
                counter.settle(count.span, reserved.of(count.unit), posted, when);
            });
        }
    }

    /// A call has expired: nobody knows how it ended, so it counts as reserved, and may still be running. `when` as above.
    pub fn expire(&mut self, facets: &Facets<'_>, reserved: &Cost, when: Moment) {
        let now = When { tick: self.tick, eras: &self.eras };
        let when = When { tick: when.tick, ..now };
        let name = facets.api_name;
        for stop in self.plan.route(name).iter().filter(|stop| stop.is_for(name)) {
            self.keys += self.tracks[stop.track].change(facets, &[reserved], now, |count, counter| {
                counter.expire(count.span, reserved.of(count.unit), when);
            });
        }
    }

    /// A call was voided: it never reached WeCom.
    pub fn give_back(&mut self, facets: &Facets<'_>, reserved: &Cost) {
        let name = facets.api_name;
        let now = When { tick: self.tick, eras: &self.eras };
        for stop in self.plan.route(name).iter().filter(|stop| stop.is_for(name)) {
            self.keys += self.tracks[stop.track].change(facets, &[reserved], now, |count, counter| {
                counter.give_back(reserved.of(count.unit));
            });
        }
    }

    /// Usage that no call shows, such as the accounts of a batch import. It counts in every limit of which all
    /// dimensions are given; without the name of an API in the limits of all APIs, but then no calls.
    pub fn declare(&mut self, facets: &Facets<'_>, cost: &Cost, declared: Declared, now: Moment) {
        self.present(now);
        let now = When { tick: self.tick, eras: &self.eras };
        let named = !facets.api_name.is_empty();
        let cost = if named { *cost } else { Cost { calls: 0, ..*cost } };
        for track in self.tracks.iter_mut().filter(|track| track.is_declared(facets)) {
            self.keys += track.change(facets, &[&cost], now, |count, counter| match declared {
                Declared::Used => counter.settle(count.span, 0, cost.of(count.unit), now),
                Declared::Corrected => counter.lower(count.span, cost.of(count.unit)),
            });
        }
    }

    /// What every active key has used, by limit and key, with the API keys' own rules after each limit. `account_cap`
    /// tells that of a corp (and is asked for corp 0 where a limit does not tell corps apart), `api_name` the name of an
    /// API.
    pub fn usage<'a>(
        &self,
        now: Moment,
        filter: &Filter<'_>,
        account_cap: impl Fn(u64) -> u64,
        api_name: impl Fn(u64) -> &'a str,
    ) -> Vec<Usage> {
        let mut usage = Vec::new();
        let mut see = |of| {
            usage.push(of);
            ControlFlow::Continue(())
        };
        let _ = self.each_usage(now, filter, account_cap, api_name, &mut see);
        usage
    }

    /// The same one by one, for as long as `see` wants more: there may be far more than anybody asks for.
    pub fn each_usage<'a>(
        &self,
        now: Moment,
        filter: &Filter<'_>,
        account_cap: impl Fn(u64) -> u64,
        api_name: impl Fn(u64) -> &'a str,
        see: &mut dyn FnMut(Usage) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let now = self.latest(now);
        let name = |of: &&Use| &self.limits[of.limit].limit.name;
        let asked = |of: &&Use| filter.limit.is_none_or(|limit| *limit == **name(of));
        let mut asked: Vec<&Use> = self.plan.uses.iter().filter(asked).collect();
        // Stable: an API key's own rules follow the limit.
        asked.sort_by(|a, b| name(a).cmp(name(b)));
        asked.into_iter().try_for_each(|of| {
            let show = Show { of, active: &self.limits[of.limit], now, filter };
            show.usage(&self.tracks[of.track], &account_cap, &api_name, see)
        })
    }

    /// Drops keys that are idle, a few hundred per call, going round. Never changes a judgement. Called once for
    /// about every hundred calls taken, it keeps the number of idle keys a small part of the whole.
    pub fn prune(&mut self, now: Moment) {
        self.prune_by(now, PRUNE_STEP);
    }

    pub(super) fn prune_by(&mut self, now: Moment, step: usize) {
        self.present(now);
        let now = When { tick: self.tick, eras: &self.eras };
        for track in &mut self.tracks {
            self.keys -= track.prune(now, step);
        }
    }

    /// From a tick on the wall clock shows so much more than ticks: days and months begin and end by it. Small
    /// differences from what it showed before are none.
    pub fn show(&mut self, tick: i64, ahead_ms: i64) {
        self.eras.show(tick, ahead_ms);
    }

    /// What the wall clock shows at a tick, within seconds.
    pub fn wall(&self, tick: i64) -> i64 {
        self.eras.wall(tick)
    }

    /// What it shows by each reading that counts: for a day after it was set, also by the one before.
    pub fn walls(&self, tick: i64) -> impl Iterator<Item = i64> {
        self.eras.walls(tick)
    }

    fn latest(&self, now: Moment) -> When<'_> {
        When { tick: self.tick.max(now.tick), eras: &self.eras }
    }

    fn present(&mut self, now: Moment) {
        self.tick = self.tick.max(now.tick);
    }
}

/// As saved; everything else follows from it.
#[derive(Deserialize)]
struct Saved {
    profile: String,
    zone_minutes: i32,
    limits: Vec<ActiveLimit>,
    parked: BTreeMap<Arc<str>, Settings>,
    owns: Owns,
    reserve: u8,
    tracks: Vec<Track>,
    tick: i64,
    eras: Eras,
    made_room: i64,
}

impl From<Saved> for Meters {
    fn from(saved: Saved) -> Self {
        let Saved { profile, zone_minutes, limits, parked, owns, reserve, tracks, tick, eras, made_room } =
            saved;
        let plan = Plan::default();
        let (keys, keys_max) = (0, KEYS_MAX);
        let mut meters = Self {
            profile,
            zone_minutes,
            limits,
            parked,
            owns,
            reserve,
            tracks,
            tick,
            eras,
            made_room,
            plan,
            keys,
            keys_max,
        };
        meters.lay_out();
        meters
    }
}
