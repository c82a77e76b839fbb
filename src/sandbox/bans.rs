//! The ban of an IP that sends wrong secrets.

use std::collections::HashMap;
use std::net::IpAddr;

use super::counters::make_room;

const MAX_IPS: usize = 10_000;
const HOUR_MS: i64 = 3_600_000;

#[derive(Debug, Default)]
struct Record {
    /// When the hour of the first wrong secret began, and how many there were in it.
    since: i64,
    wrong: u32,
    banned_until: i64,
}

#[derive(Debug, Default)]
pub(super) struct Bans {
    by_ip: HashMap<IpAddr, Record>,
}

impl Bans {
    pub(super) fn is_banned(&self, ip: IpAddr, now: i64) -> bool {
        self.by_ip.get(&ip).is_some_and(|record| now < record.banned_until)
    }

    /// A right secret in between forgives nothing: the documentation says "wrong several times", no more.
    pub(super) fn wrong_secret(&mut self, ip: IpAddr, now: i64, ban_after: u32) {
        make_room(&mut self.by_ip, MAX_IPS, &ip, |r| now >= r.banned_until && now - r.since >= HOUR_MS);
        if self.by_ip.len() >= MAX_IPS && !self.by_ip.contains_key(&ip) {
            return;
        }
        let record = self.by_ip.entry(ip).or_default();
        if now - record.since >= HOUR_MS {
            *record = Record { since: now, ..Record::default() };
        }
        record.wrong += 1;
        if ban_after > 0 && record.wrong >= ban_after {
            *record = Record { since: now, wrong: 0, banned_until: now + HOUR_MS };
        }
    }

    pub(super) fn banned(&self, now: i64) -> impl Iterator<Item = (IpAddr, i64)> {
        self.by_ip.iter().filter(move |(_, r)| now < r.banned_until).map(|(ip, r)| (*ip, r.banned_until))
    }

    pub(super) fn clear(&mut self) {
        self.by_ip.clear();
    }
}
