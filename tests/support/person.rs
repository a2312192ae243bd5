//! A person at the dashboard: a browser as little as tests need it, with one jar of cookies.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use pullgate::pure::query::put_encoded;

use super::eventually::eventually;
use super::gate::{Gate, pullgate};
use super::http::{Answer, Connection};
use super::process::run;

/// Two packages of one domain.
pub const PACKAGES: &str = r#"
[[packages]]
domain = "registry.acme.com"
name = "acme/rocket"
backend = "ghcr.io/acme/rocket"

[[packages]]
domain = "registry.acme.com"
name = "acme/sledge"
backend = "ghcr.io/acme/sledge"
"#;

/// The first of them.
pub const ROCKET: &str = "registry.acme.com/acme/rocket";
/// The second.
pub const SLEDGE: &str = "registry.acme.com/acme/sledge";

/// The form of a package that lives where nobody looks, as it is sent to be saved.
pub fn written<'f>(domain: &'f str, name: &'f str) -> [(&'f str, &'f str); 7] {
    [
        ("domain", domain),
        ("name", name),
        ("backends", "ghcr.io/acme/sled"),
        ("delivery", "redirect"),
        ("credentials", "none"),
        ("act", "save"),
        ("anyway", "yes"),
    ]
}

/// A person with a browser.
pub struct Person {
    admin: SocketAddr,
    /// What it calls the dashboard, where that is not its address.
    pub host: Option<String>,
    /// What its cookie holds, as `name=value`.
    pub cookie: Option<String>,
    /// More lines that it sends, `x-forwarded-proto: https` for one.
    pub also: Vec<String>,
    /// Where it comes from.
    pub from: Option<IpAddr>,
}

impl Person {
    /// Somebody unknown, before the gateway's dashboard.
    pub fn before(gate: &Gate) -> Self {
        Self::at(gate.admin())
    }

    /// The same, before one of which only the address is known.
    pub fn at(admin: SocketAddr) -> Self {
        Self { admin, host: None, cookie: None, also: Vec::new(), from: None }
    }

    /// Makes the first account by the link in the gateway's log, as `ada` of `acme`.
    pub fn set_up(gate: &mut Gate) -> Self {
        let link = set_up_link(gate);
        let mut person = Self::before(gate);
        let fields = [("login", "ada"), ("organisation", "acme"), ("password", PASSWORD)];
        let answer = person.fill_in(&link, &fields);
        assert_eq!(answer.status, 303, "{}", text(&answer));
        person
    }

    /// Somebody with an account that the operator has made, and what `more` says of it.
    pub fn created(gate: &Gate, login: &str, more: &[&str]) -> Self {
        let mut command = Command::new(pullgate());
        command.args(["account", "create", login]).args(more).arg("--data").arg(gate.data_dir());
        let said = run(&mut command);
        let mut person = Self::before(gate);
        let password = said.lines().last().expect("a password");
        assert_eq!(person.sign_in(login, password).status, 303);
        person
    }

    /// Somebody whom `by` lets in as an admin of a package alone.
    pub fn admin_of(gate: &Gate, by: &mut Self, package: &str, login: &str) -> Self {
        let page = text(&by.act("/people/invite", &[("package", package), ("role", "admin")]));
        let at = page.find("/join?key=").unwrap_or_else(|| panic!("no link in\n{page}"));
        let mut person = Self::created(gate, login, &[]);
        let link = &page[at..at + "/join?key=".len() + 64];
        assert_eq!(person.fill_in(link, &[]).status, 303);
        person
    }

    /// Looks at a page.
    pub fn get(&mut self, target: &str) -> Answer {
        self.ask("GET", target, &[], b"")
    }

    /// Opens the page at `target`, and sends the form on it that goes to the same address, or the only
    /// one, with these fields filled in.
    pub fn fill_in(&mut self, target: &str, fields: &[(&str, &str)]) -> Answer {
        let page = text(&self.get(target));
        let action = target.split('?').next().unwrap_or(target);
        self.send_form(&page, action, fields)
    }

    /// Sends the form of this page that goes to `action`.
    pub fn send_form(&mut self, page: &str, action: &str, fields: &[(&str, &str)]) -> Answer {
        let mut all = carried(page, action);
        all.extend(fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self.post(action, &all)
    }

    /// Posts fields, whatever a page says of them.
    pub fn post(&mut self, target: &str, fields: &[(String, String)]) -> Answer {
        self.ask("POST", target, &[FORM.to_owned()], encoded(fields).as_bytes())
    }

    /// Posts fields with the token of a form that it is shown.
    pub fn act(&mut self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.act_on("/account", target, fields)
    }

    /// The same with the token of a form on `page`.
    pub fn act_on(&mut self, page: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
        let mut all = vec![("form_token".to_owned(), self.form_token(page))];
        all.extend(fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self.post(target, &all)
    }

    /// The token of a form on `page`.
    pub fn form_token(&mut self, page: &str) -> String {
        let page = text(&self.get(page));
        let token = page.split("name=\"form_token\" value=\"").nth(1).unwrap_or_default();
        token.split('"').next().unwrap_or_default().to_owned()
    }

    /// Signs in.
    pub fn sign_in(&mut self, login: &str, password: &str) -> Answer {
        self.fill_in("/sign-in", &[("login", login), ("password", password)])
    }

    /// What an answer begins with that may have no end.
    pub fn head_of(&self, target: &str) -> Answer {
        let mut connection = Connection::open(self.admin).expect("the admin listener");
        let head = format!("GET {target} HTTP/1.1\r\n{}\r\n\r\n", self.lines(&[]).join("\r\n"));
        connection.send(head.as_bytes()).expect("sent");
        connection.head().expect("an answer")
    }

    fn lines(&self, more: &[String]) -> Vec<String> {
        let host = self.host.clone().unwrap_or_else(|| self.admin.to_string());
        let mut lines = vec![format!("Host: {host}")];
        lines.extend(self.cookie.iter().map(|cookie| format!("Cookie: {cookie}")));
        lines.extend(self.also.iter().chain(more).cloned());
        lines
    }

    /// Any request.
    pub fn ask(&mut self, method: &str, target: &str, more: &[String], body: &[u8]) -> Answer {
        let headers = self.lines(more);
        let connection = match self.from {
            Some(source) => Connection::open_from(source, self.admin),
            None => Connection::open(self.admin),
        };
        let mut connection = connection.expect("the admin listener");
        let answer = connection.ask(method, target, &headers, body).expect("an answer");
        for (_, value) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let pair = value.split(';').next().unwrap_or_default();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        answer
    }
}

/// The set-up link that the gateway says, a moment after it is ready, as path and query.
pub fn set_up_link(gate: &mut Gate) -> String {
    eventually(|| {
        let words = gate.words();
        let link = words.rfind("/set-up?key=").map(|at| words[at..].split_whitespace().next());
        link.flatten().map(str::to_owned).ok_or_else(|| format!("no link in\n{words}"))
    })
}

/// What the form of this page that goes to `action` carries by itself, its token among that.
pub fn carried(page: &str, action: &str) -> Vec<(String, String)> {
    let mark = format!("action=\"{action}\"");
    let at = page.find(&mark).unwrap_or_else(|| panic!("no form {mark} in\n{page}"));
    let form = &page[at..];
    let form = &form[..form.find("</form>").expect("the form's end")];
    let inputs = form.split("<input type=\"hidden\" ").skip(1);
    let pair = |input: &str| {
        let of = |key: &str| input.split(&format!("{key}=\"")).nth(1)?.split('"').next();
        let (name, value) = of("name").zip(of("value")).expect("name and value");
        (name.to_owned(), value.replace("&#38;", "&"))
    };
    inputs.map(pair).collect()
}

/// The fields of a form as they are sent.
pub fn encoded(fields: &[(String, String)]) -> String {
    let mut body = String::new();
    for (key, value) in fields {
        body.push_str(if body.is_empty() { "" } else { "&" });
        put_encoded(&mut body, key);
        body.push('=');
        put_encoded(&mut body, value);
    }
    body
}

/// An answer's body.
pub fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).expect("text")
}

/// What a form is sent as.
pub const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
/// A good one.
pub const PASSWORD: &str = "correct horse battery staple";
