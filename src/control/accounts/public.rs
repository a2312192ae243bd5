//! Which packages are shown to everybody. None is until its admin says so.

use std::collections::HashSet;

use serde_json::json;

use super::audit::{self, Actor, Deed};
use super::place::Place;
use super::room;
use super::store::{Store, StoreError};

impl Store {
    /// The packages that are public, each as `<domain>/<name>`.
    pub fn public_packages(&self) -> Result<HashSet<String>, StoreError> {
        let mut public = self.connection.prepare_cached("SELECT package FROM public_packages")?;
        Ok(public.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    /// Whether this one is.
    pub fn is_public(&self, package: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM public_packages WHERE package = ?1)";
        Ok(self.connection.query_row(sql, [package], |row| row.get(0))?)
    }

    /// Makes a package public, or not any more, and notes who did.
    ///
    /// # Errors
    /// [`StoreError::Absent`] for an organisation; [`StoreError::Refused`] where many at its domain are public.
    pub fn publish(
        &mut self,
        by: &Actor,
        place: &Place,
        is_public: bool,
        now_s: i64,
    ) -> Result<(), StoreError> {
        let package = place.package().ok_or(StoreError::Absent)?;
        let step = self.begin()?;
        let sql = match is_public {
            true => "INSERT INTO public_packages (package) VALUES (?1) ON CONFLICT DO NOTHING",
            false => "DELETE FROM public_packages WHERE package = ?1",
        };
        if step.execute(sql, [package])? > 0 {
            let bound = (PUBLIC_MAX, "public packages", "make some private first");
            room::at_domain(&step, "public_packages", package, bound)?;
            let deed = Deed {
                before: Some(json!({ "public": !is_public })),
                after: Some(json!({ "public": is_public })),
                ..Deed::at(place, "package.publish")
            };
            audit::note(&step, by, &deed, now_s)?;
        }
        step.commit()?;
        Ok(())
    }
}

/// Public packages at one domain.
const PUBLIC_MAX: i64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::accounts::room::tests::is_held_at_domain;
    use crate::control::tests::scratch;

    #[test]
    fn at_one_domain_so_many_are_public() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let by = Actor { account: None, login: "ada".to_owned() };
        let publish = |store: &mut Store, package: &str, is_public| {
            store.publish(&by, &Place::new(1, Some(package.to_owned())), is_public, 7)
        };
        let insert = "INSERT INTO public_packages (package) VALUES (?1)";
        let bound = (PUBLIC_MAX, "public packages");
        is_held_at_domain(&mut store, bound, insert, |store, package| {
            publish(store, package, true)
        });
        for (package, is_public) in [("a.b/last", false), ("a.b/more", true)] {
            publish(&mut store, package, is_public).unwrap();
        }
    }

    #[test]
    fn a_package_is_public_from_when_that_is_said_until_its_domain_is_anothers() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by = Actor { account: None, login: "ada".to_owned() };
        let place = Place::new(1, Some("a.b/c".to_owned()));
        for (is_public, many) in [(true, 1), (true, 1), (false, 0), (false, 0), (true, 1)] {
            store.publish(&by, &place, is_public, 7).unwrap();
            assert_eq!(store.public_packages().unwrap().len(), many, "{is_public}");
            assert_eq!(store.is_public("a.b/c").unwrap(), is_public);
        }
        assert!(!store.is_public("a.b/cd").unwrap());
        let noted = store.audit(&place, i64::MAX, 9).unwrap();
        assert_eq!(noted.len(), 3, "each change once");
        let other = store.add_organisation(&by, "other", 8).unwrap();
        store.give_domain(&by, "a.b", other, 9).unwrap();
        assert!(!store.is_public("a.b/c").unwrap(), "that was the other owner's to say");
        assert!(store.publish(&by, &Place::new(1, None), true, 9).is_err(), "no package");
    }
}
