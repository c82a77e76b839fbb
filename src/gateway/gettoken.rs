//! `gettoken`, answered by the broker: nothing is forwarded.

use std::sync::Arc;

use serde::Serialize;

use crate::broker::CredentialError;
use crate::ledger::LedgerError;
use crate::ledger::command::Unauthorized;
use crate::wecom::query::Query;
use crate::wecom::reply::Reply;

use super::outgoing::{Outgoing, seconds_until};
use super::{Gateway, auth, token};

#[derive(Serialize)]
struct Issued {
    errcode: i64,
    errmsg: &'static str,
    access_token: String,
    expires_in: i64,
}

pub(super) async fn answer(gateway: &Arc<Gateway>, query: &Query) -> Outgoing {
    match issue(gateway, query).await {
        Ok(access_token) => {
            let expires_in = token::LIFE_SECS;
            Outgoing::json(&Issued { errcode: 0, errmsg: "ok", access_token, expires_in })
        }
        Err(outgoing) => outgoing,
    }
}

async fn issue(gateway: &Arc<Gateway>, query: &Query) -> Result<String, Outgoing> {
    let own = |reply: Reply| Outgoing::own(&reply);
    let missing =
        |errcode, what: &str| Reply { errcode, errmsg: format!("{what} missing, 缺少{what}参数") };
    let corp_id = query.get("corpid").filter(|id| !id.is_empty());
    let corp_id = corp_id.ok_or_else(|| own(missing(41002, "corpid")))?;
    let secret = query.get("corpsecret").filter(|secret| !secret.is_empty());
    let secret = zeroize::Zeroizing::new(secret.ok_or_else(|| own(missing(41004, "corpsecret")))?);
    let identity = auth::by_secret(&gateway.ledger, &gateway.vault, &corp_id, &secret).await.map_err(own)?;
    let issued = gateway.broker.issue(identity.app, identity.caller).await;
    issued.map_err(|error| unavailable(&error, gateway.ledger.tick()))?;
    Ok(token::mint(
        &gateway.vault,
        &gateway.ledger.ledger_id(),
        identity.app,
        identity.caller,
        gateway.ledger.tick(),
    ))
}

/// Why no credential can be had, in WeCom's shape. Nothing was sent in the caller's name.
pub(super) fn unavailable(error: &CredentialError, tick: i64) -> Outgoing {
    match error {
        CredentialError::Unauthorized(why) => Outgoing::own(&unauthorized(*why)),
        CredentialError::Ledger(error) => ledger_failed(error),
        CredentialError::Unavailable { errcode, reason, retry_at } => {
            let reply = match errcode {
                Some(errcode) if *errcode != 0 => Reply {
                    errcode: *errcode,
                    errmsg: format!(
                        "no access_token for this app, 无法获取access_token, from wecom-ledger: {reason}"
                    ),
                },
                _ => Reply::try_again(&format!("no access_token for this app, nothing was sent: {reason}")),
            };
            let outgoing = Outgoing::own(&reply);
            match retry_at {
                Some(at) => outgoing.header("retry-after", seconds_until(*at, tick).max(1).to_string()),
                None => outgoing,
            }
        }
    }
}

pub(super) fn unauthorized(why: Unauthorized) -> Reply {
    match why {
        Unauthorized::Ended => Reply::token_invalid(
            "the API key was revoked or paused, the app's secret has changed, or the app was removed",
        ),
        Unauthorized::NotAllowed => {
            Reply::api_forbidden("the API key lacks the scope `call`, or it may not use this app or API")
        }
    }
}

pub(super) fn ledger_failed(error: &LedgerError) -> Outgoing {
    Outgoing::own(&Reply::try_again(&error.to_string())).header("retry-after", "1")
}
