//! The one part of a multipart body that an upload needs: the file.

use bytes::Bytes;

/// A part with a file name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub filename: String,
    pub content_type: String,
    pub bytes: Bytes,
}

/// Finds the part named `media`; `None` if there is none or the body is malformed.
pub(super) fn media(content_type: &str, body: &Bytes) -> Option<Part> {
    find_part(content_type, body, |name| name == "media")
}

/// Finds the first file, whatever its part is called.
pub(super) fn any_file(content_type: &str, body: &Bytes) -> Option<Part> {
    find_part(content_type, body, |_| true)
}

fn find_part(content_type: &str, body: &Bytes, wanted: fn(&str) -> bool) -> Option<Part> {
    let delimiter = format!("--{}", boundary(content_type)?);
    let mut at = find(body, delimiter.as_bytes(), 0)?;
    loop {
        let start = at + delimiter.len();
        if body.get(start..start + 2)? != b"\r\n" {
            return None; // `--`: the end
        }
        let end_of_head = find(body, b"\r\n\r\n", start)?;
        let content = end_of_head + 4;
        let next = find(body, format!("\r\n{delimiter}").as_bytes(), content)?;
        let head = str::from_utf8(body.get(start + 2..end_of_head)?).ok()?;
        if let Some(part) = part(head, body.slice(content..next), wanted) {
            return Some(part);
        }
        at = next + 2;
    }
}

fn boundary(content_type: &str) -> Option<&str> {
    let rest = content_type.strip_prefix("multipart/form-data")?;
    let boundary = rest.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    Some(boundary.trim_matches('"')).filter(|boundary| !boundary.is_empty())
}

fn part(head: &str, bytes: Bytes, is_wanted: fn(&str) -> bool) -> Option<Part> {
    let header = |wanted: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let disposition = header("content-disposition")?;
    let parameter = |wanted: &str| {
        let mut pairs = disposition.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.trim_matches('"').to_owned())
    };
    if !is_wanted(&parameter("name")?) {
        return None;
    }
    let filename = parameter("filename").filter(|name| !name.is_empty())?;
    let content_type = header("content-type").unwrap_or("application/octet-stream").to_owned();
    Some(Part { filename, content_type, bytes })
}

fn find(body: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let first = *needle.first()?;
    let mut at = from;
    // Looking for the first byte alone is quick, and a body of 20 MB is no rarity.
    loop {
        at += body.get(at..)?.iter().position(|&byte| byte == first)?;
        if body[at..].starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
}
