//! `errmsg`: not stable and not to be branched on, but it carries two facts that nothing else does, the hint that
//! WeCom's support asks for and our egress IP as WeCom sees it.

use std::net::IpAddr;

/// How much of an `errmsg` is kept, in characters.
pub const MAX_CHARS: usize = 256;

/// Tokens, tickets, secrets and media ids are all longer than this; no word of an `errmsg` is.
const LOOKS_SECRET: usize = 24;

/// What is worth keeping of an `errmsg`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrMsg {
    /// Bounded, on one line, and with anything that looks like a token replaced.
    pub text: String,
    /// The content of `hint: […]`.
    pub hint: Option<String>,
    /// Our egress IP as WeCom sees it.
    pub from_ip: Option<String>,
}

impl ErrMsg {
    pub fn parse(raw: &str) -> Self {
        let hint = find_hint(raw);
        Self { text: redact(raw, hint), hint: hint.map(str::to_owned), from_ip: find_ip(raw) }
    }
}

/// Bounds a text of any origin and replaces what looks like a token.
pub fn redacted(raw: &str) -> String {
    redact(raw, None)
}

fn find_hint(raw: &str) -> Option<&str> {
    let (_, after) = raw.split_once("hint: [")?;
    let (hint, _) = after.split_once(']')?;
    is_hint(hint).then_some(hint)
}

/// `1576065934_28_e0fa…`: seconds, a node, a hash. What has another form is not trusted to be harmless.
fn is_hint(text: &str) -> bool {
    let parts: Vec<&str> = text.split('_').collect();
    let [seconds, node, hash] = parts[..] else { return false };
    let digits =
        |part: &str, max| (1..=max).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    digits(seconds, 12)
        && digits(node, 6)
        && (1..=64).contains(&hash.len())
        && hash.bytes().all(|b| b.is_ascii_hexdigit())
}

fn find_ip(raw: &str) -> Option<String> {
    let (_, after) = raw.split_once("from ip: ")?;
    let end = after.find(|c: char| !c.is_ascii_hexdigit() && c != '.' && c != ':').unwrap_or(after.len());
    let ip: IpAddr = after[..end].trim_end_matches(['.', ':']).parse().ok()?;
    Some(ip.to_string())
}

fn redact(raw: &str, keep: Option<&str>) -> String {
    let mut out = String::new();
    // More than is kept, since redacting shortens; a word that this cuts off has an unknown length, so it goes too.
    let window: String = raw.chars().take(2 * MAX_CHARS).collect();
    let cut_off = window.len() < raw.len();
    let mut rest = window.as_str();
    while !rest.is_empty() {
        let run = rest.find(|c| !is_token_char(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(run);
        let too_long = word.len() >= LOOKS_SECRET && Some(word) != keep;
        if too_long || (cut_off && after.is_empty() && !word.is_empty()) {
            out.push_str("[redacted]");
        } else {
            out.push_str(word);
        }
        let mut chars = after.chars();
        if let Some(c) = chars.next() {
            out.push(if c.is_control() { ' ' } else { c });
        }
        rest = chars.as_str();
    }
    out.chars().take(MAX_CHARS).collect()
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '=' | '%' | '~')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OFFICIAL: &str = "access_token expired, hint: [1576065934_28_e0fae06208559c3be8b2a9b6a0b0ee94], \
        from ip: 9.30.0.138, more info at https://open.work.weixin.qq.com/devtool/query?e=42001";

    #[test]
    fn the_hint_and_the_ip_are_found_and_the_text_stays_readable() {
        let message = ErrMsg::parse(OFFICIAL);
        assert_eq!(message.text, OFFICIAL);
        assert_eq!(message.hint.as_deref(), Some("1576065934_28_e0fae06208559c3be8b2a9b6a0b0ee94"));
        assert_eq!(message.from_ip.as_deref(), Some("9.30.0.138"));
        assert_eq!(ErrMsg::parse("from ip: 2001:db8::1, x").from_ip.as_deref(), Some("2001:db8::1"));
    }

    #[test]
    fn what_looks_like_a_token_is_redacted_also_inside_a_hint() {
        let token = "aZ09_-".repeat(11);
        let message = ErrMsg::parse(&format!("invalid token {token}, hint: [{token}], from ip: nowhere"));
        assert_eq!(message.text, "invalid token [redacted], hint: [[redacted]], from ip: nowhere");
        assert_eq!((message.hint, message.from_ip), (None, None));
    }

    #[test]
    fn control_characters_and_length_are_bounded() {
        let message = ErrMsg::parse(&format!("a\r\nb{}", " 长".repeat(400)));
        assert!(message.text.starts_with("a  b 长"));
        assert_eq!(message.text.chars().count(), MAX_CHARS);
    }

    proptest! {
        #[test]
        fn a_token_never_survives(before in ".{0,300}", token in "[A-Za-z0-9_-]{24,512}", after in ".{0,40}") {
            let message = ErrMsg::parse(&format!("{before} {token} {after}"));
            prop_assert!(!message.text.contains(&token[..20]));
            prop_assert!(message.text.chars().count() <= MAX_CHARS);
        }
    }
}
