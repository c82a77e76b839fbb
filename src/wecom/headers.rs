//! Which headers may cross the gateway.
//!
//! Works on names and bytes, since the server and the client use different versions of the `http` crate. Header names
//! are lower-case in both.

/// Headers of one connection, not of the message (RFC 9110, section 7.6.1), and those that the next hop sets itself.
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "expect",
];

/// Concern us or our callers, not WeCom.
const OURS: [&str; 9] = [
    // We must read `errcode`, so the answer has to come unpacked.
    "accept-encoding",
    "authorization",
    // The client sets it from the body that is really sent.
    "content-length",
    "cookie",
    "forwarded",
    "prefer",
    // May hold the URL of a gateway call, with its token.
    "referer",
    "x-real-ip",
    "x-wecom-app",
];

/// Describe WeCom's host; repeated by ours they would bind browsers to promises that we never made.
const THEIRS: [&str; 2] = ["alt-svc", "strict-transport-security"];

/// The headers of a caller's request that go on to WeCom.
pub fn to_upstream<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<(&'a str, &'a [u8])> {
    end_to_end(headers, |name| OURS.contains(&name) || name.starts_with("x-forwarded-"))
}

/// The headers of WeCom's answer that go back to the caller.
pub fn to_client<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<(&'a str, &'a [u8])> {
    end_to_end(headers, |name| THEIRS.contains(&name))
}

fn end_to_end<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    stays_here: impl Fn(&str) -> bool,
) -> Vec<(&'a str, &'a [u8])> {
    let mut kept: Vec<(&str, &[u8])> = headers.into_iter().collect();
    let named: Vec<String> = kept
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
        .flat_map(|(_, value)| value.split(|b| *b == b','))
        .map(|option| String::from_utf8_lossy(option).trim().to_ascii_lowercase())
        .collect();
    kept.retain(|(name, _)| {
        let name = name.to_ascii_lowercase();
        !HOP_BY_HOP.contains(&name.as_str()) && !named.contains(&name) && !stays_here(&name)
    });
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'a>(headers: &[(&'a str, &'a [u8])]) -> Vec<&'a str> {
        headers.iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn headers_of_the_connection_cross_in_neither_direction() {
        let headers: Vec<(&str, &[u8])> = HOP_BY_HOP.iter().map(|name| (*name, &b"x"[..])).collect();
        assert!(to_upstream(headers.clone()).is_empty());
        assert!(to_client(headers).is_empty());
    }

    #[test]
    fn what_connection_names_is_dropped_from_all_its_values() {
        let headers: [(&str, &[u8]); 6] = [
            ("connection", b"close, X-One"),
            ("Connection", b" x-two ,"),
            ("x-one", b"1"),
            ("x-two", b"2"),
            ("x-three", b"3"),
            ("content-type", b"application/json"),
        ];
        assert_eq!(names(&to_upstream(headers)), ["x-three", "content-type"]);
        assert_eq!(names(&to_client(headers)), ["x-three", "content-type"]);
    }

    #[test]
    fn what_callers_tell_us_stays_with_us() {
        let headers: [(&str, &[u8]); 14] = [
            ("accept-encoding", b"gzip"),
            ("Authorization", b"Bearer key"),
            ("cookie", b"a=b"),
            ("x-wecom-app", b"wx/1"),
            ("prefer", b"wait=3"),
            ("forwarded", b"for=1.2.3.4"),
            ("x-forwarded-for", b"1.2.3.4"),
            ("x-forwarded-proto", b"https"),
            ("x-real-ip", b"1.2.3.4"),
            ("referer", b"http://gateway/cgi-bin/user/get?access_token=t"),
            ("content-length", b"3"),
            ("content-type", b"application/json"),
            ("range", b"bytes=0-1"),
            ("user-agent", b"sdk"),
        ];
        assert_eq!(names(&to_upstream(headers)), ["content-type", "range", "user-agent"]);
    }

    #[test]
    fn repeated_headers_of_an_answer_survive_in_order() {
        let headers: [(&str, &[u8]); 5] = [
            ("set-cookie", b"a=1"),
            ("set-cookie", b"b=2"),
            ("content-length", b"3"),
            ("error-code", b"0"),
            ("strict-transport-security", b"max-age=1"),
        ];
        let kept = to_client(headers);
        assert_eq!(names(&kept), ["set-cookie", "set-cookie", "content-length", "error-code"]);
        assert_eq!((kept[0].1, kept[1].1), (&b"a=1"[..], &b"b=2"[..]));
    }
}
