//! What is written of a package: in the configuration file, where it is only read here, or in the
//! dashboard, where its people change it.

use axum::http::StatusCode;

use super::Dashboard;
use super::trouble::Trouble;
use super::viewer::Viewer;
use crate::control::accounts::packages::Package;
use crate::control::made::Refused;
use crate::pure::access::{Action, OrganisationId};
use crate::pure::config::made::{Written, Wrong};
use crate::pure::config::values::{Credentials, Delivery};
use crate::pure::route::pattern::Pattern;
use crate::pure::route::table::{Match, Table};
use crate::pure::secret;

/// A package as it is written.
pub(super) struct Settled {
    /// `<domain>/<name>`.
    pub(super) name: String,
    /// As the store has it, where it was made in the dashboard.
    pub(super) made: Option<Package>,
    /// As it is written, there or in the file.
    pub(super) written: Written,
    /// Why it is not served by that; nothing where it is.
    pub(super) wrong: Vec<Wrong>,
    /// Whether it was made in the dashboard and the configuration file has one of its name by now.
    pub(super) is_overruled: bool,
}

impl Settled {
    /// The package of this name, as `viewer` is told of it.
    ///
    /// # Errors
    /// [`Trouble::absent`] where nothing is written with just this name.
    pub(super) async fn of(at: &Dashboard, viewer: &Viewer, name: &str) -> Result<Self, Trouble> {
        let (domain, below) = name.split_once('/').ok_or_else(Trouble::absent)?;
        let wanted = (domain.to_owned(), below.to_owned());
        let made = at.accounts.run(move |store| store.package(&wanted.0, &wanted.1)).await?;
        let name = name.to_owned();
        let snapshot = at.in_force.snapshot();
        let served = in_force(&snapshot.routes, domain, below);
        if let Some(package) = made {
            let runs_gateway = viewer.may_gateway(Action::See);
            let wrong = at.makers.standing().packages.get(&name).cloned().unwrap_or_default();
            let is_overruled = !wrong.is_empty() && served.is_some();
            let wrong = wrong.into_iter().map(|one| one.told(runs_gateway)).collect();
            let written = package.written.clone();
            return Ok(Self { name, made: Some(package), written, wrong, is_overruled });
        }
        let written = served.ok_or_else(Trouble::absent)?;
        Ok(Self { name, made: None, written, wrong: Vec::new(), is_overruled: false })
    }

    /// As it was made here, to be changed.
    ///
    /// # Errors
    /// Words for who wants to change one of the file.
    pub(super) fn changeable(&self) -> Result<Package, Trouble> {
        self.made.clone().ok_or_else(|| {
            let why =
                "This package stands in the gateway's configuration file, and is changed there.";
            Trouble::new(StatusCode::CONFLICT, "Not here", why)
        })
    }
}

/// Whose the package of this name is or was, for who may change it.
///
/// # Errors
/// [`Trouble::absent`] for who may not see it, [`Trouble::forbidden`] for who may not change it.
pub(super) fn configurable(viewer: &Viewer, package: &str) -> Result<OrganisationId, Trouble> {
    if !viewer.may_package(Action::See, package, false) {
        return Err(Trouble::absent());
    }
    match viewer.may_package(Action::Configure, package, false) {
        true => Ok(viewer.owner_of(package)),
        false => Err(Trouble::forbidden()),
    }
}

/// What stands for this state of a package in a form.
pub(super) fn seen(package: &Package) -> String {
    let Package { id, written } = package;
    let text = serde_json::json!({ "id": id, "written": written }).to_string();
    secret::text(&secret::kept(&text))
}

/// Whose the package of this name is, for who may remove it: whether there is one is for admins of its
/// organisation to say.
///
/// # Errors
/// As [`configurable`].
pub(super) fn removable(viewer: &Viewer, package: &str) -> Result<OrganisationId, Trouble> {
    let owner = configurable(viewer, package)?;
    match viewer.may_organisation(Action::Configure, owner) {
        true => Ok(owner),
        false => Err(Refused::NotTheirs.into()),
    }
}

/// What is in force of a package, in the words of the file.
fn in_force(routes: &Table, domain: &str, name: &str) -> Option<Written> {
    let Match { location, others, delivery, credentials, failover_on_404, id, .. } =
        routes.of(domain, name)?;
    let star = Pattern::parse(name).ok()?.star.map_or("", |star| star.as_str());
    let others = others.iter().map(|other| other.location.as_str());
    let backend = |location: &str| {
        let (http, rest) = match location.strip_prefix("https://") {
            Some(rest) => ("", rest),
            None => ("http://", location.strip_prefix("http://").unwrap_or(location)),
        };
        format!("{http}{}{star}", rest.replacen("/v2/", "/", 1))
    };
    Some(Written {
        domain: domain.to_owned(),
        name: name.to_owned(),
        backends: std::iter::once(location).chain(others).map(backend).collect(),
        failover_on_404,
        delivery: delivery_word(delivery).to_owned(),
        credentials: credentials_word(credentials).to_owned(),
        id: id.to_owned(),
        description: String::new(),
    })
}

fn delivery_word(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Auto => "auto",
        Delivery::Redirect => "redirect",
        Delivery::Broker => "broker",
        Delivery::Stream => "stream",
    }
}

fn credentials_word(credentials: Credentials) -> &'static str {
    match credentials {
        Credentials::None => "none",
        Credentials::Client => "client",
        Credentials::Registry => "registry",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::compiled;

    #[test]
    fn what_the_file_says_reads_as_it_is_written() {
        for (name, backends) in [
            ("acme/rocket", &["ghcr.io/acme/rocket", "http://quay.io:5000/a"][..]),
            ("acme/*", &["ghcr.io/v2/*"]),
            ("**", &["docker.io/**"]),
        ] {
            let text = format!(
                "[[packages]]\ndomain = \"a.b\"\nname = \"{name}\"\nbackends = {backends:?}\n\
                 delivery = \"broker\"\nid = \"r1\"\n"
            );
            let (_, snapshot) = compiled(&text);
            let read = in_force(&snapshot.routes, "a.b", name).unwrap();
            let said = (&*read.domain, &*read.name, &*read.delivery, &*read.id);
            assert_eq!(said, ("a.b", name, "broker", "r1"));
            let expected: Vec<String> = backends
                .iter()
                .map(|one| one.replace("docker.io", "registry-1.docker.io"))
                .collect();
            assert_eq!(read.backends, expected);
            assert!(in_force(&snapshot.routes, "a.b", "acme/other").is_none());
        }
    }
}
