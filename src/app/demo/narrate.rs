//! What the person who watches the demo is told: read from the ledger, like everything that is claimed.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::sync::watch;

use crate::ledger::directory::Directory;
use crate::ledger::entry::{Body, CallRefused, Entry, Fetched};
use crate::ledger::{LedgerHandle, Seq};
use crate::store::sqlite::{EntryFilter, Reader};
use crate::wecom::errcodes::FREQUENCY_LIMIT;

use super::{CAP, CAPPED, CORP, Stage};

/// One line on standard output. Whoever closed it has seen enough.
pub(super) fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

pub(super) fn opening(stage: &Stage, data_dir: &Path, kept: bool) {
    let keys = if kept { "these keys stay in that ledger" } else { "these keys end with the demo" };
    let (label, key) = stage.key(0);
    let admin = stage.admin.expose_secret();
    let gateway = &stage.gateway;
    say(&format!("listening on {gateway}"));
    say(&format!(
        "
  programs ──▶ wecom-ledger {gateway} ──▶ simulated WeCom {}
                    │
                 ledger  {}

Five simulated programs call WeCom through the ledger; none of them knows that it is there.
So that you need not wait for a refusal, {CAPPED} is set to {CAP} calls a minute; the profile's number is larger.
Try it yourself, in another terminal ({keys}):

  # a token, as every SDK gets one: the API key stands where the secret was
  curl '{gateway}/cgi-bin/gettoken?corpid={CORP}&corpsecret={key}'

  # a call without any token
  curl -H 'Authorization: Bearer {key}' '{gateway}/cgi-bin/user/get?userid=zhangsan'

  # what was spent, and what happened
  curl -H 'Authorization: Bearer {admin}' '{gateway}/v1/usage'
  curl -H 'Authorization: Bearer {admin}' '{gateway}/v1/entries?after=0&limit=20'

(The first key is for app {label}.) Ctrl-C ends the demo.
",
        stage.sandbox,
        data_dir.display()
    ));
}

/// What happened, in numbers.
#[derive(Debug, Default, Clone)]
pub(super) struct Told {
    fetches: u64,
    calls: u64,
    refused: u64,
    healed: u64,
    head: Seq,
    apis: BTreeSet<String>,
}

/// Follows the ledger and tells what is worth telling, until `stopping` turns true.
pub(super) async fn follow(
    ledger: LedgerHandle,
    reader: Reader,
    mut stopping: watch::Receiver<bool>,
) -> Told {
    let mut told = Told::default();
    let mut rounds = 0_u32;
    loop {
        let stop = stopping.wait_for(|stopping| *stopping);
        let stopped = tokio::time::timeout(Duration::from_millis(200), stop).await.is_ok();
        while let Ok(page) = reader.entries(told.head, 1000, &EntryFilter::default()).await {
            let Some(last) = page.rows.last() else { break };
            told.head = last.seq;
            let directory = ledger.directory();
            page.rows
                .iter()
                .filter_map(|row| row.entry().ok())
                .for_each(|entry| tell(&mut told, &entry, &directory));
        }
        rounds += 1;
        if rounds.is_multiple_of(15) {
            status(&told, &ledger).await;
        }
        if stopped {
            return told;
        }
    }
}

fn tell(told: &mut Told, entry: &Entry, directory: &Directory) {
    let app = entry.refs.app.and_then(|app| directory.app_label(app)).unwrap_or_default();
    let api = entry.refs.api.and_then(|api| directory.apis.get(&api).cloned()).unwrap_or_default();
    let text = match &entry.body {
        Body::CredentialPosted(posted) => match &posted.fetched {
            Fetched::Token { .. } => {
                told.fetches += 1;
                format!("token    {app}: fetched once from WeCom, now issued to everybody who asks")
            }
            Fetched::Error { errmsg } => format!("token    {app}: WeCom said no: {errmsg}"),
        },
        Body::CredentialInvalidated(ended) => {
            format!("token    {app}: WeCom ended it early ({}); one refresh for all", ended.errcode)
        }
        Body::CallPending(call) => match call.retry_of {
            Some(first) => {
                told.healed += 1;
                format!("healed   {app}: {api} repeated with the new token (first attempt: entry {first})")
            }
            None => return,
        },
        Body::CallPosted(_) => {
            told.calls += 1;
            if !told.apis.insert(api.clone()) {
                return;
            }
            format!("call     {app}: first {api}, on disk before it left and when it returned")
        }
        Body::CallRefused(refused) => {
            told.refused += refused.count;
            if refused.count > 1 {
                return;
            }
            if refused.errcode == FREQUENCY_LIMIT {
                let CallRefused { used, cap, limit, .. } = refused;
                format!("refused  {app}: {api} is at {used} of {cap} ({limit}): 45009 without asking WeCom")
            } else {
                format!("refused  {app}: the key may not use {api}: {} without asking WeCom", refused.errcode)
            }
        }
        Body::CallExpired(ended) => format!("expired  {app}: {api}: {}", ended.reason),
        _ => return,
    };
    say(&format!("{:>7}  {text}", entry.seq));
}

async fn status(told: &Told, ledger: &LedgerHandle) {
    let busiest = ledger.read(|state, now| {
        let directory = &state.directory;
        let cap = |corp| directory.corps.get(&corp).map_or(0, |corp| corp.account_cap);
        let api_name = |api| directory.apis.get(&api).map_or("", String::as_str);
        let usage = state.meters.usage(now, &crate::quota::Filter::default(), cap, api_name);
        usage.into_iter().max_by_key(|usage| usage.reading.used * 1000 / usage.reading.cap.max(1)).map(
            |usage| {
                let api = usage.api.and_then(|api| directory.apis.get(&api).cloned()).unwrap_or_default();
                format!("{} {api} {}/{}", usage.reading.limit, usage.reading.used, usage.reading.cap)
            },
        )
    });
    let busiest = busiest.await.ok().flatten().unwrap_or_else(|| "nothing used".to_owned());
    let Told { calls, refused, fetches, healed, .. } = told;
    say(&format!(
        "         ── {}, {refused} refused, {} fetched, {healed} healed · fullest: {busiest}",
        count(*calls, "call"),
        count(*fetches, "token")
    ));
}

fn count(number: u64, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

pub(super) fn closing(told: &Told, kept: Option<&Path>) {
    let Told { calls, refused, fetches, healed, head, .. } = told;
    say(&format!(
        "\n{}, {refused} refused, {} fetched, {} healed: {head} entries.",
        count(*calls, "call"),
        count(*fetches, "token"),
        count(*healed, "call")
    ));
    match kept {
        Some(path) => {
            say(&format!("The ledger is kept in {}: look with sqlite3 at its view v_entry.", path.display()));
        }
        None => say("Nothing is left behind; --data-dir DIR would keep the ledger."),
    }
    say("Next: put it in front of your own corp in five minutes; README.md says how.");
}
