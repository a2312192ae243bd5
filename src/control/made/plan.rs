//! What a change of packages made in the dashboard comes to: decided by what the store has, what the file says
//! and what who asks may do, when it is the change's turn.

use std::collections::BTreeMap;

use super::{Breaks, Change, Order, Refused, Standing};
use crate::control::accounts::packages::{Package, Put, may_put};
use crate::control::accounts::people::Owners;
use crate::control::accounts::{Store, StoreError};
use crate::pure::access::{Action, Grants, OrganisationId};
use crate::pure::config::made::{IN_THE_WAY, Made, Written, Wrong, id_taken, is_in_file};
use crate::pure::config::values::Config;
use crate::pure::route::table::Table;

/// The packages as the store has them, and whose domains are.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The oldest first.
    pub packages: Vec<Package>,
    /// Whose domains are.
    pub owners: Owners,
    /// Each organisation's number and name.
    names: Vec<(OrganisationId, String)>,
}

impl Stored {
    /// What `store` has.
    pub fn read(store: &Store) -> Result<Self, StoreError> {
        let names = store.organisations()?.into_iter().map(|one| (one.id, one.name)).collect();
        Ok(Self { packages: store.packages()?, owners: store.owners()?, names })
    }

    /// As they are put beside the file.
    pub fn made(&self) -> Vec<Made> {
        let made = |Package { written, .. }: &Package| {
            let tenant = self.tenant(self.owners.of_domain(&written.domain));
            Made { is_operators: tenant.is_none(), tenant, written: written.clone() }
        };
        self.packages.iter().map(made).collect()
    }

    /// What `order` makes of them: the packages then, the place of the one that is changed among them,
    /// and what the store is told, with whose it is.
    ///
    /// # Errors
    /// What is wrong whatever else there is, and what they may not.
    pub fn with(&self, order: &Order, around: &Around<'_>) -> Result<Planned, Refused> {
        let Around { grants, file, routes } = *around;
        let (owner, name) = match &order.change {
            Change::Make { organisation, .. } | Change::Restore { organisation, .. } => {
                (*organisation, None)
            }
            Change::Change { from: Package { written, .. }, .. }
            | Change::Remove(Package { written, .. }) => {
                (self.owners.of_domain(&written.domain), Some(written.package()))
            }
        };
        let owns = may_put(grants, owner, name.as_deref(), routes).map_err(Refused::Store)?;
        // Only they choose what is the gateway's own.
        let runs_gateway = owns && owner == self.owners.operator;
        let mut made = self.made();
        let (at, put, claims) = match &order.change {
            Change::Make { written, .. } | Change::Restore { written, .. } => {
                self.has_room(owner)?;
                let (written, claims) = self.settled(owner, written, file)?;
                let (is_operators, tenant) = (runs_gateway, self.tenant(owner));
                made.push(Made { written: written.clone(), is_operators, tenant });
                let put = match order.change {
                    Change::Restore { id, .. } => Put::Restore(Package { id, written }),
                    Change::Make { .. } | Change::Change { .. } | Change::Remove(_) => {
                        Put::Make(written)
                    }
                };
                (Some(made.len() - 1), put, claims)
            }
            Change::Change { from, to } => {
                let at = self.place(from)?;
                if is_in_file(&file.packages, &from.written) {
                    return Err(Refused::Overruled);
                }
                let (to, claims) = self.settled(owner, to, file)?;
                // By another id its counts may be those of a package that they do not see.
                if !owns && to.id != from.written.id {
                    return Err(Refused::NotTheirs);
                }
                match Breaks::of(&from.written, &to) {
                    Some(_) if !owns => return Err(Refused::NotTheirs),
                    Some(breaks) if !order.asker.confirms && !order.is_trial => {
                        return Err(Refused::Breaks(breaks));
                    }
                    Some(_) | None => {}
                }
                // What somebody who runs the gateway has chosen, others keep as it is.
                let is_kept = to.credentials == from.written.credentials
                    && to.backends == from.written.backends;
                let is_operators = owner == self.owners.operator && (runs_gateway || is_kept);
                if let Some(one) = made.get_mut(at) {
                    *one = Made { written: to.clone(), is_operators, tenant: self.tenant(owner) };
                }
                (Some(at), Put::Change(from.clone(), to), claims)
            }
            Change::Remove(_) if !owns => return Err(Refused::NotTheirs),
            Change::Remove(package) => {
                made.remove(self.place(package)?);
                (None, Put::Remove(package.clone()), false)
            }
        };
        let gets_id = match &put {
            Put::Make(_) | Put::Restore(_) => true,
            Put::Change(from, to) => from.written.id != to.id,
            Put::Remove(_) => false,
        };
        let taken = at.filter(|_| gets_id).and_then(|at| id_taken(&file.packages, &made, at));
        match taken {
            Some(wrong) => Err(Refused::Wrong(vec![wrong])),
            None => Ok(Planned { made, at, owner, owns, claims, put }),
        }
    }

    /// The organisation, where it is not the one that runs the gateway.
    fn tenant(&self, organisation: OrganisationId) -> Option<OrganisationId> {
        (organisation != self.owners.operator).then_some(organisation)
    }

    /// That an organisation may have one more.
    fn has_room(&self, organisation: OrganisationId) -> Result<(), Refused> {
        let domains = self.packages.iter().map(|one| one.written.domain.as_str());
        let many = domains.filter(|domain| self.owners.of_domain(domain) == organisation).count();
        if many < MADE_MAX {
            return Ok(());
        }
        let words = format!(
            "An organisation has {MADE_MAX} packages made here at the most: remove one first, or make \
             several into one whose name ends in `*`."
        );
        Err(Refused::Store(StoreError::Refused(words)))
    }

    /// What is written for an organisation, at a domain of its; and whether that becomes its by it.
    fn settled(
        &self,
        organisation: OrganisationId,
        written: &Written,
        file: &Config,
    ) -> Result<(Written, bool), Refused> {
        let written = written.clone().tidied();
        let domain = self.domain(organisation, &written.domain, file);
        let (domain, claims) = domain.map_err(|wrong| Refused::Wrong(vec![wrong]))?;
        Ok((Written { domain, ..written }, claims))
    }

    fn place(&self, package: &Package) -> Result<usize, Refused> {
        let at = self.packages.iter().position(|one| one.id == package.id);
        let at = at.ok_or(Refused::Store(StoreError::Absent))?;
        match self.packages.get(at) == Some(package) {
            true => Ok(at),
            false => Err(Refused::Changed),
        }
    }

    /// The domain for a package of this organisation: the one that is written, if it is theirs, else the
    /// one below the shared domain; and whether nobody has that yet.
    fn domain(
        &self,
        organisation: OrganisationId,
        written: &str,
        file: &Config,
    ) -> Result<(String, bool), Wrong> {
        let wrong = |what: String| Err(Wrong::new("domain", what));
        let shared = file.gateway.shared_domain.as_deref();
        let name = self.names.iter().find(|(id, _)| *id == organisation);
        let own = shared.zip(name).map(|(shared, (_, name))| format!("{name}.{shared}"));
        let domain = match (written, &own) {
            ("", None) => {
                return wrong(
                    "is empty: name the domain that clients pull from (or have gateway.shared_domain \
                     set, below which each organisation has one)"
                        .to_owned(),
                );
            }
            ("", Some(own)) => own.as_str(),
            (written, _) => written,
        };
        let is_own = own.as_deref() == Some(domain);
        let owner = self.owners.of_domain(domain);
        if let Some(shared) = shared
            && !is_own
            && (domain == shared || domain.ends_with(&format!(".{shared}")))
            && self.owners.domains.get(domain) != Some(&organisation)
        {
            return wrong(format!(
                "is not this organisation's: below {shared} it has {}",
                own.unwrap_or_default()
            ));
        }
        if owner == organisation {
            return Ok((domain.to_owned(), false));
        }
        let is_served = file.packages.iter().any(|one| one.domain == domain);
        let is_free = !self.owners.domains.contains_key(domain);
        if is_own && is_free && !is_served {
            return Ok((domain.to_owned(), true));
        }
        wrong(
            "is not a domain of this organisation: ask who runs the gateway to give it to you"
                .to_owned(),
        )
    }
}

/// What a change is decided by, beside what the store has.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// What who asks may now.
    pub grants: &'a Grants,
    /// What the file says that is in force.
    pub file: &'a Config,
    /// The rules that packages are served by.
    pub routes: &'a Table,
}

/// What a change comes to.
pub struct Planned {
    /// All packages then.
    pub made: Vec<Made>,
    /// Which of them is changed.
    pub at: Option<usize>,
    /// Whose it is.
    pub owner: OrganisationId,
    /// Whether who asks configures all of its.
    pub owns: bool,
    /// Whether its domain becomes the organisation's.
    pub claims: bool,
    /// What the store is told.
    pub put: Put,
}

impl Planned {
    /// Whether it can stand: those that are set `aside` with it and were not `before`, each by its name,
    /// are what speaks against it. Who asks is told the names of those that they may see; `owners` says
    /// whose these are.
    ///
    /// # Errors
    /// What is wrong with the package, or with what it does to others.
    pub fn stands(
        &self,
        aside: &BTreeMap<usize, Vec<Wrong>>,
        before: &Standing,
        owners: &Owners,
        around: &Around<'_>,
    ) -> Result<(), Refused> {
        let Around { grants, routes, .. } = *around;
        let Some(changed) = self.at else {
            return Ok(());
        };
        if let Some(wrong) = aside.get(&changed) {
            return Err(Refused::Wrong(wrong.clone()));
        }
        let others = aside.iter().filter_map(|(at, wrong)| {
            let Written { domain, name, .. } = &self.made.get(*at)?.written;
            let name = format!("{domain}/{name}");
            let was_served = before.packages.get(&name).is_none_or(Vec::is_empty);
            let then = |one: &Wrong| format!("would end {name}, which then {}", one.what);
            let wrong = wrong.first().filter(|_| was_served)?;
            let inside = then(&wrong.clone().told(true));
            let package = owners.package(&name, routes.serving(&name), false);
            let what = match grants.may(Action::See, package) {
                true => then(wrong),
                false => IN_THE_WAY.to_owned(),
            };
            Some(Wrong::with_inside("domain", what, inside))
        });
        let others: Vec<Wrong> = others.collect();
        if others.is_empty() { Ok(()) } else { Err(Refused::Wrong(others)) }
    }
}

/// Packages of one organisation that are made in the dashboard. Each change looks at all of them, in the one
/// thread that puts configurations in force; the file may have more.
pub const MADE_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::control::accounts::sessions::{By, Who};
    use crate::control::made::Asker;
    use crate::control::tests::compiled;
    use crate::pure::access::Role;

    const FILE: &str = "
[[packages]]
domain = \"registry.acme.com\"
name = \"acme/rocket\"
backend = \"ghcr.io/acme/rocket\"
";
    const ACME: OrganisationId = 1;
    const OTHER: OrganisationId = 2;

    fn written(domain: &str, name: &str) -> Written {
        Written { domain: domain.to_owned(), name: name.to_owned(), ..Written::default() }
    }

    fn stored(written: Vec<Written>) -> Stored {
        let packages = (1..).zip(written).map(|(id, written)| Package { id, written }).collect();
        let domains = [("other.example".to_owned(), OTHER)].into();
        let names = vec![(ACME, "acme".to_owned()), (OTHER, "other".to_owned())];
        Stored { packages, owners: Owners { operator: ACME, domains }, names }
    }

    /// What comes of it where somebody has this role on that organisation, or on a package.
    fn planned(
        stored: &Stored,
        (of, package, role): (OrganisationId, Option<&str>, Role),
        change: Change,
    ) -> Result<Planned, Refused> {
        let (file, snapshot) = compiled(FILE);
        let mut grants = Grants::default();
        match package {
            None => {
                grants.organisations.insert(of, role);
            }
            Some(name) => {
                grants.packages.insert(name.to_owned(), role);
            }
        }
        let who = Who { account: 1, login: "ada".to_owned(), by: By::Session(1) };
        let (answer, asker) = (oneshot::channel().0, Asker { who, confirms: true, keeps: None });
        let order = Order { asker, change, is_trial: false, now_s: 0, answer, seat: None };
        let around = Around { grants: &grants, file: &file, routes: &snapshot.routes };
        stored.with(&order, &around)
    }

    #[test]
    fn what_the_file_has_overruled_is_only_removed() {
        let stored = stored(vec![
            written("registry.acme.com", "acme/rocket"),
            written("registry.acme.com", "acme/sledge"),
        ]);
        let [overruled, served] = &stored.packages[..] else { panic!("{stored:?}") };
        let admin = (ACME, None, Role::Admin);
        for to in ["acme/rocket", "acme/other"] {
            let to = written("registry.acme.com", to);
            let change = Change::Change { from: overruled.clone(), to };
            let refused = planned(&stored, admin, change).err();
            assert!(matches!(refused, Some(Refused::Overruled)), "{refused:?}");
        }
        let put = |package: &Package| {
            planned(&stored, admin, Change::Remove(package.clone())).unwrap().put
        };
        for package in [overruled, served] {
            assert!(matches!(put(package), Put::Remove(_)), "{package:?}");
        }
    }

    #[test]
    fn whether_there_is_one_is_its_organisations_to_say() {
        let stored = stored(vec![written("other.example", "x")]);
        let there = stored.packages[0].clone();
        let restore = Change::Restore { organisation: OTHER, id: 9, written: written("", "y") };
        let moved = Change::Change { from: there.clone(), to: there.written.clone() };
        let remove = Change::Remove(there.clone());
        let named = Change::Change { from: there.clone(), to: written("other.example", "z") };
        let counted = Written { id: "x".to_owned(), ..there.written.clone() };
        let counted = Change::Change { from: there, to: counted };
        let package = Some("other.example/x");
        for (who, change, expected) in [
            ((OTHER, None, Role::Admin), &remove, "done"),
            ((OTHER, None, Role::Member), &remove, "Store(Forbidden)"),
            ((OTHER, package, Role::Admin), &remove, "NotTheirs"),
            ((OTHER, package, Role::Admin), &named, "NotTheirs"),
            ((OTHER, package, Role::Admin), &counted, "NotTheirs"),
            ((OTHER, None, Role::Admin), &counted, "done"),
            ((OTHER, package, Role::Admin), &moved, "done"),
            ((OTHER, package, Role::Member), &moved, "Store(Forbidden)"),
            ((OTHER, package, Role::Admin), &restore, "Store(Absent)"),
            ((ACME, None, Role::Admin), &moved, "Store(Absent)"),
            ((ACME, None, Role::Admin), &restore, "Store(Absent)"),
        ] {
            let outcome = match planned(&stored, who, change.clone()) {
                Ok(_) => "done".to_owned(),
                Err(refused) => format!("{refused:?}"),
            };
            assert_eq!(outcome, expected, "{who:?} {change:?}");
        }
    }

    #[test]
    fn an_organisation_has_so_many_and_others_are_not_held_up() {
        let names = (0..MADE_MAX).map(|number| written("other.example", &number.to_string()));
        let mut stored = stored(names.collect());
        let make = |organisation, domain: &str| Change::Make {
            organisation,
            written: written(domain, "more"),
        };
        let admin = |of| (of, None, Role::Admin);
        let refused = planned(&stored, admin(OTHER), make(OTHER, "other.example")).err();
        let Some(Refused::Store(StoreError::Refused(words))) = refused else {
            panic!("{refused:?}")
        };
        assert!(words.contains("500 packages made here at the most"), "{words}");
        planned(&stored, admin(ACME), make(ACME, "acme.example")).unwrap();
        stored.packages.pop();
        planned(&stored, admin(OTHER), make(OTHER, "other.example")).unwrap();
    }

    #[test]
    fn of_a_package_that_they_may_not_see_only_who_runs_the_gateway_hears() {
        let stored = stored(vec![written("other.example", "x"), written("free.example", "y")]);
        let change = Change::Make { organisation: ACME, written: written("free.example", "z") };
        let planned = planned(&stored, (ACME, None, Role::Admin), change).unwrap();
        let wrong = vec![Wrong::with_inside("backends", "does not work", "is in line 7")];
        let who = Who { account: 1, login: "eve".to_owned(), by: By::Session(1) };
        let (file, snapshot) = compiled(FILE);
        let of_acme = Grants { organisations: [(ACME, Role::Admin)].into(), ..Grants::default() };
        let of_one = [("free.example/z".to_owned(), Role::Admin)].into();
        let of_one = Grants { packages: of_one, ..Grants::default() };
        for (grants, aside, runs_gateway, expected) in [
            (&of_acme, 0, true, "domain: would end other.example/x, which then is in line 7"),
            (&of_acme, 0, false, "domain: is in the way of what is served here already:"),
            (&of_acme, 1, true, "domain: would end free.example/y, which then is in line 7"),
            (&of_acme, 1, false, "domain: would end free.example/y, which then does not work"),
            (&of_one, 1, false, "domain: is in the way of what is served here already:"),
        ] {
            let aside = BTreeMap::from([(aside, wrong.clone())]);
            let around = Around { grants, file: &file, routes: &snapshot.routes };
            let refused = planned.stands(&aside, &Standing::default(), &stored.owners, &around);
            let told = refused.unwrap_err().told(&who, runs_gateway).to_string();
            assert!(told.starts_with(expected), "{told}");
        }
        let secret = Refused::Configuration("/etc/pullgate.toml:3: it is gone".to_owned());
        assert!(!secret.told(&who, false).to_string().contains("/etc"));
    }
}
