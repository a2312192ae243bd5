//! What `[insight]` names: databases of places and the operator's networks, read into memory whole
//! and looked through before they are used. A file that is being replaced, or is damaged, is a
//! problem of the configuration: what was in force stays.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::watch::Stamp;
use crate::pure::config::problem::Problem;
use crate::pure::config::values::Config;
use crate::pure::place::{Database, Labels, NetworksProblem, Sources};

/// Databases that were found sound: a large one takes seconds to look through, which a change of
/// another file must not cost.
#[derive(Default)]
pub struct Shelf(HashMap<PathBuf, (Stamp, Arc<Database>)>);

impl Shelf {
    /// Reads what `config` names, or says everything that is wrong with it.
    pub fn sources(&mut self, config: &Config) -> Result<Arc<Sources>, Vec<Problem>> {
        let (mut databases, mut problems) = (Vec::new(), Vec::new());
        let insight = &config.insight;
        self.0.retain(|path, _| insight.databases.contains(path));
        for path in &insight.databases {
            match self.database(path) {
                Ok(database) => databases.push(database),
                Err(what) => problems.push(problem(path, 1, "insight.databases", what)),
            }
        }
        let labels = match insight.networks.as_deref().map(labels) {
            None => Labels::default(),
            Some(Ok(labels)) => labels,
            Some(Err(wrong)) => {
                problems.extend(wrong);
                Labels::default()
            }
        };
        if problems.is_empty() {
            return Ok(Arc::new(Sources::new(databases, labels, insight.cities)));
        }
        Err(problems)
    }

    fn database(&mut self, path: &Path) -> Result<Arc<Database>, String> {
        // Taken before reading: what is written meanwhile is then a change.
        let stamp = Stamp::of(path);
        if let Some((known, database)) = self.0.get(path)
            && Some(*known) == stamp
        {
            return Ok(Arc::clone(database));
        }
        let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
        let database = Arc::new(Database::read(bytes)?);
        if let Some(stamp) = stamp {
            self.0.insert(path.to_owned(), (stamp, Arc::clone(&database)));
        }
        Ok(database)
    }
}

/// The files that `config` names for [`Shelf::sources`].
pub fn files(config: &Config) -> impl Iterator<Item = PathBuf> + '_ {
    config.insight.databases.iter().chain(&config.insight.networks).cloned()
}

fn labels(path: &Path) -> Result<Labels, Vec<Problem>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        vec![problem(path, 1, "insight.networks", format!("cannot be read: {error}"))]
    })?;
    Labels::parse(&text).map_err(|problems| {
        let said = |NetworksProblem { line, what }| problem(path, line, "network", what);
        problems.into_iter().map(said).collect()
    })
}

fn problem(path: &Path, line: usize, key: &str, what: String) -> Problem {
    Problem { file: path.display().to_string(), line, key: key.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::config::check;
    use std::fs;

    fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/places/{name}.mmdb"))
    }

    fn config(insight: &str) -> Config {
        check("f", &format!("[insight]\n{insight}")).unwrap().0
    }

    /// The country of an address that the sound databases know.
    fn country(sources: &Sources) -> String {
        let address = std::net::Ipv4Addr::new(81, 2, 69, 160).to_ipv6_mapped().octets();
        sources.place(address).country
    }

    #[test]
    fn a_file_is_read_again_only_when_it_is_another_and_a_damaged_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("places.mmdb");
        let config = config(&format!("databases = [{:?}]\n", path.display().to_string()));
        let mut shelf = Shelf::default();
        let said = |shelf: &mut Shelf| shelf.sources(&config).err().unwrap()[0].to_string();
        assert!(said(&mut shelf).contains(":1: insight.databases: cannot be read"));
        fs::copy(golden("GeoLite2-Country-Test"), &path).unwrap();
        let sources = shelf.sources(&config).unwrap();
        assert_eq!(country(&sources), "GB");
        let of = |shelf: &Shelf| Arc::as_ptr(&shelf.0[&path].1);
        let first = of(&shelf);
        shelf.sources(&config).unwrap();
        assert_eq!(of(&shelf), first, "it is the same file");
        // Half written: what was read stays what it was.
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(said(&mut shelf).contains("is no database"));
        assert_eq!(country(&sources), "GB");
        fs::write(&path, &whole).unwrap();
        assert_eq!(country(&shelf.sources(&config).unwrap()), "GB");
        assert_ne!(of(&shelf), first);
    }

    #[test]
    fn everything_that_is_wrong_is_said_with_its_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let networks = dir.path().join("networks");
        fs::write(&networks, "10.0.0.0/8, office\nx\n").unwrap();
        let broken = golden("GeoIP2-City-Test-Broken-Double-Format");
        let config = config(&format!(
            "databases = [{:?}, \"/nonexistent.mmdb\"]\nnetworks = {:?}\n",
            broken.display().to_string(),
            networks.display().to_string()
        ));
        let problems = Shelf::default().sources(&config).err().unwrap();
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].contains("Broken-Double-Format.mmdb:1: insight.databases: is damaged"));
        assert!(said[1].starts_with("/nonexistent.mmdb:1: insight.databases: cannot be read"));
        assert!(said[2].contains("networks:2: network: `x` is not a network"), "{}", said[2]);
    }
}
