//! The ledger, page by page, each entry in its canonical form.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::ledger::directory::Directory;
use crate::ledger::entry::Scope;
use crate::ledger::{Kind, Row, Seq, canonical};
use crate::store::sqlite::EntryFilter;

use super::params::{self, instant, invalid, number};
use super::problem::{self, Problem};
use super::{Client, HttpState, authenticate, known};

const LIMIT_MAX: u32 = 1000;
const LIMIT_DEFAULT: u32 = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    after: Option<String>,
    limit: Option<String>,
    kind: Option<String>,
    corp: Option<String>,
    app: Option<String>,
    api: Option<String>,
    key: Option<String>,
    errcode: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

pub(super) async fn page(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Audit)?;
    let params: Params = params::query(&request)?;
    let after = number("after", params.after.as_ref())?.unwrap_or(0);
    let limit = number("limit", params.limit.as_ref())?.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(invalid(format!("limit must be 1 to {LIMIT_MAX}, not {limit}")));
    }
    let (head, directory) = (state.ledger.head(), state.ledger.directory());
    let Some(filter) = filter(&client, &params, &directory)? else {
        return Ok(body("{\"entries\":[],\"next\":null}".to_owned()));
    };
    let _place = state.slow().await?;
    let mut page = state.reader.entries(after, limit, &filter).await?;
    // Other processes may just have appended what this one has no names for yet.
    page.rows.retain(|row| row.seq <= head);
    let next = page.next.filter(|&next| next < head);
    Ok(body(json(&page.rows, next, &directory)))
}

fn body(json: String) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(json)
}

/// The lines stand in the answer byte for byte, as the proofs hash them.
fn json(rows: &[Row], next: Option<Seq>, directory: &Directory) -> String {
    let mut json = String::with_capacity(64 + rows.len() * 400);
    json.push_str("{\"entries\":[");
    for (i, row) in rows.iter().enumerate() {
        if i > 0 {
            json.push(',');
        }
        json.push_str(&canonical::line(row, directory));
    }
    json.push_str("],\"next\":");
    match next {
        Some(next) => json.push_str(&next.to_string()),
        None => json.push_str("null"),
    }
    json.push('}');
    json
}

/// None: nothing can match, because the API was never called.
fn filter(client: &Client, params: &Params, directory: &Directory) -> Result<Option<EntryFilter>, Problem> {
    let kind = match &params.kind {
        Some(name) => Some(Kind::from_name(name).ok_or_else(|| unknown_kind(name))?),
        None => None,
    };
    let (from, to) = (instant("from", params.from.as_ref())?, instant("to", params.to.as_ref())?);
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(invalid("from is later than to, so nothing can lie between them"));
    }
    let named = |text: &Option<String>, find: fn(&Directory, &str) -> Result<Seq, Problem>| {
        text.as_deref().map(|text| find(directory, text)).transpose()
    };
    let key = number("key", params.key.as_ref())?.map(|key| known::key(directory, key)).transpose()?;
    let api = params.api.as_deref().map(|api| known::api(directory, api)).transpose()?;
    let filter = EntryFilter {
        kind,
        corp: named(&params.corp, known::corp)?,
        app: named(&params.app, known::app)?,
        api: api.flatten(),
        api_key: key,
        errcode: number("errcode", params.errcode.as_ref())?,
        from,
        to,
        apps: client.only_apps().map(<[Seq]>::to_vec),
    };
    if let (Some(app), Some(only)) = (filter.app, client.only_apps())
        && !only.contains(&app)
    {
        let label = params.app.as_deref().unwrap_or_default();
        let what = format!("API key {} is limited to other apps than {label}", client.api_key);
        return Err(Problem::new(&problem::NOT_ALLOWED, what));
    }
    Ok((api != Some(None)).then_some(filter))
}

fn unknown_kind(name: &str) -> Problem {
    let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    invalid(format!("there are no entries of kind `{name}`; use one of {}", known.join(", ")))
}

pub(super) async fn one(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let client = authenticate(&state, &request, Scope::Audit)?;
    let seq = params::seq(&request, "seq")?;
    let (head, directory) = (state.ledger.head(), state.ledger.directory());
    let row = match seq {
        1.. if seq <= head => state.reader.entry(seq).await?,
        _ => None,
    };
    let visible =
        |row: &Row| client.only_apps().is_none_or(|only| row.app.is_some_and(|app| only.contains(&app)));
    match row.filter(visible) {
        Some(row) => Ok(body(canonical::line(&row, &*directory))),
        None => Err(Problem::new(
            &problem::NOT_FOUND,
            format!("there is no entry {seq} that this API key may see"),
        )),
    }
}
