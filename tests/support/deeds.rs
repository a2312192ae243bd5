//! What people do at the dashboard, whoever looks at how it is taken: a test that all of it is done, and one that none
//! of it is without its token.

use std::time::{SystemTime, UNIX_EPOCH};

use pullgate::pure::totp;

use super::gate::Gate;
use super::http::Answer;
use super::names::{Names, wanted};
use super::people::{account_of, link, number};
use super::person::{PACKAGES, PASSWORD, Person, text};

/// A package that is made in the dashboard.
pub const SLED: &str = "made.example/acme/sled";

/// A gateway where everybody may sign up, which looks names up there.
pub fn open_gate(names: &Names) -> Gate {
    let at = names.at;
    Gate::start_with_admin_and("epoll", "sign_up = \"open\"\n", PACKAGES, move |command| {
        command.arg("--resolver").arg(at.to_string());
    })
}

/// Who has people do things; each panics where it is not done.
pub trait Doer {
    /// Looks at a page.
    fn sees(&mut self, person: &mut Person, target: &str) -> Answer;

    /// Posts fields with the token of a form that the person is shown.
    fn does(&mut self, person: &mut Person, target: &str, fields: &[(&str, &str)]) -> Answer;

    /// Fills in the form to `action` that is on the page at `target`.
    fn fills(&mut self, person: &mut Person, at: (&str, &str), fields: &[(&str, &str)]) -> Answer;

    /// What people do with an account of their own, and with domains of an organisation that does not run the gateway.
    fn has_an_account(&mut self, gate: &Gate, names: &Names) {
        let mut eve = Person::before(gate);
        let fields = [("login", "eve"), ("organisation", "moon"), ("password", PASSWORD)];
        self.fills(&mut eve, ("/sign-up", "/sign-up"), &fields);
        let mut elsewhere = Person::before(gate);
        let fields = [("login", "eve"), ("password", PASSWORD)];
        self.fills(&mut elsewhere, ("/sign-in", "/sign-in"), &fields);
        let sessions = text(&self.sees(&mut eve, "/account"));
        let newest = sessions.split("name=\"session\" value=\"").nth(1).expect("a session");
        let newest = newest.split('"').next().expect("its number");
        self.does(&mut eve, "/account/sessions", &[("session", newest)]);
        assert_eq!(elsewhere.get("/account").status, 303, "it is over");
        let secret = text(&self.sees(&mut eve, "/account/second-factor"));
        let secret = secret.split("name=\"secret\" value=\"").nth(1).expect("a secret");
        let secret = totp::from_base32(secret.split('"').next().expect("it")).expect("base32");
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let code = |step: u64| totp::code(&secret, now_s / totp::STEP_S + step).to_string();
        let (encoded, password) = (totp::base32(&secret), ("password", PASSWORD));
        let fields = [("secret", &*encoded), ("code", &code(0)), password];
        self.does(&mut eve, "/account/second-factor", &fields);
        self.does(&mut eve, "/account/second-factor/off", &[("code", &code(1)), password]);
        let fields = [password, ("new_password", "another one, just as long")];
        self.does(&mut eve, "/account/password", &fields);
        let moon = ("organisation", "moon");
        for host in ["proven.example", "claimed.example"] {
            self.does(&mut eve, "/domains/claim", &[moon, ("domain", host)]);
        }
        let domains = text(&self.sees(&mut eve, "/domains?organisation=moon"));
        names.say("_pullgate.proven.example", &[&wanted(&domains, "proven.example")]);
        self.does(&mut eve, "/domains/check", &[moon, ("domain", "proven.example")]);
        self.does(&mut eve, "/domains/return", &[moon, ("domain", "proven.example")]);
        self.does(&mut eve, "/domains/withdraw", &[moon, ("domain", "claimed.example")]);
        self.does(&mut eve, "/sign-out", &[]);
    }

    /// What an admin does at a place: people, and programs.
    fn lets_in(&mut self, gate: &Gate, admin: &mut Person, place: (&str, &str), guest: &str) {
        let people = format!("/people?{}={}", place.0, place.1);
        let label = ("label", "report");
        self.sees(admin, &format!("/history?{}={}", place.0, place.1));
        self.does(admin, "/people/invite", &[place, ("role", "admin")]);
        let invitation = number(&self.sees(admin, &people), "invitation");
        self.does(admin, "/people/withdraw", &[place, ("invitation", &invitation)]);
        // Somebody comes, becomes an admin, and goes.
        let link = link(&self.does(admin, "/people/invite", &[place, ("role", "member")]));
        let mut person = Person::before(gate);
        let fields = [("login", guest), ("password", PASSWORD)];
        self.fills(&mut person, (&link, "/join"), &fields);
        self.sees(&mut person, &people);
        let account = account_of(&self.sees(admin, &people), guest);
        let account = ("account", account.as_str());
        self.does(admin, "/people/role", &[place, account, ("role", "admin")]);
        self.sees(&mut person, &format!("/history?{}={}", place.0, place.1));
        self.does(admin, "/people/remove", &[place, account]);
        assert_eq!(person.get(&people).status, 404);
        // A token is revoked as one of the place, and as one's own.
        let token = |page: &Answer| number(page, "token");
        self.does(admin, "/tokens", &[place, label, ("role", "admin")]);
        let id = token(&self.sees(admin, &people));
        self.does(admin, "/people/revoke", &[place, ("token", &id)]);
        self.does(admin, "/tokens", &[place, label, ("role", "member")]);
        let id = token(&self.sees(admin, "/tokens"));
        self.does(admin, "/tokens/revoke", &[("token", &id)]);
    }
}
