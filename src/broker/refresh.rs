//! Replaces tokens before they end, while the old ones are still served.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::ledger::Seq;
use crate::ledger::command::FetchReason;
use crate::ledger::directory::App;

use super::Broker;

const EVERY: Duration = Duration::from_millis(500);
/// Refreshes that are begun in one round, at most; the next round takes the others.
const ROUND_MAX: usize = 16;

/// Runs until the broker is gone.
pub async fn keep_fresh(broker: Weak<Broker>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(broker) = broker.upgrade() else { return };
        for app in broker.due() {
            // Who waits for this flight joins it; nobody has to.
            drop(broker.join_flight(app, FetchReason::Refresh));
        }
    }
}

impl Broker {
    fn due(self: &Arc<Self>) -> Vec<Seq> {
        let tick = self.ledger.tick();
        let directory = self.ledger.directory();
        let mut due: Vec<Seq> =
            directory.live_apps().filter(|(_, app)| is_due(app, tick)).map(|(seq, _)| seq).collect();
        // Where WeCom blocks the fetches of a corp, its apps stay due; the others must have their turn.
        let round = tick as usize / EVERY.as_millis() as usize;
        let turn = round.wrapping_mul(ROUND_MAX) % due.len().max(1);
        due.rotate_left(turn);
        due.truncate(ROUND_MAX);
        due
    }
}

/// A token that nobody used is left to end: the next one is fetched when it is asked for.
fn is_due(app: &App, tick: i64) -> bool {
    let credential = &app.credential;
    let due = credential.valid_row(tick).is_some_and(|row| row.used && tick >= row.refresh_tick);
    due && credential.fetch.is_none() && credential.blocked.is_none() && tick >= credential.not_before
}
