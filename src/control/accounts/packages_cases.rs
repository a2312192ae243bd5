//! Cases of packages made in the dashboard, and of what hangs on them: by whom, when, and what is kept.

use super::packages::{Doing, Package, Put};
use super::people::add_account;
use super::place::Place;
use super::roles;
use super::sessions::{By, Who};
use super::store::{Store, StoreError};
use crate::control::tests::{Scratch, compiled, scratch};
use crate::pure::access::{OrganisationId, Role};
use crate::pure::config::made::Written;
use crate::pure::route::table::Table;

fn written(domain: &str, name: &str) -> Written {
    Written { domain: domain.to_owned(), name: name.to_owned(), ..Written::default() }
}

struct World {
    _dir: Scratch,
    store: Store,
    /// acme's admin, in its browser.
    ada: Who,
    acme: OrganisationId,
    routes: Table,
    then: Table,
}

impl World {
    fn new() -> Self {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        store.set_up("ada", "$hash", "acme", 0).unwrap();
        let acme = store.owners().unwrap().operator;
        let ada = signed_in(&mut store, 1, "ada");
        let [routes, then] = [(); 2].map(|()| Table::build(&[], &[]));
        Self { _dir: dir, store, ada, acme, routes, then }
    }

    /// Somebody with a role there, in their browser.
    fn person(&mut self, login: &str, place: &Place, role: Role) -> Who {
        let account = add_account(&self.store.connection, login, "$hash", 0).unwrap();
        let step = self.store.begin().unwrap();
        roles::grant(&step, &self.ada.actor(), place, account, role, 1).unwrap();
        step.commit().unwrap();
        signed_in(&mut self.store, account, login)
    }

    fn put(&mut self, put: &Put, now_s: i64) -> Result<i64, StoreError> {
        self.put_keeping(false, put, now_s)
    }

    /// The same, where it is said whether what is left on a name stays.
    fn put_keeping(&mut self, keeps: bool, put: &Put, now_s: i64) -> Result<i64, StoreError> {
        let (owner, as_owner) = (self.acme, true);
        let doing = Doing {
            who: &self.ada,
            owner,
            as_owner,
            claims: false,
            keeps,
            routes: &self.routes,
            then: &self.then,
            now_s,
        };
        self.store.put_package(&doing, put)
    }

    /// The same by somebody who was thought to own the organisation, or only the package.
    fn by(&mut self, who: &Who, as_owner: bool, put: &Put) -> Result<i64, StoreError> {
        let owner = self.acme;
        let (routes, then) = (&self.routes, &self.then);
        let (claims, keeps) = (false, false);
        let doing = Doing { who, owner, as_owner, claims, keeps, routes, then, now_s: 9 };
        self.store.put_package(&doing, put)
    }
}

fn signed_in(store: &mut Store, account: i64, login: &str) -> Who {
    store.open_session(account, "", login, "Firefox", 0).unwrap();
    store.by_session(login, 0).unwrap().who
}

#[test]
fn packages_are_made_changed_and_removed_and_all_of_it_is_noted() {
    let mut world = World::new();
    let (ada, acme, first) = (world.ada.account, world.acme, written("a.b", "x"));
    let id = world.put(&Put::Make(first.clone()), 1).unwrap();
    let again = world.put(&Put::Make(first.clone()), 1);
    assert!(matches!(again, Err(StoreError::Refused(_))), "{again:?}");
    let step = world.store.begin().unwrap();
    let place = Place::new(acme, Some("a.b/x".to_owned()));
    roles::grant(&step, &world.ada.actor(), &place, ada, Role::Member, 1).unwrap();
    step.commit().unwrap();
    let (had, second) = (Package { id, written: first }, written("a.b", "y"));
    world.put(&Put::Change(had, second.clone()), 2).unwrap();
    let now = Package { id, written: second };
    assert_eq!(world.store.packages().unwrap(), std::slice::from_ref(&now));
    assert_eq!(world.store.package("a.b", "y").unwrap(), Some(now.clone()));
    assert_eq!(world.store.package("a.b", "x").unwrap(), None);
    let roles = |world: &World| world.store.grants(ada).unwrap().packages;
    assert_eq!(roles(&world).into_keys().collect::<Vec<_>>(), ["a.b/y"], "a role follows");
    world.put(&Put::Remove(now.clone()), 3).unwrap();
    assert_eq!(world.store.packages().unwrap(), []);
    assert!(roles(&world).is_empty(), "it ends with the package");
    let store = &world.store;
    let deeds = |name: &str, before| {
        let history = store.package_history(acme, name, before, 9).unwrap();
        history.iter().map(|one| one.deed.clone()).collect::<Vec<_>>()
    };
    let all = ["package.remove", "package.change", "package.make"];
    assert_eq!(deeds("a.b/y", i64::MAX), all, "also under the name before");
    assert_eq!(deeds("a.b/x", i64::MAX), Vec::<String>::new());
    assert_eq!(store.package_history(acme + 1, "a.b/y", i64::MAX, 9).unwrap().len(), 0);
    let newest = store.package_history(acme, "a.b/y", i64::MAX, 1).unwrap().remove(0).id;
    let gone = store.package_change(acme, "a.b/y", newest).unwrap();
    assert_eq!((gone.made, gone.present), (id, None));
    let absent = store.package_change(acme, "a.b/x", newest);
    assert!(matches!(absent, Err(StoreError::Absent)), "{absent:?}");
    let absent = store.package_change(acme, "a.b/y", 1);
    assert!(matches!(absent, Err(StoreError::Absent)), "another sort of entry");
    world.put(&Put::Restore(now.clone()), 4).unwrap();
    assert!(roles(&world).is_empty(), "it comes back without");
    let there = world.store.package_change(acme, "a.b/y", newest).unwrap();
    assert_eq!(there.present, Some(now));
}

/// The rules of a file that serves this name of `a.b`.
fn serving(name: &str) -> Table {
    let file =
        format!("[[packages]]\ndomain = \"a.b\"\nname = \"{name}\"\nbackend = \"c.d/{name}\"");
    compiled(&file).1.routes
}

#[test]
fn what_is_served_without_it_keeps_its_people() {
    let mut world = World::new();
    for (then, is_kept) in [("x", true), ("*", true), ("y", false)] {
        let place = Place::new(world.acme, Some("a.b/x".to_owned()));
        let first = written("a.b", "x");
        let id = world.put(&Put::Make(first.clone()), 1).unwrap();
        let pia = world.person(&format!("pia-{then}"), &place, Role::Admin);
        world.then = serving(then);
        world.put(&Put::Remove(Package { id, written: first }), 2).unwrap();
        assert_eq!(world.store.packages().unwrap(), []);
        let left = world.store.members(&place).unwrap();
        let left: Vec<_> = left.into_iter().map(|one| one.account).collect();
        assert_eq!(left, Vec::from_iter(is_kept.then_some(pia.account)), "{then}");
    }
}

#[test]
fn a_new_name_has_nobody_of_another_time() {
    let mut world = World::new();
    let has = |world: &World, name: &str| {
        let place = Place::new(world.acme, Some(format!("a.b/{name}")));
        !world.store.members(&place).unwrap().is_empty()
    };
    let there = written("a.b", "there");
    let id = world.put(&Put::Make(there.clone()), 1).unwrap();
    let there = Package { id, written: there };
    let puts = |name: &str| {
        let to = written("a.b", name);
        [
            Put::Make(to.clone()),
            Put::Restore(Package { id: 70, written: to.clone() }),
            Put::Change(there.clone(), to),
        ]
    };
    for (number, put) in puts("team/x").into_iter().chain(puts("team/*")).enumerate() {
        for (before, is_kept) in [("team/**", true), ("other", false)] {
            let place = Place::new(world.acme, Some("a.b/team/x".to_owned()));
            world.person(&format!("pia-{number}-{before}"), &place, Role::Admin);
            world.routes = serving(before);
            world.put(&put, 2).unwrap();
            assert_eq!(has(&world, "team/x"), is_kept, "{put:?} {before}");
            let sql = "DELETE FROM packages WHERE domain = 'a.b' AND name <> 'there'";
            world.store.connection.execute(sql, []).unwrap();
            let sql = "INSERT OR IGNORE INTO packages (id, domain, name, written)
                       VALUES (?1, 'a.b', 'there', '{}')";
            world.store.connection.execute(sql, [id]).unwrap();
            world.store.connection.execute("DELETE FROM package_members", []).unwrap();
        }
    }
}

#[test]
fn who_is_left_of_the_files_package_comes_with_one_that_is_made_where_that_is_meant() {
    let mut world = World::new();
    for (keeps, name) in [(true, "x"), (false, "y"), (true, "team/*")] {
        let made = written("a.b", name);
        let of = format!("a.b/{}", name.replace('*', "x"));
        let place = Place::new(world.acme, Some(of.clone()));
        let pia = world.person(&format!("pia {name}"), &place, Role::Admin);
        let left = world.store.left(&made, &world.routes).unwrap();
        assert_eq!(left, Some(format!("pia {name} (admin of {of})")));
        let id = world.put_keeping(keeps, &Put::Make(made.clone()), 2).unwrap();
        let here = world.store.members(&place).unwrap();
        let here: Vec<i64> = here.into_iter().map(|one| one.account).collect();
        assert_eq!(here, Vec::from_iter(keeps.then_some(pia.account)), "{name}");
        // With what comes back nobody comes, whoever says so.
        let there = Package { id, written: made };
        world.put(&Put::Remove(there.clone()), 3).unwrap();
        world.person(&format!("bob {name}"), &place, Role::Admin);
        world.put_keeping(true, &Put::Restore(there), 4).unwrap();
        assert!(world.store.members(&place).unwrap().is_empty(), "{name}");
    }
}

#[test]
fn under_another_name_nobody_is_left_behind_and_nobody_sees_more() {
    let mut world = World::new();
    for (from, to, kept) in [
        ("team/*", "crew/*", &["crew/*"][..]),
        ("team/*", "team/x", &["team/x"]),
        // A role on one of these is none on all below the other: who has it keeps what they saw.
        ("team/*", "team/**", &["team/x", "team/y"]),
        ("team/x", "team/*", &["team/x"]),
        ("team/x", "crew/*", &[]),
    ] {
        let first = written("a.b", from);
        let id = world.put(&Put::Make(first.clone()), 1).unwrap();
        let is_its = |name: &&str| from.ends_with('*') || *name == from;
        for name in ["team/*", "team/x", "team/y"].into_iter().filter(is_its) {
            let place = Place::new(world.acme, Some(format!("a.b/{name}")));
            world.person(&format!("{name} {from} {to}"), &place, Role::Admin);
        }
        (world.routes, world.then) = (serving(from), serving(to));
        let there = Package { id, written: first };
        world.put(&Put::Change(there.clone(), written("a.b", to)), 2).unwrap();
        let sql = "SELECT DISTINCT package FROM package_members";
        let mut left = world.store.connection.prepare(sql).unwrap();
        let left: Vec<String> =
            left.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let expected: Vec<String> = kept.iter().map(|name| format!("a.b/{name}")).collect();
        assert_eq!(left, expected, "{from} {to}");
        for sql in ["DELETE FROM packages", "DELETE FROM package_members"] {
            world.store.connection.execute(sql, []).unwrap();
        }
    }
}

#[test]
fn whether_they_may_is_decided_when_it_is_done() {
    let mut world = World::new();
    let (here, acme) = (Place::new(world.acme, Some("a.b/x".to_owned())), world.acme);
    let bob = world.person("bob", &Place::Organisation(acme), Role::Admin);
    let first = written("a.b", "x");
    let id = world.put(&Put::Make(first.clone()), 1).unwrap();
    let pia = world.person("pia", &here, Role::Admin);
    let there = Package { id, written: first.clone() };
    let moved = Put::Change(there.clone(), first);
    let make = Put::Make(written("a.b", "y"));
    world.by(&pia, false, &moved).unwrap();
    for put in [&make, &Put::Remove(there.clone()), &Put::Restore(there.clone())] {
        assert!(world.by(&pia, true, put).is_err(), "{put:?}");
    }
    // All of what follows was asked for while it was theirs to do.
    let forbidden = |outcome: Result<i64, StoreError>| {
        assert!(matches!(outcome, Err(StoreError::Forbidden)), "{outcome:?}");
    };
    let (by, at) = (world.ada.actor(), Place::Organisation(acme));
    world.store.change_role(&by, &at, bob.account, Role::Member, 2).unwrap();
    for put in [&make, &moved, &Put::Remove(there.clone())] {
        forbidden(world.by(&bob, true, put));
    }
    world.store.change_role(&by, &here, pia.account, Role::Member, 2).unwrap();
    forbidden(world.by(&pia, false, &moved));
    world.store.remove_member(&by, &here, pia.account, 3).unwrap();
    let gone = world.by(&pia, false, &moved);
    assert!(matches!(gone, Err(StoreError::Absent)), "{gone:?}");
    let (ada, By::Session(session)) = (world.ada.clone(), world.ada.by) else { panic!() };
    world.store.close_session(ada.account, session).unwrap();
    forbidden(world.by(&ada, true, &make));
    assert_eq!(world.store.packages().unwrap(), [there]);
}

#[test]
fn a_domain_that_is_anothers_by_now_is_left_to_it() {
    let mut world = World::new();
    let first = written("a.b", "x");
    let id = world.put(&Put::Make(first.clone()), 1).unwrap();
    let by = world.ada.actor();
    let other = world.store.add_organisation(&by, "other", 2).unwrap();
    world.store.give_domain(&by, "a.b", other, 3).unwrap();
    let there = Package { id, written: first };
    for put in [
        Put::Make(written("a.b", "y")),
        Put::Change(there.clone(), written("a.c", "x")),
        Put::Remove(there.clone()),
    ] {
        let outcome = world.put(&put, 4);
        assert!(matches!(outcome, Err(StoreError::Refused(_))), "{put:?}: {outcome:?}");
    }
    assert_eq!(world.store.packages().unwrap(), [there]);
}

#[test]
fn one_that_cannot_be_read_keeps_no_other_from_being_served() {
    let mut world = World::new();
    for name in ["x", "y"] {
        world.put(&Put::Make(written("a.b", name)), 1).unwrap();
    }
    let sql = "UPDATE packages SET written = '{\"of\": \"another version\"}' WHERE name = 'x'";
    world.store.connection.execute(sql, []).unwrap();
    let left = world.store.packages().unwrap();
    let left: Vec<_> = left.into_iter().map(|it| it.written).collect();
    assert_eq!(left, [written("a.b", "y")]);
}

#[test]
fn a_domain_that_nobody_had_is_its_organisations() {
    let mut world = World::new();
    let by = world.ada.actor();
    let other = world.store.add_organisation(&by, "other", 1).unwrap();
    let eve = world.person("eve", &Place::Organisation(other), Role::Admin);
    let place = Place::new(world.acme, Some("other.pkg/x".to_owned()));
    world.person("pia", &place, Role::Admin);
    let doing = |claims, now_s| Doing {
        who: &eve,
        owner: other,
        as_owner: true,
        claims,
        keeps: true,
        routes: &world.routes,
        then: &world.then,
        now_s,
    };
    let (one, two) = (written("other.pkg", "x"), written("deep.other.pkg", "x"));
    let refused = world.store.put_package(&doing(false, 2), &Put::Make(one.clone()));
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    let id = world.store.put_package(&doing(true, 2), &Put::Make(one.clone())).unwrap();
    assert_eq!(world.store.owners().unwrap().of_domain("other.pkg"), other);
    assert!(world.store.members(&place).unwrap().is_empty(), "those of who had it before");
    let moved = Put::Change(Package { id, written: one }, two);
    world.store.put_package(&doing(true, 3), &moved).unwrap();
    assert_eq!(world.store.owners().unwrap().of_domain("deep.other.pkg"), other);
    world.put(&Put::Make(written("acme.pkg", "x")), 3).unwrap();
    assert!(!world.store.owners().unwrap().domains.contains_key("acme.pkg"));
}
