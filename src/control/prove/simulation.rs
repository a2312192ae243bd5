//! The schedule under a clock that the test turns, as dialogues of times, questions and answers.

use std::time::Duration;

use super::registry::Names;
use super::schedule::{Schedule, Subject};
use super::{Answer, Facts, Question};
use crate::pure::proof::Proof;
use crate::pure::route::pattern::Pattern;

/// A schedule, its time, and what registries answer.
struct Simulation {
    schedule: Schedule,
    now: Duration,
    answer: fn(&Question) -> Answer,
}

impl Simulation {
    /// Registries as `ghcr: acme/a acme/b library/**`, one a line.
    fn new(text: &str, answer: fn(&Question) -> Answer) -> Self {
        let mut simulation = Self { schedule: Schedule::new(7), now: Duration::ZERO, answer };
        simulation.adopt(text);
        simulation
    }

    fn adopt(&mut self, text: &str) {
        let subject = |line: &str| {
            let (base, names) = line.trim().split_once(':').unwrap();
            let mut subject = Subject { base: base.to_owned(), names: Names::default() };
            for name in names.split_whitespace() {
                match Pattern::parse(name).unwrap() {
                    Pattern { prefix, star: None } => subject.names.own.push(prefix),
                    Pattern { prefix, star: Some(star) } => {
                        subject.names.patterns.insert((prefix, star));
                    }
                }
            }
            subject
        };
        self.schedule.adopt(text.lines().map(subject).collect(), self.now);
    }

    /// What is asked until `end` seconds, each answered at once: `0.2 ghcr/acme/a`.
    fn asked_until(&mut self, end: u64) -> Vec<String> {
        let mut asked = Vec::new();
        while self.now < Duration::from_secs(end) {
            while let Some(question) = self.schedule.next(self.now) {
                asked.push(format!("{:.1} {}", self.now.as_secs_f64(), words(&question)));
                self.schedule.told(&question, (self.answer)(&question), self.now);
            }
            self.now += TICK;
        }
        asked
    }

    /// What waits to be answered at this moment.
    fn asked_now(&mut self) -> Vec<Question> {
        std::iter::from_fn(|| self.schedule.next(self.now)).collect()
    }

    fn proof(&self, base: &str, name: &str) -> Proof {
        self.schedule.registry(base).unwrap().proof(name)
    }

    fn remembers(&self, base: &str, name: &str) -> bool {
        let registry = self.schedule.registry(base).unwrap();
        registry.proofs().any(|(other, _)| other == name)
    }
}

fn words(question: &Question) -> String {
    let repository = question.repository.iter().map(|name| format!("/{name}"));
    question.base.to_string() + &repository.collect::<String>()
}

fn question(base: &str, name: &str) -> Question {
    Question { base: base.into(), repository: Some(name.into()) }
}

fn facts(challenge: Option<&str>) -> Answer {
    Answer::Base(Facts { challenge: challenge.map(str::to_owned), is_for_all: true })
}

/// A registry that serves everything.
fn open(question: &Question) -> Answer {
    match question.repository {
        None => facts(None),
        Some(_) => Answer::Repository(Proof::Open),
    }
}

fn silent(_: &Question) -> Answer {
    Answer::Failed(None)
}

#[test]
fn the_base_comes_first_then_names_of_both_kinds_by_turns() {
    let mut simulation = Simulation::new("ghcr: acme/a acme/b acme/c library/**", open);
    for name in ["library/x", "library/y", "elsewhere/z"] {
        simulation.schedule.want("ghcr", name);
    }
    simulation.schedule.want("ghcr", "acme/c");
    assert_eq!(
        simulation.asked_until(10),
        [
            "0.0 ghcr",
            // Somebody wants it.
            "0.2 ghcr/acme/c",
            "0.4 ghcr/library/x",
            "0.6 ghcr/acme/a",
            "0.8 ghcr/library/y",
            "1.0 ghcr/acme/b",
        ]
    );
}

#[test]
fn what_is_known_is_asked_again_after_minutes_and_slower() {
    let mut simulation = Simulation::new("ghcr: a b c", open);
    assert_eq!(simulation.asked_until(200).len(), 4);
    let again = simulation.asked_until(400);
    assert_eq!(again.len(), 4, "{again:?}");
    let times: Vec<f64> =
        again.iter().map(|asked| asked.split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(times.iter().all(|time| (240.0..370.0).contains(time)), "{again:?}");
    let paces: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(paces.iter().all(|pace| *pace > 0.19), "{again:?}");
}

#[test]
fn a_registry_of_100_000_names_hears_five_questions_a_second() {
    let names: String = (0..100_000).map(|index| format!(" acme/n{index}")).collect();
    let mut simulation = Simulation::new(&format!("ghcr:{names}"), open);
    let asked = simulation.asked_until(600).len();
    assert!((2_900..=3_000).contains(&asked), "{asked}");
}

#[test]
fn a_silent_registry_is_asked_for_its_base_only_ever_more_rarely() {
    let mut simulation = Simulation::new("ghcr: acme/a\nquay: acme/b", |question| {
        if &*question.base == "ghcr" { silent(question) } else { open(question) }
    });
    let asked = simulation.asked_until(1000);
    let of_ghcr: Vec<&String> = asked.iter().filter(|asked| asked.contains("ghcr")).collect();
    assert!(of_ghcr.iter().all(|asked| asked.ends_with(" ghcr")), "{of_ghcr:?}");
    // 2 s, 4 s, 8 s ... five minutes, give or take a fifth.
    assert!((8..=12).contains(&of_ghcr.len()), "{of_ghcr:?}");
    assert_eq!(simulation.proof("ghcr", "acme/a"), Proof::Unknown);
    assert_eq!(simulation.proof("quay", "acme/b"), Proof::Open);
    simulation.answer = open;
    simulation.asked_until(1400);
    assert_eq!(simulation.proof("ghcr", "acme/a"), Proof::Open);
}

#[test]
fn what_was_known_stays_for_half_an_hour_of_silence() {
    let mut simulation = Simulation::new("ghcr: acme/a", open);
    simulation.asked_until(10);
    simulation.answer = silent;
    // Silent from the first repetition on, which comes within 6 minutes.
    simulation.asked_until(4 * 60 + 30 * 60);
    assert_eq!(simulation.proof("ghcr", "acme/a"), Proof::Open);
    simulation.asked_until(6 * 60 + 40 * 60);
    assert_eq!(simulation.proof("ghcr", "acme/a"), Proof::Unknown);
}

#[test]
fn one_repository_that_fails_holds_up_no_other_for_long() {
    let mut simulation =
        Simulation::new("ghcr: bad a b c", |question| match &question.repository {
            Some(name) if &**name == "bad" => Answer::Failed(None),
            _ => open(question),
        });
    simulation.asked_until(10);
    for name in ["a", "b", "c"] {
        assert_eq!(simulation.proof("ghcr", name), Proof::Open);
    }
    assert_eq!(simulation.proof("ghcr", "bad"), Proof::Unknown);
    simulation.answer = open;
    simulation.asked_until(60);
    assert_eq!(simulation.proof("ghcr", "bad"), Proof::Open);
}

#[test]
fn a_registry_that_asks_to_be_left_alone_is() {
    let mut simulation = Simulation::new("ecr: a b", |question| match &question.repository {
        Some(name) if &**name == "a" => Answer::Failed(Some(Duration::from_secs(100))),
        _ => open(question),
    });
    assert_eq!(simulation.asked_until(80), ["0.0 ecr", "0.2 ecr/a"]);
    let asked = simulation.asked_until(125);
    assert!(asked[0].ends_with("ecr/b") || asked[0].ends_with("ecr/a"), "{asked:?}");
}

#[test]
fn few_questions_are_under_way_and_few_at_one_registry() {
    let registries: Vec<String> = (0..9).map(|index| format!("r{index}: a b c")).collect();
    let mut simulation = Simulation::new(&registries.join("\n"), open);
    let first = simulation.asked_now();
    assert_eq!(first.len(), 8);
    simulation.now += Duration::from_secs(60);
    assert_eq!(simulation.asked_now(), []);
    simulation.schedule.told(&first[0], facts(None), simulation.now);
    // The ninth has waited longest.
    assert_eq!(words(&simulation.asked_now()[0]), "r8");
    simulation.schedule.told(&first[1], facts(None), simulation.now);
    assert_eq!(words(&simulation.asked_now()[0]), "r0/a");

    let mut alone = Simulation::new("ghcr: a b c d", open);
    alone.asked_until(0);
    let base = alone.asked_now().remove(0);
    alone.schedule.told(&base, facts(None), alone.now);
    let mut under_way = Vec::new();
    for _ in 0..20 {
        alone.now += Duration::from_secs(1);
        under_way.extend(alone.asked_now());
    }
    assert_eq!(under_way.len(), 2);
}

#[test]
fn what_stays_is_still_known_and_what_goes_is_forgotten() {
    let mut simulation = Simulation::new("ghcr: a b\nquay: q", open);
    simulation.asked_until(10);
    simulation.adopt("ghcr: b c **");
    assert_eq!(simulation.proof("ghcr", "b"), Proof::Open);
    assert_eq!(simulation.proof("ghcr", "a"), Proof::Open, "now under a pattern");
    assert!(simulation.schedule.registry("quay").is_none());
    assert_eq!(simulation.asked_until(20), ["10.0 ghcr/c"]);
    simulation.adopt("ghcr: b c");
    assert!(!simulation.remembers("ghcr", "a"));
}

#[test]
fn the_answer_to_a_question_that_is_no_more_changes_nothing() {
    let mut simulation = Simulation::new("ghcr: a", open);
    let base = simulation.asked_now().remove(0);
    simulation.adopt("quay: a");
    simulation.schedule.told(&base, facts(None), simulation.now);
    assert!(simulation.schedule.registry("ghcr").is_none());
    simulation.schedule.told(&question("quay", "b"), Answer::Repository(Proof::Open), TICK);
    assert!(!simulation.remembers("quay", "b"));
}

#[test]
fn a_registry_that_not_all_can_reach_is_not_asked_for_repositories() {
    let mut simulation = Simulation::new("ghcr: a **", |_| {
        Answer::Base(Facts { challenge: None, is_for_all: false })
    });
    assert_eq!(simulation.asked_until(100), ["0.0 ghcr"]);
    assert_eq!(simulation.proof("ghcr", "a"), Proof::Refused);
    simulation.schedule.want("ghcr", "b");
    assert!(!simulation.remembers("ghcr", "b"));
}

#[test]
fn the_proofs_say_since_when_a_login_is_asked_for() {
    let mut simulation = Simulation::new("ghcr: a", open);
    simulation.asked_until(10);
    let since = |simulation: &Simulation| {
        simulation.schedule.proofs().registry("ghcr").map(|proof| proof.since_us)
    };
    assert_eq!(since(&simulation), Some(0));
    simulation.answer = |question| match question.repository {
        None => facts(Some("Bearer realm=\"https://a\"")),
        Some(_) => Answer::Repository(Proof::WithToken),
    };
    simulation.asked_until(400);
    let changed = since(&simulation).unwrap();
    assert!((240_000_000..=370_000_000).contains(&changed), "{changed}");
    simulation.answer = |question| match question.repository {
        None => facts(Some("Bearer realm=\"https://b\"")),
        Some(_) => Answer::Repository(Proof::Refused),
    };
    simulation.asked_until(800);
    assert_eq!(since(&simulation), Some(changed));
    let proofs = simulation.schedule.proofs();
    assert_eq!(
        proofs.registry("ghcr").unwrap().challenge.as_deref(),
        Some("Bearer realm=\"https://b\"")
    );
    assert_eq!(proofs.repository("ghcr", "a"), Proof::Refused);
}

#[test]
fn names_under_a_pattern_that_nobody_can_pull_are_forgotten_until_somebody_asks_again() {
    let mut simulation = Simulation::new("ghcr: **", |question| match question.repository {
        None => facts(None),
        Some(_) => Answer::Repository(Proof::Refused),
    });
    simulation.schedule.want("ghcr", "made/up");
    simulation.asked_until(10);
    assert!(simulation.remembers("ghcr", "made/up"));
    simulation.asked_until(400);
    assert!(!simulation.remembers("ghcr", "made/up"));
    simulation.schedule.want("ghcr", "made/up");
    assert!(simulation.asked_until(410).contains(&"400.0 ghcr/made/up".to_owned()));
}

#[test]
fn a_flood_of_names_is_bounded() {
    let mut simulation = Simulation::new("ghcr: acme/a library/**", open);
    for index in 0..5000 {
        simulation.schedule.want("ghcr", &format!("library/n{index}"));
    }
    assert_eq!(simulation.schedule.registry("ghcr").unwrap().patterned(), 1000);
    assert_eq!(
        simulation.asked_until(1),
        [
            "0.0 ghcr",
            "0.2 ghcr/acme/a",
            "0.4 ghcr/library/n0",
            "0.6 ghcr/library/n1",
            "0.8 ghcr/library/n2"
        ]
    );
}

#[test]
fn a_pattern_covers_what_the_route_table_would_carry_over() {
    for (pattern, covered, not) in [
        ("acme/*", "acme/a", "acme/a/b"),
        ("acme/**", "acme/a/b", "acm/a"),
        ("**", "a", ""),
        ("*", "a", "a/b"),
    ] {
        let mut simulation = Simulation::new(&format!("ghcr: {pattern}"), open);
        simulation.schedule.want("ghcr", covered);
        assert!(simulation.remembers("ghcr", covered), "{pattern} {covered}");
        if !not.is_empty() {
            simulation.schedule.want("ghcr", not);
            assert!(!simulation.remembers("ghcr", not), "{pattern} {not}");
        }
    }
}

const TICK: Duration = Duration::from_millis(100);
