//! What a client asks for when it reserves calls: read off the body, and told to the ledger.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::gateway::{Hasher, ask_of};
use crate::ledger::command::{Admit, Ask, Caller, InLine, To};
use crate::ledger::entry::Once;
use crate::wecom::catalogue::{self, Issues};
use crate::wecom::cost::{self, Demand};
use crate::wecom::path::ApiName;

use super::params::invalid_body;
use super::problem::{self, Problem};
use super::{Client, HttpState};

const TIMEOUT_DEFAULT_SECS: u32 = 60;
const TIMEOUT_MAX_SECS: u32 = 3600;
/// Of one unit; no limit of WeCom's is as large.
const COST_MAX: u64 = 1_000_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCall<'a> {
    #[serde(borrow)]
    app: Cow<'a, str>,
    #[serde(borrow)]
    api: Cow<'a, str>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    timeout_seconds: Option<u32>,
    recipients: Option<Recipients>,
    cost: Option<NewCost>,
}

/// As in the body of message/send; or a group chat.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipients {
    #[serde(default)]
    touser: Value,
    #[serde(default)]
    toparty: Value,
    #[serde(default)]
    totag: Value,
    chat: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCost {
    #[serde(default)]
    person_times: u64,
    #[serde(default)]
    accounts: u64,
    #[serde(default)]
    domains: u64,
}

impl NewCall<'_> {
    pub(super) fn admit(
        self,
        state: &HttpState,
        client: &Client,
        once: Option<Once>,
    ) -> Result<Admit, Problem> {
        let timeout = self.timeout_seconds.unwrap_or(TIMEOUT_DEFAULT_SECS);
        if !(1..=TIMEOUT_MAX_SECS).contains(&timeout) {
            return Err(invalid_body(format!(
                "timeout_seconds must be 1 to {TIMEOUT_MAX_SECS}, not {timeout}"
            )));
        }
        let Some((corp_id, agent_id)) = self.app.split_once('/') else {
            return Err(invalid_body("app must be CORP_ID/AGENT_ID"));
        };
        let Some((app, _)) = client.directory.app(corp_id, agent_id) else {
            let what = format!("app `{}` is unknown; add it with: wecom-ledger app add", self.app);
            return Err(Problem::new(&problem::UNKNOWN_APP, what));
        };
        let method = method(client, &self.api, self.method.as_deref())?;
        let ask = ask(state, corp_id, &self.api, self.recipients, self.cost)?;
        Ok(Admit {
            caller: Caller::Key(client.api_key),
            app,
            method: method.to_owned(),
            api: self.api.into_owned(),
            ask,
            needs_credential: false,
            not_credential: None,
            retry_of: None,
            timeout_ms: timeout * 1000,
            request_bytes: 0,
            request_sha256: None,
            once,
            line: InLine::default(),
        })
    }
}

/// The method, where the name of the API is one.
fn method<'a>(client: &Client, api: &str, method: Option<&'a str>) -> Result<&'a str, Problem> {
    let known = catalogue::lookup(api);
    let issues = known.and_then(|api| api.issues);
    if issues.is_some_and(|issues| !matches!(issues, Issues::JsapiTicket | Issues::AgentTicket)) {
        return Err(invalid_body(
            "api: tokens are fetched by the gateway alone; reserve the calls that need them",
        ));
    }
    // A name that the ledger has seen before was checked then.
    if known.is_none() && client.directory.api(api).is_none() {
        if let Some(name) = api.strip_prefix("/cgi-bin/").or(api.strip_prefix("cgi-bin/")) {
            return Err(invalid_body(format!("api: leave /cgi-bin/ out: {name}")));
        }
        ApiName::parse(&format!("/cgi-bin/{api}"))
            .map_err(|error| invalid_body(format!("api must be a name such as message/send: {error}")))?;
    }
    match method {
        None => Ok(known.map_or("POST", |api| api.method)),
        Some(method @ ("GET" | "POST")) => Ok(method),
        Some(other) => Err(invalid_body(format!("method must be GET or POST, not `{other}`"))),
    }
}

fn ask(
    state: &HttpState,
    corp_id: &str,
    api: &str,
    recipients: Option<Recipients>,
    cost: Option<NewCost>,
) -> Result<Ask, Problem> {
    match (recipients, cost) {
        (Some(_), Some(_)) => Err(invalid_body("give either recipients or cost")),
        (Some(recipients), None) => to_recipients(state, corp_id, recipients),
        (None, Some(NewCost { person_times, accounts, domains })) => {
            if [person_times, accounts, domains].iter().any(|amount| *amount > COST_MAX) {
                return Err(invalid_body(format!("a cost is at most {COST_MAX}")));
            }
            let to = if person_times == 0 { To::Nobody } else { To::Count(person_times) };
            Ok(Ask { to, accounts, domains, ..Ask::default() })
        }
        // Of a message to nobody knows whom, the upper bound; of every other call what it takes at most.
        (None, None) => {
            let ask = of_demand(state, corp_id, api, &cost::demand(api, Some(b"")));
            Ok(Ask { unread: ask.unread.map(|_| "not_given"), ..ask })
        }
    }
}

fn to_recipients(state: &HttpState, corp_id: &str, recipients: Recipients) -> Result<Ask, Problem> {
    let Recipients { touser, toparty, totag, chat } = recipients;
    let demand = match chat {
        Some(chat) if touser.is_null() && toparty.is_null() && totag.is_null() && !chat.is_empty() => {
            Demand { to: cost::To::Chat(chat), ..Demand::default() }
        }
        Some(_) => return Err(invalid_body("recipients: give either chat or members")),
        None => {
            let body = json!({"touser": touser, "toparty": toparty, "totag": totag}).to_string();
            cost::demand("message/send", Some(body.as_bytes()))
        }
    };
    if let Some(why) = demand.note {
        return Err(invalid_body(format!(
            "recipients can't be read ({}); write them as for message/send",
            why.as_str()
        )));
    }
    if demand.to == cost::To::Nobody {
        return Err(invalid_body("recipients names nobody"));
    }
    Ok(of_demand(state, corp_id, "message/send", &demand))
}

/// Recipients leave here only as keyed hashes.
fn of_demand(state: &HttpState, corp_id: &str, api: &str, demand: &Demand) -> Ask {
    let ledger_id = state.ledger.ledger_id();
    ask_of(api, demand, &Hasher { vault: &state.vault, ledger_id: &ledger_id, corp_id })
}
