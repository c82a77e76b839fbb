//! The naive model of apps, keys and tokens: every token ever fetched stays in a list.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::apply::PROCESS_DIED;
use crate::ledger::entry::{Body, CredentialPosted, Entry, Fetched, Fingerprint, Seq};

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) seq: Seq,
    pub(super) fingerprint: Fingerprint,
    pub(super) expires: i64,
    pub(super) refresh: i64,
    pub(super) rejected: bool,
}

#[derive(Debug, Default)]
pub(super) struct App {
    pub(super) secret: Seq,
    pub(super) removed: bool,
    pub(super) tokens: Vec<Token>,
    pub(super) fetch: Option<Seq>,
    pub(super) bad_secret: bool,
    pub(super) not_before: i64,
    failures: u32,
    forced: Vec<i64>,
}

#[derive(Debug, Default)]
pub(super) struct Key {
    pub(super) revoked: bool,
    pub(super) paused: bool,
    pub(super) apps: Vec<Seq>,
}

#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) apps: BTreeMap<Seq, App>,
    pub(super) keys: BTreeMap<Seq, Key>,
}

impl App {
    pub(super) fn valid(&self, tick: i64) -> Option<&Token> {
        self.tokens.last().filter(|token| !self.removed && !token.rejected && tick < token.expires)
    }

    /// A fetch now would be caused by a rejected token.
    fn would_be_forced(&self, tick: i64) -> bool {
        self.tokens.last().is_some_and(|token| token.rejected && tick < token.expires)
    }

    fn forced_too_often(&self, tick: i64) -> bool {
        self.forced.iter().filter(|&&at| tick < at + 60_000).count() >= 3
    }

    pub(super) fn may_fetch(&self, tick: i64) -> bool {
        let forced = self.would_be_forced(tick) && self.forced_too_often(tick);
        !self.bad_secret && tick >= self.not_before && !forced
    }

    fn forgive(&mut self) {
        (self.bad_secret, self.not_before, self.failures) = (false, 0, 0);
    }

    fn failed(&mut self, pending: Seq, tick: i64, errcode: Option<i64>) {
        if self.secret > pending {
            return;
        }
        // WeCom's own block is not the app's.
        if errcode == Some(45009) {
            return;
        }
        self.failures += 1;
        let pause = (500 * 2_i64.pow(self.failures.min(7))).min(60_000);
        self.not_before = tick + pause;
        self.bad_secret = matches!(errcode, Some(40001 | 40013 | 40091));
    }

    fn fetched(&mut self, entry: &Entry, x: &CredentialPosted) {
        assert_eq!(self.fetch.take(), Some(x.pending));
        let Fetched::Token { fingerprint, expires_tick, refresh_tick, same } = x.fetched else {
            return self.failed(x.pending, entry.tick, x.errcode);
        };
        let before = self.tokens.last();
        assert_eq!(same, before.is_some_and(|token| token.fingerprint == fingerprint));
        if let Some(before) = before.filter(|_| same) {
            let overdue = before.expires <= entry.tick;
            assert!(expires_tick <= if overdue { entry.tick + 60_000 } else { before.expires });
            assert!(refresh_tick >= entry.tick + 60_000, "no early refresh of the same string");
        }
        if !self.removed && self.secret < x.pending {
            self.forgive();
            let (expires, refresh) = (expires_tick, refresh_tick);
            let seq = entry.seq;
            self.tokens.push(Token { seq, fingerprint, expires, refresh, rejected: false });
        }
    }
}

impl Tokens {
    pub(super) fn observe(&mut self, entry: &Entry) {
        let app = entry.refs.app.and_then(|app| self.apps.get_mut(&app));
        match (&entry.body, app) {
            (Body::AppPut(_), _) => {
                let app = self.apps.entry(entry.refs.app.unwrap()).or_default();
                (app.secret, app.removed) = (entry.seq, false);
                app.tokens.clear();
                app.forced.clear();
                app.forgive();
            }
            (Body::AppReset, Some(app)) => {
                app.forced.clear();
                app.forgive();
            }
            (Body::AppRemoved, Some(app)) => {
                app.removed = true;
                app.tokens.clear();
            }
            (Body::CredentialPending(_), Some(app)) => {
                assert!(app.fetch.is_none(), "one fetch at a time: {entry:?}");
                assert!(app.may_fetch(entry.tick), "fetched too early: {entry:?} {app:?}");
                app.fetch = Some(entry.seq);
                if app.would_be_forced(entry.tick) {
                    app.forced.push(entry.tick);
                }
            }
            (Body::CredentialPosted(x), Some(app)) => app.fetched(entry, x),
            (Body::CredentialExpired(x), Some(app)) => {
                assert_eq!(app.fetch.take(), Some(x.pending));
                if x.reason != PROCESS_DIED {
                    app.failed(x.pending, entry.tick, None);
                }
            }
            (Body::CredentialInvalidated(x), Some(app)) => {
                assert!(!app.forced_too_often(entry.tick), "no fetch could follow: {entry:?}");
                let newest = app.tokens.last_mut().unwrap();
                assert!(newest.seq == x.credential && !newest.rejected, "an old rejection: {entry:?}");
                newest.rejected = true;
            }
            (Body::CredentialIssued(x), Some(_)) => self.carried(entry, Some(x.credential)),
            _ => self.observe_keys(entry),
        }
    }

    fn observe_keys(&mut self, entry: &Entry) {
        let key = self.keys.entry(entry.refs.api_key.unwrap_or(0)).or_default();
        match &entry.body {
            Body::ApiKeyCreated(x) => key.apps.clone_from(&x.apps),
            Body::ApiKeyRevoked => key.revoked = true,
            Body::ApiKeyPaused => key.paused = true,
            Body::ApiKeyResumed => key.paused = false,
            Body::CallPending(_) => assert!(!key.revoked && !key.paused, "a dead key was used: {entry:?}"),
            _ => {}
        }
    }

    /// I5: a call carries, and a client is issued, the newest row or none.
    pub(super) fn carried(&self, entry: &Entry, credential: Option<Seq>) {
        let app = &self.apps[&entry.refs.app.unwrap()];
        assert_eq!(app.valid(entry.tick).map(|token| token.seq), credential, "{entry:?}");
        let key = entry.refs.api_key.and_then(|key| self.keys.get(&key));
        assert!(key.is_none_or(|key| !key.revoked && !key.paused), "a dead key was used: {entry:?}");
    }

    /// What may lie sealed: secrets of live apps, their newest token and the one before.
    pub(super) fn may_be_sealed(&self) -> BTreeSet<Seq> {
        let live = self.apps.values().filter(|app| !app.removed);
        live.flat_map(|app| app.tokens.iter().rev().take(2).map(|token| token.seq).chain([app.secret]))
            .collect()
    }
}
