//! The table of known APIs.
//!
//! WeCom publishes no machine-readable list, so ours is data with its sources named in the file's head. A call whose
//! API is not listed still goes through: it is treated as a write that carries an access token.

use std::{collections::HashMap, sync::LazyLock};

static TABLE: &str = include_str!("catalogue.tsv");

static APIS: LazyLock<HashMap<&'static str, Api>> = LazyLock::new(|| {
    // A malformed line is skipped here and fails a test, so that a typo can't take a running service down.
    parse(TABLE).filter_map(Result::ok).map(|api| (api.name, api)).collect()
});

static BY_LOWER_CASE: LazyLock<HashMap<String, &'static str>> =
    LazyLock::new(|| APIS.keys().map(|name| (name.to_ascii_lowercase(), *name)).collect());

/// One API of WeCom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// The path without `/cgi-bin/`.
    pub name: &'static str,
    /// The documented HTTP method; SDKs disagree about a few, so nothing is refused for using another one.
    pub method: &'static str,
    pub credential: Credential,
    /// The query parameter that carries the credential, if one does.
    pub param: Option<&'static str>,
    /// The kind of credential that the answer holds.
    pub issues: Option<Issues>,
    /// Takes a `multipart/form-data` body.
    pub multipart: bool,
    /// Answers with a file on success.
    pub binary: bool,
    /// Repeating the call after an unknown outcome is harmless.
    pub reads: bool,
    /// The number in `developer.work.weixin.qq.com/document/path/N`.
    pub doc: Option<u32>,
}

/// What a call authenticates itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credential {
    AccessToken,
    SuiteAccessToken,
    /// Usually `provider_access_token`, but a few old APIs carry it under the name `access_token`.
    ProviderAccessToken,
    /// The key of a group robot: a credential of its own that WeCom never issues through an API.
    WebhookKey,
    /// Inside the JSON body (hardware).
    Body,
    /// None, or the secrets themselves.
    None,
}

/// What an API hands out that must be kept secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Issues {
    AccessToken,
    JsapiTicket,
    AgentTicket,
    SuiteToken,
    ProviderToken,
    /// The access token of a corp that authorised a third-party suite.
    CorpToken,
    PermanentCode,
    HardwareToken,
}

/// Looks an API up by its exact name.
pub fn lookup(api: &str) -> Option<&'static Api> {
    APIS.get(api)
}

/// The known API whose name equals this one but for letter case.
pub fn lookup_ignoring_case(api: &str) -> Option<&'static Api> {
    BY_LOWER_CASE.get(&api.to_ascii_lowercase()).and_then(|name| APIS.get(name))
}

/// Whether repeating this call is harmless; of an API nobody knows, it is not.
pub fn reads(api: &str) -> bool {
    lookup(api).is_some_and(|api| api.reads)
}

/// All known APIs, in no particular order.
pub fn all() -> impl Iterator<Item = &'static Api> {
    APIS.values()
}

fn parse(table: &'static str) -> impl Iterator<Item = Result<Api, String>> {
    table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| parse_line(line).ok_or_else(|| format!("malformed line: {line}")))
}

fn parse_line(line: &'static str) -> Option<Api> {
    let mut columns = line.split('\t');
    let name = columns.next()?;
    let method = columns.next().filter(|method| matches!(*method, "GET" | "POST"))?;
    let (credential, param) = parse_credential(columns.next()?)?;
    let flags = columns.next()?;
    let doc = match columns.next()? {
        "-" => None,
        number => Some(number.parse().ok()?),
    };
    if columns.next().is_some() {
        return None;
    }
    let mut api = Api {
        name,
        method,
        credential,
        param,
        issues: None,
        multipart: false,
        binary: false,
        reads: false,
        doc,
    };
    for flag in flags.split(',').filter(|flag| *flag != "-") {
        match flag {
            "multipart" => api.multipart = true,
            "binary" => api.binary = true,
            "reads" => api.reads = true,
            _ => api.issues = Some(parse_issues(flag.strip_prefix("issues=")?)?),
        }
    }
    Some(api)
}

fn parse_credential(column: &'static str) -> Option<(Credential, Option<&'static str>)> {
    Some(match column {
        "access_token" => (Credential::AccessToken, Some(column)),
        "suite_access_token" => (Credential::SuiteAccessToken, Some(column)),
        "provider_access_token" => (Credential::ProviderAccessToken, Some(column)),
        "access_token:provider" => (Credential::ProviderAccessToken, Some("access_token")),
        "key" => (Credential::WebhookKey, Some(column)),
        "body" => (Credential::Body, None),
        "-" => (Credential::None, None),
        _ => return None,
    })
}

fn parse_issues(kind: &str) -> Option<Issues> {
    Some(match kind {
        "access_token" => Issues::AccessToken,
        "jsapi_ticket" => Issues::JsapiTicket,
        "agent_ticket" => Issues::AgentTicket,
        "suite_token" => Issues::SuiteToken,
        "provider_token" => Issues::ProviderToken,
        "corp_token" => Issues::CorpToken,
        "permanent_code" => Issues::PermanentCode,
        "hardware_token" => Issues::HardwareToken,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wecom::path::ApiName;

    #[test]
    fn every_line_of_the_table_is_well_formed_and_unique() {
        let apis: Vec<Api> = parse(TABLE).collect::<Result<_, _>>().unwrap();
        assert_eq!(apis.len(), 778);
        assert_eq!(all().count(), apis.len(), "a name occurs twice");
        assert_eq!(BY_LOWER_CASE.len(), apis.len(), "two names differ only by case");
        assert!(apis.is_sorted_by_key(|api| api.name));
        for api in &apis {
            ApiName::parse(&format!("/cgi-bin/{}", api.name)).unwrap();
        }
    }

    #[test]
    fn a_malformed_line_is_noticed() {
        for line in [
            "user/get",
            "user/get\tFETCH\taccess_token\t-\t1",
            "user/get\tGET\tcookie\t-\t1",
            "user/get\tGET\taccess_token\tread\t1",
            "user/get\tGET\taccess_token\t-\tone",
            "user/get\tGET\taccess_token\t-\t1\t2",
        ] {
            assert_eq!(parse_line(line), None, "{line}");
        }
    }

    #[test]
    fn what_writes_is_not_a_read_even_when_it_is_a_get() {
        for api in
            ["user/delete", "department/delete", "menu/delete", "material/del", "user/authsucc", "no/such"]
        {
            assert!(!reads(api), "{api}");
        }
        for api in all().filter(|api| api.reads) {
            let verb = api.name.rsplit('/').next().unwrap();
            for writing in ["add", "create", "del", "send", "set", "submit", "transfer_c", "update", "upload"]
            {
                assert!(!verb.starts_with(writing), "{}", api.name);
            }
        }
    }

    #[test]
    fn what_uses_up_a_code_or_issues_a_credential_is_not_a_read() {
        for api in ["service/get_permanent_code", "auth/getuserinfo", "miniprogram/jscode2session"] {
            assert!(!reads(api), "{api}");
        }
        assert!(all().filter(|api| api.issues.is_some()).all(|api| !api.reads));
        assert_eq!(all().filter(|api| api.issues.is_some()).count(), 11);
    }

    #[test]
    fn plain_lookups_are_reads() {
        for api in ["user/get", "user/list_id", "externalcontact/groupchat/list", "kf/sync_msg", "media/get"]
        {
            assert!(reads(api), "{api}");
        }
    }

    #[test]
    fn a_provider_token_may_travel_under_another_name() {
        let login = lookup("service/get_login_info").unwrap();
        assert_eq!((login.credential, login.param), (Credential::ProviderAccessToken, Some("access_token")));
        let order = lookup("license/get_order").unwrap();
        assert_eq!(
            (order.credential, order.param),
            (Credential::ProviderAccessToken, Some("provider_access_token"))
        );
        assert_eq!(lookup("webhook/send").unwrap().credential, Credential::WebhookKey);
        assert_eq!(lookup("openhw/get_device_token").unwrap().credential, Credential::Body);
        assert_eq!(lookup("gettoken").unwrap().issues, Some(Issues::AccessToken));
    }
}
