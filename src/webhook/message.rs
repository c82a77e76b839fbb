//! What is sent.

use std::time::Duration;

use serde_json::{Value, json};

use crate::ledger::directory::Directory;
use crate::ledger::entry::{Body, PenaltyStarted};
use crate::ledger::{Row, canonical};

/// What a group robot takes of a text, in bytes.
const ROBOT_TEXT_MAX: usize = 2_048;

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The entry, and a sentence about it.
    Json,
    /// What a group robot (群机器人) of WeCom takes.
    WecomRobot,
}

impl Format {
    /// How often the queue is looked at. A group robot takes 20 messages a minute, from all who post to it.
    pub(super) fn every(self) -> Duration {
        match self {
            Self::Json => Duration::from_secs(1),
            Self::WecomRobot => Duration::from_millis(3_200),
        }
    }
}

/// The body of one delivery.
pub(super) fn body(format: Format, row: &Row, directory: &Directory) -> String {
    let mut text = sentence(row, directory);
    match format {
        Format::WecomRobot => {
            text.truncate(text.floor_char_boundary(ROBOT_TEXT_MAX));
            json!({"msgtype": "text", "text": {"content": text}}).to_string()
        }
        Format::Json => {
            // The line stands in it as it stands in the ledger, byte for byte.
            let entry = canonical::line(row, directory);
            let (seq, kind, text) = (row.seq, row.kind.name(), Value::from(text));
            format!("{{\"id\":{seq},\"kind\":\"{kind}\",\"text\":{text},\"entry\":{entry}}}")
        }
    }
}

/// For people who have never seen an entry.
pub(super) fn sentence(row: &Row, directory: &Directory) -> String {
    let at = canonical::instant(row.at);
    let of = of(row, directory);
    let what = match row.entry().map(|entry| entry.body) {
        Ok(Body::AlertRaised(x)) => {
            let percent = x.percent;
            let shadow = if x.shadow { "; it is in shadow mode and refuses nothing" } else { "" };
            format!("limit {}{of} has reached {percent} %: {} of {} used{shadow}", x.limit, x.used, x.cap)
        }
        Ok(Body::PenaltyStarted(x)) => blocked(&x, &of),
        Ok(Body::UsageReconciled(x)) => format!("messages{of} on {}: {}", x.day, x.in_words()),
        Ok(Body::CapLearned(x)) => {
            let (limit, times) = (&x.limit, x.drifts.len());
            format!(
                "WeCom was full early {times} times, so the cap of {limit}{of} is {} now instead of {}",
                x.cap, x.before
            )
        }
        Ok(Body::ClockStepped(x)) => format!("the wall clock was set by {} s", x.step_ms / 1000),
        _ => row.kind.name().to_owned(),
    };
    format!("wecom-ledger, {at}: {what} (entry {})", row.seq)
}

fn blocked(x: &PenaltyStarted, of: &str) -> String {
    let level = x.level.name();
    let counted: Vec<String> =
        x.counted.iter().map(|it| format!("{} {} of {}", it.limit, it.used, it.cap)).collect();
    let counted = if counted.is_empty() { "nothing that is limited".to_owned() } else { counted.join(", ") };
    format!("WeCom says that a limit per {level}{of} is used up, and blocks. We had counted {counted}")
}

fn of(row: &Row, directory: &Directory) -> String {
    use crate::ledger::canonical::Names as _;
    let corp = row.corp.and_then(|corp| directory.corp_id(corp));
    let app = row.app.and_then(|app| directory.agent_id(app));
    let api = row.api.and_then(|api| directory.apis.get(&api));
    let app = app.map(|app| format!("/{app}")).unwrap_or_default();
    let who = corp.map(|corp| format!(" of {corp}{app}")).unwrap_or_default();
    let api = api.map(|api| format!(" for {api}")).unwrap_or_default();
    format!("{who}{api}")
}
