//! `pullgate account`: accounts of the dashboard, for an operator without mail.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use hyper::StatusCode;
use serde_json::Value;

use super::args::{AccountArgs, AccountCommand};
use super::plain::plain;
use super::remote::Remote;
use super::socket;
use super::{fail, print};
use crate::control::accounts::command::{Command, obey};
use crate::control::accounts::{FILE, Store, now_s};

/// Does it, and says what came of it.
pub fn run(args: &AccountArgs) -> ExitCode {
    match account(&args.command) {
        Ok(words) => print(&words),
        Err(words) => fail(&words),
    }
}

fn account(command: &AccountCommand) -> Result<String, String> {
    match command {
        AccountCommand::Create(args) => {
            let (login, organisation) = (args.login.clone(), args.organisation.clone());
            let role = args.role.clone();
            given(&done(&args.data, Command::Create { login, organisation, role })?)
        }
        AccountCommand::Reset(args) => {
            given(&done(&args.data, Command::Reset { login: args.login.clone() })?)
        }
        AccountCommand::List(args) => {
            if let Some(remote) = Remote::of(&args.elsewhere)? {
                return elsewhere(&remote);
            }
            let answer = done(&args.data, Command::List)?;
            let accounts = answer["accounts"].as_array().map(Vec::as_slice).unwrap_or_default();
            let line = |one: &Value| listed(&shown(&one["login"]), &shown(&one["roles"]));
            Ok(accounts.iter().map(line).collect())
        }
    }
}

/// Who has a role on an organisation that the token reaches, as on the gateway's own machine.
fn elsewhere(remote: &Remote) -> Result<String, String> {
    let mut roles: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for organisation in remote.list("/api/v1/organisations")?.unwrap_or_default() {
        let mut people = "/api/v1/people".to_owned();
        let name = organisation["name"].as_str().unwrap_or_default();
        socket::add(&mut people, "organisation", name);
        // Who runs the gateway is told of organisations, too, that the token does not reach.
        for person in remote.list(&people)?.unwrap_or_default() {
            let role = format!("{} {}", shown(&organisation["name"]), shown(&person["role"]));
            roles.entry(shown(&person["login"])).or_default().push(role);
        }
    }
    if roles.is_empty() {
        return Err("the token reaches no organisation: one of an organisation does".to_owned());
    }
    Ok(roles.iter().map(|(login, roles)| listed(login, &roles.join(", "))).collect())
}

fn listed(login: &str, roles: &str) -> String {
    format!("{login}\t{roles}\n")
}

/// By the gateway that runs on this `data_dir`, else at its database.
pub(super) fn done(data: &Path, command: Command) -> Result<Value, String> {
    if !data.is_dir() {
        return Err(format!("{}: no such directory: --data is the data_dir", data.display()));
    }
    let body = serde_json::to_vec(&command).map_err(|error| error.to_string())?;
    match socket::ask(data, "/account", Some(body))? {
        Ok((status, body)) => {
            let answer: Value =
                serde_json::from_str(&body).map_err(|error| format!("{error} in {body}"))?;
            match status {
                StatusCode::OK => Ok(answer),
                _ => Err(answer["error"].as_str().unwrap_or(&body).to_owned()),
            }
        }
        Err(error) if socket::is_alone(&error) => {
            let mut store = Store::open(&data.join(FILE)).map_err(|error| error.to_string())?;
            obey(&mut store, command, now_s()).map_err(|error| error.to_string())
        }
        Err(error) => Err(socket::unheard(data, &error)),
    }
}

fn given(answer: &Value) -> Result<String, String> {
    let (login, password) = (shown(&answer["login"]), shown(&answer["password"]));
    Ok(format!(
        "{login} signs in with this password, which is shown once and is to be changed then:\n\
         {password}\n"
    ))
}

fn shown(value: &Value) -> String {
    plain(value.as_str().unwrap_or_default())
}
