//! What becomes of sizes when something grows: who said so, by how much, and where nobody knows.

use crate::ledger::entry::Size;
use crate::ledger::sizes::{LEARNED_FOR_MS, Sizes};

use super::size_tests::{
    APP, CORP, EVERY_APP, OTHER_APP, alone, department, joined, learned, nested, tag, tree, whole,
};

fn moved(into: &[u64]) -> Size {
    Size::Moved { into: into.to_vec() }
}

#[test]
fn who_moves_is_in_the_new_departments_and_those_above_and_perhaps_still_in_the_old_ones() {
    let mut sizes = learned(&nested());
    sizes.learn(CORP, APP, &tag(8, 3, &[]), 0, false);
    sizes.learn(CORP, APP, &tag(9, 3, &[2, 4]), 0, false);
    sizes.learn(CORP, APP, &Size::Scope { users: 2, parties: vec![3], tags: vec![8] }, 0, false);
    sizes.learn(CORP, OTHER_APP, &moved(&[4]), 0, false);
    assert_eq!([1, 2, 3, 4].map(|id| department(&sizes, id)), [Some(76), Some(10), Some(61), Some(41)]);
    assert_eq!([8, 9].map(|id| sizes.tag(CORP, APP, id, 0)), [Some(3), Some(3 + 10 + 41)]);
    assert_eq!(sizes.everyone(CORP, APP, 0), Some(2 + 61 + 3));
    sizes.learn(CORP, APP, &moved(&[2, 4]), 0, false);
    assert_eq!([1, 2, 3, 4].map(|id| department(&sizes, id)), [Some(78), Some(11), Some(62), Some(42)]);
    // Asked again, the list has him.
    sizes.learn(CORP, APP, &alone(4, 40), 0, false);
    assert_eq!(department(&sizes, 4), Some(40));
}

#[test]
fn who_moves_may_be_in_every_department_whose_place_is_not_known() {
    let mut sizes = learned(&nested());
    for size in [whole(3, 60), whole(2, 10), whole(7, 5)] {
        sizes.learn(CORP, APP, &size, 0, false);
    }
    sizes.learn(CORP, OTHER_APP, &whole(1, 9), 0, false);
    sizes.learn(CORP, APP, &moved(&[4]), 0, false);
    assert_eq!([1, 2, 3, 7].map(|id| department(&sizes, id)), [Some(76), Some(10), Some(61), Some(6)]);
    assert_eq!(sizes.department(CORP, OTHER_APP, 1, 0), Some(10), "it knows no tree");
    sizes.learn(CORP, APP, &moved(&[99]), 0, false);
    assert_eq!([1, 2, 3, 7].map(|id| department(&sizes, id)), [Some(77), Some(11), Some(62), Some(7)]);
    // What a tree said a day ago says nothing of where a department is now.
    sizes.learn(CORP, APP, &whole(2, 10), LEARNED_FOR_MS, false);
    sizes.learn(CORP, APP, &moved(&[4]), LEARNED_FOR_MS + 1, false);
    assert_eq!(sizes.department(CORP, APP, 2, LEARNED_FOR_MS + 1), Some(11));
}

#[test]
fn what_an_operator_declared_holds_whoever_moves() {
    let mut sizes = learned(&nested());
    for size in [whole(4, 50), whole(98, 7), tag(9, 5, &[]), Size::Everyone { members: 100 }] {
        sizes.learn(CORP, EVERY_APP, &size, 0, true);
    }
    for _ in 0..9 {
        sizes.learn(CORP, APP, &moved(&[4, 99]), 0, false);
    }
    assert_eq!(
        [4, 98].map(|id| department(&sizes, id)),
        [Some(40 + 18), Some(7)],
        "a list shows more of the first"
    );
    assert_eq!((sizes.tag(CORP, APP, 9, 0), sizes.everyone(CORP, APP, 0)), (Some(5), Some(100)));
    assert!(sizes.knows(CORP, APP, &moved(&[4]), 0) == sizes.knows(CORP, APP, &Size::DepartmentsChanged, 0));
}

/// A department, a tag and everyone, with what an operator declared of each, for an app and for every app.
fn declared() -> Sizes {
    let mut sizes = Sizes::default();
    for (app, members) in [(APP, 4), (EVERY_APP, 3)] {
        for size in [whole(1, members), tag(9, members, &[]), Size::Everyone { members }] {
            sizes.learn(CORP, app, &size, 0, true);
        }
    }
    sizes
}

#[test]
fn a_growth_of_unknown_size_leaves_no_declaration_that_may_be_too_small() {
    let grown = |members, parties: &[u64]| Size::TagGrown { id: 9, members, parties: parties.to_vec() };
    for (growth, expected) in [
        (Size::DepartmentsChanged, [Some(4); 3]),
        (Size::ChatsChanged, [Some(4); 3]),
        (joined(1), [Some(5); 3]),
        (grown(2, &[]), [Some(4), Some(6), Some(6)]),
        // Nobody knows how large that department is.
        (grown(0, &[7]), [Some(4), None, None]),
        (Size::DepartmentsGrown, [None; 3]),
        (Size::TagsChanged, [Some(4), None, None]),
        (Size::ScopesChanged, [Some(4), Some(4), None]),
    ] {
        let mut sizes = declared();
        let changes = expected != [Some(4); 3];
        assert_eq!(sizes.knows(CORP, APP, &growth, 0), !changes, "{growth:?}");
        sizes.learn(CORP, OTHER_APP, &growth, 0, false);
        let known = [department(&sizes, 1), sizes.tag(CORP, APP, 9, 0), sizes.everyone(CORP, APP, 0)];
        assert_eq!(known, expected, "{growth:?}");
        assert!(sizes.is_consistent());
        // It holds again when it is declared anew.
        sizes.learn(CORP, EVERY_APP, &whole(1, 50), 0, true);
        assert_eq!(department(&sizes, 1), expected[0].or(Some(50)));
    }
}

#[test]
fn a_number_that_is_learned_anew_changes_the_sums_above_it_and_no_other() {
    let mut sizes = learned(&nested());
    for (round, members) in [(1, 41), (2, 42)] {
        assert_eq!(department(&sizes, 2), Some(10));
        assert_eq!(department(&sizes, 1), Some(74 + round));
        sizes.learn(CORP, APP, &alone(4, members), 0, false);
        sizes.learn(CORP, APP, &whole(2, 10), 0, false);
        assert_eq!([3, 4].map(|id| department(&sizes, id)), [Some(20 + members), Some(members)]);
        assert!(sizes.is_consistent());
    }
    assert_eq!(department(&sizes, 1), Some(77));
    // A department above of which nothing was known.
    let mut sizes = learned(&[tree(None, &[(2, 1), (3, 1)]), alone(2, 5), alone(3, 6)]);
    assert_eq!([1, 2].map(|id| department(&sizes, id)), [None, Some(5)]);
    sizes.learn(CORP, APP, &alone(1, 7), 0, false);
    assert!(sizes.is_consistent());
}

#[test]
fn what_is_known_of_several_departments_together_is_as_old_as_the_oldest_of_it() {
    let mut sizes = learned(&[tree(None, &[(1, 0), (2, 1)]), alone(1, 5)]);
    sizes.learn(CORP, OTHER_APP, &joined(3), 500, false);
    sizes.learn(CORP, APP, &alone(2, 10), 1_000, false);
    sizes.learn(CORP, OTHER_APP, &joined(1), 2_000, false);
    let at = |tick| [1, 2].map(|id| sizes.department(CORP, APP, id, tick));
    assert_eq!(
        at(2_000),
        [Some(5 + 10 + 4), Some(11)],
        "the first three may be in the department above alone"
    );
    assert_eq!(at(LEARNED_FOR_MS), [Some(19), Some(11)]);
    assert_eq!(at(LEARNED_FOR_MS + 1), [None, None], "the tree is as old as the oldest");
    sizes.learn(CORP, APP, &tree(None, &[(1, 0), (2, 1)]), 3_000, false);
    let at = |tick| [1, 2].map(|id| sizes.department(CORP, APP, id, tick));
    assert_eq!(at(LEARNED_FOR_MS + 1), [None, Some(11)]);
    assert_eq!(at(LEARNED_FOR_MS + 1_001), [None, None]);
}
