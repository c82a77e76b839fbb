//! WeCom's return codes and what to do about each.

use std::{collections::HashMap, sync::LazyLock};

use super::catalogue::Credential;

pub const OK: i64 = 0;
/// WeCom's "busy"; in our own answers: nothing was sent, or repeating is harmless.
pub const BUSY: i64 = -1;
/// Our own: the call may have taken effect.
pub const OUTCOME_UNKNOWN: i64 = -9001;
/// Our own: the ledger refused the request before anything was sent.
pub const REFUSED_BY_LEDGER: i64 = -9002;
pub const INVALID_SECRET: i64 = 40_001;
pub const INVALID_CORP_ID: i64 = 40_013;
pub const INVALID_TOKEN: i64 = 40_014;
pub const INVALID_PARAMETER: i64 = 40_035;
pub const INVALID_SUITE_TOKEN: i64 = 40_082;
pub const SECRET_OF_ANOTHER_CORP: i64 = 40_091;
pub const TOKEN_MISSING: i64 = 41_001;
pub const TOKEN_EXPIRED: i64 = 42_001;
pub const SUITE_TOKEN_EXPIRED: i64 = 42_009;
pub const FREQUENCY_LIMIT: i64 = 45_009;
pub const CONCURRENCY_LIMIT: i64 = 45_033;
pub const API_FORBIDDEN: i64 = 48_002;

static TABLE: &str = include_str!("errcodes.tsv");

static CODES: LazyLock<HashMap<i64, Code>> = LazyLock::new(|| {
    // As with the catalogue: a malformed line fails a test, not a running service.
    parse(TABLE).filter_map(Result::ok).map(|code| (code.code, code)).collect()
});

/// One return code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    pub code: i64,
    pub class: Class,
    pub meaning: &'static str,
    /// The term of WeCom's Chinese documentation, which is what its administrators search for.
    pub chinese: &'static str,
}

/// What a caller can do about a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    Ok,
    /// Waiting and repeating may help.
    RetryLater,
    /// Somebody has to change a secret, a right, or a setting at WeCom.
    AuthConfig,
    /// The request itself is wrong.
    CallerError,
    /// A fresh credential may help, once.
    RefreshToken,
    /// A quota is used up.
    RateLimited,
}

impl Class {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::RetryLater => "retry_later",
            Self::AuthConfig => "auth_config",
            Self::CallerError => "caller_error",
            Self::RefreshToken => "refresh_token",
            Self::RateLimited => "rate_limited",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let classes = [
            Self::Ok,
            Self::RetryLater,
            Self::AuthConfig,
            Self::CallerError,
            Self::RefreshToken,
            Self::RateLimited,
        ];
        classes.into_iter().find(|class| class.as_str() == word)
    }
}

pub fn lookup(code: i64) -> Option<&'static Code> {
    CODES.get(&code)
}

/// The class of a code. An unknown one counts as the caller's error: WeCom advises to repeat after nothing but its own
/// failures, so a code that nobody knows must not start a loop.
pub fn class(code: i64) -> Class {
    lookup(code).map_or(Class::CallerError, |known| known.class)
}

/// Whether a business call that ended with this code says that its credential is dead, so that one refresh is due.
/// Not for answers of gettoken, where 40001 is about the secret.
pub fn refreshes_credential(code: i64, credential: Credential) -> bool {
    match credential {
        // 40001 is documented for secrets alone, but older APIs also answer it to a dead access token.
        Credential::AccessToken => matches!(code, INVALID_TOKEN | TOKEN_EXPIRED | INVALID_SECRET),
        Credential::SuiteAccessToken => {
            matches!(code, INVALID_SUITE_TOKEN | SUITE_TOKEN_EXPIRED | INVALID_TOKEN | TOKEN_EXPIRED)
        }
        // Provider tokens have no codes of their own.
        Credential::ProviderAccessToken => matches!(code, INVALID_TOKEN | TOKEN_EXPIRED),
        // These are the caller's own; we can't refresh what we did not inject.
        Credential::WebhookKey | Credential::Body | Credential::None => false,
    }
}

/// Whether gettoken's answer means that asking again is pointless and dangerous: WeCom bans the whole IP for an hour
/// after repeated bad secrets.
pub fn is_bad_secret_from_gettoken(code: i64) -> bool {
    matches!(code, INVALID_SECRET | INVALID_CORP_ID | SECRET_OF_ANOTHER_CORP)
}

/// Whether some quota is used up.
pub fn is_rate_limited(code: i64) -> bool {
    class(code) == Class::RateLimited
}

/// Whether WeCom now blocks this API for a documented time; the other rate codes are quotas of single features.
pub fn starts_penalty(code: i64) -> bool {
    matches!(code, FREQUENCY_LIMIT | CONCURRENCY_LIMIT)
}

fn parse(table: &'static str) -> impl Iterator<Item = Result<Code, String>> {
    table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| parse_line(line).ok_or_else(|| format!("malformed line: {line}")))
}

fn parse_line(line: &'static str) -> Option<Code> {
    let mut columns = line.split('\t');
    let code = columns.next()?.parse().ok()?;
    let class = Class::parse(columns.next()?)?;
    let meaning = columns.next().filter(|text| !text.is_empty())?;
    let chinese = columns.next().filter(|text| !text.is_empty())?;
    columns.next().is_none().then_some(Code { code, class, meaning, chinese })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_well_formed_and_unique() {
        let codes: Vec<Code> = parse(TABLE).collect::<Result<_, _>>().unwrap();
        assert!(codes.len() > 100);
        assert_eq!(CODES.len(), codes.len(), "a code occurs twice");
        assert!(parse_line("40001\tauth_confg\tx\ty").is_none());
        assert!(parse_line("40001\tauth_config\tx").is_none());
    }

    #[test]
    fn every_class_is_used_and_an_unknown_code_has_one() {
        for (code, expected) in [
            (OK, Class::Ok),
            (BUSY, Class::RetryLater),
            (INVALID_SECRET, Class::AuthConfig),
            (TOKEN_MISSING, Class::CallerError),
            (INVALID_TOKEN, Class::RefreshToken),
            (FREQUENCY_LIMIT, Class::RateLimited),
            (123_456_789, Class::CallerError),
            (OUTCOME_UNKNOWN, Class::CallerError),
        ] {
            assert_eq!(class(code), expected, "{code}");
        }
    }

    #[test]
    fn only_codes_about_the_injected_credential_refresh_it() {
        use Credential::{AccessToken, Body, None, ProviderAccessToken, SuiteAccessToken, WebhookKey};
        for code in [40_014, 42_001, 40_001] {
            assert!(refreshes_credential(code, AccessToken), "{code}");
        }
        for code in [40_082, 42_009] {
            assert!(refreshes_credential(code, SuiteAccessToken), "{code}");
            assert!(!refreshes_credential(code, AccessToken), "{code}");
        }
        assert!(!refreshes_credential(40_001, SuiteAccessToken));
        assert!(!refreshes_credential(40_001, ProviderAccessToken));
        for credential in [WebhookKey, Body, None] {
            assert!(!refreshes_credential(40_014, credential));
        }
        for code in [0, -1, 45_009, 41_001, 42_007] {
            assert!(!refreshes_credential(code, AccessToken), "{code}");
        }
    }

    #[test]
    fn a_bad_secret_is_told_from_other_failures_of_gettoken() {
        assert!([40_001, 40_013, 40_091].into_iter().all(is_bad_secret_from_gettoken));
        assert!(![-1, 45_009, 60_020, 40_014].into_iter().any(is_bad_secret_from_gettoken));
    }

    #[test]
    fn an_answer_that_is_too_large_is_no_rate_limit() {
        assert!(!is_rate_limited(45_029));
        assert!(is_rate_limited(45_033) && starts_penalty(45_033));
        assert!(is_rate_limited(95_001) && !starts_penalty(95_001));
    }
}
