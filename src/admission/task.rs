//! The task of a line: asks the ledger for whoever is next, one after the other, and ends with the last one.
//!
//! One after the other, because the order in which calls are admitted is the order of the line also where several
//! places become free at once.

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::time::{Duration, Instant};

use crate::ledger::LedgerError;
use crate::ledger::command::{InLine, Reply};

use super::line::{Line, Spot, Step};
use super::{Admission, Asked, Decider, Place, Question, Word};

pub(super) async fn run<D: Decider>(
    admission: Arc<Admission<D>>,
    place: Place,
    wake: Arc<Notify>,
    mut room: watch::Receiver<u64>,
) {
    while let Some(step) = admission.next(&place) {
        match step {
            Step::Over => break,
            Step::Ask(spot, question) => {
                // What happened is for those as well who were refused before it, and are not asked for now.
                if room.has_changed().unwrap_or(false) {
                    admission.with(&place, Line::room);
                }
                // What happens from now on may come too late for the answer.
                room.mark_unchanged();
                let asked = ask(&admission, &question).await;
                heard(&admission, &place, spot, asked);
            }
            Step::Sleep(time) => {
                tokio::select! {
                    () = sleep(time) => {}
                    () = wake.notified() => {}
                    () = made(&mut room) => drop(admission.with(&place, Line::room)),
                }
            }
        }
    }
}

async fn ask<D: Decider>(admission: &Admission<D>, question: &Question) -> Asked {
    admission.put(question, InLine { waits: true, ..InLine::default() }).await
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

async fn made(room: &mut watch::Receiver<u64>) {
    if room.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Tells the one that was asked for, unless it goes on waiting.
fn heard<D: Decider>(admission: &Admission<D>, place: &Place, spot: Spot, asked: Asked) {
    let (now, tick) = (Instant::now(), admission.decider.tick());
    let refused = match &asked {
        Ok((Reply::Refused(refusal), _)) => refusal.standing(),
        _ => None,
    };
    let told = admission.with(place, |line| match (refused, &asked) {
        (Some(refused), _) => line.refused(spot, refused, now, tick),
        (None, Err(LedgerError::Busy)) => line.busy(spot, now),
        (None, _) => {
            let admitted = matches!(asked, Ok((Reply::Admitted { .. }, _)));
            line.done(spot, admitted).map(|waiter| (waiter, Word::Asked(asked.clone())))
        }
    });
    let untold = match told.flatten() {
        Some((waiter, word)) => waiter.tell(word).err(),
        None => Some(Word::Asked(asked)).filter(Word::is_admitted),
    };
    if let Some(word) = untold {
        admission.nobody_hears(&word);
    }
}
