//! Every client pulls from every kind of registry by every delivery: publicly, with a login, and with
//! a wrong password. Each pull is whole, each count exact, and credentials arrive where they should
//! and nowhere else.
//!
//! Gateway, registry, token server and storage have host names of their own. What is found is printed
//! and written to `target/matrix.md`.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;

use support::clients::{self, Client};
use support::gate::{Counts, DRIVERS, Gate, UPSTREAM};
use support::hosts::{GATEWAY, MEMBERS, TOKENS};
use support::images::image;
use support::origin::Request;
use support::tokens::{Login, RIGHT, WRONG, basic};
use support::world::{Kind, Storage, World};

#[test]
fn every_client_pulls_from_every_registry_by_every_delivery() {
    let storage = Storage::with(repositories());
    let cells = thread::scope(|scope| {
        let runs = DRIVERS.map(|driver| {
            let run = |kind| run(driver, kind, &storage, &clients::all());
            scope.spawn(move || Kind::ALL.map(run).concat())
        });
        runs.into_iter().flat_map(|run| run.join().expect("it ends")).collect::<Vec<_>>()
    });
    let table = table(&cells);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("matrix.md");
    fs::write(target, &table).expect("the table");
    println!("{table}");
    let wrong: Vec<String> = cells.iter().filter_map(Cell::complaint).collect();
    assert!(wrong.is_empty(), "{table}\n{}", wrong.join("\n"));
}

/// How a client gets to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From the registry itself: what the table is to be compared with.
    Direct,
    /// By a delivery of the gateway.
    By(&'static str),
}

/// As whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Account {
    /// As nobody, what anybody may pull.
    Public,
    /// With the right password.
    Private,
    /// With a wrong one.
    Refused,
}

/// One pull: what was to happen, and what did.
#[derive(Clone, Debug)]
struct Cell {
    driver: &'static str,
    kind: Kind,
    client: &'static str,
    way: Way,
    account: Account,
    /// What went wrong, before anything was counted.
    outcome: Result<(), String>,
    counted: Option<Counts>,
}

/// Runs all that one gateway and one registry can show.
fn run(
    driver: &'static str,
    kind: Kind,
    storage: &Storage,
    clients: &[Box<dyn Client>],
) -> Vec<Cell> {
    let world = World::start(kind, storage);
    let mut gate = Gate::start_proxy(driver, &config(kind, &world));
    let mut cells = Vec::new();
    for client in clients {
        for (way, account) in combinations(kind, client.name()) {
            let client_name = client.name();
            let outcome = pull(&gate, kind, &world, client.as_ref(), way, account);
            let counted = None;
            cells.push(Cell { driver, kind, client: client_name, way, account, outcome, counted });
        }
    }
    gate.stop();
    for cell in &mut cells {
        let Way::By(delivery) = cell.way else { continue };
        let package = format!("{}/{}", cell.account.domain(), repository(delivery, cell.account));
        cell.counted = Some(gate.counts_where(&["--by", "family"], |row| {
            row["package"] == package.as_str() && row["family"] == cell.family()
        }));
    }
    cells
}

/// One pull, with everything around it.
fn pull(
    gate: &Gate,
    kind: Kind,
    world: &World,
    client: &dyn Client,
    way: Way,
    account: Account,
) -> Result<(), String> {
    let repository = repository(way.name(), account);
    let authority = match way {
        Way::Direct => world.authority(),
        Way::By(_) => format!("{}:{}", account.domain(), gate.address().port()),
    };
    let reference = format!("{authority}/{repository}:latest");
    world.forget();
    let pulled = client.try_pull_as(account.login(), &reference);
    match (account, pulled) {
        (Account::Refused, Ok(())) => return Err("it took a wrong password".into()),
        (Account::Refused, Err(words)) => says_why(&words)?,
        (_, Err(words)) => return Err(words),
        (_, Ok(())) => client.holds(&reference, &image(&repository))?,
    }
    let seen = Arrived { kind, client: client.name(), way, account };
    seen.judge(world)
}

/// What a person reads has to tell them that it was about their password.
fn says_why(words: &str) -> Result<(), String> {
    let said = words.to_lowercase();
    let known = ["unauthorized", "authentication required", "denied", "401"];
    let is_known = known.iter().any(|word| said.contains(word)) && !said.contains("took too long");
    if is_known { Ok(()) } else { Err(format!("an unclear refusal: {words}")) }
}

/// What must be true of the requests that arrived behind the gateway.
struct Arrived {
    kind: Kind,
    client: &'static str,
    way: Way,
    account: Account,
}

impl Arrived {
    fn judge(&self, world: &World) -> Result<(), String> {
        let registry = world.registry.requests();
        self.each(&registry, "the registry", |request| self.may_reach_registry(request))?;
        if let Some(tokens) = &world.tokens {
            self.each(&tokens.requests(), "the token server", |it| self.may_reach_tokens(it))?;
        }
        let Some(cdn) = &world.cdn else { return Ok(()) };
        let stored = cdn.requests();
        self.each(&stored, "the storage", |request| self.may_reach_cdn(request))?;
        if stored.is_empty() && self.account != Account::Refused {
            return Err("no blob came from the storage".into());
        }
        Ok(())
    }

    fn each(
        &self,
        requests: &[Request],
        whom: &str,
        may: impl Fn(&Request) -> bool,
    ) -> Result<(), String> {
        let wrong = requests.iter().find(|request| !may(request));
        wrong.map_or(Ok(()), |request| {
            let head = String::from_utf8_lossy(&request.head);
            Err(format!("this may not reach {whom} by {:?}:\n{head}", self.way))
        })
    }

    fn may_reach_registry(&self, request: &Request) -> bool {
        let is_right = match (self.kind, request.scheme()) {
            (_, "") => true,
            (Kind::Htpasswd, "Basic") => self.brings_its_password(request),
            (Kind::Token | Kind::Redirecting, "Bearer") => true,
            _ => false,
        };
        // Classic docker finds a token registry's challenge by a redirect of its `/v2/`.
        let is_ping = request.target == "/v2/" && self.client == "docker";
        let comes_rightly = match self.way {
            Way::Direct | Way::By("redirect") => !request.is_forwarded(),
            Way::By(_) => request.is_forwarded() || is_own(request) || is_ping,
        };
        is_right && comes_rightly
    }

    fn may_reach_tokens(&self, request: &Request) -> bool {
        match request.scheme() {
            "" => true,
            // Through the gateway it is the gateway that brings a client's login there.
            "Basic" => {
                let is_brought = is_own(request) == (self.way != Way::Direct);
                self.brings_its_password(request) && is_brought
            }
            _ => false,
        }
    }

    /// Blobs' storage sees no credentials; in `stream` the gateway alone, else clients alone.
    fn may_reach_cdn(&self, request: &Request) -> bool {
        request.scheme().is_empty() && request.is_forwarded() == (self.way == Way::By("stream"))
    }

    fn brings_its_password(&self, request: &Request) -> bool {
        let expected = self.account.login().map(basic);
        expected.is_some() && request.field("authorization") == expected.as_deref()
    }
}

/// Whether the gateway asks for itself: for tokens, and for what can be pulled by anybody.
fn is_own(request: &Request) -> bool {
    request.field("user-agent").is_some_and(|agent| agent.starts_with("pullgate"))
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::By(delivery) => delivery,
        }
    }
}

impl Account {
    fn login(self) -> Option<Login> {
        match self {
            Self::Public => None,
            Self::Private => Some(RIGHT),
            Self::Refused => Some(WRONG),
        }
    }

    fn domain(self) -> &'static str {
        match self {
            Self::Public => GATEWAY,
            Self::Private | Self::Refused => MEMBERS,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Refused => "refused",
        }
    }
}

impl Cell {
    /// As counts name the client (`config/clients.toml`).
    fn family(&self) -> &'static str {
        match self.client {
            "podman" => "containers/image",
            other => other,
        }
    }

    /// Requests, pulls, checks (`docs/counting.md`).
    fn expected(&self) -> Option<Counts> {
        let requests = match (self.way, self.account) {
            (Way::Direct, _) => return None,
            (_, Account::Refused) => return Some(Counts::default()),
            // Its first GET comes again, with a token.
            (Way::By("redirect"), _) if self.kind.wants_tokens() && self.client == "containerd" => {
                3
            }
            _ => 2,
        };
        Some(Counts { requests, pulls: 1, ..Counts::default() })
    }

    fn complaint(&self) -> Option<String> {
        let wrong = match &self.outcome {
            Err(words) => words.clone(),
            Ok(()) if self.counted == self.expected() => return None,
            Ok(()) => format!("counted {:?} instead of {:?}", self.counted, self.expected()),
        };
        let Self { driver, kind, client, way, account, .. } = self;
        Some(format!("{client}, {} ({account:?}), {way:?} on {driver}: {wrong}", kind.name()))
    }

    fn shown(&self) -> String {
        match (self.complaint(), self.account, self.counted) {
            (Some(_), ..) => "**wrong**".into(),
            (None, Account::Refused, _) => "refused".into(),
            (None, _, None) => "pulled".into(),
            (None, _, Some(Counts { requests, pulls, checks, .. })) => {
                format!("({requests},{pulls},{checks})")
            }
        }
    }
}

/// What can work at all.
fn combinations(kind: Kind, client: &str) -> Vec<(Way, Account)> {
    let mut all = Vec::new();
    for way in WAYS {
        for account in [Account::Public, Account::Refused, Account::Private] {
            let is_redirect = way == Way::By("redirect");
            let can_work = match (kind, account) {
                (Kind::Open, Account::Public) => true,
                // No login on the open one; nothing without a login here.
                (Kind::Open, _) | (Kind::Htpasswd, Account::Public) => false,
                (Kind::Token | Kind::Redirecting, Account::Public) if is_redirect => {
                    matches!(client, "docker" | "containerd")
                }
                // A login is asked for by whom clients ask first, which a redirect is not.
                _ => account == Account::Public || !is_redirect,
            };
            if can_work {
                all.push((way, account));
            }
        }
    }
    all
}

fn repositories() -> impl Iterator<Item = String> {
    let accounts = [Account::Public, Account::Private, Account::Refused];
    WAYS.into_iter()
        .flat_map(move |way| accounts.map(move |account| repository(way.name(), account)))
}

fn repository(way: &str, account: Account) -> String {
    format!("{way}/{}", account.name())
}

/// All packages of a kind, each with the registry's own path.
fn config(kind: Kind, world: &World) -> String {
    let mut text = format!(
        "{UPSTREAM}[[registries]]\nhost = \"{}\"\ntoken_hosts = [\"{TOKENS}\"]\n",
        world.authority(),
    );
    for way in WAYS {
        let Way::By(delivery) = way else { continue };
        for account in [Account::Public, Account::Private, Account::Refused] {
            let takes_logins = account != Account::Public;
            if takes_logins && (kind == Kind::Open || delivery == "redirect") {
                continue;
            }
            let (domain, name) = (account.domain(), repository(delivery, account));
            let credentials = if takes_logins { "client" } else { "none" };
            let _ = writeln!(
                text,
                "[[packages]]\ndomain = \"{domain}\"\nname = \"{name}\"\n\
                 backend = \"http://{}/{name}\"\n\
                 delivery = \"{delivery}\"\ncredentials = \"{credentials}\"\n",
                world.authority(),
            );
        }
    }
    text
}

fn table(cells: &[Cell]) -> String {
    let mut text = String::from(
        "Requests, pulls and checks of each pull; `refused`: a wrong password, refused in time.\n",
    );
    for driver in DRIVERS {
        for kind in Kind::ALL {
            let of_kind: Vec<&Cell> =
                cells.iter().filter(|cell| (cell.driver, cell.kind) == (driver, kind)).collect();
            let mut columns: Vec<(Way, Account)> = Vec::new();
            let mut rows: Vec<&str> = Vec::new();
            for cell in &of_kind {
                if !columns.contains(&(cell.way, cell.account)) {
                    columns.push((cell.way, cell.account));
                }
                if !rows.contains(&cell.client) {
                    rows.push(cell.client);
                }
            }
            let titles = columns
                .iter()
                .map(|(way, account)| format!(" {} {} |", account.name(), way.name()));
            let _ = writeln!(
                text,
                "\n{}, {driver}\n\n| client |{}",
                kind.name(),
                titles.collect::<String>()
            );
            let _ = writeln!(text, "|---|{}", "---|".repeat(columns.len()));
            for row in rows {
                let _ = write!(text, "| {row} |");
                for column in &columns {
                    let cell = of_kind
                        .iter()
                        .find(|cell| cell.client == row && (cell.way, cell.account) == *column);
                    let shown = cell.map_or_else(|| "–".into(), |cell| cell.shown());
                    let _ = write!(text, " {shown} |");
                }
                text.push('\n');
            }
        }
    }
    text
}

const WAYS: [Way; 5] =
    [Way::Direct, Way::By("auto"), Way::By("broker"), Way::By("stream"), Way::By("redirect")];
