//! Asks WeCom how many people an app's messages reached on a day, and has the ledger compare it with its own count.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use crate::ledger::command::{Reconcile, Rejected};
use crate::ledger::delivered::{self, Which};
use crate::ledger::entry::UsageReconciled;
use crate::ledger::{Command, LedgerError, Reply, Seq};
use crate::quota::Day;
use crate::wecom::errmsg::redacted;

use super::Gateway;

const API: &str = "message/get_statistics";
/// Apps that are asked about at the same time.
pub const AT_ONCE: usize = 4;
/// What is kept of why it failed.
const REASON_MAX: usize = 200;
/// A larger count is none: all people on earth, many times a second.
const COUNT_MAX: u64 = 1_000_000_000_000_000;

/// For whom it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// By the service itself, once a day: a failure is written down too, and a day that was compared is not again.
    Daily,
    /// By an operator, perhaps by means of an API key.
    Requested(Option<Seq>),
}

#[derive(Debug, thiserror::Error)]
pub enum NotReconciled {
    #[error("the day is about to turn: WeCom's count may be of another one; ask again in two minutes")]
    Midnight,
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error("the ledger can't write it down: {0}")]
    Ledger(#[from] LedgerError),
}

/// What came of asking about an app: the entry. None: it was compared before.
pub type OfApp = (Seq, Result<Option<(Seq, UsageReconciled)>, NotReconciled>);

impl Gateway {
    /// Compares one app's day. None: it was compared before.
    pub async fn reconcile(
        self: &Arc<Self>,
        app: Seq,
        which: Which,
        asked: Asked,
    ) -> Result<Option<(Seq, UsageReconciled)>, NotReconciled> {
        let day = self.ledger.read(move |state, now| delivered::day_of(state, which, now.at)).await?;
        let day = day.ok_or(NotReconciled::Midnight)?;
        let wecom = self.statistics(app, which).await;
        if let (Err(failed), Asked::Requested(_)) = (&wecom, asked) {
            return Err(NotReconciled::Failed(failed.clone()));
        }
        self.compare(app, which, day, wecom, asked).await
    }

    /// The same for many apps, a few at a time; goes on when nobody waits for it any more.
    pub async fn reconcile_each(self: &Arc<Self>, apps: Vec<Seq>, which: Which, asked: Asked) -> Vec<OfApp> {
        let gateway = Arc::clone(self);
        let all = self.runtime.spawn(async move {
            let each = |app| {
                let gateway = Arc::clone(&gateway);
                async move { (app, gateway.reconcile(app, which, asked).await) }
            };
            stream::iter(apps).map(each).buffered(AT_ONCE).collect().await
        });
        all.await.unwrap_or_default()
    }

    /// What WeCom says, or why it says nothing.
    async fn statistics(self: &Arc<Self>, app: Seq, which: Which) -> Result<u64, String> {
        let agent_id = match self.ledger.directory().live_app(app) {
            Some(app) if delivered::is_named(&app.agent_id) => app.agent_id.clone(),
            Some(_) => return Err("its AGENT_ID is no number, and WeCom counts by that".to_owned()),
            None => return Err("the app is unknown or was removed".to_owned()),
        };
        let time_type = match which {
            Which::Today => 0,
            Which::Yesterday => 1,
        };
        let answer = self.post(app, API, &json!({"time_type": time_type})).await;
        count(&answer.map_err(|error| shortened(&error.to_string()))?, &agent_id)
    }

    async fn compare(
        &self,
        app: Seq,
        which: Which,
        day: Day,
        wecom: Result<u64, String>,
        asked: Asked,
    ) -> Result<Option<(Seq, UsageReconciled)>, NotReconciled> {
        let (by, requested) = match asked {
            Asked::Daily => (None, false),
            Asked::Requested(by) => (by, true),
        };
        let reconcile = Reconcile { app, which, day, wecom, by, requested };
        match self.ledger.decide(Command::Reconcile(reconcile)).await? {
            Reply::Reconciled { seq, reconciled } => Ok(Some((seq, *reconciled))),
            Reply::Done { .. } => Ok(None),
            Reply::Rejected(rejected) => Err(rejected.into()),
            _ => Err(NotReconciled::Failed("the ledger gave an answer to another question".to_owned())),
        }
    }
}

/// Successful person-times of this app. WeCom lists the apps of the corp; one that sent nothing may be missing.
fn count(answer: &Value, agent_id: &str) -> Result<u64, String> {
    match answer["errcode"].as_i64() {
        Some(0) => {}
        errcode => {
            let errcode =
                errcode.map_or_else(|| "no errcode".to_owned(), |errcode| format!("errcode {errcode}"));
            let errmsg = answer["errmsg"].as_str().unwrap_or_default();
            return Err(shortened(&format!("{API}: {errcode}, {errmsg}")));
        }
    }
    let Some(statistics) = answer["statistics"].as_array() else {
        return Err(format!("{API}: the answer has no list `statistics`"));
    };
    let is_app = |of: &&Value| match &of["agentid"] {
        Value::Number(number) => number.to_string() == agent_id,
        Value::String(text) => text == agent_id,
        _ => false,
    };
    let Some(of_app) = statistics.iter().find(is_app) else { return Ok(0) };
    let count = of_app["count"].as_u64().filter(|count| *count <= COUNT_MAX);
    count.ok_or_else(|| format!("{API}: `count` is no number of person-times"))
}

/// It is kept for ever: no tokens, and not the whole of what somebody else wrote.
fn shortened(reason: &str) -> String {
    redacted(reason).chars().filter(|c| !c.is_control()).take(REASON_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_that_of_the_app_among_all_of_the_corp() {
        let answer = json!({"errcode": 0, "errmsg": "ok", "statistics": [
            {"agentid": 1_000_003, "app_name": "other", "count": 4},
            {"agentid": "1000002", "app_name": "own", "count": 101},
            {"agentid": 1_000_004, "app_name": "odd", "count": -1},
            {"agentid": 1_000_005, "app_name": "huge", "count": u64::MAX},
        ]});
        assert_eq!(count(&answer, "1000002"), Ok(101));
        assert_eq!(count(&answer, "1000003"), Ok(4));
        assert_eq!(count(&answer, "1000001"), Ok(0), "it has sent nothing");
        for odd in ["1000004", "1000005"] {
            assert!(count(&answer, odd).unwrap_err().contains("`count`"));
        }
    }

    #[test]
    fn an_answer_that_says_nothing_is_a_failure_and_no_zero() {
        for (answer, what) in [
            (json!({"errcode": 48002, "errmsg": "api forbidden"}), "errcode 48002, api forbidden"),
            (json!({"statistics": []}), "no errcode"),
            (json!({"errcode": 0, "errmsg": "ok"}), "no list"),
            (json!([1]), "no errcode"),
        ] {
            let failed = count(&answer, "1000002").unwrap_err();
            assert!(failed.contains(what), "{failed}");
        }
        let long = json!({"errcode": 1, "errmsg": "no such thing. ".repeat(100)});
        assert_eq!(count(&long, "1").unwrap_err().chars().count(), REASON_MAX);
    }

    #[test]
    fn a_token_in_wecoms_words_is_not_kept() {
        let token = "Zx8cW0nPq5LmTf3RkY7bVd1Hj9GsAe2UoXi4QtNwBy6McKzDpSvFrEaOhJlIuC";
        let answer = json!({"errcode": 40014, "errmsg": format!("invalid access_token={token}")});
        assert!(!count(&answer, "1").unwrap_err().contains(token));
    }
}
