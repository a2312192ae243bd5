//! What `pullgate demo --with-history` has counted before it starts: ninety days of pulls that are
//! made up, the same ones each time it is run on one day, and told to the same aggregator that counts
//! real ones.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::json;

use super::past::Past;
use super::places::{self, Network};
use crate::pure::config::values::Config;
use crate::pure::oci::sha256::sha256_of;
use crate::pure::pull::event::{Address, Asked, Event, Outcome, Way};
use crate::pure::pull::kin::{self, Kin};

/// How many days there are, beside the one that is not over.
pub const DAYS: u32 = 90;

/// What the configuration has beside the demo's own package, so that the packages with a past are
/// served too: all of them lead to the sample image.
pub const PACKAGES_TOML: &str = include_str!("history.toml");

/// Fills an empty `data_dir` with what happened in the [`DAYS`] days before this hour, and today.
///
/// # Errors
/// That the folder cannot be written.
pub fn fill(data_dir: &Path, now_minute: u32, config: &Config) -> io::Result<()> {
    let end = now_minute / 60 * 60;
    let begin = end / DAY * DAY - DAYS * DAY;
    let mut networks: [Network; 256] = std::array::from_fn(|_| Network::default());
    for (at, (country, asn, operator, company, _)) in NETWORKS.iter().enumerate() {
        if let Some(network) = networks.get_mut(FIRST_NETWORK + at) {
            let operator = (*operator).to_owned();
            *network = Network { country, region: "", asn: *asn, operator, company };
        }
    }
    let sources = places::sources(&networks).map_err(io::Error::other)?;
    let (mut counting, insight) = (config.counting.clone(), config.insight.clone());
    // Once a day is often enough for what passes in seconds.
    counting.flush = std::time::Duration::from_secs(24 * 3600);
    let mut past = Past::begin(data_dir, begin, 1, sources, (counting, insight))?;
    let packages: Vec<Made> = PACKAGES.iter().map(Made::of).collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut minute = begin;
    while minute < end {
        let mut steps = Vec::new();
        let of_day = (end - minute).min(DAY) / 60;
        for hour in 0..of_day {
            let at_us = past.at_us + u64::from(hour) * HOUR_US;
            for package in &packages {
                let many = package.pulls((minute - begin) / DAY, hour, minute / DAY, &mut random);
                for _ in 0..many {
                    let at_us = at_us + random.below(HOUR_US - 60_000_000);
                    package.dialogue(at_us, (minute - begin) / DAY, &mut random, &mut steps);
                }
            }
        }
        steps.sort_by_key(|step| step.at_us);
        for step in &steps {
            past.offer(0, &step.event())?;
        }
        past.pass(of_day * 60)?;
        minute += of_day * 60;
    }
    past.end()
}

/// A package as it is made up.
struct Package {
    domain: &'static str,
    name: &'static str,
    way: Way,
    /// Pulls and looks on its first day.
    daily: u64,
    /// Its versions, each with the day on which it came out.
    versions: &'static [(&'static str, u32)],
}

/// The same with what its manifests say.
struct Made {
    package: &'static Package,
    images: Vec<Image>,
}

/// One version: the index, and for amd64 and arm64 the manifest with its layers.
struct Image {
    index: Content,
    platforms: [(Content, Vec<String>); 2],
    signature: String,
}

struct Content {
    digest: String,
    kin: Kin,
}

/// One request.
struct Step<'p> {
    at_us: u64,
    client: u64,
    package: &'p Package,
    asked: Asked,
    outcome: Outcome,
    reference: &'p str,
    content: Option<&'p Content>,
    bytes: u64,
}

impl Made {
    fn of(package: &'static Package) -> Self {
        let images = package.versions.iter().map(|(version, _)| {
            let digest =
                |what: &str| sha256_of(format!("{}:{version} {what}", package.name).as_bytes());
            let platforms = ["amd64", "arm64"].map(|arch| {
                let layers: Vec<String> =
                    (0..3).map(|layer| digest(&format!("{arch} layer {layer}"))).collect();
                let listed: Vec<_> =
                    layers.iter().map(|layer| json!({ "digest": layer })).collect();
                let kin = kin::read(json!({ "layers": listed }).to_string().as_bytes());
                (Content { digest: digest(arch), kin }, layers)
            });
            let listed = ["amd64", "arm64"].map(|arch| {
                let platform = json!({ "os": "linux", "architecture": arch });
                json!({ "digest": digest(arch), "platform": platform })
            });
            let kin = kin::read(json!({ "manifests": listed }).to_string().as_bytes());
            let index = Content { digest: digest("index"), kin };
            let signature = index.digest.replace(':', "-") + ".sig";
            Image { index, platforms, signature }
        });
        Self { package, images: images.collect() }
    }

    /// How many pulls and looks an hour has: more from week to week, fewer at night and on weekends,
    /// and many when a version is new.
    fn pulls(&self, day: u32, hour: u32, date: u32, random: &mut Random) -> u64 {
        // The first of January 1970 was a Thursday.
        let is_weekend = matches!((date + 3) % 7, 5 | 6);
        let ages = self.package.versions.iter().map(|(_, born)| day.wrapping_sub(*born));
        let news = [160, 140, 120];
        let fresh = ages.filter_map(|age| news.get(usize::try_from(age).ok()?)).max();
        let parts = [
            u64::from(1000 + 7 * day),
            if is_weekend { 550 } else { 1000 },
            fresh.map_or(1000, |fresh| fresh * 10),
            HOURS.get(usize::try_from(hour).unwrap_or_default()).copied().unwrap_or(10) * 100,
            850 + random.below(300),
        ];
        let many =
            parts.iter().fold(self.package.daily * 1000 / 24, |many, part| many * part / 1000);
        many / 1000 + u64::from(random.below(1000) < many % 1000)
    }

    /// Everything that one client asks for to pull a tag, or to see whether there is something new.
    fn dialogue<'p>(
        &'p self,
        at_us: u64,
        day: u32,
        random: &mut Random,
        steps: &mut Vec<Step<'p>>,
    ) {
        let package = self.package;
        let client = random.skewed(CLIENTS);
        let born = package.versions.iter().filter(|(_, born)| *born <= day).count().max(1);
        // Most want the newest, by either of its names; some stay with what they have.
        let (back, is_named) = match random.below(100) {
            ..45 => (0, false),
            45..75 => (0, true),
            _ => (usize::try_from(1 + random.skewed(5)).unwrap_or(1), true),
        };
        let at = born.saturating_sub(1 + back);
        let Some((image, (version, _))) = self.images.get(at).zip(package.versions.get(at)) else {
            return;
        };
        let tag = if is_named { *version } else { "latest" };
        let mut at_us = at_us;
        let mut put = |asked, reference, content, outcome: Outcome, bytes| {
            at_us += 40_000;
            let is_seen = package.way != Way::Redirect;
            let outcome = if is_seen { outcome } else { Outcome::Redirected };
            let content = if is_seen { content } else { None };
            let step = Step { at_us, client, package, asked, outcome, reference, content, bytes };
            steps.push(step);
        };
        let agent = Asker::of(client);
        let well = Outcome::Succeeded;
        let kind = random.below(100);
        if kind < 3 {
            put(Asked::Manifest, &image.signature, None, well, 0);
            return;
        }
        let looks_first = agent.looks_first;
        put(
            if looks_first { Asked::ManifestHead } else { Asked::Manifest },
            tag,
            Some(&image.index),
            well,
            0,
        );
        // A look that found nothing new.
        if looks_first && kind < 30 {
            return;
        }
        if looks_first {
            put(Asked::Manifest, &image.index.digest, Some(&image.index), well, 0);
        }
        let (manifest, layers) = &image.platforms[usize::from(agent.is_arm)];
        put(Asked::Manifest, &manifest.digest, Some(manifest), well, 0);
        let is_up_to_date = !looks_first && kind < 45;
        if is_up_to_date || package.way == Way::Redirect {
            return;
        }
        let breaks = package.way == Way::Stream && kind >= 98;
        for (number, layer) in layers.iter().enumerate() {
            put(Asked::Blob, layer, None, well, 0);
            if package.way == Way::Stream {
                let is_broken = breaks && number == 2;
                let outcome = if is_broken { Outcome::Broken } else { well };
                let whole = 4_000_000 + 11_000_000 * number as u64;
                put(
                    Asked::BlobEnd,
                    layer,
                    None,
                    outcome,
                    if is_broken { whole / 3 } else { whole },
                );
            }
        }
    }
}

impl Step<'_> {
    fn event(&self) -> Event<'_> {
        let asker = Asker::of(self.client);
        let address = Ipv4Addr::from(asker.address).to_ipv6_mapped().octets();
        Event {
            at_us: self.at_us,
            address: Address(address),
            connection: self.client,
            asked: self.asked,
            outcome: self.outcome,
            way: self.package.way,
            is_private: false,
            id: b"",
            domain: self.package.domain.as_bytes(),
            collection: b"",
            name: self.package.name.as_bytes(),
            reference: self.reference.as_bytes(),
            user_agent: asker.agent.as_bytes(),
            digest: self.content.map_or(b"", |content| content.digest.as_bytes()),
            kin: self.content.map_or(b"", |content| content.kin.bytes()),
            bytes: self.bytes,
        }
    }
}

/// Who asks: an address, and a program.
struct Asker {
    address: [u8; 4],
    agent: &'static str,
    looks_first: bool,
    is_arm: bool,
}

impl Asker {
    fn of(client: u64) -> Self {
        let mut random = Random(client.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1);
        random.below(2);
        let network = random.weighted(NETWORKS.iter().map(|network| network.4));
        let agent = random.weighted(AGENTS.iter().map(|agent| agent.2));
        let (agent, looks_first, _) = AGENTS.get(agent).copied().unwrap_or_default();
        let [.., b, c, d] = client.to_be_bytes();
        let first = u8::try_from(FIRST_NETWORK + network).unwrap_or(u8::MAX);
        Self {
            address: [first, b, c, d],
            agent,
            looks_first,
            is_arm: agent.contains("arm64") || random.below(100) < 22,
        }
    }
}

/// Numbers that only look random: xorshift64, begun with what is not 0.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    /// Small numbers come much more often.
    fn skewed(&mut self, bound: u64) -> u64 {
        self.below(bound) * self.below(bound) / bound
    }

    /// Which of these it falls on, by their weights.
    fn weighted(&mut self, weights: impl Iterator<Item = u64> + Clone) -> usize {
        let mut left = self.below(weights.clone().sum::<u64>().max(1));
        for (at, weight) in weights.enumerate() {
            match left.checked_sub(weight) {
                Some(less) => left = less,
                None => return at,
            }
        }
        0
    }
}

const DAY: u32 = 24 * 60;
const HOUR_US: u64 = 3_600_000_000;
const CLIENTS: u64 = 4_000;
/// Addresses that nobody has: no table of clouds knows anything of them.
const FIRST_NETWORK: usize = 224;
/// Tenths of the mean, by the hour (UTC).
const HOURS: [u64; 24] =
    [5, 4, 4, 4, 5, 6, 8, 10, 13, 14, 14, 13, 12, 14, 16, 16, 15, 14, 12, 11, 10, 9, 7, 6];

static PACKAGES: [Package; 4] = [
    Package {
        domain: "registry.acme.example",
        name: "acme/rocket",
        way: Way::Stream,
        daily: 260,
        versions: &[
            ("2.0.2", 0),
            ("2.0.3", 0),
            ("2.1.0", 12),
            ("2.1.1", 19),
            ("2.2.0", 38),
            ("2.3.0", 61),
            ("2.3.1", 66),
            ("2.4.0", 82),
        ],
    },
    Package {
        domain: "registry.acme.example",
        name: "acme/rocket-operator",
        way: Way::Broker,
        daily: 90,
        versions: &[("0.8.1", 0), ("0.9.0", 25), ("1.0.0", 57), ("1.0.1", 71)],
    },
    Package {
        domain: "registry.acme.example",
        name: "acme/launchpad",
        way: Way::Redirect,
        daily: 40,
        versions: &[("5.11", 0), ("5.12", 33), ("6.0", 75)],
    },
    Package {
        domain: "*",
        name: "demo/hello",
        way: Way::Broker,
        daily: 12,
        versions: &[("1.0", 0)],
    },
];

/// Country, autonomous system, operator, the company whose own network it is, and how many clients of
/// a thousand are there. Operators and companies are made up, the clouds are not.
const NETWORKS: [(&str, u32, &str, &str, u64); 30] = [
    ("US", 16509, "Amazon.com", "", 170),
    ("IE", 16509, "Amazon.com", "", 60),
    ("US", 8075, "Microsoft", "", 90),
    ("US", 396_982, "Google", "", 70),
    ("DE", 24940, "Hetzner Online", "", 75),
    ("FI", 24940, "Hetzner Online", "", 20),
    ("FR", 16276, "OVH", "", 40),
    ("US", 14061, "DigitalOcean", "", 35),
    ("DE", 64496, "Rheinnetz Telekom", "", 60),
    ("US", 64497, "Prairie Cable", "", 55),
    ("GB", 64498, "Severn Broadband", "", 30),
    ("NL", 64499, "Polder Telecom", "", 25),
    ("IN", 64500, "Deccan Broadband", "", 35),
    ("JP", 64501, "Sakura Telecom", "", 25),
    ("BR", 64502, "Cerrado Telecom", "", 22),
    ("CN", 64503, "Jiangnan Telecom", "", 20),
    ("SE", 64504, "Norrland Bredband", "", 15),
    ("CA", 64505, "Maple Cable", "", 18),
    ("AU", 64506, "Outback Broadband", "", 12),
    ("PL", 64507, "Wisla Telekom", "", 12),
    ("DE", 64508, "Orbital Freight", "Orbital Freight GmbH", 26),
    ("US", 64509, "Northwind Networks", "Northwind Robotics", 22),
    ("GB", 64510, "Blue Harbour IT", "Blue Harbour Bank", 15),
    ("SE", 64511, "Lindqvist Industri", "Lindqvist Industri AB", 11),
    ("JP", 65536, "Hoshino Systems", "Hoshino Systems KK", 10),
    ("US", 65537, "Cascadia Systems", "Cascadia Health", 9),
    ("NO", 65538, "Solveig Energi", "Solveig Energi AS", 8),
    ("ES", 65539, "Ferrocarril Datos", "Ferrocarril Datos SA", 5),
    ("CH", 65540, "Universität Seeblick", "", 9),
    ("SG", 65541, "Straits Exchange", "Straits Exchange", 6),
];

/// What clients call themselves, whether they look at a tag before they fetch anything, and how many of
/// a hundred do.
const AGENTS: [(&str, bool, u64); 14] = [
    (
        "docker/28.5.2 go/go1.24.9 git-commit/89c5e8f kernel/6.8.0 os/linux arch/amd64 UpstreamClient(Docker-Client/28.5.2 \\(linux\\))",
        true,
        24,
    ),
    (
        "docker/28.3.3 go/go1.24.5 git-commit/bea959c kernel/6.10.14-linuxkit os/linux arch/arm64 UpstreamClient(Docker-Client/28.3.3 \\(darwin\\))",
        true,
        9,
    ),
    (
        "docker/27.5.1 go/go1.22.11 git-commit/4c9b3b0 kernel/6.6.87 os/linux arch/amd64 UpstreamClient(Docker-Client/27.5.1 \\(windows\\))",
        true,
        8,
    ),
    (
        "docker/26.1.5+dfsg1 go/go1.24.4 git-commit/411e817 kernel/6.12.43 os/linux arch/amd64 UpstreamClient(Docker-Client/26.1.5+dfsg1 \\(linux\\))",
        true,
        6,
    ),
    (
        "docker/24.0.9 go/go1.20.13 git-commit/fca702d kernel/5.15.0 os/linux arch/amd64 UpstreamClient(Docker-Client/24.0.9 \\(linux\\))",
        true,
        3,
    ),
    ("containerd/v2.1.4", true, 14),
    ("containerd/1.7.28", true, 11),
    ("containers/5.36.2 (github.com/containers/image)", false, 7),
    ("cri-o/1.33.4 go/go1.24.6 os/linux arch/amd64", false, 5),
    ("buildkit/v0.25", true, 5),
    ("skopeo/1.20.0", false, 3),
    ("go-containerregistry/v0.20.6", false, 2),
    ("trivy/0.66.0", false, 2),
    ("Watchtower (Docker)", true, 1),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::{Ask, By, open_offline};
    use crate::pure::config::check::check;

    const NOW: u32 = 20_784 * DAY + 10 * 60 + 17;

    /// The days are filled, in every dimension, and come out the same again.
    #[test]
    fn ninety_days_are_there_and_the_same_each_time() {
        let text = include_str!("../../../config/demo.toml").to_owned() + PACKAGES_TOML;
        let (config, _) = check("demo.toml", &text).unwrap();
        let counted = || {
            let dir = tempfile::tempdir().unwrap();
            fill(dir.path(), NOW, &config).unwrap();
            let query = open_offline(dir.path()).unwrap();
            let days = query.rows(&Ask { by: vec![By::Day], ..Ask::default() }).unwrap();
            let told =
                [By::Tag, By::Client, By::Country, By::Company, By::Cloud, By::ImagePlatform].map(
                    |by| query.rows(&Ask { by: vec![by], ..Ask::default() }).unwrap().rows.len(),
                );
            (days, told)
        };
        let (days, told) = counted();
        assert_eq!(days.rows.len(), PACKAGES.len() * (DAYS as usize + 1));
        let totals = days.totals;
        assert!(totals.pulls > 20_000 && totals.pulls < 60_000, "{totals:?}");
        for some in [totals.complete, totals.up_to_date, totals.partial, totals.unseen] {
            assert!(some > 0, "{totals:?}");
        }
        assert!(totals.checks > 0 && totals.supply_chain > 0 && totals.blob_bytes > 0);
        assert!(told.iter().all(|rows| *rows > PACKAGES.len()), "{told:?}");
        let (again, _) = counted();
        assert_eq!((again.rows, again.totals), (days.rows, totals));
    }
}
