//! Who may do what. Roles are held on organisations and on packages, a token narrows them, and
//! [`Grants::may`] is the one place that decides.

use std::collections::BTreeMap;

/// An organisation's number in the accounts' store.
pub type OrganisationId = i64;

/// What somebody is to an organisation or a package. A later one may do all that one before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees it.
    Member,
    /// Sees it, changes it, and says who else may.
    Admin,
}

impl Role {
    /// As it is stored, shown and sent.
    pub fn word(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }

    /// The one that it is not.
    pub fn other(self) -> Self {
        match self {
            Self::Member => Self::Admin,
            Self::Admin => Self::Member,
        }
    }

    /// The role of this word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Member, Self::Admin].into_iter().find(|role| role.word() == word)
    }
}

/// What somebody wants to do to an [`Object`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// See what is shown to everybody where a package is public: what the privacy threshold allows.
    Glimpse,
    /// See it: a package's counts and settings, an organisation's people, the gateway's state.
    See,
    /// Change it: a package's settings; which packages an organisation has; the gateway's
    /// organisations and domains. And see who did what to it.
    Configure,
    /// Say who may see or change it.
    Grant,
}

/// What it is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'o> {
    /// A package.
    Package {
        /// `<domain>/<name>`, as counts know it.
        name: &'o str,
        /// The rule that serves it now, domain and pattern; `None` where none does.
        rule: Option<(&'o str, &'o str)>,
        /// Whose it is.
        owner: OrganisationId,
        /// Whether it has a page that everybody sees.
        is_public: bool,
    },
    /// An organisation.
    Organisation(OrganisationId),
    /// The gateway itself: of the people of the organisation that operates it.
    Gateway {
        /// That organisation.
        operator: OrganisationId,
    },
}

/// All that somebody may. The default is somebody unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Roles on organisations, and so on all their packages.
    pub organisations: BTreeMap<OrganisationId, Role>,
    /// Roles on single packages, by `<domain>/<name>`; one on the collection `<domain>/acme/*` is one on
    /// each package that this rule serves. A package that has a rule of its own is none of them: whoever
    /// gives it one sets it apart.
    pub packages: BTreeMap<String, Role>,
    /// What is left of that for who comes by a token.
    pub reach: Option<Reach>,
}

/// How far a token reaches. It never gives what its account does not have (any more).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The one organisation.
    pub organisation: OrganisationId,
    /// The one package of it, `<domain>/<name>`, where it is not all.
    pub package: Option<String>,
    /// The most that it may be there.
    pub most: Role,
}

impl Grants {
    /// Whether they may do this to that.
    pub fn may(&self, action: Action, object: Object<'_>) -> bool {
        let needed = match (action, object) {
            (Action::Glimpse, Object::Package { is_public: true, .. }) => return true,
            (Action::Glimpse | Action::See, _) => Role::Member,
            (Action::Configure | Action::Grant, _) => Role::Admin,
        };
        self.role(object) >= Some(needed)
    }

    /// What they are to it; `None` for a stranger.
    pub fn role(&self, object: Object<'_>) -> Option<Role> {
        let of = |id: OrganisationId| self.organisations.get(&id).copied();
        let (organisation, package, role) = match object {
            Object::Package { name, rule, owner, .. } => {
                (owner, Some((name, rule)), of(owner).max(self.on_package(name, rule)))
            }
            Object::Organisation(id) | Object::Gateway { operator: id } => (id, None, of(id)),
        };
        let Some(reach) = &self.reach else {
            return role;
        };
        let is_reached = reach.organisation == organisation
            && reach
                .package
                .as_deref()
                .is_none_or(|only| package.is_some_and(|(name, rule)| covers(only, name, rule)));
        role.filter(|_| is_reached).map(|role| role.min(reach.most))
    }

    /// The role on this package by itself or as one of a collection, by two look-ups: the aggregator asks for each
    /// pull, and somebody may have thousands of roles.
    fn on_package(&self, name: &str, rule: Option<(&str, &str)>) -> Option<Role> {
        if self.packages.is_empty() {
            return None;
        }
        let of = |name: &str| self.packages.get(name).copied();
        of(name).max(rule.and_then(|(domain, pattern)| of(&format!("{domain}/{pattern}"))))
    }
}

/// Whether the package `name` is `of`, or is served by it, `rule` being what serves it.
fn covers(of: &str, name: &str, rule: Option<(&str, &str)>) -> bool {
    let is_rule = |(domain, pattern): (&str, &str)| {
        of.strip_prefix(domain).and_then(|rest| rest.strip_prefix('/')) == Some(pattern)
    };
    of == name || rule.is_some_and(is_rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: OrganisationId = 1;
    const THEIRS: OrganisationId = 2;
    const OPERATOR: OrganisationId = 3;

    fn grants(organisations: &[(OrganisationId, Role)], packages: &[(&str, Role)]) -> Grants {
        Grants {
            organisations: organisations.iter().copied().collect(),
            packages: packages.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect(),
            reach: None,
        }
    }

    fn by_token(grants: &Grants, package: Option<&str>, most: Role) -> Grants {
        let package = package.map(str::to_owned);
        let reach = Some(Reach { organisation: OURS, package, most });
        Grants { reach, ..grants.clone() }
    }

    #[test]
    fn the_table_of_who_may_do_what() {
        let package =
            |name, is_public| Object::Package { name, rule: None, owner: OURS, is_public };
        let objects = [
            package("a.b/acme/rocket", false),
            package("a.b/acme/rocket", true),
            package("a.b/acme/other", false),
            Object::Organisation(OURS),
            Object::Gateway { operator: OPERATOR },
        ];
        let member = grants(&[(OURS, Role::Member)], &[]);
        let admin = grants(&[(OURS, Role::Admin)], &[]);
        let of_package = |role| grants(&[], &[("a.b/acme/rocket", role)]);
        let both = grants(&[(OURS, Role::Member)], &[("a.b/acme/rocket", Role::Admin)]);
        let rocket = Some("a.b/acme/rocket");
        // glimpse, see, configure, grant: of each of the objects
        #[rustfmt::skip]
        let table = [
            ("nobody",                Grants::default(),                     "---- g--- ---- ---- ----"),
            ("member",                member.clone(),                        "gs-- gs-- gs-- gs-- ----"),
            ("admin",                 admin.clone(),                         "gscG gscG gscG gscG ----"),
            ("of another",            grants(&[(THEIRS, Role::Admin)], &[]), "---- g--- ---- ---- ----"),
            ("operator",              grants(&[(OPERATOR, Role::Admin)], &[]), "---- g--- ---- ---- gscG"),
            ("operator's member",     grants(&[(OPERATOR, Role::Member)], &[]), "---- g--- ---- ---- gs--"),
            ("package member",        of_package(Role::Member),              "gs-- gs-- ---- ---- ----"),
            ("package admin",         of_package(Role::Admin),               "gscG gscG ---- ---- ----"),
            ("member, package admin", both,                                  "gscG gscG gs-- gs-- ----"),
            ("admin's read token",    by_token(&admin, None, Role::Member),  "gs-- gs-- gs-- gs-- ----"),
            ("admin's admin token",   by_token(&admin, None, Role::Admin),   "gscG gscG gscG gscG ----"),
            ("member's admin token",  by_token(&member, None, Role::Admin),  "gs-- gs-- gs-- gs-- ----"),
            ("token of a package",    by_token(&admin, rocket, Role::Admin), "gscG gscG ---- ---- ----"),
            ("nobody's token",        by_token(&Grants::default(), None, Role::Admin), "---- g--- ---- ---- ----"),
        ];
        for (who, grants, expected) in table {
            let said: Vec<String> = objects
                .iter()
                .map(|object| {
                    let actions = [
                        (Action::Glimpse, 'g'),
                        (Action::See, 's'),
                        (Action::Configure, 'c'),
                        (Action::Grant, 'G'),
                    ];
                    let letter = |(action, letter)| match grants.may(action, *object) {
                        true => letter,
                        false => '-',
                    };
                    actions.map(letter).iter().collect()
                })
                .collect();
            assert_eq!(said.join(" "), expected, "{who}");
        }
    }

    #[test]
    fn a_token_of_one_organisation_reaches_no_other() {
        let admin = grants(&[(OURS, Role::Admin), (THEIRS, Role::Admin)], &[]);
        let token = by_token(&admin, None, Role::Admin);
        assert!(admin.may(Action::See, Object::Organisation(THEIRS)));
        assert!(!token.may(Action::See, Object::Organisation(THEIRS)));
        let (name, rule) = ("a.b/acme/rocket", None);
        let moved = Object::Package { name, rule, owner: THEIRS, is_public: false };
        assert!(!by_token(&admin, Some("a.b/acme/rocket"), Role::Admin).may(Action::See, moved));
    }

    #[test]
    fn a_role_on_a_collection_is_one_on_what_that_rule_serves() {
        let collection = Some(("a.b", "acme/*"));
        for (of, name, rule, expected) in [
            ("a.b/acme/*", "a.b/acme/rocket", collection, true),
            // It has a rule of its own, or a narrower one, or is served by nothing any more.
            ("a.b/acme/*", "a.b/acme/secret", Some(("a.b", "acme/secret")), false),
            ("a.b/acme/**", "a.b/acme/rocket", collection, false),
            ("a.b/acme/*", "a.b/acme/gone", None, false),
            ("a.b/acme/gone", "a.b/acme/gone", None, true),
            // A collection is itself, and no other's.
            ("a.b/acme/*", "a.b/acme/*", None, true),
            ("a.b/acme/**", "a.b/acme/*", None, false),
            ("a.b/acme/rocket", "a.b/acme/rocket2", Some(("a.b", "acme/rocket2")), false),
            // What `*` serves is another's than what the domain serves.
            ("*/acme/*", "a.b/acme/rocket", collection, false),
            ("*/acme/*", "*/acme/rocket", Some(("*", "acme/*")), true),
        ] {
            assert_eq!(covers(of, name, rule), expected, "{of} {name} {rule:?}");
        }
    }

    #[test]
    fn words_and_roles() {
        for role in [Role::Member, Role::Admin] {
            assert_eq!(Role::of(role.word()), Some(role));
        }
        assert_eq!(Role::of("owner"), None);
    }
}
