//! Which rows of limits a call is counted in, and what becomes of it if one of them is full.

use std::sync::Arc;

use super::api;
use super::call::Call;
use super::counters::{Demand, Key, Of, Seat};
use super::limits::{Caps, Limits, Row};
use super::tokens::Who;
use super::world::{Caller, World};

impl World {
    /// Counts a call when it arrives: its place among the simultaneous ones, or the errcode of its refusal.
    pub(super) fn count(
        &mut self,
        call: &Call,
        api: u16,
        caller: Caller,
        now: i64,
    ) -> Result<Option<Seat>, i32> {
        let seat = self.find_seat(call, api, caller)?;
        let demands = self.demands(call, api, caller);
        self.admit(&demands, now)?;
        if let Some(seat) = seat {
            self.concurrency.enter(seat);
        }
        Ok(seat)
    }

    fn find_seat(&mut self, call: &Call, api: u16, caller: Caller) -> Result<Option<Seat>, i32> {
        let caps = self.config.limits.concurrent.as_ref();
        let cap = caps.and_then(|caps| caps.get(&call.api));
        let (Some(&cap), Some(corp)) = (cap, caller.corp()) else { return Ok(None) };
        let seat = Seat { corp: corp as u32, api };
        if self.concurrency.has_room(seat, cap) {
            return Ok(Some(seat));
        }
        self.stats.over(&["concurrent"]);
        Err(45033)
    }

    fn demands(&self, call: &Call, api: u16, caller: Caller) -> Vec<Demand> {
        let limits = &self.config.limits;
        let mut demands = Vec::new();
        let mut demand = |row: Row, of: Of, caps: Caps| {
            if !caps.is_none() {
                let api = if row.api().is_none() { api } else { 0 };
                demands.push(Demand { key: Key { row, of, api }, caps, cost: 1 });
            }
        };
        let corp = caller.corp().map(|corp| Of::Corp(corp as u32));
        if self.is_in_base(limits, call, caller) {
            demand(Row::IpApi, Of::Ip(call.ip), Row::IpApi.caps(limits, 0));
            if let Some(corp) = corp {
                demand(Row::CorpApi, corp, Row::CorpApi.caps(limits, 0));
            }
        }
        if call.param("debug") == Some("1") {
            demand(Row::Debug, corp.unwrap_or(Of::Nobody), Row::Debug.caps(limits, 0));
        }
        match caller {
            Caller::App(who) => {
                for &row in Row::by_call(&call.api) {
                    demand(row, of(row, who, limits), row.caps(limits, self.corps[who.corp].account_cap));
                }
            }
            Caller::Robot(key) if call.api == "webhook/send" => {
                demand(Row::Robot, Of::Robot(key), Row::Robot.caps(limits, 0));
            }
            _ => {}
        }
        demands
    }

    fn is_in_base(&self, limits: &Limits, call: &Call, caller: Caller) -> bool {
        match call.api.as_str() {
            "message/send" => limits.base_counts_messages,
            "auth/getuserinfo" => limits.base_counts_valid_codes || !api::has_valid_code(self, call, caller),
            _ => true,
        }
    }

    /// Takes from a row by what a call does: so many person-times, an account, a domain.
    pub(super) fn spend(&mut self, row: Row, who: Who, cost: usize, now: i64) -> Result<(), i32> {
        let limits = &self.config.limits;
        let caps = row.caps(limits, self.corps[who.corp].account_cap);
        if caps.is_none() {
            return Ok(());
        }
        let key = Key { row, of: of(row, who, limits), api: 0 };
        self.admit(&[Demand { key, caps, cost: cost as u64 }], now)
    }

    fn admit(&mut self, demands: &[Demand], now: i64) -> Result<(), i32> {
        if demands.is_empty() {
            return Ok(());
        }
        let refusing = self.counters.admit(demands, now, self.config.windows);
        let Some(first) = refusing.first() else { return Ok(()) };
        let names: Vec<_> = refusing.iter().map(|row| row.name()).collect();
        self.stats.over(&names);
        Err(first.errcode())
    }

    /// Whom a message reaches, and whom not because the app sent them too many.
    pub(super) fn deliver(
        &mut self,
        row: Row,
        who: Who,
        members: Vec<Arc<str>>,
        now: i64,
    ) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let caps = row.caps(&self.config.limits, 0);
        let kind = self.config.windows;
        let (reached, dropped): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| self.members.reaches((row, caps), who, member, now, kind));
        self.stats.dropped(dropped.len());
        (reached, dropped)
    }
}

fn of(row: Row, who: Who, limits: &Limits) -> Of {
    let corp = who.corp as u32;
    if row.is_of_app(limits) { Of::App(corp, who.app as u32) } else { Of::Corp(corp) }
}
