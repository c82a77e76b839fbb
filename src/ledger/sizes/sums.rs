//! The members of each department with all below it, so that a message to many departments need not walk their trees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::view::{Department, Known};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sum {
    Of(Known),
    /// A part is not known.
    Unknown,
    Circular,
}

type Children = BTreeMap<u64, BTreeSet<u64>>;

/// Put together when it is first asked for after a change. It follows from the departments, so it is no part of what
/// makes two views equal, nor of a snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums(OnceLock<Arc<BTreeMap<u64, Sum>>>);

impl PartialEq for Sums {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Sums {
    pub(super) fn forget(&mut self) {
        self.0.take();
    }

    /// The sum, with the oldest times of its parts. Departments in a circle or above one have no order in which to sum.
    pub(super) fn of(&self, id: u64, departments: &BTreeMap<u64, Department>, children: &Children) -> Sum {
        self.0.get_or_init(|| Arc::new(all(departments, children))).get(&id).copied().unwrap_or(Sum::Circular)
    }
}

/// From the departments without any below them upwards.
fn all(departments: &BTreeMap<u64, Department>, children: &Children) -> BTreeMap<u64, Sum> {
    let mut missing: BTreeMap<u64, usize> = children.iter().map(|(&id, below)| (id, below.len())).collect();
    let mut ready: Vec<u64> = departments.keys().copied().filter(|id| !missing.contains_key(id)).collect();
    let mut sums = BTreeMap::new();
    while let Some(id) = ready.pop() {
        let department = departments.get(&id);
        let alone = department.and_then(|department| department.alone);
        let below = children.get(&id).into_iter().flatten();
        let sum = below.fold(alone, |sum, child| match sums.get(child) {
            Some(Sum::Of(below)) => Some(sum?.and(*below)),
            _ => None,
        });
        sums.insert(id, sum.map_or(Sum::Unknown, Sum::Of));
        let Some((parent, _)) = department.and_then(|department| department.parent) else { continue };
        let Some(left) = missing.get_mut(&parent) else { continue };
        *left -= 1;
        if *left == 0 {
            ready.push(parent);
        }
    }
    sums
}
