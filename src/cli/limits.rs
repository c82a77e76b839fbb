//! `limits …` and `usage`.

use serde::Serialize;

use crate::datadir::Opened;
use crate::http::usage::{UsageQuery, UsageRow, Viewer, report};
use crate::ledger::entry::CapOverride;
use crate::ledger::{Command, Seq};
use crate::quota::{self, Apis, Cap, Dimension, Limit, Mode, Operator, Unit};

use super::args::{Declared, Limits};
use super::table::table;
use super::{Answer, Failure, act};

#[derive(Serialize)]
struct Listed {
    limit: String,
    apis: Apis,
    /// Of those, the ones that do not count.
    except: Apis,
    /// Calls of these do not count once they turn out good.
    free_if_ok: Apis,
    /// What is counted apart.
    per: Vec<Dimension>,
    /// That of every corp without a number of its own.
    cap: u64,
    /// What the profile says.
    profile_cap: u64,
    /// The cap is multiplied by the enterprise's number of accounts.
    per_account: bool,
    /// The cap is a percentage of that number.
    percent: bool,
    unit: Unit,
    window: String,
    mode: Mode,
    source: String,
    note: Option<String>,
}

#[derive(Serialize)]
struct Override {
    corp_id: String,
    limit: String,
    cap: u64,
}

#[derive(Serialize)]
struct List {
    profile: String,
    operator: Operator,
    profiles: &'static [&'static str],
    limits: Vec<Listed>,
    overrides: Vec<Override>,
    /// Percent of a limit at which an alert is raised.
    alert_at: Vec<u8>,
}

pub(super) async fn list(opened: &Opened) -> Result<Answer, Failure> {
    let list = opened
        .ledger
        .read(|state, _| {
            // The same sign as on the command line stands for every corp without a number of its own.
            let corp_id = |corp: Option<Seq>| match corp {
                None => "*".to_owned(),
                Some(corp) => {
                    state.directory.corps.get(&corp).map_or(String::new(), |corp| corp.corp_id.clone())
                }
            };
            let overrides = state.limits.overrides.iter();
            List {
                profile: state.limits.profile.clone(),
                operator: state.limits.operator,
                profiles: quota::shipped_names(),
                limits: state.meters.limits().map(|limit| listed(limit, &state.limits.overrides)).collect(),
                overrides: overrides
                    .map(|own| Override {
                        corp_id: corp_id(own.corp),
                        limit: own.limit.clone(),
                        cap: own.cap,
                    })
                    .collect(),
                alert_at: state.limits.alert_at.clone(),
            }
        })
        .await?;
    let text = in_words(&list);
    Answer::new(&list, text)
}

fn listed(limit: &Limit, overrides: &[CapOverride]) -> Listed {
    let own = overrides.iter().find(|own| own.corp.is_none() && *own.limit == *limit.name);
    let profile_cap = match limit.cap {
        Cap::Fixed(number) | Cap::PerAccount(number) | Cap::PercentOfAccounts(number) => number,
    };
    Listed {
        limit: limit.name.to_string(),
        apis: limit.apis.clone(),
        except: limit.except.clone(),
        free_if_ok: limit.free_if_ok.clone(),
        per: limit.scope.into(),
        cap: own.map_or(profile_cap, |own| own.cap),
        profile_cap,
        per_account: limit.cap.needs_corp() && own.is_none(),
        percent: matches!(limit.cap, Cap::PercentOfAccounts(_)) && own.is_none(),
        unit: limit.unit,
        window: limit.window.to_string(),
        mode: limit.mode,
        source: limit.source.clone(),
        note: limit.note.clone(),
    }
}

fn in_words(list: &List) -> String {
    let operator = match list.operator {
        Operator::Corp => "",
        Operator::Provider => " for a third-party provider",
    };
    let rows: Vec<_> = list
        .limits
        .iter()
        .map(|limit| {
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
            [
                limit.limit.clone(),
                cap,
                word(&limit.unit),
                limit.window.clone(),
                per.join(" × "),
                apis_in_words(limit),
                word(&limit.mode),
            ]
        })
        .collect();
    let mut text = format!("profile {}{operator}\n\n", list.profile);
    text.push_str(&table(["LIMIT", "CAP", "UNIT", "WINDOW", "PER", "APIS", "MODE"], &rows));
    if !list.overrides.is_empty() {
        let own: Vec<_> = list
            .overrides
            .iter()
            .map(|own| [own.corp_id.clone(), own.limit.clone(), own.cap.to_string()])
            .collect();
        text.push_str("\nyour own numbers\n\n");
        text.push_str(&table(["CORP", "LIMIT", "CAP"], &own));
    }
    text
}

fn apis_in_words(limit: &Listed) -> String {
    let apis = match &limit.apis {
        all if all.is_all() => "each".to_owned(),
        none if none.is_empty() => "(declared)".to_owned(),
        listed => listed.to_string(),
    };
    if limit.except.is_empty() { apis } else { format!("{apis} but {}", limit.except) }
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
            (Command::PutLimits { profile, operator }, what)
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
        Limits::List => return Err(Failure::Usage("this changes no limit".to_owned())),
    };
    act(opened, command, what).await
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
    let hint = match (rows.is_empty(), report.truncated) {
        (true, _) => "nothing is used",
        (false, true) => "there is more; choose with --corp, --app, --api or --limit",
        (false, false) => "",
    };
    Ok(Answer::new(&report, text)?.hint(hint))
}

pub(super) async fn declare(opened: &Opened, declared: Declared) -> Result<Answer, Failure> {
    let Declared { owner: (corp_id, agent_id), unit, amount, note } = declared;
    let of = agent_id.as_ref().map_or_else(|| corp_id.clone(), |agent_id| format!("{corp_id}/{agent_id}"));
    let what = format!("{amount} {} of {of} count as spent from now on", word(&unit));
    act(opened, Command::Declare { corp_id, agent_id, unit, amount, note }, what).await
}

fn usage_row(row: &UsageRow) -> [String; 7] {
    let ip = row.egress_ip.as_ref().map(|ip| format!("IP {ip}"));
    let key = row.api_key_id.map(|key| format!("key {key}"));
    let members = row.members.map(|members| format!("the fullest of {members} members"));
    let of = [row.corp_id.clone(), row.agent_id.clone(), ip, row.api.clone(), key, members];
    let of: Vec<_> = of.into_iter().flatten().collect();
    [
        row.limit.clone(),
        of.join(" "),
        row.used.to_string(),
        row.in_flight.to_string(),
        row.cap.to_string(),
        row.remaining.to_string(),
        row.resets_at.clone().unwrap_or_else(|| "never".to_owned()),
    ]
}
