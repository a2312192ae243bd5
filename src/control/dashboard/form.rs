//! What people fill in. A form is taken only from the browser that it was shown to, and where it is refused its
//! page is shown again, with what was filled in and what is wrong with that ([`again`]).

use std::sync::Arc;

use axum::Form;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};

use super::Dashboard;
use super::cookie;
use super::headers::is_from_here;
use super::trouble::Trouble;
use super::unsent::{Unsent, is_secret};
use crate::pure::config::made::Wrong;
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

/// A form as its page shows it, by the macros of `templates/fields.html`: empty, or as it was refused.
#[derive(Clone, Debug, Default)]
pub(super) struct Filled {
    /// What was filled in, but secrets.
    said: Vec<(String, String)>,
    /// Each field that is wrong, with a sentence.
    pub(super) wrongs: Vec<(String, String)>,
    /// What is wrong with all of it, where it is no field.
    pub(super) alert: String,
    pub(super) is_refused: bool,
    /// What the identifiers of its fields begin with.
    prefix: &'static str,
}

impl Filled {
    fn refused(fields: &Fields, trouble: &Trouble) -> Self {
        let Fields(said) = fields;
        let mut said = said.clone();
        said.retain(|(name, _)| !is_secret(name));
        let at = trouble.at.iter().map(|(field, words)| ((*field).to_owned(), words.clone()));
        let wrongs: Vec<_> = at.chain(sentences(&trouble.wrong)).collect();
        let alert = if wrongs.is_empty() { trouble.why.clone() } else { String::new() };
        Self { said, wrongs, alert, is_refused: true, prefix: "" }
    }

    /// One in which these fields are wrong, whoever has filled them in.
    pub(super) fn with(wrong: &[Wrong]) -> Self {
        Self { wrongs: sentences(wrong).collect(), ..Self::default() }
    }

    /// For a page on which another form has fields of these names.
    pub(super) fn below(self, prefix: &'static str) -> Self {
        Self { prefix, ..self }
    }

    /// What is wrong with a form that is only a button, above one that was not sent.
    pub(super) fn above(self) -> Self {
        let alert = match self.wrongs.as_slice() {
            [] => self.alert,
            wrong => wrong.iter().map(|(_, words)| &**words).collect::<Vec<_>>().join(" "),
        };
        Self { alert, is_refused: true, ..Self::default() }
    }

    /// Whether nobody has filled it in yet.
    pub(super) fn is_blank(&self) -> bool {
        self.said.is_empty()
    }

    /// What was filled in.
    pub(super) fn text(&self, name: &str) -> &str {
        self.or(name, "")
    }

    /// The same, or what usually stands there.
    pub(super) fn or<'f>(&'f self, name: &str, usual: &'f str) -> &'f str {
        if self.is_blank() {
            return usual;
        }
        let field = self.said.iter().find(|(key, _)| key == name);
        field.map_or("", |(_, value)| value)
    }

    /// Whether this was chosen there.
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        self.said.iter().any(|(key, said)| key == name && said == value)
    }

    /// The identifier of a field.
    pub(super) fn id(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What is wrong with a field; empty where nothing is.
    pub(super) fn wrong(&self, name: &str) -> String {
        let wrong = self.wrongs.iter().filter(|(field, _)| field == name);
        wrong.map(|(_, words)| &**words).collect::<Vec<_>>().join(" ")
    }

    /// What describes a field: its hint, and what is wrong with it.
    pub(super) fn described(&self, name: &str, hint: &str) -> String {
        match (hint, self.wrong(name).is_empty()) {
            (hint, true) => hint.to_owned(),
            ("", false) => format!("{}-wrong", self.id(name)),
            (hint, false) => format!("{hint} {}-wrong", self.id(name)),
        }
    }

    /// Whether it is the field to begin with.
    pub(super) fn is_first(&self, name: &str) -> bool {
        self.is_refused && self.wrongs.first().is_some_and(|(field, _)| field == name)
    }
}

/// What came of a form that is refused: its page again, as it was filled in; or what went wrong, where that is no
/// matter of what was filled in.
///
/// # Errors
/// Also where the page cannot be shown.
pub(super) async fn again<P>(
    trouble: Trouble,
    fields: &Fields,
    page: impl FnOnce(Filled) -> P,
) -> Result<Response, Trouble>
where
    P: Future<Output = Result<Response, Trouble>>,
{
    let is_of_form = matches!(
        trouble.status,
        StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
    );
    if !is_of_form && trouble.at.is_empty() {
        return Err(trouble);
    }
    match page(Filled::refused(fields, &trouble)).await {
        Ok(mut response) => {
            *response.status_mut() = trouble.status;
            if let Some(seconds) = trouble.retry_s {
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            Ok(response)
        }
        Err(_) => Err(trouble),
    }
}

/// What is wrong with what is written of a package, by field.
fn sentences(wrong: &[Wrong]) -> impl Iterator<Item = (String, String)> {
    wrong.iter().map(|Wrong { field, what, .. }| {
        let subject = match field.as_str() {
            "backends" => "Where it lives",
            "failover_on_404" => "Whether the next one is asked",
            "domain" => "The domain",
            "name" => "The name",
            "delivery" => "The delivery",
            "credentials" => "The login",
            "id" => "The id",
            "description" => "The description",
            other => other,
        };
        (field.clone(), format!("{subject} {what}."))
    })
}

/// Why a form is not taken, and, where its sender may send it again, what it says.
pub(super) struct Untaken(Trouble, Option<Unsent>);

impl From<Trouble> for Untaken {
    fn from(trouble: Trouble) -> Self {
        Self(trouble, None)
    }
}

impl IntoResponse for Untaken {
    /// Without a page too: [`manners`](super::manners) makes that of both.
    fn into_response(self) -> Response {
        let Self(trouble, unsent) = self;
        let mut response = trouble.into_response();
        if let Some(unsent) = unsent {
            response.extensions_mut().insert(Arc::new(unsent));
        }
        response
    }
}

impl FromRequest<Dashboard> for Fields {
    type Rejection = Untaken;

    async fn from_request(request: Request, at: &Dashboard) -> Result<Self, Untaken> {
        let token = cookie::sent(request.headers()).map(secret::form_token);
        // Nothing is shown of what another site may have written.
        let is_ours = is_from_here(request.headers());
        let action = request.uri().path().to_owned();
        let Form(fields) = Form::from_request(request, at).await.map_err(|refused| {
            let why = format!("The form cannot be read: {refused}.");
            let mut trouble = Trouble::unreadable(refused.status(), why);
            if trouble.status == StatusCode::PAYLOAD_TOO_LARGE {
                // The fields of our pages do not let anybody write as much.
                trouble.why += " Nothing of it was read, and nothing was done: open the page again, and write \
                                less there than you have sent.";
            }
            trouble
        })?;
        let fields = Self(fields);
        match token {
            Some(token) if token.is(fields.text("form_token")) => Ok(fields),
            Some(_) | None => {
                let Self(fields) = fields;
                let unsent = is_ours.then(|| Unsent::of(action, fields)).flatten();
                Err(Untaken(Trouble::stale_form(unsent.is_some()), unsent))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_that_is_refused_is_kept_but_for_its_secrets() {
        let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let filled = [("login", "ada"), ("password", "x"), ("code", "000000"), ("days", "")];
        let fields = Fields(filled.map(pair).to_vec());
        let trouble = Trouble::refused("The name is taken.").at("login");
        let form = Filled::refused(&fields, &trouble);
        let texts = ["login", "password", "code"].map(|name| form.text(name));
        assert_eq!(texts, ["ada", "", ""]);
        assert_eq!((form.or("days", "90"), form.has("login", "ada")), ("", true));
        assert_eq!(form.described("login", "hint"), "hint login-wrong");
        assert_eq!(form.described("days", "hint"), "hint");
        assert!(form.is_first("login") && !form.is_first("days") && form.alert.is_empty());
        let form = form.above();
        assert_eq!((form.text("login"), &*form.alert), ("", "The name is taken."));
        let blank = Filled::default().below("off-");
        assert_eq!((blank.or("days", "90"), blank.id("days")), ("90", "off-days".to_owned()));
        // What belongs to no field stands above all of them.
        let form = Filled::refused(&fields, &Trouble::too_often(5));
        assert!(form.alert.contains("Wait 5 seconds") && !form.is_first("login"), "{form:?}");
    }
}
