//! What `pullgate account` does: for an operator without mail, at the database or through a running
//! gateway.

use rusqlite::Row;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::audit::{self, Actor, COMMAND_LINE, Deed};
use super::hash::hashed;
use super::organisations::put_organisation;
use super::people::{add_account, put_member};
use super::store::{Store, StoreError};
use crate::messages::random::random;
use crate::pure::access::Role;
use crate::pure::{account, secret};

/// One of them, as it comes over the control socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Make an account, and give it a role on an organisation, which is made if it is not there. The
    /// first of all is the one that runs the gateway.
    Create {
        /// What it signs in with.
        login: String,
        /// The organisation's name; none for an account without a role.
        organisation: Option<String>,
        /// `member` or `admin`.
        role: String,
    },
    /// Give an account another password and no second factor, and end its sessions, tokens and
    /// invitations.
    Reset {
        /// What it signs in with.
        login: String,
    },
    /// Say which accounts there are.
    List,
    /// End what waits to be told of counts that are to be erased.
    EndNews {
        /// Of this package, or of all of this domain.
        of: String,
        /// Which of the two.
        is_domain: bool,
    },
}

/// Does it, and says what came of it: `{"login", "password"}`, `{"accounts": [{"login", "roles"}]}`, or
/// `{"ended"}`, how many messages.
pub fn obey(store: &mut Store, command: Command, now_s: i64) -> Result<Value, StoreError> {
    let by = Actor { account: None, login: COMMAND_LINE.to_owned() };
    match command {
        Command::Create { login, organisation, role } => {
            let login = account::login(&login).map_err(|why| refused("The name", why))?;
            let role = Role::of(&role).ok_or_else(|| {
                StoreError::Refused(format!("There is no role `{role}`: member or admin."))
            })?;
            let organisation = organisation
                .map(|name| account::organisation(&name))
                .transpose()
                .map_err(|why| refused("The organisation's name", why))?;
            let (password, kept) = new_password()?;
            let owners = store.owners()?;
            let known = match &organisation {
                Some(name) => store.organisation_named(name)?,
                None => None,
            };
            let step = store.begin()?;
            let account = add_account(&step, &login, &kept, now_s)?;
            let of = match (&organisation, known) {
                (None, _) => None,
                (Some(_), Some(id)) => Some(id),
                (Some(name), None) => {
                    Some(put_organisation(&step, name, owners.operator == 0, now_s)?)
                }
            };
            if let Some(id) = of {
                put_member(&step, account, id, role)?;
            }
            let after =
                json!({ "login": login, "organisation": organisation, "role": role.word() });
            let deed = Deed {
                what: "account.create",
                organisation: of,
                package: None,
                before: None,
                after: Some(after),
            };
            audit::note(&step, &by, &deed, now_s)?;
            step.commit()?;
            Ok(json!({ "login": login, "password": password }))
        }
        Command::Reset { login } => {
            let login = login.trim().to_lowercase();
            let account = store.credentials(&login)?.ok_or_else(|| {
                StoreError::Refused(format!("There is no account `{login}`; list shows all."))
            })?;
            let (password, kept) = new_password()?;
            store.change_password(&by, account.account, &kept, None, now_s)?;
            store.set_second_factor(&by, account.account, None, 0, now_s)?;
            Ok(json!({ "login": login, "password": password }))
        }
        Command::List => {
            let mut listed = store.connection.prepare_cached(
                "SELECT login, coalesce(group_concat(name || ' ' || role, ', '), '')
                 FROM accounts
                     LEFT JOIN members ON account = accounts.id
                     LEFT JOIN organisations ON organisations.id = organisation
                 GROUP BY accounts.id ORDER BY login",
            )?;
            let read = |row: &Row<'_>| {
                let (login, roles) = (row.get::<_, String>(0)?, row.get::<_, String>(1)?);
                Ok(json!({ "login": login, "roles": roles }))
            };
            let accounts = listed.query_map([], read)?.collect::<Result<Vec<_>, _>>()?;
            Ok(json!({ "accounts": accounts }))
        }
        Command::EndNews { of, is_domain } => {
            Ok(json!({ "ended": store.end_news(&of, is_domain)? }))
        }
    }
}

/// One that nobody guesses, to be changed by who gets it: 100 bits; and what is kept of it.
fn new_password() -> Result<(String, String), StoreError> {
    let failed = |error: std::io::Error| StoreError::Refused(format!("No password: {error}."));
    let digits = secret::text(&random::<15>().map_err(failed)?);
    let groups: Vec<&str> = (0..5).filter_map(|at| digits.get(6 * at..6 * at + 6)).collect();
    let password = groups.join("-");
    let kept = hashed(&password).map_err(failed)?;
    Ok((password, kept))
}

fn refused(what: &str, why: &str) -> StoreError {
    StoreError::Refused(format!("{what} {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::accounts::place::Place;
    use crate::control::tests::scratch;
    use crate::pure::access::{Action, Object};

    #[test]
    fn the_first_organisation_runs_the_gateway_and_a_reset_ends_everything() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let create = |login: &str, organisation: Option<&str>| Command::Create {
            login: login.to_owned(),
            organisation: organisation.map(str::to_owned),
            role: "admin".to_owned(),
        };
        for (login, organisation) in [("Ada", Some("acme")), ("eve", Some("other")), ("bob", None)]
        {
            let made = obey(&mut store, create(login, organisation), 1).unwrap();
            assert_eq!(made["password"].as_str().unwrap().len(), 34, "{made}");
        }
        let ada = store.credentials("ada").unwrap().unwrap().account;
        let eve = store.credentials("eve").unwrap().unwrap().account;
        // Who did it is nobody's name, also of what was written when that was another word.
        store.connection.execute("UPDATE audit SET login = 'operator' WHERE id = 1", []).unwrap();
        let acme = Place::Organisation(store.owners().unwrap().operator);
        assert_eq!(store.audit(&acme, i64::MAX, 9).unwrap()[0].login, COMMAND_LINE);
        let gateway = Object::Gateway { operator: store.owners().unwrap().operator };
        assert!(store.grants(ada).unwrap().may(Action::Configure, gateway));
        assert!(!store.grants(eve).unwrap().may(Action::See, gateway));
        let listed = obey(&mut store, Command::List, 2).unwrap();
        assert_eq!(listed["accounts"][0], json!({ "login": "ada", "roles": "acme admin" }));
        assert_eq!(listed["accounts"][1], json!({ "login": "bob", "roles": "" }));
        store.open_session(ada, "", "one", "Firefox", 3).unwrap();
        let sql = "INSERT INTO tokens (account, label, secret, organisation, role, created_s)
                   VALUES (?1, 'ci', x'00', 1, 'admin', 3)";
        store.connection.execute(sql, [ada]).unwrap();
        let before = store.credentials("ada").unwrap().unwrap().password;
        obey(&mut store, Command::Reset { login: "ada".to_owned() }, 4).unwrap();
        assert_ne!(store.credentials("ada").unwrap().unwrap().password, before);
        assert!(store.by_session("one", 4).is_err());
        let sql = "SELECT count(*) FROM tokens";
        let left = store.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        assert_eq!(left.unwrap(), 0, "whoever had the password may have made it");
        for (command, why) in [
            (create("ada", None), "already"),
            (create("a b", None), "has a space"),
            (create("OPERATOR", None), "is who has the command line"),
            (create("cid", Some("a b")), "organisation's name is made of"),
            (Command::Reset { login: "nobody".to_owned() }, "no account `nobody`"),
        ] {
            let words = obey(&mut store, command, 5).unwrap_err().to_string();
            assert!(words.contains(why), "{words}");
        }
    }
}
