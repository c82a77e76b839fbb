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

/// Each empty where a number below it has changed since it was asked for. Departments in a circle are not in it: they
/// have no order in which to sum.
type Each = BTreeMap<u64, OnceLock<Sum>>;

/// Put together when it is first asked for after a change. It follows from the departments, so it is no part of what
/// makes two views equal, nor of a snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums(OnceLock<Arc<Each>>);

impl PartialEq for Sums {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Sums {
    pub(super) fn forget(&mut self) {
        self.0.take();
    }

    /// The number of a department has changed, and with it the sums of those above; the tree has not.
    pub(super) fn changed(&mut self, id: u64, departments: &BTreeMap<u64, Department>) {
        let Some(each) = self.0.get_mut().map(Arc::make_mut) else { return };
        let mut next = Some(id);
        while let Some(sum) = next.and_then(|id| each.get_mut(&id)) {
            sum.take();
            next = next.and_then(|id| departments.get(&id)?.parent).map(|(parent, _)| parent);
        }
    }

    /// The sum, with the oldest times of its parts.
    pub(super) fn of(&self, id: u64, departments: &BTreeMap<u64, Department>, children: &Children) -> Sum {
        let each = self.0.get_or_init(|| Arc::new(all(departments, children)));
        match each.get(&id).map(OnceLock::get) {
            None => Sum::Circular,
            Some(Some(sum)) => *sum,
            Some(None) => again(id, each, departments, children),
        }
    }
}

/// Puts a sum together again, from those below it that are empty upwards.
fn again(id: u64, each: &Each, departments: &BTreeMap<u64, Department>, children: &Children) -> Sum {
    let is_empty = |id: &u64| each.get(id).is_some_and(|sum| sum.get().is_none());
    let (mut empty, mut seen) = (vec![id], 0);
    while let Some(id) = empty.get(seen) {
        let below = children.get(id).into_iter().flatten().copied().filter(is_empty);
        empty.extend(below.collect::<Vec<_>>());
        seen += 1;
    }
    let mut last = Sum::Unknown;
    for id in empty.into_iter().rev() {
        last = sum(id, each, departments, children);
        if let Some(place) = each.get(&id) {
            let _ = place.set(last);
        }
    }
    last
}

/// Of a department, when all below it have theirs.
fn sum(id: u64, each: &Each, departments: &BTreeMap<u64, Department>, children: &Children) -> Sum {
    let alone = departments.get(&id).and_then(|department| department.alone);
    let below = children.get(&id).into_iter().flatten();
    let sum = below.fold(alone, |sum, child| match each.get(child).and_then(OnceLock::get) {
        Some(Sum::Of(below)) => Some(sum?.and(*below)),
        _ => None,
    });
    sum.map_or(Sum::Unknown, Sum::Of)
}

/// From the departments without any below them upwards.
fn all(departments: &BTreeMap<u64, Department>, children: &Children) -> Each {
    let mut missing: BTreeMap<u64, usize> = children.iter().map(|(&id, below)| (id, below.len())).collect();
    let mut ready: Vec<u64> = departments.keys().copied().filter(|id| !missing.contains_key(id)).collect();
    let mut sums = Each::new();
    while let Some(id) = ready.pop() {
        sums.insert(id, OnceLock::from(sum(id, &sums, departments, children)));
        let Some((parent, _)) = departments.get(&id).and_then(|it| it.parent) else { continue };
        let Some(left) = missing.get_mut(&parent) else { continue };
        *left -= 1;
        if *left == 0 {
            ready.push(parent);
        }
    }
    sums
}
