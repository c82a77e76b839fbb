//! The line in virtual time: `fake` is a ledger that does what a test says, `core` is the real decisions and the real
//! fold, in memory.

mod core;
mod core_tests;
mod fake;
mod line_tests;
mod record_tests;
mod size_tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Admission, Answer, Decider, Wait};
use crate::ledger::LedgerError;
use crate::ledger::command::{Admit, Ask, Caller, Command, InLine, Reply};
use crate::ledger::entry::Seq;

/// A call of an API key. `id` is its size, by which it is recognised again.
fn call(app: Seq, key: Seq, id: u64) -> Admit {
    Admit {
        caller: Caller::Key(key),
        app,
        api: "message/send".to_owned(),
        method: "POST".to_owned(),
        ask: Ask::default(),
        needs_credential: false,
        not_credential: None,
        retry_of: None,
        timeout_ms: 60_000,
        request_bytes: id,
        request_sha256: None,
        once: None,
        line: InLine::default(),
    }
}

type Asked = JoinHandle<Result<Answer, LedgerError>>;

/// Asks in a task of its own; 0 s: it does not wait.
fn ask<D: Decider>(admission: &Arc<Admission<D>>, call: Admit, wait_secs: u64) -> Asked {
    let ticket = admission.ticket(Wait::of_secs(wait_secs));
    let admission = Arc::clone(admission);
    tokio::spawn(async move { admission.ask(Command::Admit, call, &ticket, std::future::pending()).await })
}

async fn answer(asked: Asked) -> Answer {
    asked.await.unwrap().unwrap()
}

fn is_admitted(answer: &Answer) -> bool {
    matches!(answer.reply, Reply::Admitted { .. })
}

/// Lets everything happen that takes no time.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn ms_since(then: Instant) -> u128 {
    then.elapsed().as_millis()
}
