//! Which APIs a limit is about.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names as in the catalogue (the path without `/cgi-bin/`), or prefixes of names: `appchat/*`; `*` is every API, and
/// an empty list none at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Apis(Vec<String>);

/// What a pattern stands for.
enum Pattern<'a> {
    Name(&'a str),
    Prefix(&'a str),
}

fn pattern(text: &str) -> Pattern<'_> {
    text.strip_suffix('*').map_or(Pattern::Name(text), Pattern::Prefix)
}

impl Apis {
    pub fn all() -> Self {
        Self(vec!["*".to_owned()])
    }

    /// In a fixed order, so that lists which mean the same are the same.
    pub fn listed<T: Into<String>>(patterns: impl IntoIterator<Item = T>) -> Self {
        let mut patterns: Vec<String> = patterns.into_iter().map(Into::into).collect();
        patterns.sort_unstable();
        patterns.dedup();
        Self(patterns)
    }

    pub fn matches(&self, api_name: &str) -> bool {
        self.0.iter().any(|text| match pattern(text) {
            Pattern::Name(name) => name == api_name,
            Pattern::Prefix(prefix) => api_name.starts_with(prefix),
        })
    }

    pub fn is_all(&self) -> bool {
        self.0.iter().any(|text| text == "*")
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As they are written.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Those that name one API.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.patterns().filter(|text| matches!(pattern(text), Pattern::Name(_)))
    }

    /// What the names of a group begin with; that of all APIs is no group.
    fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.patterns().filter_map(|text| match pattern(text) {
            Pattern::Prefix(prefix) if !prefix.is_empty() => Some(prefix),
            _ => None,
        })
    }

    /// What is wrong with a pattern, if something is.
    pub(super) fn fault(&self) -> Option<String> {
        self.patterns().find_map(|text| {
            let name = text.strip_suffix('*').unwrap_or(text);
            let wrong = if text.is_empty() || text.len() > 128 {
                "a name of an API has 1 to 128 characters"
            } else if name.contains('*') {
                "`*` stands only at the end"
            } else if name.starts_with('/') || name.starts_with("cgi-bin/") {
                "a name of an API begins after `/cgi-bin/`"
            } else {
                return None;
            };
            Some(format!("`{text}`: {wrong}"))
        })
    }
}

impl fmt::Display for Apis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// Some APIs without some of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ApiSet {
    pub(super) apis: Apis,
    pub(super) except: Apis,
}

impl ApiSet {
    pub(super) fn all() -> Self {
        Self { apis: Apis::all(), except: Apis::default() }
    }

    pub(super) fn is_all(&self) -> bool {
        self.apis.is_all() && self.except.is_empty()
    }

    pub(super) fn matches(&self, api_name: &str) -> bool {
        self.apis.matches(api_name) && !self.except.matches(api_name)
    }

    pub(super) fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.apis.prefixes().chain(self.except.prefixes())
    }

    /// Whether a name that is not among the [`Self::names`] has to be compared to know.
    pub(super) fn has_prefixes(&self) -> bool {
        self.prefixes().next().is_some()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.apis.names().chain(self.except.names())
    }

    /// Whether nothing can match: every API that is listed is excepted.
    pub(super) fn is_empty(&self) -> bool {
        self.apis.patterns().all(|text| match pattern(text) {
            Pattern::Name(name) => self.except.matches(name),
            Pattern::Prefix(_) => false,
        })
    }
}
