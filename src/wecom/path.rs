//! The name of an API, parsed from a request path.
//!
//! Counting per API only works if each API has one spelling. WeCom may well treat `//`, `%2e`, `;x` or another letter
//! case as the same API, so everything but the canonical spelling is refused instead of being normalised.

use std::fmt;

use super::catalogue;

/// The longest name we keep a count for; the longest known one has 56 bytes.
pub const MAX_LEN: usize = 128;

const PREFIX: &str = "/cgi-bin/";

/// The path of an API without `/cgi-bin/`, known to be canonical.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiName(Box<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("WeCom's APIs are below /cgi-bin/; call /cgi-bin/<api>")]
    Prefix,
    #[error("the API name is empty or longer than {MAX_LEN} bytes; check the path after /cgi-bin/")]
    Length,
    #[error("write the path without empty segments or a slash at its end")]
    EmptySegment,
    #[error("write the path without '.' and '..' segments")]
    DotSegment,
    #[error(
        "put API keys and gateway tokens into the query or the Authorization header, never into the path"
    )]
    Secret,
    #[error("use only letters, digits, '_', '-' and '.' in the path, not percent-encoded and without ';'")]
    Character,
    #[error("API names distinguish letter case; call /cgi-bin/{0}")]
    LetterCase(&'static str),
}

impl ApiName {
    /// Accepts the raw path of a request, without its query string.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        let name = path.strip_prefix(PREFIX).ok_or(PathError::Prefix)?;
        if name.is_empty() || name.len() > MAX_LEN {
            return Err(PathError::Length);
        }
        name.split('/').try_for_each(check_segment)?;
        match catalogue::lookup_ignoring_case(name) {
            Some(known) if known.name != name => Err(PathError::LetterCase(known.name)),
            _ => Ok(Self(name.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path to ask WeCom for.
    pub fn path(&self) -> String {
        format!("{PREFIX}{}", self.0)
    }

    pub fn api(&self) -> Option<&'static catalogue::Api> {
        catalogue::lookup(&self.0)
    }

    /// Whether repeating a call of it is harmless.
    pub fn reads(&self) -> bool {
        catalogue::reads(&self.0)
    }
}

impl fmt::Display for ApiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_segment(segment: &str) -> Result<(), PathError> {
    match segment {
        "" => Err(PathError::EmptySegment),
        "." | ".." => Err(PathError::DotSegment),
        // Names of APIs are recorded and sent on; ours begin otherwise.
        _ if segment.starts_with("wlk_") || segment.starts_with("wlg_") => Err(PathError::Secret),
        _ if segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) => Ok(()),
        _ => Err(PathError::Character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_canonical_path_is_taken_whether_known_or_not() {
        assert_eq!(ApiName::parse("/cgi-bin/user/get").unwrap().as_str(), "user/get");
        let unknown = ApiName::parse("/cgi-bin/new_thing/v2.1/do-it").unwrap();
        assert_eq!(unknown.path(), "/cgi-bin/new_thing/v2.1/do-it");
        assert!(unknown.api().is_none());
        assert!(!unknown.reads());
    }

    #[test]
    fn every_other_spelling_of_a_path_is_refused() {
        use PathError::{Character, DotSegment, EmptySegment, Length, LetterCase, Prefix};
        for (path, error) in [
            ("/", Prefix),
            ("/CGI-BIN/user/get", Prefix),
            ("//cgi-bin/user/get", Prefix),
            ("/cgi-bin", Prefix),
            ("/cgi-bin/", Length),
            ("/cgi-bin//user/get", EmptySegment),
            ("/cgi-bin/user/get/", EmptySegment),
            ("/cgi-bin/user/./get", DotSegment),
            ("/cgi-bin/x/../user/get", DotSegment),
            ("/cgi-bin/user%2Fget", Character),
            ("/cgi-bin/user/get;v=1", Character),
            ("/cgi-bin/user/g\u{435}t", Character),
            ("/cgi-bin/user\\get", Character),
            ("/cgi-bin/User/Get", LetterCase("user/get")),
        ] {
            assert_eq!(ApiName::parse(path), Err(error), "{path}");
        }
    }

    #[test]
    fn a_name_has_at_most_128_bytes() {
        assert!(ApiName::parse(&format!("/cgi-bin/{}", "a".repeat(128))).is_ok());
        assert_eq!(ApiName::parse(&format!("/cgi-bin/{}", "a".repeat(129))), Err(PathError::Length));
    }

    proptest! {
        #[test]
        fn what_is_taken_is_given_back_unchanged(path in "(/cgi-bin/)?[a-zA-Z0-9_.%;/-]{0,40}") {
            if let Ok(name) = ApiName::parse(&path) {
                prop_assert_eq!(name.path(), path);
            }
        }
    }
}
