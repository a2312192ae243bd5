//! `pullgate check`: everything that is wrong with a configuration and the files it names.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use super::{fail, print, say};
use crate::control::databases::Shelf;
use crate::control::{acme, alerts, certificates, keys};
use crate::pure::client::{ClientTable, ClientsProblem};
use crate::pure::config::values::Config;
use crate::pure::config::{Problem, check};

/// Checks the file at `path`: status 0 and a summary, or 1 and every problem, a line each.
pub fn run(path: &Path) -> ExitCode {
    match summary(path) {
        Ok(summary) => print(&summary),
        Err(words) => fail(&words),
    }
}

/// The text of the configuration at `path`, or why it cannot be read.
pub fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("{}: cannot be read: {error}", path.display()))
}

/// The table of clients: the built-in one, or the file that `gateway.clients_file` names.
pub fn clients(config: &Config) -> Result<ClientTable, Vec<Problem>> {
    let Some(path) = &config.gateway.clients_file else {
        return Ok(ClientTable::built_in());
    };
    let problem = |line, key, what| Problem { file: path.display().to_string(), line, key, what };
    let text = std::fs::read_to_string(path).map_err(|error| {
        vec![problem(1, "gateway.clients_file".to_owned(), format!("cannot be read: {error}"))]
    })?;
    ClientTable::parse(&text).map_err(|problems| {
        problems
            .into_iter()
            .map(|ClientsProblem { line, key, what }| problem(line, key, what))
            .collect()
    })
}

fn summary(path: &Path) -> Result<String, String> {
    let text = read(path)?;
    let (config, warnings) = check(&path.display().to_string(), &text).map_err(lines)?;
    let clients = clients(&config).err();
    let keys = keys::read(&path.display().to_string(), &config).err();
    let sources = Shelf::default().sources(&config).err();
    let certificates = certificates::read(&config).err();
    let authority = acme::read(&config).err();
    let webhooks = alerts::file::read(&config).err();
    let problems = [clients, keys, certificates, authority, webhooks, sources];
    let problems: Vec<Problem> = problems.into_iter().flatten().flatten().collect();
    if !problems.is_empty() {
        return Err(lines(problems));
    }
    for warning in &warnings {
        say(&format!("warning: {warning}"));
    }
    let packages = &config.packages;
    let domains: BTreeSet<&str> = packages.iter().map(|package| package.domain.as_str()).collect();
    let (packages, domains) = (many(packages.len(), "package"), many(domains.len(), "domain"));
    Ok(format!("{}: no problem; {packages} on {domains}\n", path.display()))
}

fn lines(problems: Vec<Problem>) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

fn many(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a file of this text.
    fn said_of(text: &str) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pullgate.toml");
        std::fs::write(&path, text).unwrap();
        let plain = |words: String| words.replace(&format!("{}/", dir.path().display()), "");
        summary(&path).map(plain).map_err(plain)
    }

    #[test]
    fn a_file_without_problems_is_summed_up() {
        let package = |name: &str| {
            format!(
                "[[packages]]\ndomain = \"r.acme.com\"\nname = \"{name}\"\n\
                 backend = \"ghcr.io/{name}\"\n"
            )
        };
        let text = package("acme/a") + &package("acme/b");
        let said = "pullgate.toml: no problem; 2 packages on 1 domain\n".to_owned();
        assert_eq!(said_of(&text), Ok(said));
    }

    #[test]
    fn every_problem_has_its_line() {
        let words = said_of("[gateway]\nworkers = -1\ndrivr = \"epoll\"\n").unwrap_err();
        let places: Vec<String> =
            words.lines().map(|line| line.split_inclusive(": ").take(2).collect()).collect();
        assert_eq!(
            places,
            ["pullgate.toml:2: gateway.workers: ", "pullgate.toml:3: gateway.drivr: "]
        );
    }

    #[test]
    fn a_clients_file_is_read_too() {
        let words = said_of("[gateway]\nclients_file = \"/nonexistent/c.toml\"\n").unwrap_err();
        assert_eq!(
            words,
            "/nonexistent/c.toml:1: gateway.clients_file: cannot be read: No such file or \
             directory (os error 2)"
        );
    }

    #[test]
    fn a_file_that_is_not_there_says_so() {
        let words = summary(Path::new("/nonexistent/pullgate.toml")).unwrap_err();
        assert!(words.starts_with("/nonexistent/pullgate.toml: cannot be read: No"), "{words}");
    }
}
