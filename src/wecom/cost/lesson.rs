//! What an answer that passes through teaches about sizes: of departments, tags, group chats and apps' scopes.
//!
//! An app sees what it may see, so each lesson is about the app that asked. People also change without us (in the
//! administration, by other programs), so what was learned is a size of then.

use super::super::query::Query;
use super::answers::{self, Created, Listed, Succeeded};
use super::ids::{ID_MAX, entry, list, trim};
use super::json::{LIST_MAX, Value, fields, whole};

/// One thing learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lesson {
    /// How many members a department has, itself or with all departments below it.
    Department {
        id: u64,
        with_children: bool,
        members: u32,
    },
    /// Departments with their parents: all below `root` and itself, or all that there are.
    Tree {
        root: Option<u64>,
        parents: Vec<(u64, u64)>,
    },
    /// A tag stands for so many members, and for these departments.
    Tag {
        id: u64,
        users: u32,
        parties: Vec<u64>,
    },
    /// A tag has got up to so many members more, and these departments.
    TagGrown {
        id: u64,
        users: u32,
        parties: Vec<u64>,
    },
    /// The whole of a group chat, as far as it is known to the API.
    Chat {
        chat: String,
        members: Vec<String>,
    },
    ChatChange {
        chat: String,
        added: Vec<String>,
        removed: Vec<String>,
    },
    /// Who an app may reach: its `@all`.
    AppScope {
        agent_id: u64,
        users: Vec<String>,
        parties: Vec<u64>,
        tags: Vec<u64>,
    },
    /// A new member is in these departments; it isn't known where if there are none.
    Joined {
        departments: Vec<u64>,
    },
    /// A member is in these departments now, and may have been there or in others before.
    Moved {
        departments: Vec<u64>,
    },
    /// Members were moved: no size of a department that was learned before is certain any more.
    DepartmentsChanged,
    /// Departments were moved or people imported: declared sizes may be too small, too.
    DepartmentsGrown,
    /// The same of tags, group chats and apps' scopes.
    TagsChanged,
    ChatsChanged,
    ScopesChanged,
}

/// Of what a request may make something larger that was learned before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enlarges {
    /// One new member, in some departments.
    Member,
    /// Members come from other departments.
    Moves,
    /// By any number.
    Departments,
    Tags,
    Chats,
    Scopes,
}

/// APIs that make something larger. Until it is known by how much, its size is not. A new group chat, tag or department
/// has no size yet that could be wrong.
pub fn enlarges(api: &str) -> Option<Enlarges> {
    Some(match api {
        "user/create" => Enlarges::Member,
        "user/update" => Enlarges::Moves,
        "department/update" | "batch/syncuser" | "batch/replaceuser" | "batch/replaceparty" => {
            Enlarges::Departments
        }
        "tag/addtagusers" => Enlarges::Tags,
        "appchat/update" => Enlarges::Chats,
        "agent/set_scope" => Enlarges::Scopes,
        _ => return None,
    })
}

/// Whether an answer says for sure that the request was carried out. Then its lessons, or their absence, are all that
/// there is to know.
pub fn understood(answer: &[u8]) -> bool {
    whole::<Succeeded>(answer).is_some()
}

/// Whether answers of this API can teach anything. An answer that is a file teaches nothing, whatever is in it.
pub fn teaches(api: &str) -> bool {
    teacher(api).is_some()
}

/// What the answer to a request to this API teaches. Only a success that is understood as a whole teaches anything.
pub fn lessons(api: &str, query: &Query, request: Option<&[u8]>, answer: &[u8]) -> Vec<Lesson> {
    let request = request.filter(|body| body.len() <= super::BODY_MAX);
    let exchange = Exchange { query, request, answer };
    teacher(api).and_then(|teach| teach(&exchange)).into_iter().collect()
}

type Teacher = fn(&Exchange<'_>) -> Option<Lesson>;

fn teacher(api: &str) -> Option<Teacher> {
    Some(match api {
        "user/simplelist" | "user/list" => department,
        "department/list" | "department/simplelist" => tree,
        "department/create" => new_department,
        "department/update" => moved_department,
        "tag/get" => tag,
        "tag/addtagusers" => grown_tag,
        "appchat/create" => new_chat,
        "appchat/update" => changed_chat,
        "appchat/get" => chat,
        "agent/get" => scope,
        "agent/set_scope" => new_scope,
        "user/create" => new_member,
        "user/update" => changed_member,
        // Imports; the last one asks what became of them.
        "batch/syncuser" | "batch/replaceuser" | "batch/replaceparty" | "batch/getresult" => import,
        _ => return None,
    })
}

struct Exchange<'a> {
    query: &'a Query,
    request: Option<&'a [u8]>,
    answer: &'a [u8],
}

impl Exchange<'_> {
    fn succeeded(&self) -> Option<()> {
        whole::<Succeeded>(self.answer).map(|_| ())
    }

    fn request<const N: usize>(&self, names: [&str; N]) -> Option<[Value; N]> {
        fields(self.request?, names).ok()
    }

    /// A parameter of the query, empty if it is missing. Of two that differ nobody knows which one counted.
    fn param(&self, name: &str) -> Option<String> {
        let mut values = self.query.values(name);
        let first = values.next().unwrap_or_default();
        values.all(|other| other == first).then(|| first.trim().to_owned())
    }

    fn id_param(&self, name: &str) -> Option<u64> {
        self.param(name)?.parse().ok().filter(|id| *id > 0)
    }
}

fn department(exchange: &Exchange<'_>) -> Option<Lesson> {
    let id = exchange.id_param("department_id")?;
    // Of old the list could be narrowed to members of one status.
    if !matches!(exchange.param("status")?.as_str(), "" | "0") {
        return None;
    }
    let userlist = whole::<answers::Members>(exchange.answer)?.userlist;
    // `fetch_child` is no longer documented: it is believed where the list shows that it was heeded. Otherwise this
    // is at least all of the department itself.
    let elsewhere =
        |member: &Listed| !member.department.is_empty() && member.department.iter().all(|d| d.0 != id);
    let with_children = exchange.param("fetch_child")? == "1" && userlist.iter().any(elsewhere);
    Some(Lesson::Department { id, with_children, members: userlist.len() as u32 })
}

fn tree(exchange: &Exchange<'_>) -> Option<Lesson> {
    let root = match exchange.param("id")?.as_str() {
        "" => None,
        id => Some(id.parse().ok()?),
    };
    let list = bounded(whole::<answers::Departments>(exchange.answer)?.list)?;
    let parents: Vec<(u64, u64)> =
        list.into_iter().map(|department| (department.id.0, department.parentid.0)).collect();
    let has_root = root.is_none_or(|root| parents.iter().any(|(id, _)| *id == root));
    has_root.then_some(Lesson::Tree { root, parents })
}

fn new_department(exchange: &Exchange<'_>) -> Option<Lesson> {
    let id = whole::<Created>(exchange.answer)?.id.0;
    let parent = exchange.request(["parentid"]).and_then(|[parent]| parent.id());
    Some(match parent {
        Some(parent) => Lesson::Tree { root: Some(id), parents: vec![(id, parent)] },
        None => Lesson::DepartmentsChanged,
    })
}

fn moved_department(exchange: &Exchange<'_>) -> Option<Lesson> {
    exchange.succeeded()?;
    let stays = exchange.request(["parentid"]) == Some([Value::Null]);
    (!stays).then_some(Lesson::DepartmentsGrown)
}

fn tag(exchange: &Exchange<'_>) -> Option<Lesson> {
    let tag = whole::<answers::Tag>(exchange.answer)?;
    Some(Lesson::Tag {
        id: exchange.id_param("tagid")?,
        users: tag.userlist.len() as u32,
        parties: answers::ids(bounded(tag.partylist)?),
    })
}

/// The answer names who was invalid; without taking them off the size stays an upper bound.
fn grown_tag(exchange: &Exchange<'_>) -> Option<Lesson> {
    exchange.succeeded()?;
    let grown = || {
        let [id, users, parties] = exchange.request(["tagid", "userlist", "partylist"])?;
        let users = list(&users).ok()?.len() as u32;
        Some(Lesson::TagGrown { id: id.id()?, users, parties: numbers(&parties)? })
    };
    Some(grown().unwrap_or(Lesson::TagsChanged))
}

fn new_chat(exchange: &Exchange<'_>) -> Option<Lesson> {
    let chat = chat_id(&whole::<answers::NewChat>(exchange.answer)?.chatid)?;
    let [users, owner] = exchange.request(["userlist", "owner"])?;
    Some(Lesson::Chat { chat, members: userids([users, owner])? })
}

fn changed_chat(exchange: &Exchange<'_>) -> Option<Lesson> {
    exchange.succeeded()?;
    let change = || {
        let [chat, owner, added, removed] =
            exchange.request(["chatid", "owner", "add_user_list", "del_user_list"])?;
        let added = userids([added, owner])?;
        // Who is in both lists may have come last.
        let removed = userids([removed])?.into_iter().filter(|user| !added.contains(user)).collect();
        Some(Lesson::ChatChange { chat: chat_id(&chat)?, added, removed })
    };
    Some(change().unwrap_or(Lesson::ChatsChanged))
}

fn chat(exchange: &Exchange<'_>) -> Option<Lesson> {
    let info = whole::<answers::Chat>(exchange.answer)?.chat_info;
    Some(Lesson::Chat { chat: chat_id(&info.chatid)?, members: userids([info.userlist, info.owner])? })
}

fn scope(exchange: &Exchange<'_>) -> Option<Lesson> {
    let app = whole::<answers::App>(exchange.answer)?;
    let users = app.allow_userinfos.user.into_iter().map(|user| user.userid).collect();
    let users = userids([Value::List(bounded(users)?)])?;
    let parties = answers::ids(bounded(app.allow_partys.partyid)?);
    let tags = answers::ids(bounded(app.allow_tags.tagid)?);
    // An app that nobody sees can't ask: this one has its scope elsewhere.
    let empty = users.is_empty() && parties.is_empty() && tags.is_empty();
    (!empty).then_some(Lesson::AppScope { agent_id: app.agentid.0, users, parties, tags })
}

/// Whose it is does not matter: what is learned of the others is soon learned again.
fn new_scope(exchange: &Exchange<'_>) -> Option<Lesson> {
    exchange.succeeded().map(|()| Lesson::ScopesChanged)
}

fn new_member(exchange: &Exchange<'_>) -> Option<Lesson> {
    exchange.succeeded()?;
    let joined = departments(exchange).map(|departments| Lesson::Joined { departments });
    Some(joined.unwrap_or(Lesson::DepartmentsGrown))
}

fn changed_member(exchange: &Exchange<'_>) -> Option<Lesson> {
    exchange.succeeded()?;
    let stays = exchange.request(["department"]) == Some([Value::Null]);
    // Into no department is something that nobody documents.
    let moved = || departments(exchange).filter(|ids| !ids.is_empty());
    let moved = || moved().map(|departments| Lesson::Moved { departments });
    (!stays).then(|| moved().unwrap_or(Lesson::DepartmentsChanged))
}

fn departments(exchange: &Exchange<'_>) -> Option<Vec<u64>> {
    let [departments] = exchange.request(["department"])?;
    numbers(&departments)
}

fn import(exchange: &Exchange<'_>) -> Option<Lesson> {
    exchange.succeeded().map(|()| Lesson::DepartmentsGrown)
}

fn bounded<T>(list: Vec<T>) -> Option<Vec<T>> {
    (list.len() <= LIST_MAX).then_some(list)
}

fn chat_id(value: &Value) -> Option<String> {
    entry(value).ok()?.filter(|chat| chat.len() <= ID_MAX)
}

/// The ids in lists of members and in single fields: in lower case, each once, sorted.
fn userids<const N: usize>(values: [Value; N]) -> Option<Vec<String>> {
    let mut users = Vec::new();
    for value in values {
        match &value {
            Value::Text(user) => users.push(trim(user).to_ascii_lowercase()),
            value => users.extend(list(value).ok()?.iter().map(|user| user.to_ascii_lowercase())),
        }
    }
    users.retain(|user| !user.is_empty());
    users.sort_unstable();
    users.dedup();
    let known = users.len() <= LIST_MAX && users.iter().all(|user| user.len() <= ID_MAX);
    known.then_some(users)
}

/// The numbers in a list, or one number.
fn numbers(value: &Value) -> Option<Vec<u64>> {
    let mut ids = match value {
        Value::Null => Vec::new(),
        Value::List(list) => list.iter().map(Value::id).collect::<Option<Vec<u64>>>()?,
        one => vec![one.id()?],
    };
    ids.sort_unstable();
    ids.dedup();
    Some(ids)
}

#[cfg(test)]
#[path = "lesson_tests.rs"]
mod tests;
