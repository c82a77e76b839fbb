//! What is known of sizes: who said it, for whom it holds, and for how long.

use proptest::prelude::*;

use crate::ledger::command::{Command, Reply};
use crate::ledger::entry::{Body, Seq, Size};
use crate::ledger::sizes::{LEARNED_FOR_MS, Of, SIZES_MAX, Sizes};

use super::ops::Fate;
use super::world::World;
use super::{config, fold, plain};

pub(super) const CORP: Seq = 1;
pub(super) const APP: Seq = 2;
pub(super) const OTHER_APP: Seq = 3;
pub(super) const EVERY_APP: Seq = 0;

pub(super) fn learned(sizes: &[Size]) -> Sizes {
    let mut known = Sizes::default();
    for size in sizes {
        known.learn(CORP, APP, size, 0, false);
    }
    known
}

pub(super) fn alone(id: u64, members: u64) -> Size {
    Size::Department { id, with_children: false, members }
}

pub(super) fn whole(id: u64, members: u64) -> Size {
    Size::Department { id, with_children: true, members }
}

pub(super) fn tree(root: Option<u64>, departments: &[(u64, u64)]) -> Size {
    Size::Tree { root, departments: departments.to_vec() }
}

pub(super) fn tag(id: u64, members: u64, parties: &[u64]) -> Size {
    Size::Tag { id, members, parties: parties.to_vec() }
}

pub(super) fn joined(departments: u64) -> Size {
    Size::Joined { departments }
}

/// 1 with 2 and 3 below it, and 4 below 3.
pub(super) fn nested() -> Vec<Size> {
    let mut sizes = vec![tree(None, &[(1, 0), (2, 1), (3, 1), (4, 3)])];
    sizes.extend([(1, 5), (2, 10), (3, 20), (4, 40)].map(|(id, members)| alone(id, members)));
    sizes
}

pub(super) fn department(sizes: &Sizes, id: u64) -> Option<u64> {
    sizes.department(CORP, APP, id, 0)
}

#[test]
fn a_department_has_the_members_of_all_below_it() {
    let sizes = learned(&nested());
    assert_eq!([1, 2, 3, 4].map(|id| department(&sizes, id)), [Some(75), Some(10), Some(60), Some(40)]);
}

#[test]
fn without_the_tree_or_one_of_its_parts_a_department_is_unknown() {
    assert_eq!(department(&learned(&[alone(1, 5)]), 1), None);
    let mut sizes = nested();
    sizes.pop();
    let sizes = learned(&sizes);
    assert_eq!([1, 2, 3].map(|id| department(&sizes, id)), [None, Some(10), None]);
    assert_eq!(department(&learned(&[whole(1, 5)]), 1), Some(5));
}

#[test]
fn a_department_that_is_learned_anew_changes_all_above_it() {
    let mut sizes = learned(&nested());
    assert_eq!(department(&sizes, 1), Some(75));
    sizes.learn(CORP, APP, &alone(4, 41), 0, false);
    assert_eq!([1, 2, 3, 4].map(|id| department(&sizes, id)), [Some(76), Some(10), Some(61), Some(41)]);
    sizes.learn(CORP, APP, &tree(None, &[(1, 0), (2, 1), (3, 1), (4, 2)]), 0, false);
    assert_eq!([1, 2, 3, 4].map(|id| department(&sizes, id)), [Some(76), Some(51), Some(20), Some(41)]);
}

#[test]
fn departments_in_a_circle_are_counted_once() {
    let sizes = learned(&[tree(None, &[(5, 6), (6, 5), (7, 7)]), alone(5, 1), alone(6, 2), alone(7, 4)]);
    assert_eq!([5, 6, 7].map(|id| department(&sizes, id)), [Some(3), Some(3), Some(4)]);
}

#[test]
fn what_was_learned_is_forgotten_after_a_day_and_what_was_declared_is_not() {
    let mut sizes = learned(&nested());
    sizes.learn(CORP, APP, &tag(9, 3, &[]), 0, false);
    sizes.learn(CORP, APP, &Size::Scope { users: 2, parties: vec![2], tags: vec![9] }, 0, false);
    sizes.learn(CORP, APP, &Size::Chat { chat: 7, members: 4, hashes: vec![] }, 0, false);
    sizes.learn(CORP, EVERY_APP, &whole(1, 70), 0, true);
    let at = |tick| {
        let chat = sizes.chat(CORP, APP, 7, tick).map(|(members, _)| members);
        let department = sizes.department(CORP, APP, 1, tick);
        [department, sizes.tag(CORP, APP, 9, tick), sizes.everyone(CORP, APP, tick), chat]
    };
    assert_eq!(at(LEARNED_FOR_MS), [Some(75), Some(3), Some(15), Some(4)]);
    assert_eq!(at(LEARNED_FOR_MS + 1), [Some(70), None, None, None]);
}

#[test]
fn the_tree_is_forgotten_after_a_day_although_its_parts_are_known_anew() {
    let mut sizes = learned(&[tree(None, &[(1, 0)])]);
    sizes.learn(CORP, APP, &alone(1, 5), LEARNED_FOR_MS, false);
    assert_eq!(sizes.department(CORP, APP, 1, LEARNED_FOR_MS), Some(5));
    assert_eq!(sizes.department(CORP, APP, 1, LEARNED_FOR_MS + 1), None);
}

#[test]
fn an_app_learns_only_from_what_it_sees_itself() {
    let mut sizes = learned(&[whole(1, 5), tag(9, 3, &[])]);
    assert_eq!(sizes.department(CORP, OTHER_APP, 1, 0), None);
    assert_eq!(sizes.tag(CORP, OTHER_APP, 9, 0), None);
    sizes.learn(CORP, OTHER_APP, &whole(1, 50), 0, false);
    assert_eq!([APP, OTHER_APP].map(|app| sizes.department(CORP, app, 1, 0)), [Some(5), Some(50)]);
    assert_eq!(sizes.department(CORP + 10, APP, 1, 0), None);
}

#[test]
fn an_apps_own_declaration_comes_before_the_corps_and_the_larger_number_counts() {
    let mut sizes = Sizes::default();
    let mut declare = |app, members| {
        for size in [whole(1, members), tag(9, members, &[]), Size::Everyone { members }] {
            sizes.learn(CORP, app, &size, 0, true);
        }
        [APP, OTHER_APP].map(|app| {
            let [department, tag] = [sizes.department(CORP, app, 1, 0), sizes.tag(CORP, app, 9, 0)];
            assert_eq!((department, sizes.everyone(CORP, app, 0)), (tag, tag));
            department
        })
    };
    assert_eq!(declare(EVERY_APP, 100), [Some(100), Some(100)]);
    assert_eq!(declare(APP, 30), [Some(30), Some(100)]);
    sizes.learn(CORP, APP, &whole(1, 20), 0, false);
    assert_eq!(department(&sizes, 1), Some(30));
    sizes.learn(CORP, APP, &whole(1, 40), 0, false);
    assert_eq!(department(&sizes, 1), Some(40));
}

#[test]
fn who_joins_may_be_in_every_department_of_every_app() {
    let mut sizes = learned(&nested());
    sizes.learn(CORP, APP, &tag(9, 3, &[2, 4]), 0, false);
    sizes.learn(CORP, OTHER_APP, &whole(1, 7), 0, false);
    sizes.learn(CORP, APP, &joined(2), 0, false);
    assert_eq!([1, 2, 3, 4].map(|id| department(&sizes, id)), [Some(77), Some(12), Some(62), Some(42)]);
    assert_eq!(sizes.tag(CORP, APP, 9, 0), Some(5 + 12 + 42));
    assert_eq!(sizes.department(CORP, OTHER_APP, 1, 0), Some(9));
    // Known anew, it includes who joined before.
    sizes.learn(CORP, OTHER_APP, &whole(1, 8), 0, false);
    assert_eq!(sizes.department(CORP, OTHER_APP, 1, 0), Some(8));
}

#[test]
fn a_list_below_one_department_replaces_that_part_alone() {
    let mut sizes = learned(&nested());
    sizes.learn(CORP, APP, &tree(Some(2), &[(2, 1), (8, 2)]), 0, false);
    assert_eq!([1, 2, 3].map(|id| department(&sizes, id)), [None, None, Some(60)]);
    sizes.learn(CORP, APP, &alone(8, 1), 0, false);
    assert_eq!([1, 2, 3].map(|id| department(&sizes, id)), [Some(76), Some(11), Some(60)]);
}

#[test]
fn a_department_that_is_gone_from_its_place_may_be_anywhere() {
    let mut sizes = learned(&nested());
    sizes.learn(CORP, APP, &whole(2, 10), 0, false);
    sizes.learn(CORP, APP, &tree(Some(3), &[(3, 1)]), 0, false);
    assert_eq!([1, 2, 3].map(|id| department(&sizes, id)), [None, None, Some(20)]);
}

#[test]
fn a_department_that_comes_from_elsewhere_leaves_nothing_certain_but_the_new_list() {
    let mut sizes = learned(&nested());
    sizes.learn(CORP, APP, &whole(1, 75), 0, false);
    sizes.learn(CORP, APP, &tree(Some(2), &[(2, 1), (4, 2)]), 0, false);
    assert_eq!([1, 2, 3].map(|id| department(&sizes, id)), [None, Some(50), None]);
}

#[test]
fn when_departments_change_their_sizes_and_the_tags_that_name_them_are_forgotten() {
    let mut sizes = learned(&nested());
    for size in [tag(8, 2, &[]), tag(9, 3, &[2])] {
        sizes.learn(CORP, APP, &size, 0, false);
    }
    sizes.learn(CORP, APP, &whole(3, 33), 0, true);
    sizes.learn(CORP, OTHER_APP, &whole(1, 7), 0, false);
    sizes.learn(CORP, APP, &Size::DepartmentsChanged, 0, false);
    assert_eq!([1, 2, 3, 4].map(|id| department(&sizes, id)), [None, None, Some(33), None]);
    assert_eq!([8, 9].map(|id| sizes.tag(CORP, APP, id, 0)), [Some(2), None]);
    assert_eq!(sizes.department(CORP, OTHER_APP, 1, 0), None);
    assert!(sizes.knows(CORP, APP, &Size::DepartmentsChanged, 0));
}

#[test]
fn a_tag_is_as_large_as_its_members_and_departments_and_grows() {
    let mut sizes = learned(&nested());
    sizes.learn(CORP, APP, &tag(9, 3, &[2]), 0, false);
    sizes.learn(CORP, EVERY_APP, &tag(9, 1, &[]), 0, true);
    assert_eq!(sizes.tag(CORP, APP, 9, 0), Some(13));
    let more = Size::TagGrown { id: 9, members: 2, parties: vec![2, 4] };
    sizes.learn(CORP, OTHER_APP, &more, 0, false);
    assert_eq!(sizes.tag(CORP, APP, 9, 0), Some(5 + 10 + 40));
    assert_eq!(sizes.tag(CORP, OTHER_APP, 9, 0), None, "it has departments that this app knows nothing of");
    sizes.learn(CORP, APP, &Size::TagGrown { id: 9, members: 0, parties: vec![77] }, 0, false);
    assert_eq!(sizes.tag(CORP, APP, 9, 0), None);
}

#[test]
fn an_apps_scope_is_known_only_if_all_its_parts_are() {
    let mut sizes = learned(&nested());
    sizes.learn(CORP, APP, &Size::Scope { users: 2, parties: vec![2, 4], tags: vec![9] }, 0, false);
    assert_eq!(sizes.everyone(CORP, APP, 0), None);
    sizes.learn(CORP, APP, &tag(9, 3, &[]), 0, false);
    assert_eq!(sizes.everyone(CORP, APP, 0), Some(2 + 10 + 40 + 3));
    assert_eq!(sizes.everyone(CORP, OTHER_APP, 0), None);
}

#[test]
fn the_members_of_a_chat_follow_its_changes() {
    let mut sizes = learned(&[Size::Chat { chat: 7, members: 3, hashes: vec![10, 20, 30] }]);
    let change = |by, added: &[u64], removed: &[u64]| Size::ChatGrown {
        chat: 7,
        by,
        added: added.to_vec(),
        removed: removed.to_vec(),
    };
    sizes.learn(CORP, APP, &change(2, &[30, 40], &[10, 50]), 0, false);
    assert_eq!(sizes.chat(CORP, APP, 7, 0), Some((3, &[20, 30, 40][..])));
    // Not all who came are known: from now on only how many there may be is.
    sizes.learn(CORP, APP, &change(2, &[], &[]), 0, false);
    assert_eq!(sizes.chat(CORP, APP, 7, 0), Some((5, &[][..])));
    sizes.learn(CORP, APP, &change(1, &[60], &[20]), 0, false);
    assert_eq!(sizes.chat(CORP, APP, 7, 0), Some((6, &[][..])));
}

#[test]
fn the_same_answer_is_worth_an_entry_again_only_hours_later_or_after_a_change() {
    let scope = Size::Scope { users: 1, parties: vec![1], tags: vec![9] };
    let chat = Size::Chat { chat: 7, members: 1, hashes: vec![] };
    let sizes = [tree(None, &[(1, 0)]), alone(1, 5), whole(1, 6), tag(9, 3, &[1]), scope, chat];
    let mut known = learned(&sizes);
    let hours = LEARNED_FOR_MS / 24;
    for size in &sizes {
        assert!(known.knows(CORP, APP, size, hours), "{size:?}");
        assert!(!known.knows(CORP, APP, size, 7 * hours), "{size:?}");
        assert!(!known.knows(CORP, OTHER_APP, size, hours), "{size:?}");
    }
    for other in [tree(None, &[]), tree(None, &[(1, 0), (2, 1)]), alone(1, 4), tag(9, 3, &[])] {
        assert!(!known.knows(CORP, APP, &other, 0), "{other:?}");
    }
    known.learn(CORP, OTHER_APP, &joined(1), 0, false);
    assert!(!known.knows(CORP, APP, &alone(1, 5), 0));
}

#[test]
fn what_changes_nothing_that_is_known_is_worth_no_entry() {
    let sizes = learned(&[Size::Chat { chat: 7, members: 1, hashes: vec![] }]);
    let grown = |chat, by| Size::ChatGrown { chat, by, added: vec![], removed: vec![] };
    let tag_grown = Size::TagGrown { id: 9, members: 2, parties: vec![] };
    for size in [joined(1), Size::DepartmentsChanged, tag_grown.clone(), grown(7, 0), grown(8, 1)] {
        assert!(sizes.knows(CORP, APP, &size, 0), "{size:?}");
    }
    assert!(!sizes.knows(CORP, APP, &grown(7, 1), 0));
    let sizes = learned(&[tag(9, 1, &[])]);
    assert!([joined(1), tag_grown].iter().all(|size| !sizes.knows(CORP, OTHER_APP, size, 0)));
}

#[test]
fn no_more_is_kept_than_there_is_room_for() {
    let mut sizes = Sizes::default();
    for id in 0..SIZES_MAX as u64 - 5 {
        sizes.learn(CORP, APP, &whole(id, 1), 0, false);
    }
    let parties: Vec<u64> = (0..10).collect();
    sizes.learn(CORP, APP, &tag(9, 1, &parties), 0, false);
    assert_eq!(sizes.tag(CORP, APP, 9, 0), None, "its departments have no room");
    for id in 1..10 {
        sizes.learn(CORP, OTHER_APP, &tag(id, 1, &[]), 0, false);
    }
    assert!(!sizes.has_room());
    assert_eq!(sizes.tag(CORP, OTHER_APP, 9, 0), None);
    assert_eq!(sizes.tag(CORP, OTHER_APP, 5, 0), Some(1));
    assert!(sizes.knows(CORP, OTHER_APP, &tag(9, 1, &[]), 0), "an entry would teach nothing");
    // What was learned before is forgotten first.
    let later = LEARNED_FOR_MS + 1;
    assert!(!sizes.knows(CORP, OTHER_APP, &tag(9, 1, &[]), later));
    sizes.learn(CORP, OTHER_APP, &tag(9, 1, &[]), later, false);
    assert_eq!(sizes.tag(CORP, OTHER_APP, 9, later), Some(1));
    assert!(sizes.has_room());
}

#[test]
fn everything_that_is_known_can_be_shown() {
    let mut sizes = learned(&[alone(1, 5), tag(9, 3, &[])]);
    sizes.learn(CORP, EVERY_APP, &Size::Everyone { members: 40 }, 0, true);
    let show = |(corp, app, of)| (corp, app, of, sizes.show(corp, app, of, 0).unwrap().members);
    let shown: Vec<_> = sizes.iter().map(show).collect();
    let everyone = (CORP, EVERY_APP, Of::Everyone, Some(40));
    assert_eq!(shown, [everyone, (CORP, APP, Of::Department(1), None), (CORP, APP, Of::Tag(9), Some(3))]);
}

fn any_size() -> impl Strategy<Value = Size> {
    let ids = || proptest::collection::vec(0..6_u64, 0..4);
    let hashes =
        || proptest::collection::btree_set(any::<u64>(), 0..4).prop_map(|set| set.into_iter().collect());
    let pairs = proptest::collection::vec((0..6_u64, 0..6_u64), 0..5);
    prop_oneof![
        (0..6_u64, any::<bool>(), 0..9_u64).prop_map(|(id, with_children, members)| Size::Department {
            id,
            with_children,
            members
        }),
        (proptest::option::of(0..6_u64), pairs)
            .prop_map(|(root, departments)| Size::Tree { root, departments }),
        (0..6_u64, 0..9_u64, ids()).prop_map(|(id, members, parties)| Size::Tag { id, members, parties }),
        (0..6_u64, 0..9_u64, ids()).prop_map(|(id, members, parties)| Size::TagGrown {
            id,
            members,
            parties
        }),
        (0..3_u64, hashes()).prop_map(|(chat, hashes): (u64, Vec<u64>)| {
            Size::Chat { chat, members: hashes.len() as u64, hashes }
        }),
        (0..3_u64, 0..4_u64, hashes(), hashes()).prop_map(|(chat, by, added, removed)| Size::ChatGrown {
            chat,
            by,
            added,
            removed
        }),
        (0..9_u64).prop_map(|members| Size::Everyone { members }),
        (0..9_u64, ids(), ids()).prop_map(|(users, parties, tags)| Size::Scope { users, parties, tags }),
        (0..3_u64).prop_map(joined),
        ids().prop_map(|into| Size::Moved { into }),
        Just(Size::DepartmentsChanged),
        Just(Size::DepartmentsGrown),
        Just(Size::TagsChanged),
        Just(Size::ChatsChanged),
        Just(Size::ScopesChanged),
    ]
}

proptest! {
    #![proptest_config(config(256))]

    /// The counts that bound it are those of what is there, and entries say all that a size is.
    #[test]
    fn whatever_is_learned_is_counted_and_survives_a_snapshot(
        sizes in proptest::collection::vec((any_size(), 2..4_u64, any::<bool>()), 0..40),
    ) {
        let mut known = Sizes::default();
        for (tick, (size, app, declared)) in sizes.into_iter().enumerate() {
            let text = serde_json::to_string(&size).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Size>(&text).unwrap(), &size);
            known.learn(CORP, app, &size, tick as i64, declared);
            prop_assert!(known.is_consistent());
        }
        let bytes = postcard::to_stdvec(&known).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Sizes>(&bytes).unwrap(), known);
    }
}

fn act(world: &mut World, command: Command) -> Reply {
    world.command(0, command, Fate::Acknowledged).unwrap()
}

#[test]
fn sizes_are_entries_and_only_an_operators_hold_for_every_app() {
    let mut world = World::new();
    world.start(0, Fate::Acknowledged);
    act(&mut world, Command::PutCorp { corp_id: "corp".to_owned(), account_cap: 10 });
    let (corp_id, agent_id) = ("corp".to_owned(), "1".to_owned());
    let put = Command::PutApp { corp_id, agent_id, secret: plain("s"), fingerprint: [1; 32] };
    let Reply::Done { seq: app, .. } = act(&mut world, put) else { panic!() };
    let learn = |size| Command::Learn { app, size, call: 1 };
    let declare = |size, agent_id: Option<&str>| {
        let agent_id = agent_id.map(str::to_owned);
        Command::DeclareSize { corp_id: "corp".to_owned(), agent_id, size, by: None }
    };
    assert!(matches!(act(&mut world, learn(whole(1, 5))), Reply::Done { changed: true, .. }));
    assert!(matches!(act(&mut world, learn(whole(1, 5))), Reply::Done { changed: false, .. }));
    assert!(matches!(act(&mut world, declare(whole(2, 6), None)), Reply::Done { changed: true, .. }));
    assert!(matches!(act(&mut world, declare(alone(2, 6), None)), Reply::Rejected(_)));
    assert!(matches!(act(&mut world, declare(whole(2, 6), Some("7"))), Reply::Rejected(_)));
    let chat = Size::Chat { chat: 7, members: 1, hashes: vec![5] };
    assert!(matches!(act(&mut world, learn(chat)), Reply::Done { changed: true, .. }));
    let sizes = world.rows.iter().filter_map(|row| match row.entry().unwrap().body {
        Body::SizeLearned(it) => Some((it.size, it.call_seq)),
        Body::SizeDeclared(it) => Some((it.size, None)),
        _ => None,
    });
    // No limit tells members apart, so nobody is named.
    let chat = Size::Chat { chat: 7, members: 1, hashes: vec![] };
    let expected = [(whole(1, 5), Some(1)), (whole(2, 6), None), (chat, Some(1))];
    assert_eq!(sizes.collect::<Vec<_>>(), expected);
    let state = fold(&world.rows);
    let corp = state.directory.apps[&app].corp;
    assert_eq!(state.sizes.department(corp, app, 1, state.tick), Some(5));
    assert_eq!(state.sizes.department(corp, app + 1, 1, state.tick), None);
    assert_eq!(state.sizes.department(corp, app + 1, 2, state.tick), Some(6));
    world.take_snapshot(0);
    world.restore(0);
    world.everybody_agrees();
}
