//! `limits list`.

use crate::datadir::Opened;
use crate::http::limits::{self, LearnedRow, List, Listed};
use crate::quota::Operator;

use super::limits::word;
use super::table::table;
use super::{Answer, Failure};

pub(super) async fn list(opened: &Opened) -> Result<Answer, Failure> {
    let list = limits::list(&opened.ledger, None).await?;
    let text = in_words(&list);
    Answer::new(&list, text)
}

fn in_words(list: &List) -> String {
    let operator = match list.operator {
        Operator::Corp => "",
        Operator::Provider => " for a third-party provider",
    };
    let sources = sources(&list.limits);
    let rows: Vec<_> = list.limits.iter().map(|limit| limit_row(limit, &sources)).collect();
    let mut text = format!("profile {}{operator}\n\n", list.profile);
    text.push_str(&table(["LIMIT", "CAP", "UNIT", "WINDOW", "PER", "APIS", "MODE", "SOURCE"], &rows));
    text.push_str("\nsources\n\n");
    let numbered = (1..).zip(&sources);
    text.extend(numbered.map(|(number, source)| format!("[{number}] {source}\n")));
    text.extend(["\n", &alerts_in_words(&list.alert_at), "\n", &reserves_in_words(list), "\n"]);
    if !list.overrides.is_empty() {
        let own: Vec<_> = list
            .overrides
            .iter()
            .map(|own| [own.corp_id.clone(), own.limit.clone(), own.cap.to_string()])
            .collect();
        text.push_str("\nyour own numbers\n\n");
        text.push_str(&table(["CORP", "LIMIT", "CAP"], &own));
    }
    if !list.learned.is_empty() {
        let learned: Vec<_> = list.learned.iter().map(learned_row).collect();
        text.push_str("\nlearned from WeCom's refusals\n\n");
        text.push_str(&table(["SEQ", "LIMIT", "OF", "CAP", "BEFORE", "SINCE", "INCIDENTS"], &learned));
    }
    text
}

/// Each once: many limits stand in the same table of WeCom's.
fn sources(limits: &[Listed]) -> Vec<&str> {
    let mut sources = Vec::new();
    for limit in limits {
        if !sources.contains(&limit.source.as_str()) {
            sources.push(limit.source.as_str());
        }
    }
    sources
}

fn limit_row(limit: &Listed, sources: &[&str]) -> [String; 8] {
    let per: Vec<_> = limit.per.iter().map(word).collect();
    let factor = match (limit.per_account, limit.percent) {
        (false, _) => "",
        (true, false) => " × accounts",
        (true, true) => "% of accounts",
    };
    let cap = if limit.cap == limit.profile_cap {
        format!("{}{factor}", limit.cap)
    } else {
        format!("{} (profile: {})", limit.cap, limit.profile_cap)
    };
    let source = (1..).zip(sources).find(|(_, source)| **source == limit.source);
    [
        limit.limit.clone(),
        cap,
        word(&limit.unit),
        limit.window.clone(),
        per.join(" × "),
        apis_in_words(limit),
        mode_in_words(limit),
        source.map_or_else(String::new, |(number, _)| format!("[{number}]")),
    ]
}

fn alerts_in_words(percents: &[u8]) -> String {
    let percents: Vec<_> = percents.iter().map(u8::to_string).collect();
    if percents.is_empty() {
        "no alerts are raised".to_owned()
    } else {
        format!("alerts are raised at {} %", percents.join(", "))
    }
}

fn reserves_in_words(list: &List) -> String {
    // A limit can be exempt from what is kept of each.
    let reserves = list.reserves.iter().filter(|reserve| reserve.percent > 0 || reserve.limit.is_some());
    let reserves: Vec<_> = reserves
        .map(|reserve| {
            let of = reserve.limit.as_deref().unwrap_or("each limit without a number of its own");
            format!("{} % of {of}", reserve.percent)
        })
        .collect();
    if reserves.is_empty() {
        "nothing is kept for critical calls".to_owned()
    } else {
        format!("kept for critical calls: {}", reserves.join(", "))
    }
}

fn mode_in_words(limit: &Listed) -> String {
    match &limit.would_have_refused {
        Some(it) if it.calls > 0 => format!("shadow: would have refused {}", it.calls),
        _ => word(&limit.mode),
    }
}

fn learned_row(row: &LearnedRow) -> [String; 7] {
    let of: Vec<_> = [&row.corp_id, &row.agent_id, &row.api].into_iter().flatten().cloned().collect();
    let incidents: Vec<_> = row.drifts.iter().map(|drift| drift.incident.to_string()).collect();
    [
        row.seq.to_string(),
        row.limit.clone(),
        of.join(" "),
        row.cap.to_string(),
        row.before.to_string(),
        row.at.clone(),
        incidents.join(" "),
    ]
}

fn apis_in_words(limit: &Listed) -> String {
    let apis = match &limit.apis {
        all if all.is_all() => "each".to_owned(),
        none if none.is_empty() => "(declared)".to_owned(),
        listed => listed.to_string(),
    };
    if limit.except.is_empty() { apis } else { format!("{apis} but {}", limit.except) }
}
