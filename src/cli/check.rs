//! `pullgate check`: everything that is wrong with a configuration; and the loading that `serve`
//! does alike.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use super::{fail, print, say};
use crate::pure::client::ClientTable;
use crate::pure::config::values::Config;
use crate::pure::config::{Problem, Warning, check};

/// Checks the file at `path`: status 0 and a summary, or 1 and every problem, a line each.
pub fn run(path: &Path) -> ExitCode {
    let text = match read(path) {
        Ok(text) => text,
        Err(words) => return fail(&words),
    };
    match load(path, &text) {
        Ok(loaded) => {
            loaded
                .warnings
                .iter()
                .for_each(|warning| say(&format!("warning: {warning}")));
            print(&format!("{}: {}\n", path.display(), loaded.summary()))
        }
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
            fail(&lines.join("\n"))
        }
    }
}

/// A configuration and the files it names, read and checked.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The table of clients: built in, or of `gateway.clients_file`.
    pub clients: ClientTable,
    /// What is allowed, but hardly meant.
    pub warnings: Vec<Warning>,
}

impl Loaded {
    /// What it holds, in a few words.
    pub fn summary(&self) -> String {
        let packages = &self.config.packages;
        let domains: BTreeSet<&str> = packages
            .iter()
            .map(|package| package.domain.as_str())
            .collect();
        format!(
            "{} on {}",
            counted(packages.len(), "package"),
            counted(domains.len(), "domain")
        )
    }
}

/// The text of the configuration at `path`, or why it cannot be read.
pub fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("{}: cannot be read: {error}", path.display()))
}

/// Checks `text`, the configuration at `path`, and the files it names.
pub fn load(path: &Path, text: &str) -> Result<Loaded, Vec<Problem>> {
    let file = path.display().to_string();
    let (config, warnings) = check(&file, text)?;
    let clients = match &config.gateway.clients_file {
        None => ClientTable::built_in(),
        Some(named) => clients(named).map_err(|what| {
            let line = 1 + text
                .lines()
                .position(|line| line.contains("clients_file"))
                .unwrap_or(0);
            vec![Problem {
                file,
                line,
                key: "gateway.clients_file".to_owned(),
                what,
            }]
        })?,
    };
    Ok(Loaded {
        config,
        clients,
        warnings,
    })
}

/// The table of clients at `path`, or all that is wrong with it on one line.
fn clients(path: &Path) -> Result<ClientTable, String> {
    ClientTable::parse(&read(path)?).map_err(|problems| {
        let problems: Vec<String> = problems
            .iter()
            .map(|problem| format!("{}:{problem}", path.display()))
            .collect();
        problems.join("; ")
    })
}

fn counted(many: usize, what: &str) -> String {
    format!("{many} {what}{}", if many == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_clients_file_that_is_not_there_is_a_problem_of_its_key() {
        let text = "[gateway]\n\nclients_file = \"/nonexistent/clients.toml\"\n";
        let problems = load(Path::new("pullgate.toml"), text).err().unwrap();
        assert_eq!(
            problems.iter().map(Problem::to_string).collect::<Vec<_>>(),
            [
                "pullgate.toml:3: gateway.clients_file: /nonexistent/clients.toml: cannot be read: \
              No such file or directory (os error 2)"
            ]
        );
    }

    #[test]
    fn the_summary_counts_packages_and_domains() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pullgate.toml");
        let package = |name: &str| {
            format!(
                "[[packages]]\ndomain = \"r.acme.com\"\nname = \"{name}\"\n\
                 backend = \"ghcr.io/{name}\"\n"
            )
        };
        fs::write(&path, package("acme/a") + &package("acme/b")).unwrap();
        let loaded = load(&path, &read(&path).unwrap()).map_err(|all| all[0].to_string());
        assert_eq!(
            loaded.map(|loaded| loaded.summary()),
            Ok("2 packages on 1 domain".to_owned())
        );
    }
}
