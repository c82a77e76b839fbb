//! A ledger that admits as many calls as a test has places for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::admission::{Admission, Decider};
use crate::ledger::LedgerError;
use crate::ledger::command::{Admit, Caller, Command, Hit, Reach, Refusal, RefusalKey, Reply, Standing};
use crate::ledger::directory::{ApiKey, App, Corp, Credential, Directory};
use crate::ledger::entry::{Priority, Scope, Seq};
use crate::quota::{Reading, Rule, Unit, Window};

pub(super) const APP: Seq = 2;
const CORP: Seq = 1;
const CRITICAL: Caller = Caller::Key(21);

#[derive(Default)]
pub(super) struct Inside {
    /// How many calls will be admitted.
    pub(super) places: u64,
    /// The calls that were, in order.
    pub(super) admitted: Vec<u64>,
    /// How often a call was judged.
    pub(super) asks: usize,
    /// The calls whose refusal went on record.
    pub(super) refused: Vec<u64>,
    /// When a refused call may try again; none: never.
    pub(super) retry_in: Option<i64>,
    /// Whom a limit of their own refuses.
    pub(super) own: HashMap<Caller, Reach>,
    /// The calls that a limit of their own refuses.
    pub(super) own_calls: HashSet<u64>,
    /// Calls without a credential, until they ask again.
    pub(super) without_credential: HashSet<u64>,
    /// Somebody makes this many places just after the next refusal was decided.
    pub(super) late: u64,
    /// So many times the queue is full.
    pub(super) busy: usize,
    pub(super) abandoned: Vec<Seq>,
    /// Room is there for critical calls alone.
    pub(super) reserve: bool,
    jumped: i64,
}

pub(super) struct Fake {
    inside: Mutex<Inside>,
    room: watch::Sender<u64>,
    directory: Arc<Directory>,
    begun: Instant,
    /// No answer is given while this is set.
    held: watch::Sender<bool>,
}

/// API keys 11 to 13 are normal, 21 is critical, 31 is batch.
fn directory() -> Directory {
    let mut directory = Directory::default();
    directory.corps.insert(CORP, Corp { corp_id: "corp".to_owned(), account_cap: 10, removed: false });
    let (agent_id, credential) = ("1".to_owned(), Credential::default());
    let app =
        App { corp: CORP, agent_id, secret: 2, secret_fingerprint: [0; 32], removed: false, credential };
    directory.apps.insert(APP, app);
    let keys = [
        (11, Priority::Normal),
        (12, Priority::Normal),
        (13, Priority::Normal),
        (21, Priority::Critical),
        (31, Priority::Batch),
    ];
    for (key, priority) in keys {
        let value = ApiKey {
            name: String::new(),
            scopes: vec![Scope::Call],
            apps: vec![],
            apis: vec![],
            fingerprint: [key as u8; 32],
            created_at: 0,
            paused: false,
            revoked: false,
            priority,
        };
        directory.api_keys.insert(key, value);
    }
    directory
}

impl Fake {
    pub(super) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    /// Makes room and says so.
    pub(super) fn give(&self, places: u64) {
        self.inside().places += places;
        self.say_room();
    }

    pub(super) fn say_room(&self) {
        self.room.send_modify(|given| *given += 1);
    }

    /// Lets no answer out until it is called again with `false`.
    pub(super) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// The ledger's time alone moves.
    pub(super) fn jump(&self, ms: i64) {
        self.inside().jumped += ms;
    }

    fn judge(&self, admit: &Admit) -> Result<Reply, LedgerError> {
        let mut inside = self.inside();
        let id = admit.request_bytes;
        if let Some(standing) = admit.line.standing.clone() {
            if !admit.line.waits {
                inside.refused.push(id);
            }
            return Ok(Reply::Refused(standing.refusal(key(admit), false)));
        }
        inside.asks += 1;
        if inside.busy > 0 {
            inside.busy -= 1;
            return Err(LedgerError::Busy);
        }
        if inside.without_credential.remove(&id) {
            return Ok(Reply::Refused(Refusal::NoCredential));
        }
        let of_call = inside.own_calls.contains(&id).then_some(Reach::Call);
        let own = of_call.or(inside.own.get(&admit.caller).copied());
        let reserved = inside.reserve && admit.caller != CRITICAL;
        if own.is_none() && !reserved && inside.places > 0 {
            inside.places -= 1;
            inside.admitted.push(id);
            return Ok(Reply::Admitted { pending: id, credential: None, reading: None, deadline: 0 });
        }
        if !admit.line.waits {
            inside.refused.push(id);
        }
        let tick = self.begun.elapsed().as_millis() as i64 + inside.jumped;
        let retry_at = inside.retry_in.map(|retry_in| tick + retry_in);
        let late = std::mem::take(&mut inside.late);
        drop(inside);
        if late > 0 {
            self.give(late);
        }
        let reach = own.unwrap_or(Reach::Everybody);
        let standing = Standing { hit: Hit::Limit(reading(reserved)), retry_at, needed: 1, reach };
        Ok(Reply::Refused(standing.refusal(key(admit), false)))
    }
}

fn key(admit: &Admit) -> RefusalKey {
    let api_key = admit.caller.api_key();
    RefusalKey { corp: CORP, app: APP, api: None, api_key, limit: "limit".to_owned(), rule: Rule::Limit }
}

pub(super) fn reading(reserved: bool) -> Reading {
    let limit = Arc::from("limit");
    let rule = if reserved { Rule::Reserve } else { Rule::Limit };
    Reading {
        limit,
        rule,
        unit: Unit::Calls,
        cap: 1,
        used: 1,
        in_flight: 1,
        remaining: 0,
        window: Window::Sliding { ms: 60_000 },
        resets_at: Some(60_000),
    }
}

impl Decider for Arc<Fake> {
    async fn decide(&self, command: Command) -> Result<Reply, LedgerError> {
        let Command::Admit(admit) = command else { panic!("{command:?}") };
        let reply = self.judge(&admit);
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        reply
    }

    fn tick(&self) -> i64 {
        self.begun.elapsed().as_millis() as i64 + self.inside().jumped
    }

    fn room(&self) -> watch::Receiver<u64> {
        self.room.subscribe()
    }

    fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    fn abandon(&self, pending: Seq) {
        self.inside().abandoned.push(pending);
    }
}

/// Room comes back after 10 s, says the fake, unless the test makes some.
pub(super) fn fake() -> (Arc<Fake>, Arc<Admission<Arc<Fake>>>) {
    let inside = Mutex::new(Inside { retry_in: Some(10_000), ..Inside::default() });
    let (room, held) = (watch::Sender::new(0), watch::Sender::new(false));
    let fake = Arc::new(Fake { inside, room, directory: Arc::new(directory()), begun: Instant::now(), held });
    let admission = Admission::new(Arc::clone(&fake));
    (fake, admission)
}
