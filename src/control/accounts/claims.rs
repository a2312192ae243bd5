//! Where anybody may make an account: organisations that people found, and domains that they prove to be
//! theirs.

use rusqlite::{Row, params};
use serde_json::json;

use super::audit::{self, Actor, Deed};
use super::organisations::{end_below, put_organisation, put_owner};
use super::people::{add_account, put_member};
use super::room;
use super::store::{Store, StoreError};
use crate::pure::access::{OrganisationId, Role};

/// A domain that an organisation says is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// It.
    pub host: String,
    /// What its TXT record has to say.
    pub text: String,
}

impl Store {
    /// Makes an account for whoever it is, and an organisation with it as its admin. Says which account
    /// that is. `password` is as [`super::hash`] keeps it.
    ///
    /// # Errors
    /// [`StoreError::Absent`] while nobody runs the gateway; [`StoreError::Taken`] for names that are
    /// taken.
    pub fn sign_up(
        &mut self,
        login: &str,
        password: &str,
        organisation: &str,
        now_s: i64,
    ) -> Result<i64, StoreError> {
        if !self.has_accounts()? {
            return Err(StoreError::Absent);
        }
        let step = self.begin()?;
        let account = add_account(&step, login, password, now_s)?;
        let id = put_organisation(&step, organisation, false, now_s)?;
        put_member(&step, account, id, Role::Admin)?;
        let by = Actor { account: Some(account), login: login.to_owned() };
        let after = Some(json!({ "login": login, "organisation": organisation }));
        audit::note(&step, &by, &Deed { after, ..of(id, "account.sign_up") }, now_s)?;
        step.commit()?;
        Ok(account)
    }

    /// Makes another organisation with this account as its admin.
    ///
    /// # Errors
    /// [`StoreError::Taken`] for a name that somebody has, [`StoreError::Refused`] for who has many.
    pub fn found(
        &mut self,
        by: &Actor,
        account: i64,
        name: &str,
        now_s: i64,
    ) -> Result<OrganisationId, StoreError> {
        let step = self.begin()?;
        let sql = "SELECT count(*) FROM members WHERE account = ?1 AND role = 'admin'";
        if step.query_row(sql, [account], |row| row.get::<_, i64>(0))? >= FOUNDED_MAX {
            let words = format!("You are admin of {FOUNDED_MAX} organisations already.");
            return Err(StoreError::Refused(words));
        }
        let id = put_organisation(&step, name, false, now_s)?;
        put_member(&step, account, id, Role::Admin)?;
        let after = Some(json!({ "name": name }));
        audit::note(&step, by, &Deed { after, ..of(id, "organisation.make") }, now_s)?;
        step.commit()?;
        Ok(id)
    }

    /// The domains that an organisation has claimed and not proven, by name.
    pub fn claims(&self, organisation: OrganisationId) -> Result<Vec<Claim>, StoreError> {
        let read = |row: &Row<'_>| Ok(Claim { host: row.get(0)?, text: row.get(1)? });
        let sql = "SELECT host, text FROM claims WHERE organisation = ?1 ORDER BY host";
        let mut listed = self.connection.prepare_cached(sql)?;
        Ok(listed.query_map([organisation], read)?.collect::<Result<_, _>>()?)
    }

    /// Claims a domain, to be proven by this text. One that was claimed before keeps its own.
    ///
    /// # Errors
    /// [`StoreError::Taken`] for one that is an organisation's already, [`StoreError::Refused`] for too many.
    pub fn claim(
        &mut self,
        by: &Actor,
        organisation: OrganisationId,
        host: &str,
        text: &str,
        now_s: i64,
    ) -> Result<Claim, StoreError> {
        let step = self.begin()?;
        let sql = "SELECT EXISTS (SELECT 1 FROM domains WHERE host = ?1)";
        if step.query_row(sql, [host], |row| row.get(0))? {
            return Err(taken(host));
        }
        let sql = "SELECT count(*) FROM claims WHERE organisation = ?1";
        if step.query_row(sql, [organisation], |row| row.get::<_, i64>(0))? >= CLAIMS_MAX {
            let words = format!(
                "There are {CLAIMS_MAX} domains that nobody has proven: prove or withdraw some first."
            );
            return Err(StoreError::Refused(words));
        }
        let sql = "INSERT INTO claims (host, organisation, text, created_s) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT DO NOTHING";
        if step.execute(sql, params![host, organisation, text, now_s])? > 0 {
            let theirs =
                "(SELECT organisation FROM domains UNION ALL SELECT organisation FROM claims)
                          WHERE organisation = ?1";
            let (what, first) = ("domains and claims", "give back or withdraw some first");
            let bound = (DOMAINS_MAX, "Of one organisation", what, first);
            room::has(&step, theirs, [organisation], bound)?;
            let after = Some(json!({ "domain": host }));
            audit::note(&step, by, &Deed { after, ..of(organisation, "domain.claim") }, now_s)?;
        }
        let sql = "SELECT text FROM claims WHERE host = ?1 AND organisation = ?2";
        let text = step.query_row(sql, params![host, organisation], |row| row.get(0))?;
        step.commit()?;
        Ok(Claim { host: host.to_owned(), text })
    }

    /// The claim, of which the record was found, is proven: the domain is the organisation's, and everybody's
    /// claims to it are over.
    ///
    /// # Errors
    /// [`StoreError::Absent`] for what it has not claimed, [`StoreError::Changed`] where that is to be proven by
    /// another text by now; [`StoreError::Taken`] where another was faster, [`StoreError::Refused`] where packages are
    /// made.
    pub fn prove(
        &mut self,
        by: &Actor,
        organisation: OrganisationId,
        claim: &Claim,
        now_s: i64,
    ) -> Result<(), StoreError> {
        let Claim { host, text } = claim;
        let sql = "SELECT text FROM claims WHERE host = ?1 AND organisation = ?2";
        let of = params![host, organisation];
        let now: String = self.connection.query_row(sql, of, |row| row.get(0))?;
        if now != *text {
            return Err(StoreError::Changed);
        }
        // Between this and what follows nobody else's job runs.
        let owners = self.owners()?;
        if owners.domains.contains_key(host) || self.has_made_at(host)? {
            return Err(taken(host));
        }
        let step = self.begin()?;
        put_owner(&step, by, host, [owners.of_domain(host), organisation], now_s)?;
        step.execute("DELETE FROM claims WHERE host = ?1", [host])?;
        step.commit()?;
        Ok(())
    }

    /// Gives back a domain that is the organisation's and at which nothing is made: it is nobody's then, and
    /// whoever proves it has it.
    ///
    /// # Errors
    /// [`StoreError::Absent`] for what is not its; [`StoreError::Refused`] for one with packages made there.
    pub fn return_domain(
        &mut self,
        by: &Actor,
        organisation: OrganisationId,
        host: &str,
        now_s: i64,
    ) -> Result<(), StoreError> {
        let has_made = self.has_made_at(host)?;
        // Between this and what follows nobody else's job runs.
        let step = self.begin()?;
        let sql = "DELETE FROM domains WHERE host = ?1 AND organisation = ?2";
        if step.execute(sql, params![host, organisation])? == 0 {
            return Err(StoreError::Absent);
        }
        if has_made {
            let words = format!("There are packages at {host}: move or remove them first.");
            return Err(StoreError::Refused(words));
        }
        end_below(&step, host)?;
        let before = Some(json!({ "domain": host }));
        let deed = Deed { before, ..of(organisation, "domain.return") };
        audit::note(&step, by, &deed, now_s)?;
        step.commit()?;
        Ok(())
    }

    /// Whether there are packages at the domain that were made in the dashboard, served or not.
    fn has_made_at(&self, host: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM packages WHERE domain = ?1)";
        Ok(self.connection.query_row(sql, [host], |row| row.get(0))?)
    }

    /// Takes a claim back.
    ///
    /// # Errors
    /// [`StoreError::Absent`] for what it has not claimed.
    pub fn unclaim(
        &mut self,
        by: &Actor,
        organisation: OrganisationId,
        host: &str,
        now_s: i64,
    ) -> Result<(), StoreError> {
        let step = self.begin()?;
        let sql = "DELETE FROM claims WHERE host = ?1 AND organisation = ?2";
        if step.execute(sql, params![host, organisation])? == 0 {
            return Err(StoreError::Absent);
        }
        let before = Some(json!({ "domain": host }));
        audit::note(&step, by, &Deed { before, ..of(organisation, "domain.unclaim") }, now_s)?;
        step.commit()?;
        Ok(())
    }
}

fn of(organisation: OrganisationId, what: &str) -> Deed<'_> {
    Deed { what, organisation: Some(organisation), package: None, before: None, after: None }
}

fn taken(host: &str) -> StoreError {
    let words = format!("{host} is an organisation's already; ask who runs the gateway.");
    StoreError::Taken("domain", words)
}

/// Organisations that one account may have made or be admin of, before it makes another.
const FOUNDED_MAX: i64 = 10;
/// Domains of an organisation that nobody has proven.
const CLAIMS_MAX: i64 = 20;
/// Domains of an organisation that it has, or claims.
const DOMAINS_MAX: i64 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::accounts::place::Place;
    use crate::control::tests::scratch;
    use crate::pure::access::{Action, Object};

    fn actor(account: i64, login: &str) -> Actor {
        Actor { account: Some(account), login: login.to_owned() }
    }

    #[test]
    fn who_signs_up_has_an_organisation_and_what_is_proven_first() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let early = store.sign_up("eve", "$hash", "evil", 0);
        assert!(matches!(early, Err(StoreError::Absent)), "nobody runs the gateway: {early:?}");
        store.set_up("ada", "$hash", "acme", 0).unwrap();
        let eve = store.sign_up("eve", "$hash", "moon", 1).unwrap();
        for (login, organisation) in [("eve", "other"), ("bob", "moon"), ("bob", "acme")] {
            let again = store.sign_up(login, "$hash", organisation, 1);
            assert!(matches!(again, Err(StoreError::Taken(..))), "{again:?}");
        }
        let bob = store.sign_up("bob", "$hash", "mars", 1).unwrap();
        let moon = store.organisation_named("moon").unwrap().unwrap();
        let mars = store.organisation_named("mars").unwrap().unwrap();
        let grants = store.grants(eve).unwrap();
        assert!(grants.may(Action::Grant, Object::Organisation(moon)));
        assert!(!grants.may(Action::See, Object::Organisation(mars)));
        let operator = store.owners().unwrap().operator;
        assert!(!grants.may(Action::See, Object::Gateway { operator }));
        let (by_eve, by_bob) = (actor(eve, "eve"), actor(bob, "bob"));
        let first = store.claim(&by_eve, moon, "moon.example", "one", 2).unwrap();
        let again = store.claim(&by_eve, moon, "moon.example", "two", 3).unwrap();
        assert_eq!((first.text.as_str(), &first), ("one", &again));
        // Another may claim it too: who proves it has it.
        store.claim(&by_bob, mars, "moon.example", "three", 3).unwrap();
        let claim = |host: &str, text: &str| Claim { host: host.to_owned(), text: text.to_owned() };
        let other = store.prove(&by_eve, moon, &claim("other.example", "one"), 4);
        assert!(matches!(other, Err(StoreError::Absent)), "{other:?}");
        let other = store.prove(&by_eve, moon, &claim("moon.example", "two"), 4);
        assert!(matches!(other, Err(StoreError::Changed)), "claimed anew meanwhile: {other:?}");
        store.prove(&by_eve, moon, &first, 4).unwrap();
        assert_eq!(store.owners().unwrap().of_domain("moon.example"), moon);
        assert_eq!(store.claims(mars).unwrap(), []);
        let late = store.prove(&by_bob, mars, &claim("moon.example", "three"), 5);
        assert!(matches!(late, Err(StoreError::Absent)), "{late:?}");
        let late = store.claim(&by_bob, mars, "moon.example", "four", 5);
        assert!(matches!(late, Err(StoreError::Taken(..))), "{late:?}");
        store.claim(&by_bob, mars, "mars.example", "five", 6).unwrap();
        store.unclaim(&by_bob, mars, "mars.example", 7).unwrap();
        assert!(matches!(store.unclaim(&by_bob, mars, "mars.example", 7), Err(StoreError::Absent)));
        for number in 0..CLAIMS_MAX {
            store.claim(&by_bob, mars, &format!("{number}.example"), "t", 8).unwrap();
        }
        let more = store.claim(&by_bob, mars, "more.example", "t", 8);
        assert!(matches!(more, Err(StoreError::Refused(_))), "{more:?}");
        // Those that it has count too.
        let first = store.claims(mars).unwrap().remove(0);
        store.prove(&by_bob, mars, &first, 8).unwrap();
        for number in CLAIMS_MAX..DOMAINS_MAX {
            store.give_domain(&by_bob, &format!("{number}.example"), mars, 8).unwrap();
        }
        let more = store.claim(&by_bob, mars, "more.example", "t", 8).unwrap_err().to_string();
        assert!(more.starts_with("Of one organisation there are 100 domains and claims"), "{more}");
        let again = store.claim(&by_bob, mars, "1.example", "u", 8).unwrap();
        assert_eq!(again.text, "t", "that is none more");
        store.return_domain(&by_bob, mars, &first.host, 8).unwrap();
        store.claim(&by_bob, mars, "more.example", "t", 8).unwrap();
        for number in 1..FOUNDED_MAX {
            store.found(&by_bob, bob, &format!("mars-{number}"), 9).unwrap();
        }
        let more = store.found(&by_bob, bob, "more", 9);
        assert!(matches!(more, Err(StoreError::Refused(_))), "{more:?}");
    }

    #[test]
    fn what_who_runs_the_gateway_has_proven_is_its_own_and_given_back() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        store.set_up("ada", "$hash", "acme", 0).unwrap();
        store.sign_up("eve", "$hash", "moon", 1).unwrap();
        let (ada, eve) = (actor(1, "ada"), actor(2, "eve"));
        let operator = store.owners().unwrap().operator;
        let moon = store.organisation_named("moon").unwrap().unwrap();
        let host = "acme.example";
        let claim = store.claim(&ada, operator, host, "one", 2).unwrap();
        store.prove(&ada, operator, &claim, 3).unwrap();
        assert_eq!(store.owners().unwrap().domains.get(host), Some(&operator), "as one of its own");
        let late = store.claim(&eve, moon, host, "two", 4);
        assert!(matches!(late, Err(StoreError::Taken(..))), "{late:?}");
        store.return_domain(&ada, operator, host, 5).unwrap();
        store.claim(&eve, moon, host, "two", 6).unwrap();
    }

    #[test]
    fn a_domain_is_given_back_once_nothing_is_there() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        store.set_up("ada", "$hash", "acme", 0).unwrap();
        let eve = store.sign_up("eve", "$hash", "moon", 1).unwrap();
        let by = actor(eve, "eve");
        let moon = store.organisation_named("moon").unwrap().unwrap();
        store.give_domain(&by, "moon.example", moon, 2).unwrap();
        let absent = store.return_domain(&by, moon, "other.example", 3);
        assert!(matches!(absent, Err(StoreError::Absent)), "{absent:?}");
        let sql = "INSERT INTO packages (domain, name, written) VALUES ('moon.example', 'x', '{}')";
        store.connection.execute(sql, []).unwrap();
        let refused = store.return_domain(&by, moon, "moon.example", 3);
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
        assert_eq!(store.owners().unwrap().of_domain("moon.example"), moon);
        store.connection.execute("DELETE FROM packages", []).unwrap();
        let sql = "INSERT INTO package_members (account, package, role)
                   VALUES (1, 'moon.example/x', 'admin')";
        store.connection.execute(sql, []).unwrap();
        store.return_domain(&by, moon, "moon.example", 4).unwrap();
        assert!(!store.owners().unwrap().domains.contains_key("moon.example"));
        assert!(store.grants(1).unwrap().packages.is_empty(), "roles there end");
        let noted = store.audit(&Place::Organisation(moon), i64::MAX, 1).unwrap();
        assert_eq!(noted[0].deed, "domain.return");
    }
}
