//! What hangs on a package's name in the store: roles, tokens, invitations, its page, badges and webhooks.
//! They follow it to another name that reaches no further, and most end when nothing has the name any more:
//! whoever makes one of that name later says anew who sees it, or that what is left of the configuration
//! file's comes with it.

use rusqlite::{Connection, Row};
use serde_json::{Value, json};

use super::audit::{self, Actor, Deed};
use super::badges;
use super::place::Place;
use super::store::{Store, StoreError};
use crate::pure::access::OrganisationId;
use crate::pure::alert::origin_of;
use crate::pure::config::made::Written;
use crate::pure::route::pattern::Pattern;
use crate::pure::route::table::Table;

/// All of it follows a package to another name; but not to a collection's that reaches further: whoever was let
/// in to one package is not let in to all below another by that, and keeps what the new one has of the old. That
/// badges are off [stays](badges::follow) under the old name too. To be called in a transaction.
pub(super) fn rename(step: &Connection, from: &Written, to: &Written) -> Result<(), StoreError> {
    let (was, is) = (from.package(), to.package());
    if !to.widens(from) {
        for table in FOLLOWS {
            let sql = format!("UPDATE OR REPLACE {table} SET package = ?2 WHERE package = ?1");
            step.execute(&sql, [&was, &is])?;
        }
    }
    badges::follow(step, &was, &is)
}

impl Store {
    /// What is left of another time on the names of a package that is to be made, in words, for who makes it:
    /// what would end as one of its name goes; `None` for nothing.
    pub fn left(&self, written: &Written, rules: &Table) -> Result<Option<String>, StoreError> {
        let mut people: Vec<String> = Vec::new();
        let mut many = LEFT.map(|(table, what)| (table, what, 0));
        for package in forsaken(&self.connection, written, rules)? {
            let sql = "SELECT login, role FROM package_members JOIN accounts ON id = account
                       WHERE package = ?1 ORDER BY login";
            let read = |row: &Row<'_>| {
                let (login, role): (String, String) = (row.get(0)?, row.get(1)?);
                Ok(format!("{login} ({role} of {package})"))
            };
            let mut listed = self.connection.prepare_cached(sql)?;
            for one in listed.query_map([&package], read)? {
                people.push(one?);
            }
            for (table, _, many) in &mut many {
                let sql = format!("SELECT count(*) FROM {table} WHERE package = ?1");
                *many += self.connection.query_row(&sql, [&package], |row| row.get::<_, i64>(0))?;
            }
        }
        let more = people.len().saturating_sub(PEOPLE_NAMED);
        people.truncate(PEOPLE_NAMED);
        people.extend((more > 0).then(|| format!("{more} more")));
        people.extend(many.iter().filter(|one| one.2 > 0).map(|(_, what, many)| {
            let several = if *many > 1 { "s" } else { "" };
            format!("{many} {what}{several}")
        }));
        Ok((!people.is_empty()).then(|| people.join(", ")))
    }
}

/// It ends for each name that this package of `owner` has or had, its own and for a collection those below
/// it, which neither a rule among `rules` nor another package has. To be called in a transaction.
pub(super) fn end_unless(
    step: &Connection,
    (by, owner): (&Actor, OrganisationId),
    written: &Written,
    rules: &Table,
    now_s: i64,
) -> Result<(), StoreError> {
    for package in forsaken(step, written, rules)? {
        end(step, by, &Place::new(owner, Some(package)), now_s)?;
    }
    Ok(())
}

/// The names that this package has or had and on which something hangs, its own and for a collection those below
/// it, which neither a rule among `rules` nor another package has.
fn forsaken(
    connection: &Connection,
    written: &Written,
    rules: &Table,
) -> Result<Vec<String>, StoreError> {
    let Written { domain, name: own, .. } = written;
    let pattern = Pattern::parse(own).ok();
    let of_tables = FOLLOWS.map(|table| {
        format!("SELECT package FROM {table} WHERE substr(package, 1, length(?1) + 1) = ?1 || '/'")
    });
    let sql = format!(
        "SELECT package FROM ({})
         WHERE NOT EXISTS (SELECT 1 FROM packages WHERE domain || '/' || name = package)",
        of_tables.join(" UNION ")
    );
    let mut names: Vec<String> = connection
        .prepare_cached(&sql)?
        .query_map([domain], |row| row.get(0))?
        .collect::<Result<_, rusqlite::Error>>()?;
    names.retain(|package| {
        let name = package.get(domain.len() + 1..).unwrap_or_default();
        let is_its = name == own || pattern.as_ref().is_some_and(|pattern| pattern.has(name));
        is_its && !rules.has(package)
    });
    Ok(names)
}

/// It ends with the package, and each piece of it is noted. That badges are off stays, as with
/// [another name](rename).
fn end(step: &Connection, by: &Actor, place: &Place, now_s: i64) -> Result<(), StoreError> {
    let package = place.package().ok_or(StoreError::Absent)?;
    for (what, ended, before) in ENDS {
        let found: Vec<Value> = step
            .prepare_cached(ended)?
            .query_map([package], before)?
            .collect::<Result<_, rusqlite::Error>>()?;
        for before in found {
            let deed = Deed { before: Some(before), ..Deed::at(place, what) };
            audit::note(step, by, &deed, now_s)?;
        }
    }
    Ok(())
}

/// What ends: the word for it, what ends all of one package, and what each was.
type End = (&'static str, &'static str, fn(&Row<'_>) -> rusqlite::Result<Value>);

const ENDS: [End; 5] = [
    (
        "member.remove",
        "DELETE FROM package_members WHERE package = ?1 RETURNING role,
             (SELECT login FROM accounts WHERE accounts.id = account)",
        |row| Ok(json!({ "role": row.get::<_, String>(0)?, "login": row.get::<_, String>(1)? })),
    ),
    ("token.revoke", "DELETE FROM tokens WHERE package = ?1 RETURNING label", |row| {
        Ok(json!({ "label": row.get::<_, String>(0)? }))
    }),
    ("invitation.withdraw", "DELETE FROM invitations WHERE package = ?1 RETURNING role", |row| {
        Ok(json!({ "role": row.get::<_, String>(0)? }))
    }),
    ("package.publish", "DELETE FROM public_packages WHERE package = ?1 RETURNING 1", |_| {
        Ok(json!({ "public": true }))
    }),
    ("alert.remove", "DELETE FROM alerts WHERE package = ?1 RETURNING url, events", |row| {
        // Such addresses hold secrets: the log says the host.
        let (url, events) = (row.get::<_, String>(0)?, row.get::<_, String>(1)?);
        Ok(json!({ "host": origin_of(&url), "events": events }))
    }),
];

/// What else may be left, beside people.
const LEFT: [(&str, &str); 4] = [
    ("tokens", "token"),
    ("invitations", "invitation"),
    ("public_packages", "public page"),
    ("alerts", "webhook"),
];
/// People who are named in one answer.
const PEOPLE_NAMED: usize = 20;
const FOLLOWS: [&str; 5] =
    ["package_members", "tokens", "invitations", "public_packages", "alerts"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::{compiled, scratch};

    const TABLES: [&str; 6] =
        ["package_members", "tokens", "invitations", "public_packages", "alerts", "badges_off"];

    /// All that can hang on a name hangs on this one.
    fn hang(step: &Connection, package: &str) {
        for sql in [
            "INSERT INTO package_members (account, package, role) VALUES (1, ?1, 'admin')",
            "INSERT INTO tokens (account, label, secret, organisation, package, role, created_s)
                 VALUES (1, 'report', CAST(?1 AS BLOB), 1, ?1, 'admin', 0)",
            "INSERT INTO invitations
                 (account, secret, organisation, package, role, created_s, expires_s)
                 VALUES (1, CAST(?1 AS BLOB), 1, ?1, 'member', 0, 9)",
            "INSERT INTO badges_off (package) VALUES (?1)",
            "INSERT INTO public_packages (package) VALUES (?1)",
            "INSERT INTO alerts (package, url, secret, events, created_s)
                 VALUES (?1, 'https://hooks.example/secret', 's', 'weekly', 0)",
        ] {
            step.execute(sql, [package]).unwrap();
        }
    }

    fn left(step: &Connection, package: &str) -> Vec<&'static str> {
        let has = |table: &&&str| {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE package = ?1)");
            step.query_row(&sql, [package], |row| row.get::<_, bool>(0)).unwrap()
        };
        TABLES.iter().filter(has).copied().collect()
    }

    fn written(name: &str) -> Written {
        Written { domain: "a.b".to_owned(), name: name.to_owned(), ..Written::default() }
    }

    #[test]
    fn all_of_it_follows_and_most_of_it_ends() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by = Actor { account: Some(ada), login: "ada".to_owned() };
        let step = store.begin().unwrap();
        hang(&step, "a.b/x");
        rename(&step, &written("x"), &written("y")).unwrap();
        assert_eq!(left(&step, "a.b/y"), TABLES);
        assert_eq!(left(&step, "a.b/x"), ["badges_off"], "they are not on again under that");
        hang(&step, "a.b/z");
        rename(&step, &written("z"), &written("y")).unwrap();
        assert_eq!(left(&step, "a.b/y"), TABLES, "also where there is something");
        let rules = Table::build(&[], &[]);
        end_unless(&step, (&by, 1), &written("x"), &rules, 1).unwrap();
        assert_eq!(left(&step, "a.b/y"), TABLES, "another's stays");
        step.commit().unwrap();
        assert_eq!(store.left(&written("x"), &rules).unwrap(), None);
        let all = "ada (admin of a.b/y), 2 tokens, 2 invitations, 1 public page, 2 webhooks";
        assert_eq!(store.left(&written("y"), &rules).unwrap().as_deref(), Some(all));
        let several = store.left(&written("**"), &rules).unwrap();
        assert_eq!(several.as_deref(), Some(all), "a collection has what is below it");
        let step = store.begin().unwrap();
        end_unless(&step, (&by, 1), &written("y"), &rules, 2).unwrap();
        assert_eq!(left(&step, "a.b/y"), ["badges_off"]);
        step.commit().unwrap();
        let noted = store.audit(&Place::new(1, Some("a.b/y".to_owned())), i64::MAX, 9).unwrap();
        let mut deeds: Vec<_> = noted.iter().rev().map(|one| one.deed.as_str()).collect();
        deeds.dedup();
        assert_eq!(deeds, ENDS.map(|(what, ..)| what));
        assert!(noted.iter().all(|one| !format!("{one:?}").contains("/secret")), "{noted:?}");
    }

    #[test]
    fn to_a_name_that_reaches_further_nothing_follows() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        store.set_up("ada", "$hash", "acme", 0).unwrap();
        let off = &TABLES[5..];
        for (from, to, follows) in [
            ("team/x", "team/*", false),
            ("crew/*", "crew/**", false),
            ("deep/down/**", "deep/**", false),
            ("all/**", "all/*", true),
            ("all/*", "other/*", true),
            ("some/*", "some/x", true),
        ] {
            let step = store.begin().unwrap();
            let full = |name: &str| format!("a.b/{name}");
            hang(&step, &full(from));
            rename(&step, &written(from), &written(to)).unwrap();
            let [at_old, at_new] = [from, to].map(|name| left(&step, &full(name)));
            let expected = if follows { [off, &TABLES] } else { [&TABLES[..], off] };
            assert_eq!([&*at_old, &*at_new], expected, "{from} {to}");
        }
    }

    #[test]
    fn with_a_collection_it_ends_for_all_names_that_nothing_else_has() {
        const RULES: &str = "
[[packages]]
domain = \"a.b\"
name = \"team/kept\"
backend = \"ghcr.io/kept\"
[[packages]]
domain = \"a.b\"
name = \"team/deep/*\"
backend = \"ghcr.io/deep/*\"
[[packages]]
domain = \"*\"
name = \"**\"
backend = \"ghcr.io/**\"
";
        let (_, snapshot) = compiled(RULES);
        for (own, ended) in [
            ("team/*", &["team/*", "team/**", "team/gone"][..]),
            ("team/**", &["team/*", "team/**", "team/gone", "team/other/gone"]),
            ("team/kept", &[]),
            ("team/gone", &["team/gone"]),
        ] {
            let dir = scratch();
            let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
            store.set_up("ada", "$hash", "acme", 0).unwrap();
            let by = Actor { account: Some(1), login: "ada".to_owned() };
            let step = store.begin().unwrap();
            let names = [
                "team/*",
                "team/**",
                "team/gone",
                "team/other/gone",
                // A rule of the domain has these, or a package that is not served now.
                "team/kept",
                "team/deep/x",
                "team/deep/*",
                "team/made",
                "teams/x",
            ];
            let full = |name: &str| format!("a.b/{name}");
            names.iter().for_each(|name| hang(&step, &full(name)));
            hang(&step, "a.bc/team/gone");
            let sql =
                "INSERT INTO packages (domain, name, written) VALUES ('a.b', 'team/made', '{}')";
            step.execute(sql, []).unwrap();
            end_unless(&step, (&by, 1), &written(own), &snapshot.routes, 1).unwrap();
            for name in names {
                let expected = if ended.contains(&name) { &TABLES[5..] } else { &TABLES[..] };
                assert_eq!(left(&step, &full(name)), expected, "{own}: {name}");
            }
            assert_eq!(left(&step, "a.bc/team/gone"), TABLES, "{own}: another domain's");
        }
    }
}
