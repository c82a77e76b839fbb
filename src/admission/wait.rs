//! A call in its line, from joining to leaving.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::ledger::LedgerError;
use crate::ledger::command::{InLine, Reply, Standing};

use super::line::{Behind, Left, Line, Spot, Step};
use super::queue::Waiter;
use super::{Admission, Answer, Asked, Decider, Ended, Place, Question, Ticket, task};

/// What a call hears that waits.
pub(super) enum Word {
    /// The ledger's answer.
    Asked(Asked),
    /// It waits no longer, and this is how it was last refused.
    Refused(Behind),
}

impl Word {
    pub(super) fn is_admitted(&self) -> bool {
        matches!(self, Self::Asked(Ok((Reply::Admitted { .. }, _))))
    }
}

/// How a call was refused before it joined.
pub(super) struct Refused {
    pub(super) standing: Standing,
    /// It was judged itself; else it is only known who was before it.
    pub(super) judged: bool,
    /// Changed, if something has made room since.
    pub(super) room: watch::Receiver<u64>,
}

impl<D: Decider> Admission<D> {
    /// Waits for its turn, the end of its time, or that of the process.
    pub(super) async fn wait(
        self: &Arc<Self>,
        question: Arc<Question>,
        ticket: &Ticket,
        refused: Refused,
        answer: Answer,
        gone: impl Future<Output = ()>,
    ) -> Result<Answer, LedgerError> {
        let standing = refused.standing.clone();
        let mut delivery = match self.join(&question, ticket, refused) {
            Ok(delivery) => delivery,
            Err(ended) => {
                // As it was told just now, which is its own.
                return self.refuse(&question, Behind { standing, ahead: 0 }, ended, answer).await;
            }
        };
        let ended = tokio::select! {
            biased;
            word = delivery.word() => return self.heard(word, &question, answer).await,
            () = tokio::time::sleep_until(ticket.until.unwrap_or_else(Instant::now)) => Ended::TimeUp,
            () = drained(self.draining.subscribe()) => Ended::Draining,
            () = gone => Ended::Gone,
        };
        if ended == Ended::Gone {
            return Ok(Answer { ended: Some(ended), ..answer });
        }
        match self.with(&delivery.place, |line| line.leave(delivery.spot)).flatten() {
            Some(Left::Refused(latest)) => self.refuse(&question, latest, ended, answer).await,
            // The ledger is being asked, or has just answered: it is decided in a moment.
            Some(Left::Asking) | None => {
                let word = delivery.word().await;
                self.heard(word, &question, Answer { ended: Some(ended), ..answer }).await
            }
        }
    }

    async fn heard(&self, word: Word, question: &Question, answer: Answer) -> Result<Answer, LedgerError> {
        match word {
            Word::Asked(asked) => {
                let (reply, asked) = asked?;
                Ok(Answer { reply, asked, ended: None, ..answer })
            }
            Word::Refused(latest) => {
                let ended = answer.ended.unwrap_or(Ended::Hopeless);
                self.refuse(question, latest, ended, answer).await
            }
        }
    }

    /// Puts a refusal on record that the ledger did not come to itself. Whether the caller may make this call at all
    /// is still its decision.
    pub(super) async fn refuse(
        &self,
        question: &Question,
        behind: Behind,
        ended: Ended,
        answer: Answer,
    ) -> Result<Answer, LedgerError> {
        let Behind { standing, ahead } = behind;
        let line = InLine { waits: false, standing: Some(Box::new(standing)), ahead };
        let (reply, asked) = self.put(question, line).await?;
        Ok(Answer { reply, asked, ended: Some(ended), ..answer })
    }

    /// Joins the end of the line, and begins it if there is none.
    fn join(
        self: &Arc<Self>,
        question: &Arc<Question>,
        ticket: &Ticket,
        refused: Refused,
    ) -> Result<Delivery<D>, Ended> {
        if *self.draining.borrow() {
            return Err(Ended::Draining);
        }
        let (place, class) = self.place(&question.admit);
        let held = self.places.take(question.admit.caller, class)?;
        let spot = Spot { class, caller: question.admit.caller, number: ticket.number };
        let (answer, answered) = oneshot::channel();
        let until = ticket.until.unwrap_or_else(Instant::now);
        let Refused { standing, judged, room } = refused;
        let waiter = Waiter::new(Arc::clone(question), answer, standing.clone(), until, held);
        let tick = self.decider.tick();
        let mut lines = self.lines();
        let fresh = !lines.contains_key(&place);
        let line = lines.entry(place.clone()).or_default();
        line.join(spot, waiter);
        if judged {
            // What was made since then has woken nobody for this refusal.
            let due = room.has_changed().unwrap_or(false);
            line.note(spot, standing, due, Instant::now(), tick);
        }
        if fresh {
            self.runtime.spawn(task::run(Arc::clone(self), place.clone(), Arc::clone(&line.wake), room));
        }
        self.standing.store(lines.len(), Ordering::Release);
        drop(lines);
        tracing::debug!(api = place.1, number = ticket.number, "a call waits in line");
        Ok(Delivery { admission: Arc::clone(self), place, spot, answered })
    }

    /// What a line's task has to do; a line without anybody is no more.
    pub(super) fn next(&self, place: &Place) -> Option<Step> {
        let tick = self.decider.tick();
        let mut lines = self.lines();
        let step = lines.get_mut(place)?.next(Instant::now(), tick);
        if matches!(step, Step::Over) {
            lines.remove(place);
            self.standing.store(lines.len(), Ordering::Release);
        }
        Some(step)
    }

    pub(super) fn with<T>(&self, place: &Place, act: impl FnOnce(&mut Line) -> T) -> Option<T> {
        self.lines().get_mut(place).map(act)
    }

    /// A word that reached nobody: a call that was admitted will not be made.
    pub(super) fn nobody_hears(&self, word: &Word) {
        if let Word::Asked(Ok((Reply::Admitted { pending, .. }, _))) = word {
            self.decider.abandon(*pending);
        }
    }
}

async fn drained(mut draining: watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

/// Where a call hears that it is its turn. Dropped, it leaves the line.
struct Delivery<D: Decider> {
    admission: Arc<Admission<D>>,
    place: Place,
    spot: Spot,
    answered: oneshot::Receiver<Word>,
}

impl<D: Decider> Delivery<D> {
    async fn word(&mut self) -> Word {
        let heard = (&mut self.answered).await;
        heard.unwrap_or(Word::Asked(Err(LedgerError::Stopped)))
    }
}

impl<D: Decider> Drop for Delivery<D> {
    fn drop(&mut self) {
        let left = self.admission.with(&self.place, |line| line.remove(self.spot)).flatten();
        if left.is_some() {
            tracing::debug!(api = self.place.1, number = self.spot.number, "a client has left its line");
        }
        self.answered.close();
        if let Ok(word) = self.answered.try_recv() {
            self.admission.nobody_hears(&word);
        }
    }
}
