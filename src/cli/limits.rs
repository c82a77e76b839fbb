//! `limits …` and `usage`.

use std::path::Path;

use serde::Serialize;

use crate::datadir::{self, Opened};
use crate::http::declare::article;
use crate::http::forecast;
use crate::http::limits;
use crate::http::usage::{UsageQuery, UsageRow, Viewer, report};
use crate::ledger::{Command, Seq};
use crate::quota::{KEYS_MAX, Limit, Operator, Profile, Rule, TextError};

use super::args::{Declared, Limits};
use super::table::table;
use super::{Answer, Failure, act};

/// Takes back one learned cap, or all.
pub(super) async fn restore(opened: &Opened, seq: Option<Seq>) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Restored {
        restored: Vec<Seq>,
    }
    let wanted: Vec<Seq> = match seq {
        Some(seq) => vec![seq],
        None => limits::list(&opened.ledger, None).await?.learned.iter().map(|row| row.seq).collect(),
    };
    for &learned in &wanted {
        datadir::done(opened.ledger.decide(Command::RestoreCap { learned }).await?)?;
    }
    let text = match wanted.as_slice() {
        [] => "nothing to restore: no cap was learned".to_owned(),
        [one] => format!("learned cap {one} holds no more"),
        more => format!("{} learned caps hold no more", more.len()),
    };
    Answer::new(&Restored { restored: wanted }, text)
}

/// The name of a value as JSON shows it, for people.
pub(super) fn word(value: &impl Serialize) -> String {
    let name = serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned));
    name.unwrap_or_default().replace('_', " ")
}

/// Whose number it is.
fn of(corp_id: &str) -> String {
    match corp_id {
        "*" => "every corp without a number of its own".to_owned(),
        corp_id => format!("corp {corp_id}"),
    }
}

pub(super) async fn change(opened: &Opened, change: Limits) -> Result<Answer, Failure> {
    let (command, what) = match change {
        Limits::Use { profile, provider } => {
            let operator = if provider { Operator::Provider } else { Operator::Corp };
            let caps = if provider { " with the caps of a provider (第三方应用提供商)" } else { "" };
            let what = format!("calls are judged by profile {profile}{caps} from now on");
            let (profile, own) = if names_a_file(&profile) {
                let own = read_profile(Path::new(&profile))?;
                (own.name.clone(), Some(Box::new(own)))
            } else {
                (profile, None)
            };
            let warnings = own.as_deref().map(warnings).unwrap_or_default();
            let what = std::iter::once(what).chain(warnings).collect::<Vec<_>>().join("\n");
            (Command::PutLimits { profile, operator, own }, what)
        }
        Limits::Set { corp_id, limit, cap } => {
            let what = format!("{limit} of {} is {cap} from now on", of(&corp_id));
            (Command::PutCap { corp_id, limit, cap: Some(cap) }, what)
        }
        Limits::Unset { corp_id, limit } => {
            let what = format!("{limit} of {} is the profile's again", of(&corp_id));
            (Command::PutCap { corp_id, limit, cap: None }, what)
        }
        Limits::AlertAt { percents } => {
            let command = Command::PutAlertAt { percents: parse_percents(&percents)? };
            (command, format!("alerts are raised at {percents} from now on"))
        }
        Limits::Reserve { limit, percent } => {
            let of = if limit == "*" { "each limit" } else { &limit };
            let what = format!("{percent} % of {of} is for critical calls only from now on");
            let limit = (limit != "*").then_some(limit);
            (Command::PutReserve { limit, percent }, what)
        }
        Limits::List | Limits::Check { .. } | Limits::Restore { .. } => {
            return Err(Failure::Usage("this changes no limit".to_owned()));
        }
    };
    act(opened, command, what).await
}

/// A profile that ships has no ending and lies in no directory.
fn names_a_file(profile: &str) -> bool {
    profile.contains('/') || Path::new(profile).extension().is_some_and(|ending| ending == "toml")
}

fn read_profile(path: &Path) -> Result<Profile, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::Failed(anyhow::anyhow!("can't read {shown}: {error}")))?;
    Profile::from_toml(&text).map_err(|TextError { line, reason }| {
        Failure::Failed(anyhow::anyhow!("{shown}, line {line}: {reason}; the profile in force stays"))
    })
}

/// `limits check FILE`: needs no ledger.
pub(super) fn check(path: &Path) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Checked {
        profile: String,
        limits: usize,
        warnings: Vec<String>,
    }
    let profile = read_profile(path)?;
    let warnings = warnings(&profile);
    let sound = format!("profile {} is sound: {} limits", profile.name, profile.limits.len());
    let text = std::iter::once(sound).chain(warnings.clone()).collect::<Vec<_>>().join("\n");
    Answer::new(&Checked { profile: profile.name.clone(), limits: profile.limits.len(), warnings }, text)
}

/// What is allowed, but may not be meant.
fn warnings(profile: &Profile) -> Vec<String> {
    let warning = |limit: &Limit| {
        format!(
            "warning: limit {} keeps a counter for each chat for ever; with {KEYS_MAX} counters in all, calls that need a new one are refused. A window such as `30d` forgets",
            limit.name
        )
    };
    profile.keeps_for_ever().map(warning).collect()
}

fn parse_percents(text: &str) -> Result<Vec<u8>, Failure> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let percents = text.split(',').map(|percent| percent.trim().parse()).collect::<Result<_, _>>();
    percents.map_err(|_| Failure::Usage(format!("write percents such as 80,90,100, or none, not `{text}`")))
}

pub(super) async fn usage(opened: &Opened, query: UsageQuery) -> Result<Answer, Failure> {
    let report = report(&opened.ledger, query, Viewer::default()).await?;
    let rows: Vec<_> = report.usage.iter().map(usage_row).collect();
    let text = table(["LIMIT", "OF", "USED", "IN FLIGHT", "CAP", "LEFT", "EMPTY AT"], &rows);
    Ok(Answer::new(&report, text)?.hint(hint(rows.is_empty(), report.truncated)))
}

fn hint(empty: bool, truncated: bool) -> &'static str {
    match (empty, truncated) {
        (true, _) => "nothing is used",
        (false, true) => "there is more; choose with --corp, --app, --api or --limit",
        (false, false) => "",
    }
}

pub(super) async fn declare(opened: &Opened, declared: Declared) -> Result<Answer, Failure> {
    let Declared { owner: (corp_id, agent_id), api, unit, amount, note, article: named } = declared;
    let article = article(&opened.vault, &opened.ledger.ledger_id(), &corp_id, named.as_deref());
    let of = agent_id.as_ref().map_or_else(|| corp_id.clone(), |agent_id| format!("{corp_id}/{agent_id}"));
    let unit_name = word(&unit);
    let what = match amount {
        ..0 => format!("{} {unit_name} of {of} count no more", amount.unsigned_abs()),
        _ => format!("{amount} {unit_name} of {of} count as spent from now on"),
    };
    act(opened, Command::Declare { corp_id, agent_id, api, unit, amount, note, article }, what).await
}

pub(super) async fn forecast(opened: &Opened, query: UsageQuery) -> Result<Answer, Failure> {
    let report = forecast::report(&opened.ledger, query, Viewer::default()).await?;
    let rows: Vec<[String; 6]> = report
        .forecast
        .iter()
        .map(|row| {
            let [limit, of, used, _, cap, ..] = usage_row(&row.usage);
            let at = row.exhausted_at.clone().unwrap_or_else(|| "not at this pace".to_owned());
            [limit, of, used, cap, row.per_minute.to_string(), at]
        })
        .collect();
    let text = table(["LIMIT", "OF", "USED", "CAP", "A MINUTE", "USED UP AT"], &rows);
    Ok(Answer::new(&report, text)?.hint(hint(rows.is_empty(), report.truncated)))
}

fn usage_row(row: &UsageRow) -> [String; 7] {
    let ip = row.egress_ip.as_ref().map(|ip| format!("IP {ip}"));
    let key = row.api_key_id.map(|key| format!("key {key}"));
    let chat = row.chat.as_ref().map(|chat| format!("chat {chat}"));
    let members = row.members.map(|members| format!("the fullest of {members} members"));
    let of = [row.corp_id.clone(), row.agent_id.clone(), ip, row.api.clone(), key, chat, members];
    let of: Vec<_> = of.into_iter().flatten().collect();
    let cap = match row.rule {
        Rule::Limit => row.cap.to_string(),
        rule => format!("{} ({})", row.cap, rule.name()),
    };
    [
        row.limit.clone(),
        of.join(" "),
        row.used.to_string(),
        row.in_flight.to_string(),
        cap,
        row.remaining.to_string(),
        row.resets_at.clone().unwrap_or_else(|| "never".to_owned()),
    ]
}
