//! What fetches, rejections and uses of a credential do to the state.

use std::sync::Arc;

use crate::ledger::directory::{Credential, CredentialRow, Fetch, FetchFailure};
use crate::ledger::entry::{CredentialPosted, Entry, Fetched, Refs, Seq};
use crate::ledger::state::State;
use crate::wecom::errcodes::{is_bad_secret_from_gettoken, starts_penalty};

use super::{FORCED_FETCHES_MAX, PROCESS_DIED, with_app};

/// The longest pause after failed fetches.
const BACKOFF_MAX_MS: i64 = 60_000;

pub(super) fn unblock(credential: &mut Credential) {
    credential.blocked = None;
    credential.failures = 0;
    credential.not_before = 0;
    credential.last_failure = None;
}

/// Changes the newest row of an app if it is `credential`: an older one can no longer be changed by anything.
pub(super) fn with_row(
    state: &mut State,
    refs: Refs,
    credential: Seq,
    change: impl FnOnce(&mut CredentialRow),
) {
    with_app(Arc::make_mut(&mut state.directory), refs.app, |app| {
        if let Some(row) = app.credential.newest.as_mut().filter(|row| row.seq == credential) {
            change(row);
        }
    });
}

/// The common case changes nothing, so it must not copy a directory that readers hold.
pub(super) fn mark_used(state: &mut State, refs: Refs, credential: Seq) {
    let newest = refs.app.and_then(|app| state.directory.apps.get(&app)?.credential.newest.as_ref());
    if newest.is_some_and(|row| row.seq == credential && !row.used) {
        with_row(state, refs, credential, |row| row.used = true);
    }
}

pub(super) fn begin_fetch(state: &mut State, entry: &Entry) {
    with_app(Arc::make_mut(&mut state.directory), entry.refs.app, |app| {
        let credential = &mut app.credential;
        credential.fetch = Some(Fetch { pending: entry.seq, process: entry.process });
        let forced = |row: &CredentialRow| row.invalidated && entry.tick < row.expires_tick;
        if credential.newest.as_ref().is_some_and(forced) {
            credential.forced.push(entry.tick);
            if credential.forced.len() > FORCED_FETCHES_MAX {
                credential.forced.remove(0);
            }
        }
    });
}

pub(super) fn end_fetch(state: &mut State, entry: &Entry, x: &CredentialPosted) {
    let Fetched::Token { fingerprint, expires_tick, refresh_tick, .. } = x.fetched else {
        let Fetched::Error { errmsg } = &x.fetched else { return };
        return fail_fetch(state, entry, x.pending, x.errcode, errmsg);
    };
    with_app(Arc::make_mut(&mut state.directory), entry.refs.app, |app| {
        let credential = &mut app.credential;
        credential.fetch = None;
        // A token that was fetched with an earlier secret may be that of another app.
        if app.removed || app.secret > x.pending {
            return;
        }
        unblock(credential);
        credential.previous = credential.newest.as_ref().map(|row| row.seq);
        credential.newest = Some(CredentialRow {
            seq: entry.seq,
            fingerprint,
            fetched_tick: entry.tick,
            expires_tick,
            refresh_tick,
            invalidated: false,
            used: false,
            issued_to: std::collections::BTreeSet::new(),
        });
    });
}

pub(super) fn fail_fetch(state: &mut State, entry: &Entry, pending: Seq, errcode: Option<i64>, reason: &str) {
    with_app(Arc::make_mut(&mut state.directory), entry.refs.app, |app| {
        app.credential.fetch = None;
        // A secret that changed meanwhile deserves a fresh start, and a dead fetcher says nothing about WeCom.
        if app.secret > pending || reason == PROCESS_DIED {
            return;
        }
        let credential = &mut app.credential;
        credential.last_failure = Some(FetchFailure { tick: entry.tick, errcode, reason: reason.to_owned() });
        // How long WeCom's own block lasts is in an entry of its own.
        if errcode.is_some_and(starts_penalty) {
            return;
        }
        credential.failures = credential.failures.saturating_add(1);
        let backoff = (500_i64 << credential.failures.min(7)).min(BACKOFF_MAX_MS);
        credential.not_before = entry.tick + backoff;
        credential.blocked = errcode.filter(|&code| is_bad_secret_from_gettoken(code));
    });
}
