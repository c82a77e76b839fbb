//! A company's members, departments and tags.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

#[derive(Debug, Clone)]
pub(super) struct Member {
    pub userid: String,
    pub name: String,
    pub departments: Vec<u32>,
    pub mobile: String,
    pub email: String,
    pub position: String,
}

impl Member {
    pub(super) fn simple(&self) -> Value {
        json!({"userid": self.userid, "name": self.name, "department": self.departments})
    }

    pub(super) fn full(&self) -> Value {
        json!({"userid": self.userid, "name": self.name, "department": self.departments, "mobile": self.mobile,
            "email": self.email, "position": self.position, "status": 1, "enable": 1, "isleader": 0})
    }
}

#[derive(Debug, Clone)]
pub(super) struct Department {
    pub name: String,
    pub parent: u32,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Tag {
    pub name: String,
    pub users: BTreeSet<Arc<str>>,
    pub parties: BTreeSet<u32>,
}

/// Members are kept by their userid in lower case, because WeCom compares userids without case.
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub members: BTreeMap<Arc<str>, Member>,
    pub departments: BTreeMap<u32, Department>,
    pub tags: BTreeMap<u32, Tag>,
}

const NAMES: [&str; 12] = [
    "ZhangSan", "LiSi", "WangWu", "ZhaoLiu", "SunQi", "ZhouBa", "WuJiu", "ZhengShi", "ChenYi", "LinEr",
    "HeSan", "GuoSi",
];

impl Directory {
    /// Five departments, two tags and `members` people, all in the leaves of the tree.
    pub(super) fn sample(members: u32) -> Self {
        let mut directory = Self::default();
        let tree = [
            (1, "Sandbox", 0),
            (2, "Engineering", 1),
            (3, "Backend", 2),
            (4, "Operations", 1),
            (5, "Sales", 1),
        ];
        for (id, name, parent) in tree {
            directory.departments.insert(id, Department { name: name.to_owned(), parent });
        }
        for n in 0..members {
            let member = sample_member(n);
            directory.members.insert(member.userid.to_lowercase().into(), member);
        }
        let users =
            ["zhangsan", "lisi"].map(Arc::from).into_iter().filter(|id| directory.members.contains_key(id));
        let users = users.collect();
        directory.tags.insert(1, Tag { name: "managers".to_owned(), users, ..Tag::default() });
        directory.tags.insert(2, Tag { name: "on-call".to_owned(), parties: [4].into(), ..Tag::default() });
        directory
    }

    pub(super) fn find(&self, userid: &str) -> Option<(&Arc<str>, &Member)> {
        // Nearly all ids come in lower case already: then nothing is allocated.
        self.members
            .get_key_value(userid)
            .or_else(|| self.members.get_key_value(userid.to_lowercase().as_str()))
    }

    /// The department and everything below it.
    pub(super) fn subtree(&self, root: u32) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let mut open = vec![root];
        while let Some(id) = open.pop() {
            if found.insert(id) {
                open.extend(self.departments.iter().filter(|(_, d)| d.parent == id).map(|(child, _)| *child));
            }
        }
        found
    }

    /// The members of a department, with those below it if asked.
    pub(super) fn members_of(
        &self,
        department: u32,
        with_children: bool,
    ) -> impl Iterator<Item = (&Arc<str>, &Member)> {
        let wanted = if with_children { self.subtree(department) } else { [department].into() };
        self.members.iter().filter(move |(_, m)| m.departments.iter().any(|d| wanted.contains(d)))
    }
}

fn sample_member(n: u32) -> Member {
    let userid = NAMES.get(n as usize).map_or_else(|| format!("member{:05}", n + 1), |&name| name.to_owned());
    Member {
        name: userid.clone(),
        departments: vec![[3, 3, 4, 5][n as usize % 4]],
        mobile: format!("139{n:08}"),
        email: format!("{}@sandbox.invalid", userid.to_lowercase()),
        position: String::new(),
        userid,
    }
}
