//! What a badge says of companies: those of the month before this one, each once, and of a few only that they are few.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use pullgate::aggregator::Ask;
use pullgate::cli::demo::past::Past;
use pullgate::cli::demo::places::{self, Network};
use pullgate::pure::config::values::{Counting, Insight, Retention, UniqueWindow};
use pullgate::pure::pull::event::{Address, Asked, Event, Outcome, Way};
use support::eventually::eventually;
use support::gate::Gate;
use support::person::{PACKAGES, Person, ROCKET, SLEDGE, text};
use support::program::{ask, json_of, token_of};

/// Companies with a network each; `insight.k_public` is ten where nothing else is said.
const COMPANIES: [&str; 13] = [
    "Ash", "Beech", "Cedar", "Dogwood", "Elm", "Fir", "Gum", "Hazel", "Ivy", "Juniper", "Kapok",
    "Larch", "Maple",
];
/// The first number of the first one's addresses, which nobody has: they are no cloud's.
const FIRST: u8 = 224;

/// The past of a gateway, told pull by pull.
struct Told {
    past: Past,
    pulls: u64,
}

impl Told {
    /// It begins at that minute.
    fn begin(gate: &Gate, minute: u32) -> Self {
        let networks: [Network; 256] = std::array::from_fn(|first| {
            let company = first.checked_sub(FIRST.into()).and_then(|at| COMPANIES.get(at));
            Network { company: company.copied().unwrap_or_default(), ..Network::default() }
        });
        let counting = Counting {
            flush: Duration::from_secs(1),
            window: Duration::from_secs(60),
            retention: Retention { minute: None, hour: None, day: None },
            max_names: 100,
            max_tags: 100,
            max_clients: 100,
            respect_dnt: true,
        };
        let insight = Insight {
            databases: Vec::new(),
            cities: false,
            networks: None,
            k_public: 10,
            unique_window: UniqueWindow::Day,
        };
        let sources = places::sources(&networks).unwrap();
        fs::create_dir_all(gate.data_dir()).unwrap();
        let past = Past::begin(&gate.data_dir(), minute, 1, sources, (counting, insight)).unwrap();
        Self { past, pulls: 0 }
    }

    /// Each of these companies pulls the package now, from one of its addresses.
    fn pull(&mut self, package: &str, companies: std::ops::Range<u8>) {
        let (domain, name) = package.split_once('/').unwrap();
        for company in companies {
            self.pulls += 1;
            let host = u8::try_from(self.pulls).unwrap();
            let address = Ipv4Addr::new(FIRST + company, 0, 0, host).to_ipv6_mapped().octets();
            let event = Event {
                at_us: self.past.at_us + self.pulls,
                address: Address(address),
                connection: self.pulls,
                asked: Asked::Manifest,
                outcome: Outcome::Redirected,
                way: Way::Redirect,
                is_private: false,
                id: b"",
                domain: domain.as_bytes(),
                collection: b"",
                name: name.as_bytes(),
                reference: b"latest",
                user_agent: b"docker/28.5.2 go/go1.24.9 os/linux arch/amd64",
                digest: b"",
                kin: b"",
                bytes: 0,
            };
            self.past.offer(0, &event).unwrap();
        }
    }

    /// So many minutes pass; what was pulled is counted in the first few of them.
    fn pass(&mut self, minutes: u32) {
        const FEW: u32 = 5;
        self.past.pass(1).unwrap();
        self.past.pass(FEW - 1).unwrap();
        eventually(|| {
            let answer =
                self.past.query.rows(&Ask::default()).map_err(|error| error.to_string())?;
            match answer.totals.pulls {
                pulls if pulls == self.pulls => Ok(()),
                pulls => Err(format!("{pulls} of {}", self.pulls)),
            }
        });
        self.past.pass(minutes - FEW).unwrap();
    }
}

#[test]
fn companies_are_those_of_the_month_before_this_one() {
    let mut gate = Gate::write("epoll", PACKAGES);
    let now = Timestamp::now().to_zoned_datetime(TimeZone::UTC);
    let this_month = now.first_of_month().unwrap().start_of_day().unwrap();
    let minute_of = |months: i64| {
        let month = this_month.checked_sub(months.months()).unwrap();
        u32::try_from(month.timestamp().as_second() / 60).unwrap()
    };
    let [before, last, this] = [2, 1, 0].map(minute_of);
    let mut told = Told::begin(&gate, before);
    told.pull(ROCKET, 0..13);
    told.pull(SLEDGE, 0..13);
    told.pass(last - before);
    // Fifteen on two days, of which four come on both: eleven. Of the other package nine.
    told.pull(ROCKET, 0..7);
    told.pull(SLEDGE, 0..9);
    told.pass(24 * 60);
    told.pull(ROCKET, 3..11);
    told.pass(this - last - 24 * 60);
    told.pull(ROCKET, 0..12);
    told.pull(SLEDGE, 0..12);
    told.pass(6);
    told.past.end().unwrap();
    gate.launch();

    let mut ada = Person::set_up(&mut gate);
    let token = token_of(&mut ada, "acme");
    let origin = format!("http://{}", gate.admin());
    let mut anybody = Person::before(&gate);
    for (package, message, shown) in
        [(ROCKET, "11", ">11</text>"), (SLEDGE, "<10", ">&lt;10</text>")]
    {
        let target = format!("/api/v1/badges?package={package}");
        let badges = json_of(&ask(&gate, &token, "GET", &target, &[]));
        let all = badges["badges"].as_array().unwrap();
        let badge = all.iter().find(|one| one["badge"] == "companies").unwrap();
        let mut seen = |kind: &str| {
            let address = badge[kind].as_str().unwrap().strip_prefix(&origin).unwrap();
            let answer = anybody.get(address);
            assert_eq!(answer.status, 200, "{package} {address}");
            text(&answer)
        };
        let svg = seen("svg");
        assert!(svg.contains(shown) && svg.contains(">companies</text>"), "{package}: {svg}");
        let endpoint: serde_json::Value = serde_json::from_str(&seen("json")).unwrap();
        let said = (&endpoint["label"], &endpoint["message"]);
        assert_eq!(said, (&"companies".into(), &message.into()), "{package}: {endpoint}");
    }
}
