//! That who asked for something may still do it when it is done. Who asks, and what they may, is known by the
//! head of a request; its body comes when its sender likes, and by then they may be nobody here any more.

use std::sync::Arc;

use super::audit::Actor;
use super::people::Owners;
use super::place::Place;
use super::sessions::Who;
use super::store::{Store, StoreError};
use super::{Accounts, now_s};
use crate::pure::access::{Action, Grants, Object};
use crate::pure::route::pattern::{Pattern, Star};
use crate::pure::route::table::Table;
use crate::pure::snapshot::Snapshot;

/// Somebody, and what they have to be allowed when it is done.
#[derive(Clone)]
pub struct Right {
    who: Option<Who>,
    to: To,
}

#[derive(Clone)]
enum To {
    /// What is their own.
    Own,
    /// This to a place, its packages being served by these rules.
    At(Action, Place, Arc<Snapshot>),
    /// To see all that they saw once, packages being served by these rules.
    Sight(Arc<Sight>, Arc<Snapshot>),
    /// To configure the gateway.
    Gateway,
}

/// What somebody sees at a moment.
struct Sight {
    grants: Grants,
    owners: Owners,
    rules: Arc<Snapshot>,
}

impl Right {
    /// To do something to a place; nobody has any.
    pub fn at(who: Option<Who>, action: Action, place: Place, snapshot: Arc<Snapshot>) -> Self {
        Self { who, to: To::At(action, place, snapshot) }
    }

    /// To see all that these are the grants for, domains being theirs who own them now, and packages being served
    /// by these rules.
    pub fn sight(who: Option<Who>, grants: Grants, owners: Owners, rules: Arc<Snapshot>) -> Self {
        let sight = Sight { grants, owners, rules: Arc::clone(&rules) };
        Self { who, to: To::Sight(Arc::new(sight), rules) }
    }

    /// The same, packages being served by these rules by now.
    #[must_use]
    pub fn under(mut self, rules: Arc<Snapshot>) -> Self {
        if let To::At(_, _, snapshot) | To::Sight(_, snapshot) = &mut self.to {
            *snapshot = rules;
        }
        self
    }

    /// To configure the gateway.
    pub fn gateway(who: Who) -> Self {
        Self { who: Some(who), to: To::Gateway }
    }

    /// To do something to one's own account, as long as what one came by has not ended.
    pub fn own(who: Who) -> Self {
        Self { who: Some(who), to: To::Own }
    }
}

impl Accounts {
    /// The same as [`Accounts::run`] in the name of who has the right to it, if they still have when it is the
    /// job's turn: between that and what the job does, nobody else's job runs.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`] also where they have it not any more.
    pub async fn run_by<T: Send + 'static>(
        &self,
        right: Right,
        job: impl FnOnce(&mut Store, &Actor) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(move |store| {
            let by = store.actor(&right, now_s())?;
            job(store, &by)
        })
        .await
    }
}

impl Store {
    /// Who has this right now, as the audit log names them.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`] for who has it not, or not any more; also where the place has gone to another
    /// organisation meanwhile.
    fn actor(&self, right: &Right, now_s: i64) -> Result<Actor, StoreError> {
        let who = right.who.as_ref().ok_or(StoreError::Forbidden)?;
        let grants = self.grants_of(who, now_s)?;
        let may = match &right.to {
            To::Own => true,
            To::Gateway => {
                let operator = self.owners()?.operator;
                grants.may(Action::Configure, Object::Gateway { operator })
            }
            To::At(action, Place::Organisation(id), _) => {
                grants.may(*action, Object::Organisation(*id))
            }
            To::At(action, Place::Package { name, owner }, snapshot) => {
                let package = self.owners()?.package(name, snapshot.routes.serving(name), false);
                let is_theirs =
                    matches!(package, Object::Package { owner: now, .. } if now == *owner);
                is_theirs && grants.may(*action, package)
            }
            To::Sight(sight, rules) => sight.is_within(&grants, &self.owners()?, rules),
        };
        if may { Ok(who.actor()) } else { Err(StoreError::Forbidden) }
    }
}

impl Sight {
    /// Whether all of it is seen by these grants, domains being these owners', and packages being served by these
    /// rules.
    fn is_within(&self, grants: &Grants, owners: &Owners, rules: &Arc<Snapshot>) -> bool {
        let is_kept = |before: Object<'_>, now: Object<'_>| {
            !self.grants.may(Action::See, before) || grants.may(Action::See, now)
        };
        let is_package_kept = |name: &str, [before, now]: [Option<(&str, &str)>; 2]| {
            let before = self.owners.package(name, before, false);
            is_kept(before, owners.package(name, now, false))
        };
        let organisations = self.grants.organisations.keys().map(|id| (*id, *id));
        let domains = self.owners.domains.keys().chain(owners.domains.keys());
        let owners_of = domains.map(|host| (self.owners.of_domain(host), owners.of_domain(host)));
        let reached = self.grants.reach.iter().filter_map(|reach| reach.package.as_ref());
        let mut packages = self.grants.packages.keys().chain(reached);
        let mut names = packages.clone();
        organisations
            .chain(owners_of)
            .all(|(before, now)| is_kept(Object::Organisation(before), Object::Organisation(now)))
            && names.all(|name| is_package_kept(name, [None; 2]))
            && (Arc::ptr_eq(&self.rules, rules)
                || packages.all(|collection| {
                    let tables = [&self.rules.routes, &rules.routes];
                    let mut apart = set_apart(collection, tables).into_iter();
                    apart.all(|name| is_package_kept(&name, tables.map(|it| it.serving(&name))))
                }))
    }
}

/// Names that a collection has and that another rule may serve by one of these tables than by the other: one for each
/// rule below it, or its own, that only one of them has. None for what is no collection.
fn set_apart(collection: &str, tables: [&Table; 2]) -> Vec<String> {
    let Some((domain, name)) = collection.split_once('/') else { return Vec::new() };
    let Some(pattern) = Pattern::parse(name).ok().filter(|it| it.star.is_some()) else {
        return Vec::new();
    };
    let rules = tables.iter().flat_map(|table| table.packages());
    rules
        .filter(|(at, rule)| *at == domain && rule.starts_with(&pattern.prefix))
        .filter(|(_, rule)| tables.iter().any(|table| table.of(domain, rule).is_none()))
        .filter_map(|(_, rule)| Pattern::parse(rule).ok())
        .map(|rule| match rule.star {
            None => rule.prefix,
            Some(Star::One) => rule.prefix + ANY,
            // One that `*` there does not serve.
            Some(Star::Many) => [&rule.prefix, ANY, "/", ANY].concat(),
        })
        .filter(|name| pattern.has(name))
        .map(|name| format!("{domain}/{name}"))
        .collect()
}

/// What a collection has and nobody gives a rule of its own.
const ANY: &str = "any-that-has-no-rule-of-its-own";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::accounts::people::add_account;
    use crate::control::accounts::roles::grant;
    use crate::control::tests::{compiled, scratch};
    use crate::pure::access::{Reach, Role};

    #[test]
    fn a_right_is_what_its_owner_has_when_it_is_used() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        let bob = add_account(&store.connection, "bob", "$hash", 0).unwrap();
        let acme = Place::Organisation(store.owners().unwrap().operator);
        let rocket = Place::new(acme.organisation(), Some("a.b/acme/rocket".to_owned()));
        let by = Actor { account: Some(ada), login: "ada".to_owned() };
        for place in [&acme, &rocket] {
            let step = store.begin().unwrap();
            grant(&step, &by, place, bob, Role::Admin, 0).unwrap();
            step.commit().unwrap();
        }
        store.open_session(bob, "", "one", "Firefox", 0).unwrap();
        let who = store.by_session("one", 0).unwrap().who;
        let snapshot = Arc::new(compiled("").1);
        let at = |place: &Place| {
            Right::at(Some(who.clone()), Action::Grant, place.clone(), Arc::clone(&snapshot))
        };
        let all = [at(&acme), at(&rocket), Right::gateway(who.clone()), Right::own(who.clone())];
        // What is left of them, in this order, after what is done to bob.
        let left = |store: &Store| all.each_ref().map(|right| store.actor(right, 1).is_ok());
        assert_eq!(left(&store), [true; 4]);
        assert_eq!(store.actor(&all[0], 1).unwrap().login, "bob");
        let nobodys = Right { who: None, ..at(&acme) };
        assert!(matches!(store.actor(&nobodys, 1), Err(StoreError::Forbidden)));
        store.change_role(&by, &acme, bob, Role::Member, 1).unwrap();
        assert_eq!(left(&store), [false, true, false, true], "the package's admin still");
        let other = store.add_organisation(&by, "other", 1).unwrap();
        let sql = "INSERT INTO domains (host, organisation) VALUES ('a.b', ?1)";
        store.connection.execute(sql, [other]).unwrap();
        assert_eq!(left(&store), [false, false, false, true], "another organisation's now");
        store.connection.execute("DELETE FROM domains", []).unwrap();
        store.remove_member(&by, &rocket, bob, 1).unwrap();
        assert_eq!(left(&store), [false, false, false, true]);
        store.connection.execute("DELETE FROM sessions", []).unwrap();
        assert_eq!(left(&store), [false; 4]);
    }
    #[test]
    fn a_sight_is_all_that_was_seen_when_it_was_asked_for() {
        const ROCKET: &str = "a.b/acme/rocket";
        let grants =
            |organisations: &[i64], packages: &[&str], reach: Option<Option<&str>>| Grants {
                organisations: organisations.iter().map(|id| (*id, Role::Member)).collect(),
                packages: packages.iter().map(|name| ((*name).to_owned(), Role::Admin)).collect(),
                reach: reach.map(|package| Reach {
                    organisation: 1,
                    package: package.map(str::to_owned),
                    most: Role::Member,
                }),
            };
        // The operator is 1, and has what is nobody else's.
        let owners = |domains: &[(&str, i64)]| Owners {
            operator: 1,
            domains: domains.iter().map(|(host, id)| ((*host).to_owned(), *id)).collect(),
        };
        let (ours, moved) = (owners(&[("c.d", 2)]), owners(&[("c.d", 2), ("a.b", 2)]));
        let all = grants(&[1, 2], &[ROCKET], None);
        let table = [
            ("nothing is lost", all.clone(), &ours, all.clone(), &ours, true),
            ("more", grants(&[1], &[], None), &ours, all.clone(), &ours, true),
            ("an organisation", all.clone(), &ours, grants(&[1], &[ROCKET], None), &ours, false),
            (
                "a package",
                grants(&[2], &[ROCKET], None),
                &ours,
                grants(&[2], &[], None),
                &ours,
                false,
            ),
            ("a domain", grants(&[1], &[], None), &ours, grants(&[1], &[], None), &moved, false),
            (
                "it comes back",
                grants(&[1], &[], None),
                &moved,
                grants(&[1], &[], None),
                &ours,
                true,
            ),
            ("one's other", all.clone(), &ours, all, &moved, true),
            (
                "what the token does not reach",
                grants(&[1, 2], &[], Some(None)),
                &ours,
                grants(&[1], &[], Some(None)),
                &ours,
                true,
            ),
            (
                "what it is of",
                grants(&[1], &[], Some(None)),
                &ours,
                grants(&[], &[], Some(None)),
                &ours,
                false,
            ),
            (
                "the package that it is of",
                grants(&[1], &[], Some(Some(ROCKET))),
                &ours,
                grants(&[], &[], Some(Some(ROCKET))),
                &ours,
                false,
            ),
        ];
        for (what, before, then, after, now, expected) in table {
            let rules = Arc::new(compiled("").1);
            let sight = Sight { grants: before, owners: then.clone(), rules: Arc::clone(&rules) };
            assert_eq!(sight.is_within(&after, now, &rules), expected, "{what}");
        }
    }

    #[test]
    fn a_sight_of_a_collection_ends_where_the_rules_set_apart_what_it_had() {
        let rules = |names: &[&str]| {
            let package = |name: &&str| {
                let backend = name.replace("acme", "x");
                format!(
                    "[[packages]]\ndomain = \"a.b\"\nname = \"{name}\"\nbackend = \"ghcr.io/{backend}\"\n"
                )
            };
            Arc::new(compiled(&names.iter().map(package).collect::<String>()).1)
        };
        let on = |names: &[&str], organisations: &[i64]| Grants {
            organisations: organisations.iter().map(|id| (*id, Role::Member)).collect(),
            packages: names.iter().map(|name| (format!("a.b/{name}"), Role::Member)).collect(),
            reach: None,
        };
        let by_token = |package: &str| Grants {
            reach: Some(Reach {
                organisation: 1,
                package: Some(format!("a.b/{package}")),
                most: Role::Member,
            }),
            ..on(&[], &[1])
        };
        let owners = Owners { operator: 1, ..Owners::default() };
        let before = &["acme/*", "acme/secret", "deep/**"][..];
        for (what, grants, after, expected) in [
            ("the same, read anew", on(&["acme/*"], &[]), before, true),
            (
                "one of its names",
                on(&["acme/*"], &[]),
                &["acme/*", "acme/secret", "acme/one", "deep/**"],
                false,
            ),
            ("who sees all", on(&["acme/*"], &[1]), &["acme/*", "acme/one"], true),
            ("who sees that too", on(&["acme/*", "acme/one"], &[]), &["acme/*", "acme/one"], true),
            ("more than before", on(&["acme/*"], &[]), &["acme/*", "deep/**"], true),
            ("all of them", on(&["acme/*"], &[]), &["acme/secret", "deep/**"], false),
            (
                "another's",
                on(&["acme/*"], &[]),
                &["acme/*", "acme/secret", "deep/**", "deep/x"],
                true,
            ),
            ("some of them", on(&["deep/**"], &[]), &["acme/*", "deep/**", "deep/er/*"], false),
            ("the nearest of them", on(&["deep/**"], &[]), &["acme/*", "deep/**", "deep/*"], false),
            ("no collection", on(&["acme/secret"], &[]), &["acme/*"], true),
            ("what a token is of", by_token("acme/*"), &["acme/*", "acme/one"], false),
        ] {
            let sight =
                Sight { grants: grants.clone(), owners: owners.clone(), rules: rules(before) };
            assert_eq!(sight.is_within(&grants, &owners, &rules(after)), expected, "{what}");
        }
    }
}
