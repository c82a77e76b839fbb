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

/// Its limit is one of each group robot, and only the key tells which one speaks.
const ROBOT_API: &str = "webhook/send";
const ROBOT_ADVICE: &str =
    "recipients of webhook/send are those of a group robot: robot, the key in its address";

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

/// As in the body of the message; or a group chat; or a group robot.
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
    /// The key of a group robot.
    robot: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCost {
    person_times: Option<u64>,
    accounts: Option<u64>,
    domains: Option<u64>,
    /// The group chat that `appchat/send` goes to.
    chat: Option<String>,
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

/// Whatever is not said is taken at its upper bound: who leaves something out must not go uncounted.
fn ask(
    state: &HttpState,
    corp_id: &str,
    api: &str,
    recipients: Option<Recipients>,
    cost: Option<NewCost>,
) -> Result<Ask, Problem> {
    match (recipients, cost) {
        (Some(_), Some(_)) => Err(invalid_body("give either recipients or cost")),
        (Some(recipients), None) => to_recipients(state, corp_id, api, recipients),
        (None, _) if api == ROBOT_API => Err(invalid_body(ROBOT_ADVICE)),
        (None, cost) => {
            let most = match cost.as_ref().and_then(|cost| cost.chat.as_ref()) {
                None => of_demand(state, corp_id, api, &cost::demand(api, Some(b""))),
                Some(chat) => of_demand(state, corp_id, api, &to_chat(api, chat)?),
            };
            let most = Ask { unread: most.unread.map(|_| "not_given"), ..most };
            cost.map_or(Ok(most.clone()), |cost| said(most, &cost))
        }
    }
}

/// What the client says, in place of the most that such a call takes.
fn said(most: Ask, cost: &NewCost) -> Result<Ask, Problem> {
    let NewCost { person_times, accounts, domains, .. } = *cost;
    if [person_times, accounts, domains].iter().flatten().any(|amount| *amount > COST_MAX) {
        return Err(invalid_body(format!("a cost is at most {COST_MAX}")));
    }
    let is_message = most.to != To::Nobody;
    let to = match person_times {
        None => most.to,
        Some(0) if is_message => {
            return Err(invalid_body(
                "person_times: a message costs at least 1; left out, it counts as one to everybody",
            ));
        }
        Some(0) => To::Nobody,
        Some(people) => To::Count(people),
    };
    let accounts = accounts.unwrap_or(most.accounts);
    if accounts < most.accounts {
        return Err(invalid_body(format!("accounts: this call creates {}", most.accounts)));
    }
    let is_most = if is_message { person_times.is_none() } else { domains.is_none() };
    let domains = domains.unwrap_or(most.domains);
    Ok(Ask { to, chat: most.chat, accounts, domains, unread: most.unread.filter(|_| is_most) })
}

fn to_recipients(
    state: &HttpState,
    corp_id: &str,
    api: &str,
    recipients: Recipients,
) -> Result<Ask, Problem> {
    let Recipients { touser, toparty, totag, chat, robot } = recipients;
    let members = [&touser, &toparty, &totag].into_iter().any(|named| !named.is_null());
    let demand = match (api, chat, robot) {
        ("message/send" | "linkedcorp/message/send", None, None) => {
            let body = json!({"touser": touser, "toparty": toparty, "totag": totag}).to_string();
            cost::demand(api, Some(body.as_bytes()))
        }
        ("appchat/send", Some(chat), None) if !members => to_chat(api, &chat)?,
        (ROBOT_API, None, Some(robot)) if !members && !robot.is_empty() => {
            let chat = state.vault.robot_hash(&state.ledger.ledger_id(), &robot);
            return Ok(Ask { chat, ..Ask::default() });
        }
        (api, ..) => return Err(invalid_body(advice(api))),
    };
    if let Some(why) = demand.note {
        let why = why.as_str();
        return Err(invalid_body(format!("recipients can't be read ({why}); write them as for {api}")));
    }
    if demand.to == cost::To::Nobody {
        return Err(invalid_body("recipients names nobody"));
    }
    Ok(of_demand(state, corp_id, api, &demand))
}

/// What its message in a group chat takes: read off the body that it would have.
fn to_chat(api: &str, chat: &str) -> Result<Demand, Problem> {
    let demand = cost::demand(api, Some(json!({"chatid": chat}).to_string().as_bytes()));
    match demand.to {
        cost::To::Chat(_) => Ok(demand),
        _ => Err(invalid_body(advice(api))),
    }
}

fn advice(api: &str) -> String {
    match api {
        "message/send" | "linkedcorp/message/send" => {
            format!("recipients of {api} are touser, toparty and totag")
        }
        "appchat/send" => {
            "recipients of appchat/send are those of a group chat: chat, its chatid (at most 128 bytes)"
                .to_owned()
        }
        ROBOT_API => ROBOT_ADVICE.to_owned(),
        api => format!("{api} has no recipients here; say what it takes with cost, or nothing"),
    }
}

/// Recipients leave here only as keyed hashes.
fn of_demand(state: &HttpState, corp_id: &str, api: &str, demand: &Demand) -> Ask {
    let ledger_id = state.ledger.ledger_id();
    ask_of(api, demand, &Hasher { vault: &state.vault, ledger_id: &ledger_id, corp_id })
}
