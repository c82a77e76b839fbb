//! appchat/…: group chats that belong to an app, and messages to them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::message::excerpt;
use super::{Context, text};
use crate::sandbox::answer::{Answer, Reply};
use crate::sandbox::chats::{Chat, MAX_MEMBERS};
use crate::sandbox::directory::Directory;
use crate::sandbox::limits::Row;
use crate::sandbox::messages::Message;
use crate::sandbox::world::World;

const MAX_NAME: usize = 50;
const MAX_CHATID: usize = 32;

const MSGTYPES: [&str; 9] =
    ["text", "image", "voice", "video", "file", "textcard", "news", "mpnews", "markdown"];

pub(super) fn dispatch(world: &mut World, context: Context<'_>, api: &str) -> Option<Reply> {
    Some(match api {
        "appchat/create" => create(world, context),
        "appchat/update" => update(world, context),
        "appchat/get" => get(world, context),
        "appchat/send" => send(world, context),
        _ => return None,
    })
}

fn create(world: &mut World, context: Context<'_>) -> Reply {
    let body = context.body()?;
    let directory = &world.corps[context.who.corp].directory;
    let members = members(directory, body, "userlist")?.ok_or(86204)?;
    if !(2..=MAX_MEMBERS).contains(&members.len()) {
        return Err(86006);
    }
    let owner = match owner(directory, body, &members)? {
        Some(owner) => owner,
        // WeCom takes one by chance; which one is nobody's business, so it is the first.
        None => members.first().cloned().ok_or(86006)?,
    };
    let name = name(body).unwrap_or_default();
    let chatid = match text(body, "chatid") {
        "" => world.random.hex(MAX_CHATID),
        chatid => new_id(world, context, chatid)?,
    };
    let chat = Chat { app: context.who.app, name, owner, members };
    if !world.corps[context.who.corp].chats.put(chatid.clone(), chat) {
        return Err(-1); // more than the sandbox keeps, for which WeCom has no code
    }
    Ok(Answer::ok(&json!({"chatid": chatid})))
}

fn new_id(world: &World, context: Context<'_>, chatid: &str) -> Result<String, i32> {
    if chatid.len() > MAX_CHATID {
        return Err(86205);
    }
    if !chatid.bytes().all(|c| c.is_ascii_alphanumeric()) {
        return Err(86001);
    }
    if world.corps[context.who.corp].chats.contains(chatid) {
        return Err(86215);
    }
    Ok(chatid.to_owned())
}

fn update(world: &mut World, context: Context<'_>) -> Reply {
    let body = context.body()?;
    let chatid = text(body, "chatid");
    let mut chat = find(world, context, chatid)?.clone();
    let directory = &world.corps[context.who.corp].directory;
    let added = members(directory, body, "add_user_list")?.unwrap_or_default();
    let removed = members(directory, body, "del_user_list")?.unwrap_or_default();
    chat.members.extend(added);
    chat.members.retain(|member| !removed.contains(member));
    if chat.members.len() > MAX_MEMBERS {
        return Err(86006);
    }
    if let Some(owner) = owner(directory, body, &chat.members)? {
        chat.owner = owner;
    } else if !chat.members.contains(&chat.owner) {
        return Err(86207);
    }
    if let Some(name) = name(body) {
        chat.name = name;
    }
    if !world.corps[context.who.corp].chats.put(chatid.to_owned(), chat) {
        return Err(-1);
    }
    Ok(Answer::ok(&Value::Null))
}

fn get(world: &mut World, context: Context<'_>) -> Reply {
    let chatid = context.call.filled("chatid").ok_or(86201)?;
    let directory = &world.corps[context.who.corp].directory;
    let shown = find(world, context, chatid)?.show(chatid, directory);
    Ok(Answer::ok(&json!({"chat_info": shown})))
}

fn send(world: &mut World, context: Context<'_>) -> Reply {
    let Context { who, now, .. } = context;
    let body = context.body()?;
    let chatid = text(body, "chatid");
    let members: Vec<Arc<str>> = find(world, context, chatid)?.members.iter().cloned().collect();
    let msgtype = text(body, "msgtype");
    if !MSGTYPES.contains(&msgtype) {
        return Err(40008);
    }
    let content = excerpt(world, context, body, msgtype)?;
    world.spend(Row::AppchatSends, who, members.len(), now)?;
    let (to, dropped) = world.deliver(Row::MemberAppchat, who, members, now);
    let msgid = world.random.text(2);
    let (chatid, msgtype) = (Some(chatid.to_owned()), msgtype.to_owned());
    let message = Message { at: now, who, chatid, to, dropped, msgtype, content, msgid, recalled: false };
    world.messages.push(message);
    Ok(Answer::ok(&Value::Null))
}

fn find<'a>(world: &'a World, context: Context<'_>, chatid: &str) -> Result<&'a Chat, i32> {
    if chatid.is_empty() {
        return Err(86201);
    }
    world.corps[context.who.corp].chats.of_app(context.who.app, chatid)
}

/// A list of members, each of whom must exist; `None` if the body has no such list.
fn members(directory: &Directory, body: &Value, field: &str) -> Result<Option<BTreeSet<Arc<str>>>, i32> {
    let Some(ids) = body.get(field).and_then(Value::as_array) else { return Ok(None) };
    let find = |id: &Value| directory.find(id.as_str()?).map(|(id, _)| id.clone());
    ids.iter().map(find).collect::<Option<_>>().map(Some).ok_or(86216)
}

/// The owner that is asked for, who must be one of the members.
fn owner(directory: &Directory, body: &Value, members: &BTreeSet<Arc<str>>) -> Result<Option<Arc<str>>, i32> {
    let userid = text(body, "owner");
    if userid.is_empty() {
        return Ok(None);
    }
    let (owner, _) = directory.find(userid).ok_or(86005)?;
    if members.contains(owner) { Ok(Some(owner.clone())) } else { Err(86207) }
}

/// The name, cut to what WeCom takes.
fn name(body: &Value) -> Option<String> {
    Some(text(body, "name").chars().take(MAX_NAME).collect()).filter(|name: &String| !name.is_empty())
}
