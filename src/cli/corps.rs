//! `corp …` and `app …`.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::datadir::{APP_SECRET, Opened};
use crate::http::present::Present;
use crate::ledger::Command;
use crate::ledger::directory::{App, Directory};
use crate::ledger::entry::Plain;

use super::args::AppLabel;
use super::table::table;
use super::{Answer, Failure, act};

pub(super) async fn add(opened: &Opened, corp_id: String, account_cap: u64) -> Result<Answer, Failure> {
    let what = format!("corp {corp_id} has {account_cap} accounts");
    act(opened, Command::PutCorp { corp_id, account_cap }, what).await
}

pub(super) async fn remove(opened: &Opened, corp_id: String) -> Result<Answer, Failure> {
    let what = format!("corp {corp_id} is removed");
    act(opened, Command::RemoveCorp { corp_id }, what).await
}

pub(super) fn list(opened: &Opened) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Listed<'a> {
        corp_id: &'a str,
        account_cap: u64,
        apps: usize,
    }
    #[derive(Serialize)]
    struct List<'a> {
        corps: Vec<Listed<'a>>,
    }
    let directory = opened.ledger.directory();
    let live = directory.corps.iter().filter(|(_, corp)| !corp.removed);
    let corps: Vec<_> = live
        .map(|(&seq, corp)| Listed {
            corp_id: &corp.corp_id,
            account_cap: corp.account_cap,
            apps: directory.live_apps().filter(|(_, app)| app.corp == seq).count(),
        })
        .collect();
    let rows: Vec<_> = corps
        .iter()
        .map(|corp| [corp.corp_id.to_owned(), corp.account_cap.to_string(), corp.apps.to_string()])
        .collect();
    let text = table(["CORP", "ACCOUNTS", "APPS"], &rows);
    let hint = if rows.is_empty() {
        "no corps yet; add one: wecom-ledger corp add CORP_ID --accounts N"
    } else {
        ""
    };
    Ok(Answer::new(&List { corps }, text)?.hint(hint))
}

pub(super) async fn add_app(
    opened: &Opened,
    app: AppLabel,
    secret: Option<SecretString>,
) -> Result<Answer, Failure> {
    let Some(secret) = secret else {
        return Err(Failure::Usage("an app needs a secret: --secret-file FILE".to_owned()));
    };
    let what = if opened.ledger.directory().app(&app.corp_id, &app.agent_id).is_some() {
        format!("app {app} has a new secret; it is used from now on")
    } else {
        format!("app {app} is added; its secret is stored")
    };
    let fingerprint = opened.vault.fingerprint(APP_SECRET, secret.expose_secret());
    let AppLabel { corp_id, agent_id } = app;
    let secret = Plain(Arc::new(secret));
    act(opened, Command::PutApp { corp_id, agent_id, secret, fingerprint }, what).await
}

pub(super) async fn reset_app(opened: &Opened, app: AppLabel) -> Result<Answer, Failure> {
    let what = format!("app {app} is reset; its token is fetched again at the next call");
    let AppLabel { corp_id, agent_id } = app;
    act(opened, Command::ResetApp { corp_id, agent_id }, what).await
}

pub(super) async fn remove_app(opened: &Opened, app: AppLabel) -> Result<Answer, Failure> {
    let what = format!("app {app} is removed; its secret and tokens are erased");
    let AppLabel { corp_id, agent_id } = app;
    act(opened, Command::RemoveApp { corp_id, agent_id }, what).await
}

#[derive(Serialize)]
struct ListedApp {
    app: String,
    corp_id: String,
    agent_id: String,
    /// `ready`, `failing` (WeCom can't be asked) or `blocked` (WeCom rejects the secret).
    status: &'static str,
    errcode: Option<i64>,
    reason: Option<String>,
    token_expires_at: Option<String>,
}

pub(super) fn list_apps(opened: &Opened) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct List<'a> {
        apps: &'a [ListedApp],
    }
    let directory = opened.ledger.directory();
    let present = Present::read(&opened.ledger, &*opened.clock);
    let apps: Vec<_> =
        directory.live_apps().filter_map(|(_, app)| listed(&directory, app, present)).collect();
    let rows: Vec<_> = apps
        .iter()
        .map(|app| {
            let token =
                app.token_expires_at.as_ref().map_or("none yet".to_owned(), |at| format!("until {at}"));
            [app.app.clone(), app.in_words(), token]
        })
        .collect();
    let text = table(["APP", "STATUS", "TOKEN"], &rows);
    let hint = if rows.is_empty() {
        "no apps yet; add one: wecom-ledger app add CORP_ID/AGENT_ID --secret-file FILE"
    } else {
        ""
    };
    Ok(Answer::new(&List { apps: &apps }, text)?.hint(hint))
}

fn listed(directory: &Directory, app: &App, present: Present) -> Option<ListedApp> {
    let corp_id = directory.corps.get(&app.corp)?.corp_id.clone();
    let credential = &app.credential;
    let failure = credential.last_failure.as_ref().filter(|_| credential.failures > 0);
    let status = match (credential.blocked, failure) {
        (Some(_), _) => "blocked",
        (None, Some(_)) => "failing",
        (None, None) => "ready",
    };
    Some(ListedApp {
        app: format!("{corp_id}/{}", app.agent_id),
        corp_id,
        agent_id: app.agent_id.clone(),
        status,
        errcode: credential.blocked.or(failure.and_then(|failure| failure.errcode)),
        reason: failure.map(|failure| failure.reason.clone()),
        token_expires_at: credential.valid_row(present.tick).map(|row| present.instant(row.expires_tick)),
    })
}

impl ListedApp {
    fn in_words(&self) -> String {
        let why = match (self.errcode, &self.reason) {
            (Some(errcode), _) => format!("errcode {errcode}"),
            (None, Some(reason)) => reason.chars().filter(|c| !c.is_control()).take(60).collect(),
            (None, None) => String::new(),
        };
        match self.status {
            "blocked" => format!("WeCom rejects its secret ({why}): give the right one with `app add`"),
            "failing" => format!("token fetches fail: {why}"),
            other => other.to_owned(),
        }
    }
}
