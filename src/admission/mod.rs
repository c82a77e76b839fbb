//! The line before a limit: calls that would rather wait than be refused (`Prefer: wait=N`).
//!
//! Reading order: this file (a call asks), `wait` (it joins the line and leaves it), `line` (who is next, and when),
//! `queue` (the same among the calls of one API key), `places` (how many may wait), `task` (asks for whoever is next),
//! `prefer` (the header), `decider` (what all of this needs of the ledger).
//!
//! There is a line for each corp and API, since their calls share nearly all their limits. It exists only while
//! somebody waits in it. While it does nobody overtakes: whoever comes joins its end, or is refused like the ones
//! before; only calls of a `critical` API key that do not want to wait are tried at once. Nothing is taken while a
//! call waits, and nothing is recorded: the ledger decides at its turn, or at its end, as of any call.
//!
//! Lines are a matter of one process. Two processes on one ledger count together, but each has its own lines.

mod decider;
mod line;
mod places;
mod prefer;
mod queue;
mod task;
#[cfg(test)]
mod tests;
mod wait;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ledger::command::{Admit, Command, InLine, Reply};
use crate::ledger::entry::Priority;
use crate::ledger::{LedgerError, LedgerHandle, Seq};

pub use decider::Decider;
use line::{Behind, Line};
use places::Places;
pub use places::{WAITERS_KEPT, WAITERS_MAX, WAITERS_OF_KEY_MAX};
pub use prefer::{WAIT_MAX_SECS, Wait};
use wait::{Refused, Word};

/// How a call is put to the ledger: `Command::Admit` or `Command::Reserve`.
type Make = fn(Admit) -> Command;

/// A corp and one of its APIs.
type Place = (Seq, String);

/// What the ledger said, and when it was asked.
type Asked = Result<(Reply, Instant), LedgerError>;

/// A call's claim to its place, for as often as it has to ask.
#[derive(Debug)]
pub struct Ticket {
    wait: Option<Wait>,
    /// Its place among the calls of the same API key.
    number: u64,
    until: Option<Instant>,
}

/// What became of a call that asked.
#[derive(Debug)]
pub struct Answer {
    pub reply: Reply,
    /// When the ledger was asked.
    pub asked: Instant,
    ended: Option<Ended>,
    wait: Option<Wait>,
}

/// Why a call that wanted to wait does so no longer, or never did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Too many wait already.
    Full,
    /// Of the same API key.
    FullOfKey,
    TimeUp,
    /// The process stops.
    Draining,
    /// No window will make room for it.
    Hopeless,
    /// Nobody waits for the answer any more.
    Gone,
}

impl Answer {
    /// The preference that was honoured.
    pub fn applied(&self) -> Option<Wait> {
        self.wait.filter(|_| matches!(self.ended, None | Some(Ended::TimeUp)))
    }

    /// What a refusal has to say about waiting.
    pub fn note(&self) -> Option<String> {
        Some(match self.ended? {
            Ended::Full => format!("it could not wait: of {WAITERS_MAX} places for that none is free for it"),
            Ended::FullOfKey => {
                format!("it could not wait: {WAITERS_OF_KEY_MAX} calls of its API key do so already")
            }
            Ended::TimeUp => format!("it has waited {} s in line", self.wait?.secs()),
            Ended::Draining => "it waits no longer: this process stops".to_owned(),
            Ended::Hopeless => "waiting would not help".to_owned(),
            Ended::Gone => return None,
        })
    }
}

/// Stands in front of the ledger where calls are admitted.
pub struct Admission<D = LedgerHandle> {
    decider: D,
    /// Lines live here, whatever becomes of the connection that began one.
    runtime: Handle,
    lines: Mutex<HashMap<Place, Line>>,
    /// How many lines there are, for the many calls that come while there is none.
    standing: AtomicUsize,
    places: Arc<Places>,
    tickets: AtomicU64,
    draining: watch::Sender<bool>,
}

/// What is asked for a call, as often as needed.
struct Question {
    make: Make,
    admit: Admit,
}

fn in_line(waits: bool, behind: Option<Behind>) -> InLine {
    let (standing, ahead) = behind.map_or((None, 0), |behind| (Some(behind.standing), behind.ahead));
    InLine { waits, standing: standing.map(Box::new), ahead }
}

impl<D: Decider> Admission<D> {
    /// Lines live on the runtime that this is called on.
    pub fn new(decider: D) -> Arc<Self> {
        Arc::new(Self {
            decider,
            runtime: Handle::current(),
            lines: Mutex::default(),
            standing: AtomicUsize::new(0),
            places: Arc::default(),
            tickets: AtomicU64::new(0),
            draining: watch::Sender::new(false),
        })
    }

    /// For a call that came just now.
    pub fn ticket(&self, wait: Option<Wait>) -> Ticket {
        let number = self.tickets.fetch_add(1, Ordering::Relaxed);
        Ticket { wait, number, until: wait.map(|wait| Instant::now() + wait.duration()) }
    }

    /// How many calls wait.
    pub fn waiting(&self) -> usize {
        self.places.taken()
    }

    /// Ends all waits with a refusal; nobody waits from now on.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Asks for one call, and waits in line if a limit refuses and the ticket says so. Dropped, it leaves the line; so
    /// it does when `gone` resolves, which is looked at only there: what the ledger was asked is not taken back.
    pub async fn ask(
        self: &Arc<Self>,
        make: Make,
        admit: Admit,
        ticket: &Ticket,
        gone: impl Future<Output = ()>,
    ) -> Result<Answer, LedgerError> {
        let (asked, wait) = (Instant::now(), ticket.wait);
        let waits = ticket.until.is_some_and(|until| asked < until);
        let behind = self.behind(&admit, waits);
        if !waits {
            let line = in_line(waits, behind);
            let reply = self.decider.decide(make(Admit { line, ..admit })).await?;
            return Ok(Answer { reply, asked, ended: None, wait });
        }
        let question = Arc::new(Question { make, admit });
        // Watched from before it is judged, so that nothing that comes too late for that is missed.
        let room = self.decider.room();
        let judged = behind.is_none();
        let (reply, asked) = self.put(&question, in_line(waits, behind)).await?;
        let answer = Answer { reply, asked, ended: None, wait };
        let refusal = match &answer.reply {
            Reply::Refused(refusal) => refusal.standing(),
            _ => None,
        };
        match refusal {
            None => Ok(answer),
            // Apart, so that calls which pass at once don't carry the room that waiting takes.
            Some(standing) if standing.retry_at.is_none() => {
                let behind = Behind { standing, ahead: 0 };
                Box::pin(self.refuse(&question, behind, Ended::Hopeless, answer)).await
            }
            Some(standing) => {
                Box::pin(self.wait(question, ticket, Refused { standing, judged, room }, answer, gone)).await
            }
        }
    }

    /// For a call that waits for nothing and is put to the ledger by others: it overtakes nobody either.
    pub fn behind_others(&self, admit: Admit) -> Admit {
        let line = in_line(false, self.behind(&admit, false));
        Admit { line, ..admit }
    }

    async fn put(&self, question: &Question, line: InLine) -> Asked {
        let asked = Instant::now();
        let admit = Admit { line, ..question.admit.clone() };
        let reply = self.decider.decide((question.make)(admit)).await?;
        Ok((reply, asked))
    }

    /// How those stand whom a call would overtake.
    fn behind(&self, admit: &Admit, waits: bool) -> Option<Behind> {
        if self.standing.load(Ordering::Acquire) == 0 {
            return None;
        }
        let (place, class) = self.place(admit);
        let classes: &[Priority] = match class {
            Priority::Critical if !waits => &[],
            Priority::Critical => &[Priority::Critical],
            Priority::Normal | Priority::Batch => &[Priority::Critical, Priority::Normal, Priority::Batch],
        };
        self.lines().get(&place)?.behind(classes, admit.caller)
    }

    /// The line that a call belongs to. An app that is not there has none, and the ledger refuses its calls.
    fn place(&self, admit: &Admit) -> (Place, Priority) {
        let directory = self.decider.directory();
        let corp = directory.live_app(admit.app).map_or(0, |app| app.corp);
        ((corp, admit.api.clone()), directory.priority(admit.caller))
    }

    /// Nothing is left half-changed where a lock is held, so a poisoned one is still good.
    fn lines(&self) -> MutexGuard<'_, HashMap<Place, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
