//! Organisations and packages as pages and the API name them.

use super::Dashboard;
use super::trouble::Trouble;
use super::viewer::Viewer;
use crate::control::accounts::place::Place;
use crate::control::accounts::rights::Right;
use crate::pure::access::Action;

/// A place that somebody may do something to, and what it is called.
#[derive(Clone)]
pub(super) struct Named {
    pub(super) place: Place,
    /// To do that.
    pub(super) right: Right,
    /// The organisation's name where it is one.
    pub(super) organisation: String,
    /// `<domain>/<name>` where it is a package.
    pub(super) package: String,
}

impl Named {
    /// The package of this name, or else the organisation, that who asks may do this to.
    ///
    /// # Errors
    /// [`Trouble::absent`] for what there is not and for what they may not see, [`Trouble::forbidden`]
    /// for what they see and may not do this to.
    pub(super) async fn find(
        at: &Dashboard,
        viewer: &Viewer,
        action: Action,
        organisation: &str,
        package: &str,
    ) -> Result<Self, Trouble> {
        let place = match (organisation, package) {
            (_, package) if !package.is_empty() => {
                if !at.has_package(package) {
                    return Err(Trouble::absent());
                }
                Place::new(viewer.owner_of(package), Some(package.to_owned()))
            }
            (organisation, _) => {
                let name = organisation.to_owned();
                let id = at.accounts.run(move |store| store.organisation_named(&name)).await?;
                Place::new(id.ok_or_else(Trouble::absent)?, None)
            }
        };
        if !viewer.may_place(Action::See, &place) {
            return Err(Trouble::absent());
        }
        if !viewer.may_place(action, &place) {
            return Err(Trouble::forbidden());
        }
        let right = Right::at(viewer.who.clone(), action, place.clone(), at.in_force.snapshot());
        let (organisation, package) = match place {
            Place::Organisation(_) => (organisation.to_owned(), String::new()),
            Place::Package { .. } => (String::new(), package.to_owned()),
        };
        Ok(Self { place, right, organisation, package })
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        if self.package.is_empty() { &self.organisation } else { &self.package }
    }

    /// The query that pages name it by.
    pub(super) fn query(&self) -> String {
        let (key, value) = match self.package.as_str() {
            "" => ("organisation", &self.organisation),
            _ => ("package", &self.package),
        };
        let mut query = format!("{key}=");
        crate::pure::query::put_encoded(&mut query, value);
        query
    }
}
