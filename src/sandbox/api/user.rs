//! user/…

use serde_json::{Value, json};

use super::{Context, number, text};
use crate::sandbox::answer::{Answer, Reply};
use crate::sandbox::directory::{Directory, Member};
use crate::sandbox::limits::Row;
use crate::sandbox::world::{Corp, World};

pub(super) fn dispatch(world: &mut World, context: Context<'_>, api: &str) -> Option<Reply> {
    Some(match api {
        "user/get" => get(world, context),
        "user/create" => create(world, context),
        "user/update" => update(world, context),
        "user/delete" => delete(world, context),
        "user/batchdelete" => batch_delete(world, context),
        "user/simplelist" => list(world, context, Member::simple),
        "user/list" => list(world, context, Member::full),
        _ => return None,
    })
}

fn directory<'a>(world: &'a mut World, context: Context<'_>) -> &'a mut Directory {
    &mut world.corps[context.who.corp].directory
}

fn get(world: &mut World, context: Context<'_>) -> Reply {
    let userid = context.call.filled("userid").ok_or(41009)?;
    let (_, member) = directory(world, context).find(userid).ok_or(60111)?;
    Ok(Answer::ok(&member.full()))
}

fn create(world: &mut World, context: Context<'_>) -> Reply {
    let body = context.body()?;
    let userid = text(body, "userid");
    if !is_userid(userid) {
        return Err(40003);
    }
    let account_cap = world.corps[context.who.corp].account_cap;
    let directory = directory(world, context);
    if directory.find(userid).is_some() {
        return Err(60102);
    }
    let mut member = Member {
        userid: userid.to_owned(),
        name: String::new(),
        departments: vec![1],
        mobile: String::new(),
        email: String::new(),
        position: String::new(),
    };
    fill(directory, &mut member, body)?;
    if member.name.is_empty() {
        return Err(40063);
    }
    if directory.members.len() >= account_cap as usize {
        return Err(45024);
    }
    world.spend(Row::Accounts, context.who, 1, context.now)?;
    self::directory(world, context).members.insert(userid.to_lowercase().into(), member);
    Ok(Answer::done("created", &Value::Null))
}

fn update(world: &mut World, context: Context<'_>) -> Reply {
    let body = context.body()?;
    let directory = directory(world, context);
    let (id, member) = directory.find(text(body, "userid")).ok_or(60111)?;
    let (id, mut member) = (id.clone(), member.clone());
    fill(directory, &mut member, body)?;
    directory.members.insert(id, member);
    Ok(Answer::done("updated", &Value::Null))
}

fn delete(world: &mut World, context: Context<'_>) -> Reply {
    let userid = context.call.filled("userid").ok_or(41009)?;
    remove(&mut world.corps[context.who.corp], userid)?;
    Ok(Answer::done("deleted", &Value::Null))
}

fn batch_delete(world: &mut World, context: Context<'_>) -> Reply {
    let ids = context.body()?.get("useridlist").and_then(Value::as_array).ok_or(40063)?;
    if ids.len() > 200 {
        return Err(40032);
    }
    let corp = &mut world.corps[context.who.corp];
    let ids: Vec<&str> = ids.iter().filter_map(Value::as_str).collect();
    if ids.iter().any(|id| corp.directory.find(id).is_none()) {
        return Err(40031);
    }
    for id in ids {
        // A userid that is named twice is gone already.
        let _ = remove(corp, id);
    }
    Ok(Answer::done("deleted", &Value::Null))
}

fn remove(Corp { directory, chats, .. }: &mut Corp, userid: &str) -> Result<(), i32> {
    let id = directory.find(userid).ok_or(60111)?.0.clone();
    directory.members.remove(&id);
    for tag in directory.tags.values_mut() {
        tag.users.remove(&id);
    }
    chats.forget(&id);
    Ok(())
}

fn list(world: &mut World, context: Context<'_>, show: fn(&Member) -> Value) -> Reply {
    let department = context.call.filled("department_id").and_then(|id| id.parse().ok()).ok_or(40066)?;
    let directory = directory(world, context);
    if !directory.departments.contains_key(&department) {
        return Err(60123);
    }
    let with_children = context.call.param("fetch_child") == Some("1");
    let members: Vec<Value> = directory.members_of(department, with_children).map(|(_, m)| show(m)).collect();
    Ok(Answer::ok(&json!({"userlist": members})))
}

fn is_userid(id: &str) -> bool {
    let first = id.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric());
    first && id.len() <= 64 && id.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-.@".contains(&c))
}

/// Takes the fields that the body has; what is too long is an invalid argument.
fn fill(directory: &Directory, member: &mut Member, body: &Value) -> Result<(), i32> {
    let mobile = text(body, "mobile");
    let taken = |other: &Member| other.mobile == mobile && other.userid != member.userid;
    if !mobile.is_empty() && directory.members.values().any(taken) {
        return Err(60104);
    }
    if let Some(departments) = body.get("department") {
        let ids = departments.as_array().filter(|ids| !ids.is_empty() && ids.len() <= 100).ok_or(40066)?;
        let ids: Option<Vec<u32>> = ids.iter().map(number).collect();
        member.departments = ids.ok_or(40066)?;
        if member.departments.iter().any(|id| !directory.departments.contains_key(id)) {
            return Err(60123);
        }
    }
    let fields = [
        ("name", &mut member.name),
        ("mobile", &mut member.mobile),
        ("email", &mut member.email),
        ("position", &mut member.position),
    ];
    for (name, field) in fields {
        if let Some(value) = body.get(name).and_then(Value::as_str) {
            if value.len() > 512 {
                return Err(40058);
            }
            value.clone_into(field);
        }
    }
    Ok(())
}
