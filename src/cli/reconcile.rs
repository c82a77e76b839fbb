//! `usage reconcile` and `usage reconciled`.

use std::fmt::Write as _;

use crate::app;
use crate::config::Config;
use crate::datadir::Opened;
use crate::http::reconcile::{FailedRow, ReconciledQuery, ReconciledRow, page};

use super::args::{Listed, Wanted};
use super::table::table;
use super::{Answer, Failure};

/// Asks WeCom now.
pub(super) async fn ask(config: Config, wanted: Wanted) -> Result<Answer, Failure> {
    let app = wanted.app.map(|app| app.to_string());
    let report = app::reconcile(config, wanted.corp, app, wanted.day.into()).await?;
    let failed: Vec<String> = report.failed.iter().map(failure).collect();
    let hint = match (report.reconciled.is_empty(), failed.is_empty()) {
        (true, true) => "there is no app to ask about".to_owned(),
        (_, true) => String::new(),
        (_, false) => failed.join("\n"),
    };
    Ok(Answer::new(&report, in_words(&report.reconciled))?.hint(hint))
}

/// What was compared before.
pub(super) async fn list(opened: &Opened, listed: Listed) -> Result<Answer, Failure> {
    let Listed { corp, app, before, limit } = listed;
    let query = ReconciledQuery {
        corp,
        app: app.map(|app| app.to_string()),
        before: before.map(|before| before.to_string()),
        limit: Some(limit.to_string()),
    };
    let page = page(&opened.ledger, &opened.reader, query, None).await?;
    let hint = match page.next {
        Some(next) => format!("there are more: usage reconciled --before {next}"),
        None if page.reconciled.is_empty() => {
            "nothing was compared yet: set reconcile.messages, or ask with usage reconcile".to_owned()
        }
        None => String::new(),
    };
    Ok(Answer::new(&page, in_words(&page.reconciled))?.hint(hint))
}

/// A table of the counts, and a sentence about each that is not as it should be.
fn in_words(rows: &[ReconciledRow]) -> String {
    let cells: Vec<[String; 7]> = rows.iter().map(cells).collect();
    let head = ["SEQ", "DAY", "APP", "WECOM", "HERE", "DIFFERENCE", "UNEXPLAINED"];
    let mut text = table(head, &cells);
    for row in rows.iter().filter(|row| row.unexplained != Some(0)) {
        let _ = write!(
            text,
            "\n{} on {}: {}",
            label(row.corp_id.as_deref(), row.agent_id.as_deref()),
            row.day,
            row.summary
        );
        if let Some(again_at) = &row.again_at {
            let _ = write!(text, " (tried again at {again_at})");
        }
        text.push('\n');
    }
    text
}

fn cells(row: &ReconciledRow) -> [String; 7] {
    let number =
        |number: Option<u64>| number.map_or_else(|| "failed".to_owned(), |number| number.to_string());
    let signed = |number: Option<i64>| number.map_or_else(String::new, |number| number.to_string());
    [
        row.seq.to_string(),
        format!("{}{}", row.day, if row.so_far { " so far" } else { "" }),
        label(row.corp_id.as_deref(), row.agent_id.as_deref()),
        number(row.wecom),
        row.counted.map_or_else(String::new, |counted| counted.to_string()),
        signed(row.difference),
        signed(row.unexplained),
    ]
}

fn failure(row: &FailedRow) -> String {
    format!("{} failed: {}", label(row.corp_id.as_deref(), row.agent_id.as_deref()), row.reason)
}

fn label(corp_id: Option<&str>, agent_id: Option<&str>) -> String {
    [corp_id, agent_id].map(Option::unwrap_or_default).join("/")
}
