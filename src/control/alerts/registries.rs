//! Asks the registries that somebody hears of how they are. Those that do not answer hold up nobody else.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use hyper::body::Bytes;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout_at;

use super::{Alerts, Whose, ask};
use crate::control::accounts::alerts::Alert;
use crate::control::accounts::now_s;
use crate::control::outbound::Trust;
use crate::pure::alert::{Event, Standing};
use crate::pure::oci::name::Name;
use crate::pure::origin::Url;
use crate::pure::snapshot::Snapshot;

/// How it went to ask a registry, by where its `/v2/` is.
pub(super) type Tried = (String, Result<(), String>);

/// Who is being asked, and who was when. What has not answered when a look is over is heard at the next.
#[derive(Default)]
pub(super) struct Asking {
    tasks: JoinSet<Tried>,
    /// Whom each of them asks.
    under_way: HashMap<Id, String>,
    /// When each was asked last.
    asked: HashMap<String, Instant>,
}

impl Asking {
    /// Asks these of the snapshot's registries, as many as may be asked now; says how it went with those that
    /// have answered by now, also of earlier looks. Any answer that is no failure is one.
    pub(super) async fn look(
        &mut self,
        at: &Alerts,
        snapshot: &Arc<Snapshot>,
        indexes: impl Iterator<Item = usize>,
        standing: impl Fn(&str) -> Standing,
    ) -> Vec<Tried> {
        let found = |index: usize| {
            let registry = snapshot.registries.get(index)?;
            Some((index, &*registry.base, registry.is_in_file))
        };
        let all: Vec<_> = indexes.filter_map(found).collect();
        let bases: HashSet<&str> = all.iter().map(|(_, base, _)| *base).collect();
        self.asked.retain(|base, _| bases.contains(&**base));
        let keyring = at.in_force.keyring();
        let mut tried = Vec::new();
        let until = Instant::now() + LOOK_FOR;
        while let Some(done) = self.tasks.try_join_next_with_id() {
            tried.extend(self.ended(done));
        }
        for (index, base) in self.due(&all, standing, (Instant::now(), now_s())) {
            // One that is free is waited for; whoever is not asked in this look is so in the next.
            let is_in_file = snapshot.registries.get(index).is_some_and(|one| one.is_in_file);
            let most = if is_in_file { ASKED_AT_ONCE } else { MADE_ASKED_AT_ONCE };
            while self.tasks.len() >= most {
                let Some(done) = self.next(until).await else { return tried };
                tried.extend(self.ended(done));
            }
            let (snapshot, tls) = (Arc::clone(snapshot), Arc::clone(keyring.tls(Some(index))));
            let to = base.to_owned();
            let task = self.tasks.spawn(async move {
                let works = one(&snapshot, index, &to, tls).await;
                (to, works)
            });
            self.under_way.insert(task.id(), base.to_owned());
            self.asked.insert(base.to_owned(), Instant::now());
        }
        while let Some(done) = self.next(until).await {
            tried.extend(self.ended(done));
        }
        tried
    }

    /// Who is to be asked now of `all`, in this order: those that the file names, then whoever was asked longest
    /// ago. One that is known to fail, and still does, is asked less often.
    fn due<'b>(
        &self,
        all: &[(usize, &'b str, bool)],
        standing: impl Fn(&str) -> Standing,
        (now, now_s): (Instant, i64),
    ) -> Vec<(usize, &'b str)> {
        let under_way: HashSet<&str> = self.under_way.values().map(String::as_str).collect();
        let mut due = Vec::new();
        for (index, base, is_in_file) in all {
            let asked = self.asked.get(*base).copied();
            let ago = asked.map(|asked| now.saturating_duration_since(asked));
            let failing_s = standing(base).goes_on_failing_since_s().map(|since_s| now_s - since_s);
            let pause = failing_s.map(|failing_s| pause(u64::try_from(failing_s).unwrap_or(0)));
            let waits = pause.is_some_and(|pause| ago.is_some_and(|ago| ago < pause));
            if !waits && !under_way.contains(base) {
                due.push((Reverse(*is_in_file), asked, *index, *base));
            }
        }
        due.sort_unstable();
        due.into_iter().map(|(_, _, index, base)| (index, base)).collect()
    }

    /// One that ends until then.
    async fn next(&mut self, until: Instant) -> Option<Result<(Id, Tried), JoinError>> {
        timeout_at(until.into(), self.tasks.join_next_with_id()).await.ok().flatten()
    }

    /// How it went; one that has panicked is asked again.
    fn ended(&mut self, done: Result<(Id, Tried), JoinError>) -> Option<Tried> {
        let (id, tried) = match done {
            Ok((id, tried)) => (id, Some(tried)),
            Err(error) => (error.id(), None),
        };
        self.under_way.remove(&id);
        tried
    }
}

/// For how long one is not asked again that has failed for so many seconds.
fn pause(failing_s: u64) -> Duration {
    Duration::from_secs(failing_s / 10).min(FAILING_EVERY_MAX)
}

/// Asks one.
async fn one(snapshot: &Snapshot, index: usize, base: &str, tls: Trust) -> Result<(), String> {
    let url = Url::parse(base.as_bytes()).map_err(|why| why.to_string())?;
    let (whose, what) = (Whose::Registrys(index), (Method::GET, &url));
    match ask(snapshot, whose, what, Vec::new(), Bytes::new(), tls).await? {
        status @ 500.. => Err(format!("answered {status}")),
        _ => Ok(()),
    }
}

/// Who is concerned by which of the snapshot's registries.
pub(super) fn concerned<'a>(
    snapshot: &Snapshot,
    alerts: &'a [Alert],
) -> BTreeMap<usize, Vec<&'a Alert>> {
    let mut of: BTreeMap<usize, Vec<&Alert>> = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| alert.events.contains(&Event::Backend)) {
        let indexes = match &alert.package {
            Some(package) => homes(snapshot, package),
            None => (0..snapshot.registries.len()).collect(),
        };
        for index in indexes {
            of.entry(index).or_default().push(alert);
        }
    }
    of
}

/// The registries that a package lives on, by their place in the snapshot.
fn homes(snapshot: &Snapshot, package: &str) -> Vec<usize> {
    let (domain, name) = package.split_once('/').unwrap_or_default();
    // Of a collection any name leads there.
    let name = name.replace("**", "any").replace('*', "any");
    let site = snapshot.routes.site(domain.as_bytes());
    let found = Name::parse(name.as_bytes()).ok().and_then(|name| site.find(name));
    let Some(found) = found else { return Vec::new() };
    std::iter::once(found.registry).chain(found.others.iter().map(|it| it.registry)).collect()
}

/// Registries that are asked at once.
const ASKED_AT_ONCE: usize = 256;
/// The same where only those are asked that the file does not name: they leave room for those that it does.
const MADE_ASKED_AT_ONCE: usize = 192;
/// How long one look waits for answers: they have fifteen seconds, the rest of which others do not wait for.
const LOOK_FOR: Duration = Duration::from_secs(3);
/// How long one that is known to fail is left alone: the longer it fails, the longer.
const FAILING_EVERY_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::compiled;

    #[test]
    fn the_files_are_asked_first_then_whoever_waits_longest_and_rarely_who_fails() {
        let now = Instant::now();
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap();
        let mut asking = Asking::default();
        for (base, seconds) in [
            ("file", 10),
            ("one", 10),
            ("two", 20),
            ("dead", 59),
            ("long dead", 60),
            ("again", 5),
            ("just dead", 10),
        ] {
            asking.asked.insert(base.to_owned(), ago(seconds));
        }
        let all = [
            (0, "one", false),
            (1, "two", false),
            (2, "new", false),
            (3, "dead", false),
            (4, "long dead", false),
            (5, "again", false),
            (6, "just dead", false),
            (7, "file", true),
        ];
        let standing = |base: &str| {
            let mut standing = match base {
                "dead" | "long dead" | "again" => Standing::failing(1),
                "just dead" => Standing::failing(9_900),
                _ => Standing::default(),
            };
            assert_eq!(standing.tried(base == "again" || !base.ends_with("dead"), 2), None);
            standing
        };
        let due = |asking: &Asking| -> Vec<&str> {
            asking.due(&all, standing, (now, 10_000)).into_iter().map(|(_, base)| base).collect()
        };
        let all_due = ["file", "new", "long dead", "two", "one", "just dead", "again"];
        assert_eq!(due(&asking), all_due, "one that has answered again is asked at once");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let task = runtime
            .block_on(async { asking.tasks.spawn(async { ("two".to_owned(), Ok(())) }).id() });
        asking.under_way.insert(task, "two".to_owned());
        assert!(!due(&asking).contains(&"two"), "it is being asked");
        let done = runtime.block_on(asking.tasks.join_next_with_id()).unwrap();
        assert_eq!(asking.ended(done), Some(("two".to_owned(), Ok(()))));
        assert_eq!(due(&asking), all_due);
    }

    #[test]
    fn a_packages_registries_are_found_also_of_collections() {
        let package = |domain: &str, name: &str, to: &str| {
            format!("[[packages]]\ndomain = \"{domain}\"\nname = \"{name}\"\n{to}\n")
        };
        let text = package("a.b", "acme/rocket", "backends = [\"ghcr.io/x/y\", \"quay.io/x/y\"]")
            + &package("a.b", "acme/*", "backend = \"quay.io/acme/*\"")
            + &package("*", "library/**", "backend = \"ghcr.io/lib/**\"");
        let (_, snapshot) = compiled(&text);
        let hosts = |package: &str| -> Vec<&str> {
            let registries = homes(&snapshot, package);
            registries
                .iter()
                .map(|index| snapshot.registries[*index].origin.host.as_str())
                .collect()
        };
        assert_eq!(hosts("a.b/acme/rocket"), ["ghcr.io", "quay.io"]);
        assert_eq!(hosts("a.b/acme/*"), ["quay.io"]);
        assert_eq!(hosts("a.b/acme/sledge"), ["quay.io"]);
        assert_eq!(hosts("*/library/**"), ["ghcr.io"]);
        assert!(hosts("a.b/other").is_empty());
    }
}
