//! What hangs on a package's name in the store: roles, tokens, invitations, its page, badges and webhooks.
//! They follow it to another name, and most end when it goes: whoever makes one of that name later says
//! anew who sees it.

use rusqlite::{Connection, Row};
use serde_json::{Value, json};

use super::audit::{self, Actor, Deed};
use super::place::Place;
use super::store::StoreError;
use crate::pure::alert::origin_of;

/// All of it follows a package to another name. To be called in a transaction.
pub(super) fn rename(step: &Connection, from: &str, to: &str) -> Result<(), StoreError> {
    for table in FOLLOWS {
        let sql = format!("UPDATE OR REPLACE {table} SET package = ?2 WHERE package = ?1");
        step.execute(&sql, [from, to])?;
    }
    Ok(())
}

/// It ends with the package, and each piece of it is noted. That badges are off stays: who has one's address
/// would see again what was not to be seen any more. To be called in a transaction.
pub(super) fn end(
    step: &Connection,
    by: &Actor,
    place: &Place,
    now_s: i64,
) -> Result<(), StoreError> {
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

const FOLLOWS: [&str; 6] =
    ["package_members", "tokens", "invitations", "badges_off", "public_packages", "alerts"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::accounts::Store;
    use crate::control::tests::scratch;

    #[test]
    fn all_of_it_follows_and_most_of_it_ends() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by = Actor { account: Some(ada), login: "ada".to_owned() };
        let step = store.begin().unwrap();
        for sql in [
            "INSERT INTO package_members (account, package, role) VALUES (1, 'a.b/x', 'admin')",
            "INSERT INTO tokens (account, label, secret, organisation, package, role, created_s)
                 VALUES (1, 'report', x'00', 1, 'a.b/x', 'admin', 0)",
            "INSERT INTO invitations
                 (account, secret, organisation, package, role, created_s, expires_s)
                 VALUES (1, x'00', 1, 'a.b/x', 'member', 0, 9)",
            "INSERT INTO badges_off (package) VALUES ('a.b/x')",
            "INSERT INTO public_packages (package) VALUES ('a.b/x')",
            "INSERT INTO alerts (package, url, secret, events, created_s)
                 VALUES ('a.b/x', 'https://hooks.example/secret', 's', 'weekly', 0)",
        ] {
            step.execute(sql, []).unwrap();
        }
        let left = |step: &Connection, package: &str| {
            let has = |table: &&&str| {
                let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE package = ?1)");
                step.query_row(&sql, [package], |row| row.get::<_, bool>(0)).unwrap()
            };
            FOLLOWS.iter().filter(has).copied().collect::<Vec<_>>()
        };
        rename(&step, "a.b/x", "a.b/y").unwrap();
        assert_eq!((left(&step, "a.b/x"), left(&step, "a.b/y")), (vec![], FOLLOWS.to_vec()));
        let place = |name: &str| Place::new(1, Some(name.to_owned()));
        end(&step, &by, &place("a.b/x"), 1).unwrap();
        assert_eq!(left(&step, "a.b/y"), FOLLOWS, "another's stays");
        end(&step, &by, &place("a.b/y"), 2).unwrap();
        assert_eq!(left(&step, "a.b/y"), ["badges_off"]);
        step.commit().unwrap();
        let noted = store.audit(&place("a.b/y"), i64::MAX, 9).unwrap();
        let deeds: Vec<_> = noted.iter().rev().map(|one| one.deed.as_str()).collect();
        assert_eq!(deeds, ENDS.map(|(what, ..)| what));
        assert!(noted.iter().all(|one| !format!("{one:?}").contains("/secret")), "{noted:?}");
    }
}
