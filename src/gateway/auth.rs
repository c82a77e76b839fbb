//! Who calls, and for which app.

use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;

use crate::ledger::command::{Caller, Unauthorized};
use crate::ledger::directory::Directory;
use crate::ledger::entry::Scope;
use crate::ledger::{LedgerHandle, Seq};
use crate::vault::Vault;
use crate::wecom::query::Query;
use crate::wecom::reply::Reply;

use super::token::{self, TokenError};

/// The caller's credentials besides the query string.
#[derive(Default)]
pub struct Presented<'a> {
    /// `Authorization: Bearer …`
    pub bearer: Option<&'a str>,
    /// `X-Wecom-App: CORP_ID/AGENT_ID`
    pub app: Option<&'a str>,
}

/// A caller that may act for an app, as far as this process has seen; the ledger decides at each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub caller: Caller,
    pub app: Seq,
}

/// Finds out who calls, by gateway token or API key.
pub async fn identify(
    ledger: &LedgerHandle,
    vault: &Vault,
    query: &Query,
    presented: &Presented<'_>,
) -> Result<Identity, Reply> {
    if let Some(found) = query.credentials().first() {
        let named =
            query.credential(found.param).map_err(|error| Reply::parameter_invalid(&error.to_string()))?;
        let token = named.map_or("", |token| token.expose_secret());
        if token.is_empty() {
            return Err(Reply::token_missing(
                "the access_token is empty; pass the one that gettoken gave you",
            ));
        }
        return by_token(ledger, vault, token);
    }
    match presented.bearer {
        Some(key) => by_key(ledger, vault, key, presented.app).await,
        None => Err(Reply::token_missing(
            "pass the access_token that gettoken gave you, or an API key in the Authorization header",
        )),
    }
}

fn by_token(ledger: &LedgerHandle, vault: &Vault, token: &str) -> Result<Identity, Reply> {
    match token::verify(vault, &ledger.ledger_id(), token, ledger.tick()) {
        Ok(claims) => Ok(Identity { caller: claims.caller, app: claims.app }),
        Err(TokenError::Expired) => Err(Reply::token_expired("call gettoken again")),
        Err(TokenError::Unknown) => Err(Reply::token_invalid(
            "this token was not issued by this gateway; call gettoken through the gateway and use what it answers",
        )),
    }
}

async fn by_key(
    ledger: &LedgerHandle,
    vault: &Vault,
    presented: &str,
    app: Option<&str>,
) -> Result<Identity, Reply> {
    let Some(key) = find_key(ledger, vault, presented).await? else {
        return Err(Reply::token_invalid(
            "the API key in the Authorization header is revoked or paused, or unknown",
        ));
    };
    let directory = ledger.directory();
    let app = match app {
        Some(label) if !label.contains('/') => {
            return Err(Reply::api_forbidden("X-Wecom-App names no app: write it CORP_ID/AGENT_ID"));
        }
        Some(label) => label
            .split_once('/')
            .and_then(|(corp, agent)| directory.app(corp, agent))
            .map(|(seq, _)| seq)
            .ok_or_else(|| Reply::api_forbidden("X-Wecom-App names no app that this gateway knows"))?,
        None => only_app(&directory, key, None).ok_or_else(|| {
            Reply::token_missing(
                "this API key may use several apps: name one in X-Wecom-App: CORP_ID/AGENT_ID",
            )
        })?,
    };
    Ok(Identity { caller: Caller::Key(key), app })
}

/// The one app that a key stands for, within a corp if given.
fn only_app(directory: &Directory, key: Seq, corp: Option<Seq>) -> Option<Seq> {
    let key = directory.api_keys.get(&key)?;
    let mut apps = directory
        .live_apps()
        .filter(|&(seq, app)| key.may_use_app(seq) && corp.is_none_or(|corp| app.corp == corp));
    let (seq, _) = apps.next()?;
    apps.next().is_none().then_some(seq)
}

/// An active key. What is not known is looked for once more in the ledger itself: another process may have created it
/// a moment ago.
async fn find_key(ledger: &LedgerHandle, vault: &Vault, presented: &str) -> Result<Option<Seq>, Reply> {
    let fingerprint = vault.fingerprint("api_key", presented);
    let find = || ledger.directory().api_key(&fingerprint).map(|(seq, key)| (seq, key.is_active()));
    let mut found = find();
    if found.is_none() && presented.starts_with(crate::vault::API_KEY_PREFIX) {
        ledger.refresh().await.map_err(|error| Reply::try_again(&error.to_string()))?;
        found = find();
    }
    Ok(found.filter(|&(_, active)| active).map(|(seq, _)| seq))
}

/// Refuses early whose key or app has ended, before anything is read from them. The ledger decides again at the call.
pub async fn still_counts(ledger: &LedgerHandle, identity: Identity) -> Result<(), Reply> {
    let counts = || {
        let directory = ledger.directory();
        let app = directory.live_app(identity.app)?;
        match identity.caller {
            Caller::Key(key) => directory.api_keys.get(&key).filter(|key| key.is_active()).map(|_| ()),
            Caller::Secret(secret) => (app.secret == secret).then_some(()),
        }
    };
    if counts().is_some() {
        return Ok(());
    }
    ledger.refresh().await.map_err(|error| Reply::try_again(&error.to_string()))?;
    counts().ok_or_else(|| super::gettoken::unauthorized(Unauthorized::Ended))
}

/// Whoever calls gettoken: an API key that stands for exactly one app of the corp, or the app's own secret.
pub async fn by_secret(
    ledger: &LedgerHandle,
    vault: &Vault,
    corp_id: &str,
    secret: &str,
) -> Result<Identity, Reply> {
    let key = find_key(ledger, vault, secret).await?;
    let directory = ledger.directory();
    let corp = directory.corp(corp_id).map(|(seq, _)| seq);
    if let Some(key) = key {
        let app = corp.and_then(|corp| only_app(&directory, key, Some(corp))).ok_or_else(|| {
            Reply::secret_invalid(
                "this API key does not stand for exactly one app of this corpid; create one with --app CORP_ID/AGENT_ID",
            )
        })?;
        if directory.api_keys.get(&key).is_none_or(|key| !key.has(Scope::Call)) {
            return Err(Reply::api_forbidden("this API key lacks the scope `call`"));
        }
        return Ok(Identity { caller: Caller::Key(key), app });
    }
    if secret.starts_with(crate::vault::API_KEY_PREFIX) {
        return Err(Reply::secret_invalid(
            "this API key is revoked or paused, or unknown; nothing was forwarded",
        ));
    }
    let fingerprint = vault.fingerprint("app_secret", secret);
    let mut found = None;
    for (app, live) in directory.live_apps().filter(|(_, app)| Some(app.corp) == corp) {
        if bool::from(live.secret_fingerprint.ct_eq(&fingerprint)) {
            found = Some(Identity { caller: Caller::Secret(live.secret), app });
        }
    }
    found.ok_or_else(|| {
        Reply::secret_invalid("neither an API key of this gateway nor the secret of an app of this corpid; nothing was forwarded")
    })
}
