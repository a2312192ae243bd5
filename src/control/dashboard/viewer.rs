//! Who asks, and what they may.

use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse, Redirect, Response};

use super::Dashboard;
use super::cookie;
use super::page::Frame;
use super::trouble::Trouble;
use crate::control::accounts::people::Owners;
use crate::control::accounts::sessions::{Known, Who};
use crate::control::accounts::{StoreError, now_s};
use crate::pure::access::{Action, Grants, Object, OrganisationId};
use crate::pure::query::put_encoded;
use crate::pure::secret;

/// Whoever asks for a page: somebody who is signed in, or nobody.
pub(super) struct Viewer {
    /// Who is signed in.
    pub(super) who: Option<Who>,
    grants: Grants,
    /// Whose packages are.
    pub(super) owners: Owners,
    form_token: String,
    origin: String,
}

/// Somebody who is signed in; others are sent to where they can. Also a [`Viewer`].
pub(super) struct Signed {
    /// Who.
    pub(super) who: Who,
    viewer: Viewer,
}

impl Viewer {
    /// Whether they may do this to that.
    pub(super) fn may(&self, action: Action, object: Object<'_>) -> bool {
        self.grants.may(action, object)
    }

    /// Whether they may do this to the package `<domain>/<name>`, of which the caller knows whether it
    /// has a page for everybody.
    pub(super) fn may_package(&self, action: Action, name: &str, is_public: bool) -> bool {
        self.may(action, self.owners.package(name, is_public))
    }

    /// The same of an organisation.
    pub(super) fn may_organisation(&self, action: Action, id: OrganisationId) -> bool {
        self.may(action, Object::Organisation(id))
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

    /// Where they find the dashboard, as their browser says: `https://pullgate.acme.com`.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// What every page of theirs needs.
    pub(super) fn frame(&self, title: &str) -> Frame {
        let login = self.who.as_ref().map(|who| who.login.clone());
        Frame { login, form_token: self.form_token.clone(), ..Frame::bare(title) }
    }

    /// Who comes with a token, and no form.
    pub(super) fn by_token(known: Known, headers: &HeaderMap) -> Self {
        let Known { who, grants, owners } = known;
        let (form_token, origin) = (String::new(), cookie::origin(headers));
        Self { who: Some(who), grants, owners, form_token, origin }
    }

    fn nobody(form_token: String, origin: String) -> Self {
        let (grants, owners) = (Grants::default(), Owners::default());
        Self { who: None, grants, owners, form_token, origin }
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
        let origin = cookie::origin(&parts.headers);
        let Some(cookie) = cookie::sent(&parts.headers) else {
            return Ok(Self::nobody(String::new(), origin));
        };
        let form_token = secret::form_token(cookie);
        let secret = cookie.to_owned();
        match at.accounts.run(move |store| store.by_session(&secret, now_s())).await {
            Ok(Known { who, grants, owners }) => {
                Ok(Self { who: Some(who), grants, owners, form_token, origin })
            }
            Err(StoreError::Absent) => Ok(Self::nobody(form_token, origin)),
            Err(error) => Err(error.into()),
        }
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
