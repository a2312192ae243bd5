//! A form that came with the token of another session, as it may be sent again: all that it said but its secrets,
//! which are asked for anew.

/// Where it goes, and what it says.
#[derive(Debug)]
pub(super) struct Unsent {
    /// Where it goes.
    pub(super) action: String,
    fields: Vec<(String, String)>,
}

/// What a person typed, or chose.
pub(super) struct Said<'f> {
    /// What it is called.
    pub(super) label: &'static str,
    /// What it says.
    pub(super) value: &'f str,
}

/// What is not shown again, and so asked for.
pub(super) struct Asked<'f> {
    /// The field.
    pub(super) name: &'f str,
    /// What it is called.
    pub(super) label: &'static str,
    /// How a browser fills it in.
    pub(super) autocomplete: &'static str,
}

impl Unsent {
    /// This form; `None` where it cannot be sent again: its secret is one that nobody types, or who sent it would
    /// not see all that it says.
    pub(super) fn of(action: String, fields: Vec<(String, String)>) -> Option<Self> {
        let is_typed = |name: &str| !is_secret(name) || name == TOKEN || asked(name).is_some();
        let is_shown = |name: &str| {
            let is_labelled = LABELS.iter().any(|(known, _)| *known == name);
            is_labelled || is_secret(name) || OF_THE_PAGE.contains(&name)
        };
        let is_whole = fields.iter().all(|(name, _)| is_typed(name) && is_shown(name));
        // A button alone says nothing of what it does.
        let says_something = fields.iter().any(|(name, _)| name != TOKEN);
        (is_whole && says_something).then_some(Self { action, fields })
    }

    /// What it carries, seen or not: each field and its value.
    pub(super) fn carried(&self) -> impl Iterator<Item = &(String, String)> {
        self.fields.iter().filter(|(name, _)| !is_secret(name))
    }

    /// What of that somebody knows.
    pub(super) fn said(&self) -> Vec<Said<'_>> {
        let known = self.carried().filter_map(|(name, value)| {
            let (_, label) = LABELS.iter().find(|(known, _)| known == name)?;
            Some(Said { label, value })
        });
        known.filter(|said| !said.value.is_empty()).collect()
    }

    /// What is asked for.
    pub(super) fn asked(&self) -> Vec<Asked<'_>> {
        self.fields.iter().filter_map(|(name, _)| asked(name)).collect()
    }
}

/// Whether a field of this name is never shown again.
pub(super) fn is_secret(name: &str) -> bool {
    name == TOKEN || name == "secret" || asked(name).is_some()
}

fn asked(name: &str) -> Option<Asked<'_>> {
    let (_, label, autocomplete) = ASKED.iter().find(|(known, ..)| *known == name)?;
    Some(Asked { name, label, autocomplete })
}

const TOKEN: &str = "form_token";
/// Secrets that people type.
const ASKED: [(&str, &str, &str); 4] = [
    ("password", "Password", "current-password"),
    ("new_password", "The new password", "new-password"),
    ("code", "Code of your app", "one-time-code"),
    ("present_code", "Code of your present app", "one-time-code"),
];
/// What a form carries that nobody needs to see: what its page was of, and where it leads.
const OF_THE_PAGE: [&str; 2] = ["seen", "next"];
/// What is shown of a form.
const LABELS: [(&str, &str); 20] = [
    ("login", "Name"),
    ("label", "What it is for"),
    ("organisation", "Organisation"),
    ("package", "Package"),
    ("domain", "Domain"),
    ("name", "Name that people pull"),
    ("backends", "Where it lives"),
    ("failover_on_404", "Ask the next one too where one has no such thing"),
    ("delivery", "Delivery"),
    ("credentials", "Whose login the registry sees"),
    ("id", "Id in the counts"),
    ("description", "Description"),
    ("role", "As"),
    ("days", "For so many days"),
    ("url", "Address"),
    ("badges", "Badges"),
    ("public", "Public page"),
    ("confirm", "Confirmed"),
    ("anyway", "Although people could not pull it now"),
    ("people", "What hangs on its name"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_secrets_is_carried_and_those_are_asked_for() {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let of = |fields: &[(&str, &str)]| {
            Unsent::of("/x".to_owned(), fields.iter().map(pair).collect())
        };
        let fields = [
            ("form_token", "0"),
            ("next", "/a"),
            ("login", "ada"),
            ("password", "p"),
            ("code", ""),
        ];
        let form = of(&fields).unwrap();
        let carried: Vec<_> = form.carried().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(carried, [("next", "/a"), ("login", "ada")]);
        let said: Vec<_> = form.said().iter().map(|said| (said.label, said.value)).collect();
        assert_eq!(said, [("Name", "ada")]);
        let asked: Vec<_> = form.asked().iter().map(|asked| asked.name).collect();
        assert_eq!(asked, ["password", "code"]);
        // The secret of an app is the page's, and is not shown again.
        assert!(of(&[("form_token", "0"), ("secret", "S"), ("code", "1")]).is_none());
        // What would be done, or to whom, is not seen.
        assert!(of(&[("form_token", "0")]).is_none(), "a button");
        assert!(of(&[("form_token", "0"), ("organisation", "acme"), ("account", "7")]).is_none());
    }
}
