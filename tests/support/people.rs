//! People who let each other in, by what the pages say.

use std::process::Command;

use super::gate::{Gate, pullgate};
use super::http::Answer;
use super::person::{PASSWORD, Person, text};
use super::process::attempt;

/// Whoever `by` invites to a place, as a new account of this name.
pub fn invited(
    gate: &Gate,
    by: &mut Person,
    place: (&str, &str),
    role: &str,
    login: &str,
) -> Person {
    let link = link(&by.act("/people/invite", &[place, ("role", role)]));
    let mut person = Person::before(gate);
    let answer = person.fill_in(&link, &[("login", login), ("password", PASSWORD)]);
    assert_eq!(answer.status, 303, "{}", text(&answer));
    person
}

/// The invitation's link on a page, as path and query.
pub fn link(page: &Answer) -> String {
    let page = text(page);
    let at = page.find("/join?key=").unwrap_or_else(|| panic!("no link in\n{page}"));
    page[at..at + "/join?key=".len() + 64].to_owned()
}

/// The number in the first field of this name.
pub fn number(page: &Answer, field: &str) -> String {
    let page = text(page);
    let mark = format!("name=\"{field}\" value=\"");
    let at = page.find(&mark).unwrap_or_else(|| panic!("no {field} in\n{page}"));
    page[at + mark.len()..].split('"').next().expect("a value").to_owned()
}

/// The account's number of who is listed by this name.
pub fn account_of(page: &Answer, login: &str) -> String {
    let page = text(page);
    let row = page.split(&format!("<th scope=\"row\">{login}</th>")).nth(1).expect("the row");
    let field = row.split("name=\"account\" value=\"").nth(1).expect("the field");
    field.split('"').next().expect("a value").to_owned()
}

/// `pullgate account`.
pub fn account(gate: &Gate, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(pullgate());
    command.arg("account").args(arguments).arg("--data").arg(gate.data_dir());
    attempt(&mut command)
}

/// The password that `pullgate account create` or `reset` says.
pub fn password(gate: &Gate, arguments: &[&str]) -> String {
    let said = account(gate, arguments).expect("an account");
    said.lines().last().expect("the password").to_owned()
}

/// Somebody who has signed in.
pub fn signed_in(gate: &Gate, login: &str, password: &str) -> Person {
    let mut person = Person::before(gate);
    let answer = person.sign_in(login, password);
    assert_eq!(answer.status, 303, "{}", text(&answer));
    person
}
