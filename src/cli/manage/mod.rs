//! `pullgate package`, `people`, `token` and `alert`: a gateway elsewhere is managed, by its API. What is changed is read
//! before, so that nobody's change in between is lost. What has no words of its own has those of the API, by `pullgate
//! api`.

mod api;
pub mod args;
mod told;

use std::process::ExitCode;

use hyper::Method;
use serde_json::{Value, json};

use args::{AlertArgs, ApiArgs, PackageArgs, PeopleArgs, TokenArgs, WrittenArgs};
use args::{AlertCommand, Left, PackageCommand, PeopleCommand, PlaceArgs, There, TokenCommand};

use super::plain::{plain, plain_json};
use super::remote::Remote;
use super::{ended, fail, print, socket};
use crate::pure::alert::Event;

/// Something that is asked of a gateway, or done there, at a target of its API.
enum Deed {
    /// These fields of each of a list.
    List(&'static [&'static str]),
    /// All of one thing.
    Show,
    /// Something is made of this; then it is said what.
    Make(Value, fn(&Value, &Remote) -> String),
    /// What is there becomes what this makes of it.
    Change(Box<dyn FnOnce(&Value) -> Value>),
    /// It is not there any more; then this is said.
    Remove(String),
}

/// Does it, and says what came of it.
pub fn package(args: PackageArgs) -> ExitCode {
    said(of_package(args.command))
}

/// Does it, and says what came of it.
pub fn people(args: PeopleArgs) -> ExitCode {
    said(of_people(args.command))
}

/// Does it, and says what came of it.
pub fn token(args: TokenArgs) -> ExitCode {
    said(of_tokens(args.command))
}

/// Does it, and says what came of it.
pub fn alert(args: AlertArgs) -> ExitCode {
    said(of_alerts(args.command))
}

/// Does it, and prints what is answered.
pub fn api(args: &ApiArgs) -> ExitCode {
    ended(api::asked(args))
}

fn said(done: Result<String, String>) -> ExitCode {
    match done {
        Ok(words) => print(&words),
        Err(words) => fail(&words),
    }
}

fn of_package(command: PackageCommand) -> Result<String, String> {
    let one = |package: &str| target("package", &[("package", package)]);
    match command {
        PackageCommand::List { there } => {
            done(&there, &target("packages", &[]), Deed::List(&["name", "organisation", "public"]))
        }
        PackageCommand::Show { package, there } => done(&there, &one(&package), Deed::Show),
        PackageCommand::Create { organisation, written, people, there } => {
            let mut at = target("packages", &[("organisation", &organisation)]);
            if let Some(left) = people {
                let word = match left {
                    Left::Keep => "keep",
                    Left::End => "end",
                };
                socket::add(&mut at, "people", word);
            }
            let package = written.put(json!({ "domain": "", "name": "", "backends": [] }));
            done(&there, &at, Deed::Make(package, |made, _| told::lines(made)))
        }
        PackageCommand::Edit { package, written, confirm, there } => {
            let mut at = one(&package);
            if confirm {
                socket::add(&mut at, "confirm", "true");
            }
            let change = move |now: &Value| written.put(now["written"].clone());
            done(&there, &at, Deed::Change(Box::new(change)))
        }
        PackageCommand::Delete { package, there } => {
            done(&there, &one(&package), Deed::Remove(format!("{package} is removed")))
        }
        PackageCommand::Public { package, there } => publish(&there, &package, true),
        PackageCommand::Private { package, there } => publish(&there, &package, false),
    }
}

fn publish(there: &There, package: &str, is_public: bool) -> Result<String, String> {
    let change = move |_: &Value| json!({ "public": is_public });
    done(there, &target("settings", &[("package", package)]), Deed::Change(Box::new(change)))
}

fn of_people(command: PeopleCommand) -> Result<String, String> {
    match command {
        PeopleCommand::List { place, there } => {
            done(&there, &place.target("people"), Deed::List(&["login", "role"]))
        }
        PeopleCommand::Invite { place, role, there } => {
            let told = |made: &Value, at: &Remote| {
                let path = plain(made["path"].as_str().unwrap_or_default());
                format!(
                    "whoever opens this link has the role then, once, within a week:\n{at}{path}\n"
                )
            };
            let invitation = Deed::Make(json!({ "role": role }), told);
            done(&there, &place.target("invitations"), invitation)
        }
        PeopleCommand::Invitations { place, there } => {
            let deed = Deed::List(&["id", "role", "by", "expires"]);
            done(&there, &place.target("invitations"), deed)
        }
        PeopleCommand::Withdraw { id, place, there } => {
            let gone = Deed::Remove(format!("the link of invitation {id} leads nowhere any more"));
            done(&there, &place.target(&format!("invitations/{id}")), gone)
        }
        PeopleCommand::Role { login, role, place, there } => {
            let (remote, change) = (there.remote()?, move |_: &Value| json!({ "role": role }));
            let at = person(&remote, &place, &login)?;
            done_at(&remote, there.json, &at, Deed::Change(Box::new(change)))
        }
        PeopleCommand::Remove { login, place, there } => {
            let (remote, gone) = (there.remote()?, format!("{login} has no role there any more"));
            let at = person(&remote, &place, &login)?;
            done_at(&remote, there.json, &at, Deed::Remove(gone))
        }
    }
}

fn of_tokens(command: TokenCommand) -> Result<String, String> {
    const FIELDS: &[&str] =
        &["id", "label", "organisation", "package", "role", "created", "expires", "used"];
    match command {
        TokenCommand::List { there } => done(&there, &target("tokens", &[]), Deed::List(FIELDS)),
        TokenCommand::Create { place, label, role, days, there } => {
            let told = |made: &Value, _: &Remote| {
                let token = plain(made["token"].as_str().unwrap_or_default());
                let id = plain_json(&made["id"].to_string());
                format!("token {id}, which is shown once:\n{token}\n")
            };
            let wanted = json!({ "label": label, "role": role, "days": days });
            done(&there, &place.target("tokens"), Deed::Make(wanted, told))
        }
        TokenCommand::Revoke { id, there } => {
            let at = target(&format!("tokens/{id}"), &[]);
            done(&there, &at, Deed::Remove(format!("token {id} has ended")))
        }
    }
}

fn of_alerts(command: AlertCommand) -> Result<String, String> {
    const FIELDS: &[&str] =
        &["id", "source", "url", "events", "created", "last.event", "last.said"];
    let of = |what: &str, package: &str| target(what, &[("package", package)]);
    match command {
        AlertCommand::List { package, there } => {
            done(&there, &of("alerts", &package), Deed::List(FIELDS))
        }
        AlertCommand::Add { webhook, events, package, there } => {
            let told = |made: &Value, _: &Remote| {
                let secret = plain(made["secret"].as_str().unwrap_or_default());
                let id = plain_json(&made["id"].to_string());
                format!(
                    "webhook {id}; its messages are signed with this, which is shown once:\n{secret}\n"
                )
            };
            let events = match events.is_empty() {
                true => Event::EVERY.iter().map(|event| event.word().to_owned()).collect(),
                false => events,
            };
            let wanted = json!({ "url": webhook, "events": events });
            done(&there, &of("alerts", &package), Deed::Make(wanted, told))
        }
        AlertCommand::Remove { id, package, there } => {
            let gone = Deed::Remove(format!("webhook {id} is told nothing any more"));
            done(&there, &of(&format!("alerts/{id}"), &package), gone)
        }
    }
}

/// Does it there, and says what came of it.
fn done(there: &There, target: &str, deed: Deed) -> Result<String, String> {
    done_at(&there.remote()?, there.json, target, deed)
}

/// The same at a gateway that was asked for something already.
fn done_at(remote: &Remote, as_json: bool, target: &str, deed: Deed) -> Result<String, String> {
    let whole = |value: &Value, words: String| match as_json {
        true => format!("{}\n", plain_json(&value.to_string())),
        false => words,
    };
    match deed {
        Deed::List(fields) => {
            let items = remote.list(target)?.ok_or_else(|| remote.absent(target))?;
            let words = told::table(&items, fields);
            Ok(whole(&Value::Array(items), words))
        }
        Deed::Show => {
            let found = remote.tell(Method::GET, target, None, None)?.said;
            Ok(whole(&found, told::lines(&found)))
        }
        Deed::Make(wanted, words) => {
            let made = remote.tell(Method::POST, target, None, Some(&wanted))?.said;
            Ok(whole(&made, words(&made, remote)))
        }
        Deed::Change(change) => {
            let seen = remote.tell(Method::GET, target, None, None)?;
            let wanted = change(&seen.said);
            let changed = remote.tell(Method::PUT, target, seen.tag, Some(&wanted))?.said;
            Ok(whole(&changed, told::lines(&changed)))
        }
        Deed::Remove(words) => {
            let seen = remote.tell(Method::GET, target, None, None)?;
            remote.tell(Method::DELETE, target, seen.tag, None)?;
            Ok(whole(&Value::Null, format!("{words}\n")))
        }
    }
}

/// Where somebody's role is, who is known here by what they sign in with.
fn person(remote: &Remote, place: &PlaceArgs, login: &str) -> Result<String, String> {
    let people = place.target("people");
    let all = remote.list(&people)?.ok_or_else(|| remote.absent(&people))?;
    let found = all.iter().find(|one| one["login"] == login);
    let found =
        found.ok_or_else(|| format!("{remote}: nobody called {login:?} has a role there"))?;
    Ok(place.target(&format!("people/{}", found["account"])))
}

fn target(what: &str, parameters: &[(&str, &str)]) -> String {
    let mut target = format!("/api/v1/{what}");
    for (key, value) in parameters {
        socket::add(&mut target, key, value);
    }
    target
}

impl There {
    fn remote(&self) -> Result<Remote, String> {
        Remote::at(&self.url, &self.pass)
    }
}

impl PlaceArgs {
    fn target(&self, what: &str) -> String {
        let named = [("organisation", &self.organisation), ("package", &self.package)];
        let named = named.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?)));
        target(what, &named.collect::<Vec<_>>())
    }
}

impl WrittenArgs {
    /// What is written, with what is named here in its stead.
    fn put(&self, mut written: Value) -> Value {
        for (key, text) in [
            ("domain", &self.domain),
            ("name", &self.name),
            ("delivery", &self.delivery),
            ("credentials", &self.credentials),
            ("id", &self.id),
            ("description", &self.description),
        ] {
            if let Some(text) = text {
                written[key] = text.as_str().into();
            }
        }
        if !self.backend.is_empty() {
            written["backends"] = json!(self.backend);
        }
        if let Some(asks_next) = self.failover_on_404 {
            written["failover_on_404"] = asks_next.into();
        }
        written
    }
}
