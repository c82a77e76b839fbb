//! `penalty …` and `incidents`.

use std::fmt::Write as _;

use serde::Serialize;

use crate::datadir::{self, Opened};
use crate::http::incidents::{self, Incident};
use crate::http::penalties::{PenaltyRow, report};
use crate::ledger::entry::Blocks;
use crate::ledger::{Command, Seq};

use super::limits::word;
use super::table::table;
use super::{Answer, Failure};

pub(super) async fn penalties(opened: &Opened) -> Result<Answer, Failure> {
    let report = report(&opened.ledger, None).await?;
    let rows: Vec<_> = report.penalties.iter().map(penalty_row).collect();
    let text = table(["SEQ", "API", "OF", "LEVEL", "ERRCODE", "UNTIL", "STATE"], &rows);
    Ok(Answer::new(&report, text)?.hint(if rows.is_empty() { "WeCom blocks nothing" } else { "" }))
}

fn penalty_row(row: &PenaltyRow) -> [String; 7] {
    let ip = row.egress_ip.as_ref().map(|ip| format!("IP {ip}"));
    let of: Vec<_> = [row.corp_id.clone(), row.agent_id.clone(), ip].into_iter().flatten().collect();
    [
        row.seq.to_string(),
        row.api.clone().unwrap_or_default(),
        of.join("/"),
        word(&row.level),
        row.errcode.to_string(),
        row.until.clone(),
        row.state.in_words().to_owned(),
    ]
}

/// Ends one block, or all.
pub(super) async fn clear(opened: &Opened, seq: Option<Seq>) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Cleared {
        cleared: Vec<Seq>,
    }
    let all = || async { Ok::<_, Failure>(report(&opened.ledger, None).await?.penalties) };
    let wanted: Vec<Seq> = match seq {
        Some(seq) => vec![seq],
        None => all().await?.iter().map(|row| row.seq).collect(),
    };
    for &started in &wanted {
        datadir::done(opened.ledger.decide(Command::ClearPenalty { started }).await?)?;
    }
    let text = match wanted.as_slice() {
        [] => "nothing to clear: WeCom blocks nothing".to_owned(),
        [one] => format!("penalty {one} is over: its calls go out again"),
        more => format!("{} penalties are over: their calls go out again", more.len()),
    };
    Answer::new(&Cleared { cleared: wanted }, text)
}

pub(super) async fn list(opened: &Opened, before: Option<Seq>, limit: usize) -> Result<Answer, Failure> {
    let page = incidents::list(&opened.ledger, &opened.reader, before, limit, None).await?;
    let rows: Vec<_> = page.incidents.iter().map(row).collect();
    let text = table(["SEQ", "AT", "API", "OF", "LEVEL", "ERRCODE", "COUNTED", "STATE"], &rows);
    let hint = match page.next {
        Some(next) => format!("there are more: incidents --before {next}"),
        None if rows.is_empty() => "WeCom has not said that a limit is used up".to_owned(),
        None => "incidents SEQ shows who had spent the limit".to_owned(),
    };
    Ok(Answer::new(&page, text)?.hint(hint))
}

/// The likely limit, else the fullest one.
fn counted(incident: &Incident) -> String {
    let likely = incident.counted.iter().find(|it| Some(&it.limit) == incident.limit.as_ref());
    let share = |used: u64, cap: u64| u128::from(used) * 1_000_000 / u128::from(cap.max(1));
    let fullest = likely.or_else(|| incident.counted.iter().max_by_key(|it| share(it.used, it.cap)));
    fullest.map_or_else(String::new, |it| format!("{}/{} {}", it.used, it.cap, it.limit))
}

fn row(incident: &Incident) -> [String; 8] {
    let of = match incident.blocks {
        Blocks::EgressIp => Some("IP".to_owned()),
        Blocks::Corp => incident.corp_id.clone(),
        Blocks::App => Some(
            [incident.corp_id.clone(), incident.agent_id.clone()].map(Option::unwrap_or_default).join("/"),
        ),
    };
    [
        incident.seq.to_string(),
        incident.at.clone(),
        incident.api.clone().unwrap_or_default(),
        of.unwrap_or_default(),
        word(&incident.level),
        incident.errcode.to_string(),
        counted(incident),
        incident.state.in_words().to_owned(),
    ]
}

pub(super) async fn one(opened: &Opened, seq: Seq) -> Result<Answer, Failure> {
    let incident = incidents::one(&opened.ledger, &opened.reader, seq, None).await?;
    let mut text = format!("{}\n", incident.summary);
    let said = [("hint", &incident.hint), ("from ip", &incident.from_ip)];
    for (name, value) in said.iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value))) {
        let _ = writeln!(text, "{name}: {value}");
    }
    let _ = writeln!(text, "blocked until {} ({})", incident.until, incident.state.in_words());
    for spent in incident.spent.iter().flatten() {
        let cut = if spent.cut { ", not the whole window" } else { "" };
        let _ = writeln!(
            text,
            "\nthe {} before, from {}{cut}: {} {} spent, {} refused",
            spent.window,
            spent.since,
            spent.spent,
            word(&spent.unit),
            spent.refused
        );
        let rows: Vec<_> = spent
            .spenders
            .iter()
            .map(|it| {
                let key = it.api_key_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
                let app = [it.corp_id.clone(), it.agent_id.clone()].into_iter().flatten().collect::<Vec<_>>();
                [
                    key,
                    it.api_key_name.clone().unwrap_or_default(),
                    app.join("/"),
                    it.api.clone().unwrap_or_default(),
                    it.spent.to_string(),
                    it.refused.to_string(),
                ]
            })
            .collect();
        text.push_str(&table(["KEY", "NAME", "APP", "API", "SPENT", "REFUSED"], &rows));
    }
    Answer::new(&incident, text)
}
