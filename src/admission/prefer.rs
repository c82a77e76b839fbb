//! `Prefer: wait=N` (RFC 7240).

use std::time::Duration;

/// The longest wait, in seconds; a longer one is cut to it.
pub const WAIT_MAX_SECS: u64 = 60;

/// How long a client would rather wait than be refused: 1 to [`WAIT_MAX_SECS`] seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(u64);

impl Wait {
    /// None for 0 s: that is no wait.
    pub fn of_secs(secs: u64) -> Option<Self> {
        (secs > 0).then_some(Self(secs.min(WAIT_MAX_SECS)))
    }

    /// By the values of all `Prefer` headers of a request. Where a preference is given twice, the first one counts;
    /// what is not understood is ignored, as the RFC wants it.
    pub fn preferred<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let headers = headers.into_iter().filter_map(|header| std::str::from_utf8(header).ok());
        let seconds = headers.flat_map(elements).find_map(|element| {
            let preference = element.split(';').next().unwrap_or_default();
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            name.trim().eq_ignore_ascii_case("wait").then(|| seconds(value.trim()))
        });
        Self::of_secs(seconds??)
    }

    pub fn secs(self) -> u64 {
        self.0
    }

    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// The value of `Preference-Applied`.
    pub fn applied(self) -> String {
        format!("wait={}", self.0)
    }
}

/// The elements of a list, parted by commas that stand in no quoted string.
fn elements(header: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    header.split(move |c| {
        let (inside, was_escaped) = (quoted, escaped);
        escaped = inside && c == '\\' && !was_escaped;
        quoted ^= c == '"' && !was_escaped;
        c == ',' && !inside
    })
}

/// Delta-seconds, also as a quoted string. A number too large for us is a long time.
fn seconds(value: &str) -> Option<u64> {
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(headers: &[&str]) -> Option<u64> {
        Wait::preferred(headers.iter().map(|header| header.as_bytes())).map(Wait::secs)
    }

    #[test]
    fn a_wait_is_found_among_other_preferences() {
        for header in [
            "wait=5",
            "Wait = 5",
            "respond-async, wait=5",
            "respond-async,wait=\"5\";foo=bar",
            "a=\"x, wait=9\", wait=5",
            "a=\"x\\\", wait=9\", wait=5",
            "wait=5, wait=9",
        ] {
            assert_eq!(wait(&[header]), Some(5), "{header}");
        }
        assert_eq!(wait(&["return=minimal", "handling=lenient;wait=3, wait=5"]), Some(5));
    }

    #[test]
    fn a_wait_that_is_too_long_is_cut() {
        for header in ["wait=60", "wait=61", "wait=99999999999999999999999"] {
            assert_eq!(wait(&[header]), Some(WAIT_MAX_SECS), "{header}");
        }
    }

    #[test]
    fn what_is_no_wait_is_ignored() {
        for header in ["", "wait", "wait=", "wait=0", "wait=-1", "wait=+5", "wait=5s", "await=5", "wait=1.5"]
        {
            assert_eq!(wait(&[header]), None, "{header}");
        }
        assert_eq!(wait(&["wait=x, wait=5"]), None, "only the first one counts");
        assert_eq!(wait(&[]), None);
    }
}
