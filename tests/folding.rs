//! Folding anything: a simulation with a seed against a naive model of the rule, and floods beyond
//! every bound. `PULLGATE_SEED=` replays one.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its numbers are small"
)]

#[path = "support/naive_fold.rs"]
mod naive_fold;
#[path = "support/random.rs"]
mod random;

use pullgate::pure::limits::FOLD_WINDOWS_MAX;
use pullgate::pure::pull::event::{Asked, Outcome};
use pullgate::pure::pull::rollup::Measures;

use naive_fold::{Sent, Simulated, Sums, naive, reference};
use random::Random;

/// Any requests of any clients, with the hash's key changing meanwhile, come to what the naive
/// model says: per package, tag and minute.
#[test]
fn any_requests_come_to_what_the_naive_model_says() {
    let seed = std::env::var("PULLGATE_SEED").ok().and_then(|seed| seed.parse().ok());
    let (first, last) = seed.map_or((1, 4000), |seed: u64| (seed, seed));
    for seed in first..=last {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let sent = requests(&mut random);
        let mut simulated = Simulated::new();
        for one in &sent {
            if random.below(40) == 0 {
                let key = [random.below(256) as u8; 16];
                simulated.fold.rotate(key);
            }
            simulated.take(one);
        }
        let booked = &mut simulated.booked;
        simulated.fold.close(&mut |booking| booked.push(booking));
        let mut folded = Sums::new();
        for booking in simulated.booked {
            let key = (booking.package, booking.row.0, booking.minute);
            *folded.entry(key).or_default() += booking.measures;
        }
        assert_eq!(folded, naive(&sent), "PULLGATE_SEED={seed}");
    }
}

/// Bounds hold and requests stay exact when there are more clients than windows and more tags than
/// a window remembers.
#[test]
fn a_flood_of_tags_is_booked_early_and_its_requests_stay_exact() {
    let mut simulated = Simulated::new();
    for number in 0..10_000 {
        let reference = format!("tag-{number}");
        let (asked, outcome) = (Asked::Manifest, Outcome::Redirected);
        simulated.take(&Sent {
            at_us: number,
            source: 1,
            package: 0,
            family: "docker",
            asked,
            outcome,
            reference,
            answer: None,
            is_read: false,
        });
        let asked = Asked::ManifestHead;
        let reference = format!("headed-{number}");
        simulated.take(&Sent {
            at_us: number,
            source: 1,
            package: 0,
            family: "docker",
            asked,
            outcome,
            reference,
            answer: None,
            is_read: false,
        });
    }
    let booked = &mut simulated.booked;
    simulated.fold.close(&mut |booking| booked.push(booking));
    let mut sums = Measures::ZERO;
    for booking in simulated.booked {
        sums += booking.measures;
    }
    assert_eq!((sums.requests, sums.pulls, sums.checks), (10_000, 10_000, 10_000));
    assert!(simulated.fold.meters().evictions > 100);
}

#[test]
fn a_flood_of_clients_is_booked_early_the_oldest_first() {
    let mut simulated = Simulated::new();
    let windows_max = u32::try_from(FOLD_WINDOWS_MAX).unwrap();
    for source in 0..windows_max + 100 {
        let (asked, outcome) = (Asked::ManifestHead, Outcome::Redirected);
        let (at_us, reference) = (u64::from(source), "latest".to_owned());
        simulated.take(&Sent {
            at_us,
            source,
            package: source,
            family: "docker",
            asked,
            outcome,
            reference,
            answer: None,
            is_read: false,
        });
    }
    assert_eq!(simulated.fold.meters().evictions, 100);
    let packages: Vec<u32> = simulated.booked.iter().map(|booking| booking.package).collect();
    assert_eq!(packages, (0..100).collect::<Vec<u32>>());
}

fn requests(random: &mut Random) -> Vec<Sent> {
    let mut at_us = 0;
    (0..random.below(120))
        .map(|_| {
            at_us += random.below(12_000_000) + 1;
            let digests = ["@index", "@amd64", "@arm64", "@index2", "@attestation", "@nested"];
            let word = match random.below(10) {
                0..=3 => ["a", "b", "c"][random.below(3) as usize],
                4..=8 => digests[random.below(6) as usize],
                _ => ["@index.sig", "@index-"][random.below(2) as usize],
            };
            let asked = match random.below(10) {
                0..=4 => Asked::Manifest,
                5..=6 => Asked::ManifestHead,
                7 => [Asked::Blob, Asked::BlobHead][random.below(2) as usize],
                8 => [Asked::Blob, Asked::BlobEnd][random.below(2) as usize],
                _ => Asked::Referrers,
            };
            let ends = [Outcome::Broken, Outcome::Succeeded];
            let outcome = match random.below(6) {
                way if asked == Asked::BlobEnd => ends[(way % 2) as usize],
                0..=1 => Outcome::Redirected,
                2..=4 => Outcome::Succeeded,
                _ => Outcome::NotModified,
            };
            let word = match asked {
                Asked::Blob | Asked::BlobHead | Asked::BlobEnd => {
                    ["@layer", "@layer2", "@base", "@config"][random.below(4) as usize]
                }
                Asked::Referrers => "@index",
                Asked::Manifest | Asked::ManifestHead => word,
            };
            let answers = [digests[random.below(6) as usize], "@index", "@amd64", "@unknown"];
            let answer = if word.contains('@') { word } else { answers[random.below(4) as usize] };
            let is_seen = outcome != Outcome::Redirected && random.below(8) > 0;
            let answer = Some(reference(answer)).filter(|_| is_seen);
            let is_fetched = asked == Asked::Manifest && outcome == Outcome::Succeeded;
            let is_read = is_fetched && random.below(4) > 0;
            let source = random.below(2) as u32;
            Sent {
                at_us,
                source,
                family: ["docker", "helm"][source as usize],
                package: random.below(2) as u32,
                asked,
                outcome,
                reference: reference(word),
                answer,
                is_read,
            }
        })
        .collect()
}
