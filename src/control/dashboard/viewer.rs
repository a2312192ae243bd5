//! Who asks, and what they may.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse, Redirect, Response};

use super::Dashboard;
use super::cookie;
use super::page::Frame;
use super::trouble::Trouble;
use crate::control::accounts::people::Owners;
use crate::control::accounts::place::Place;
use crate::control::accounts::rights::Right;
use crate::control::accounts::sessions::{Known, Who};
use crate::control::accounts::{StoreError, now_s};
use crate::pure::access::{Action, Grants, Object, OrganisationId};
use crate::pure::query::put_encoded;
use crate::pure::secret::{self, Secret};
use crate::pure::snapshot::Snapshot;

/// Whoever asks for a page: somebody who is signed in, or nobody.
pub(super) struct Viewer {
    /// Who is signed in.
    pub(super) who: Option<Who>,
    grants: Grants,
    /// Whose packages are.
    pub(super) owners: Owners,
    /// Which rules serve them.
    snapshot: Arc<Snapshot>,
    form_token: Secret,
    origin: String,
}

/// Somebody who is signed in; others are sent to where they can. Also a [`Viewer`].
pub(super) struct Signed {
    /// Who.
    pub(super) who: Who,
    pub(super) viewer: Viewer,
}

impl Viewer {
    fn may(&self, action: Action, object: Object<'_>) -> bool {
        self.grants.may(action, object)
    }

    /// Whether they may do this to the package `<domain>/<name>`, of which the caller knows whether it
    /// has a page for everybody.
    pub(super) fn may_package(&self, action: Action, name: &str, is_public: bool) -> bool {
        let rule = self.snapshot.routes.serving(name);
        self.may(action, self.owners.package(name, rule, is_public))
    }

    /// The same of an organisation, or of a package as one of the organisation that the place says.
    pub(super) fn may_place(&self, action: Action, place: &Place) -> bool {
        match place {
            Place::Organisation(id) => self.may_organisation(action, *id),
            Place::Package { name, owner } => {
                let (owner, rule) = (*owner, self.snapshot.routes.serving(name));
                self.may(action, Object::Package { name, rule, owner, is_public: false })
            }
        }
    }

    /// The same of an organisation.
    pub(super) fn may_organisation(&self, action: Action, id: OrganisationId) -> bool {
        self.may(action, Object::Organisation(id))
    }

    /// Whether there is one that they may configure.
    pub(super) fn configures_an_organisation(&self) -> bool {
        self.grants.organisations.keys().any(|id| self.may_organisation(Action::Configure, *id))
    }

    /// The same of the gateway itself.
    pub(super) fn may_gateway(&self, action: Action) -> bool {
        self.may(action, Object::Gateway { operator: self.owners.operator })
    }

    /// That they may configure the gateway.
    ///
    /// # Errors
    /// [`Trouble::absent`] for who may not even see it.
    pub(super) fn must_configure_gateway(&self) -> Result<(), Trouble> {
        match (self.may_gateway(Action::See), self.may_gateway(Action::Configure)) {
            (_, true) => Ok(()),
            (true, false) => Err(Trouble::forbidden()),
            (false, false) => Err(Trouble::absent()),
        }
    }

    /// Whose a package is, by its domain.
    pub(super) fn owner_of(&self, name: &str) -> OrganisationId {
        self.owners.of_domain(name.split('/').next().unwrap_or_default())
    }

    /// The right to do this to a package, [under](Right::under) the rules that served it when they asked.
    pub(super) fn right(&self, action: Action, package: &str) -> Right {
        let place = Place::new(self.owner_of(package), Some(package.to_owned()));
        Right::at(self.who.clone(), action, place, Arc::clone(&self.snapshot))
    }

    /// The right to see a package, or all that they see now.
    pub(super) fn sight(&self, package: Option<&str>) -> Right {
        match package {
            None => {
                let (who, rules) = (self.who.clone(), Arc::clone(&self.snapshot));
                Right::sight(who, self.grants.clone(), self.owners.clone(), rules)
            }
            Some(name) => self.right(Action::See, name),
        }
    }

    /// Where they find the dashboard, as their browser says: `https://pullgate.acme.com`.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// What every page of theirs needs.
    pub(super) fn frame(&self, title: &str) -> Frame {
        let login = self.who.as_ref().map(|who| who.login.clone());
        Frame { login, form_token: self.form_token.clone(), ..Frame::bare(title) }
    }

    /// Whoever has a browser send these.
    pub(super) async fn of(at: &Dashboard, headers: &HeaderMap) -> Result<Self, Trouble> {
        let origin = cookie::origin(headers);
        let Some(cookie) = cookie::sent(headers) else {
            return Ok(Self { origin, ..Self::nobody(at) });
        };
        let form_token = secret::form_token(cookie);
        let secret = cookie.to_owned();
        match at.accounts.run(move |store| store.by_session(&secret, now_s())).await {
            Ok(known) => Ok(Self { form_token, origin, ..Self::known(known, at) }),
            Err(StoreError::Absent) => Ok(Self { form_token, origin, ..Self::nobody(at) }),
            Err(error) => Err(error.into()),
        }
    }

    /// Who comes with a token, and no form.
    pub(super) fn by_token(known: Known, at: &Dashboard, headers: &HeaderMap) -> Self {
        Self { origin: cookie::origin(headers), ..Self::known(known, at) }
    }

    fn known(known: Known, at: &Dashboard) -> Self {
        let Known { who, grants, owners } = known;
        Self { who: Some(who), grants, owners, ..Self::nobody(at) }
    }

    fn nobody(at: &Dashboard) -> Self {
        Self {
            who: None,
            grants: Grants::default(),
            owners: Owners::default(),
            snapshot: at.in_force.snapshot(),
            form_token: Secret::default(),
            origin: String::new(),
        }
    }
}

impl Deref for Signed {
    type Target = Viewer;

    fn deref(&self) -> &Viewer {
        &self.viewer
    }
}

impl FromRequestParts<Dashboard> for Viewer {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, at: &Dashboard) -> Result<Self, Trouble> {
        Self::of(at, &parts.headers).await
    }
}

impl FromRequestParts<Dashboard> for Signed {
    type Rejection = Unknown;

    async fn from_request_parts(parts: &mut Parts, at: &Dashboard) -> Result<Self, Unknown> {
        let viewer = Viewer::from_request_parts(parts, at).await.map_err(Unknown::Trouble)?;
        match viewer.who.clone() {
            Some(who) => Ok(Self { who, viewer }),
            None => Err(Unknown::at(&parts.method, &parts.uri)),
        }
    }
}

/// Why somebody is not known.
pub(super) enum Unknown {
    /// They have not signed in: where they can.
    Door(String),
    /// It cannot be found out.
    Trouble(Trouble),
}

impl Unknown {
    /// After they have signed in they see the page that they asked for; what they wanted to change they
    /// see again before they change it.
    fn at(method: &Method, uri: &Uri) -> Self {
        let mut door = "/sign-in".to_owned();
        let wanted = uri.path_and_query().map_or("/", |it| it.as_str());
        if *method == Method::GET && wanted != "/" {
            door.push_str("?next=");
            put_encoded(&mut door, wanted);
        }
        Self::Door(door)
    }
}

impl IntoResponse for Unknown {
    fn into_response(self) -> Response {
        match self {
            Self::Door(door) => Redirect::to(&door).into_response(),
            Self::Trouble(trouble) => trouble.into_response(),
        }
    }
}
