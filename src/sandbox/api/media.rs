//! media/upload, media/uploadimg and media/get.

use serde_json::json;

use super::{Context, multipart};
use crate::sandbox::answer::{Answer, Content, File, Reply};
use crate::sandbox::media::Upload;
use crate::sandbox::world::World;

const MB: usize = 1 << 20;
/// The most that one download gives without `Range`, or one range of it.
const MAX_DOWNLOAD: usize = 20 * MB;

pub(super) fn upload(world: &mut World, context: Context<'_>) -> Reply {
    let Context { call, who, now } = context;
    let kind = call.param("type").unwrap_or_default();
    let max = match kind {
        "image" | "video" => 10 * MB,
        "voice" => 2 * MB,
        "file" => 20 * MB,
        _ => return Err(40004),
    };
    let part = multipart::media(&call.content_type, &call.body).ok_or(41005)?;
    check_size(&part, max)?;
    let media_id = world.random.text(2);
    let multipart::Part { filename, content_type, bytes } = part;
    world.media.put(media_id.clone(), Upload { corp: who.corp, at: now, filename, content_type, bytes });
    // `created_at` is text in WeCom's answers.
    Ok(Answer::ok(&json!({"type": kind, "media_id": media_id, "created_at": (now / 1000).to_string()})))
}

/// An image for good: its address is all that comes back, and nothing else asks for it.
pub(super) fn upload_image(world: &mut World, Context { call, .. }: Context<'_>) -> Reply {
    let part = multipart::any_file(&call.content_type, &call.body).ok_or(41005)?;
    check_size(&part, 2 * MB)?;
    let url = format!("https://sandbox.invalid/wwpic/{}/0", world.random.hex(32));
    Ok(Answer::ok(&json!({"url": url})))
}

const fn check_size(part: &multipart::Part, max: usize) -> Result<(), i32> {
    match part.bytes.len() {
        0 => Err(44001),
        1..=5 => Err(40006),
        size if size > max => Err(45001),
        _ => Ok(()),
    }
}

pub(super) fn get(world: &mut World, context: Context<'_>) -> Reply {
    let Context { call, who, now } = context;
    let media_id = call.filled("media_id").ok_or(41006)?;
    let upload = world.media.get(who.corp, media_id, now).ok_or(40007)?;
    let size = upload.bytes.len();
    // A range that is none, or that the file does not have, is ignored, as HTTP allows.
    let range = call.range.as_deref().and_then(|range| parse(range, size));
    let (start, end) = range.unwrap_or((0, size));
    if end - start > MAX_DOWNLOAD {
        return Err(830_002);
    }
    let file = File {
        bytes: upload.bytes.slice(start..end),
        content_type: upload.content_type.clone(),
        filename: upload.filename.clone(),
        range: range.map(|(start, end)| format!("bytes {start}-{}/{size}", end - 1)),
    };
    Ok(Answer { errcode: 0, content: Content::File(file) })
}

/// `bytes=a-b`, `bytes=a-` or `bytes=-n` as a start and an end that is not included.
fn parse(range: &str, size: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = if first.is_empty() {
        (size.saturating_sub(last.parse().ok()?), size)
    } else if last.is_empty() {
        (first.parse().ok()?, size)
    } else {
        (first.parse().ok()?, last.parse::<usize>().ok()?.saturating_add(1).min(size))
    };
    (start < end).then_some((start, end))
}
