//! What people fill in. A form is taken only from the browser that it was shown to.

use axum::Form;
use axum::extract::{FromRequest, Request};

use super::Dashboard;
use super::cookie;
use super::trouble::Trouble;
use crate::pure::secret;

/// The fields of a form that was shown to this browser: it carries the `form_token` of its cookie.
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// What was filled in; empty for what was not.
    pub(super) fn text(&self, name: &str) -> &str {
        let field = self.0.iter().find(|(key, _)| key == name);
        field.map_or("", |(_, value)| value)
    }
}

impl Fields {
    /// A number that a page of ours has filled in.
    pub(super) fn number(&self, name: &str) -> Result<i64, Trouble> {
        let text = self.text(name);
        text.parse().map_err(|_| Trouble::refused(format!("{name}: {text:?} is no number.")))
    }
}

impl FromRequest<Dashboard> for Fields {
    type Rejection = Trouble;

    async fn from_request(request: Request, at: &Dashboard) -> Result<Self, Trouble> {
        let token = cookie::sent(request.headers()).map(secret::form_token);
        let Form(fields) = Form::from_request(request, at).await.map_err(|refused| {
            Trouble::unreadable(refused.status(), format!("The form cannot be read: {refused}."))
        })?;
        let fields = Self(fields);
        match token {
            Some(token) if secret::is_same(&token, fields.text("form_token")) => Ok(fields),
            Some(_) | None => Err(Trouble::stale_form()),
        }
    }
}
