//! Who calls, and for what place.

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;
use crate::control::accounts::sessions::{By, Who};
use crate::control::accounts::{StoreError, now_s};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::place::Named;
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::viewer::Viewer;
use crate::pure::access::{Action, Role};

/// Somebody who is known, by a token or a session.
pub(super) struct Caller {
    /// Who.
    pub(super) who: Who,
    /// What they may.
    pub(super) viewer: Viewer,
}

/// The place that a question is about.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Place {
    /// The organisation of this name.
    #[serde(default)]
    #[param(example = "acme")]
    pub(super) organisation: String,
    /// Or the package, `<domain>/<name>`.
    #[serde(default)]
    #[param(example = "registry.acme.com/acme/rocket")]
    pub(super) package: String,
}

/// A request to be explained.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// What for.
    #[param(example = "https://registry.acme.com/v2/acme/rocket/manifests/latest")]
    pub(super) url: String,
    /// By whom, as `containerd/2.1.4`.
    #[serde(default)]
    pub(super) user_agent: String,
}

/// Which part of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// How many at the most: 1 to 1000; 100 if left out.
    #[serde(default = "usual")]
    #[param(maximum = 1000, minimum = 1)]
    pub(super) limit: usize,
    /// Those behind the last one of the part before: its `next`.
    #[serde(default)]
    pub(super) after: String,
}

impl Caller {
    /// The place, if they may do this to it.
    pub(super) async fn find(
        &self,
        at: &Dashboard,
        action: Action,
        place: &Place,
    ) -> Result<Named, Problem> {
        let found =
            Named::find(at, &self.viewer, action, &place.organisation, &place.package).await?;
        Ok(found)
    }

    /// A token that may change something at all.
    ///
    /// # Errors
    /// For a session, and for a token that only reads.
    pub(super) fn writes(&self) -> Result<(), Problem> {
        let why = match self.who.by {
            By::Session(_) => "What changes something here is done with a token.",
            By::Token { most: Role::Member, .. } => "This token only reads.",
            By::Token { most: Role::Admin, .. } => return Ok(()),
        };
        Err(Problem(Trouble::new(StatusCode::FORBIDDEN, "Not allowed", why)))
    }
}

/// Whether a change that breaks something is meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Confirmed {
    /// `true` where the domain or the name changes: who types the old one gets an error from then on.
    #[serde(default)]
    pub(super) confirm: bool,
}

/// What becomes of what is left on the name of a package that is made.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Left {
    /// Where roles, tokens, invitations, webhooks or a public page hang on its name from when the configuration
    /// file had it: whether they come with it, or end. Needed only there (409 without).
    pub(super) people: Option<People>,
}

/// Whether that comes with it.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum People {
    Keep,
    End,
}

/// Which invitation.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Key {
    /// What its link has behind `key=`.
    pub(super) key: String,
}

impl Place {
    /// It, if it is a package.
    pub(super) fn package(self) -> Result<Self, Problem> {
        match self.package.is_empty() {
            false => Ok(self),
            true => Err(Problem(Trouble::refused("package: is missing: `<domain>/<name>`."))),
        }
    }

    /// It, if it is an organisation.
    pub(super) fn organisation(self) -> Result<Self, Problem> {
        match self.package.is_empty() && !self.organisation.is_empty() {
            true => Ok(self),
            false => Err(Problem(Trouble::refused("organisation: is missing, and all there is."))),
        }
    }
}

impl FromRequestParts<Dashboard> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, at: &Dashboard) -> Result<Self, Problem> {
        let said = parts.headers.get(AUTHORIZATION).map(|said| said.to_str().unwrap_or_default());
        let viewer = match said {
            None => Viewer::from_request_parts(parts, at).await?,
            Some(said) => {
                let token =
                    said.split_once(' ').filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
                let token = token.map(|(_, token)| token.trim().to_owned()).unwrap_or_default();
                let known = at.accounts.run(move |store| store.by_token(&token, now_s())).await;
                match known {
                    Ok(known) => Viewer::by_token(known, at, &parts.headers),
                    Err(StoreError::Absent) => return Err(unknown()),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        match viewer.who.clone() {
            Some(who) => Ok(Self { who, viewer }),
            None => Err(unknown()),
        }
    }
}

impl FromRequestParts<Dashboard> for Place {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, at: &Dashboard) -> Result<Self, Problem> {
        parameters(parts, at).await
    }
}

impl FromRequestParts<Dashboard> for Confirmed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, at: &Dashboard) -> Result<Self, Problem> {
        parameters(parts, at).await
    }
}

impl FromRequestParts<Dashboard> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, at: &Dashboard) -> Result<Self, Problem> {
        parameters(parts, at).await
    }
}

impl FromRequestParts<Dashboard> for Left {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, at: &Dashboard) -> Result<Self, Problem> {
        parameters(parts, at).await
    }
}

impl FromRequestParts<Dashboard> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, at: &Dashboard) -> Result<Self, Problem> {
        parameters(parts, at).await
    }
}

impl FromRequestParts<Dashboard> for Part {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, at: &Dashboard) -> Result<Self, Problem> {
        let part: Self = parameters(parts, at).await?;
        match part.limit {
            1..=1000 => Ok(part),
            _ => Err(Problem(Trouble::refused("limit: is 1 to 1000."))),
        }
    }
}

async fn parameters<T: for<'de> Deserialize<'de>>(
    parts: &mut Parts,
    at: &Dashboard,
) -> Result<T, Problem> {
    let read = Query::<T>::from_request_parts(parts, at).await;
    let Query(read) = read.map_err(|refused| Problem(Trouble::refused(format!("{refused}."))))?;
    Ok(read)
}

fn unknown() -> Problem {
    let why = "Send a token of yours (`Authorization: Bearer …`) that has not ended; the page `API \
               tokens` makes one.";
    Problem(Trouble::new(StatusCode::UNAUTHORIZED, "Who are you?", why))
}

fn usual() -> usize {
    100
}
