//! `loadtest run`: one load on one target.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::args::{LoadArgs, RunArgs, Who};
use crate::background::Background;
use crate::cli::{Places, print, progress, write, write_json};
use crate::engine::{self, Digests, Pace, Settings};
use crate::machine::cpus;
use crate::machine::usage::{Memory, Usage};
use crate::origin::Origin;
use crate::plan::Plan;
use crate::report::{Held, Outcome, html};
use crate::scenario::{Scenario, Shape};
use crate::target::packages::Delivery;
use crate::target::{Kind, Target};

/// Whether every answer was as it should be.
pub fn run(args: &RunArgs) -> io::Result<bool> {
    let places = Places::of(&args.load)?;
    cpus::keep_to(&[places.load])?;
    let subject = Subject::start(args.scenario, &args.who, args.pid, &args.load, &places)?;
    let paces = match (args.scenario, &*args.rate) {
        (Scenario::PullStorm | Scenario::Idle, _) => vec![Pace::Once],
        (_, []) => vec![Pace::Closed],
        (_, rates) => rates.iter().copied().map(Pace::Open).collect(),
    };
    let mut outcomes = Vec::new();
    for pace in paces {
        let outcome = subject.load(args.scenario, &args.load, pace)?;
        print(&outcome.to_string())?;
        outcomes.push(outcome);
    }
    if let Some(file) = &args.json {
        write_json(file, &outcomes)?;
    }
    if let Some(file) = &args.html {
        write(file, &html::page(&outcomes))?;
    }
    Ok(outcomes.iter().all(Outcome::is_good))
}

/// Who is asked, and for what.
pub struct Subject {
    name: String,
    address: SocketAddr,
    /// Its process, if that is known.
    id: Option<u32>,
    plan: Plan,
    target: Option<Target>,
    origin: Option<Origin>,
}

impl Subject {
    /// Starts what has to be started.
    pub fn start(
        scenario: Scenario,
        who: &Who,
        id: Option<u32>,
        load: &LoadArgs,
        places: &Places,
    ) -> io::Result<Self> {
        let delivery = load.delivery.unwrap_or_else(|| scenario.delivery());
        check_tls(scenario, load)?;
        let kind = match (&who.gateway, who.peer) {
            (Some(program), _) => Some(Kind::Pullgate(program.clone())),
            (_, Some(peer)) => Some(peer.kind()),
            (None, None) => None,
        };
        let Some(kind) = kind else {
            let address = who.target.ok_or_else(|| io::Error::other("nobody to ask"))?;
            if load.tls.is_some() {
                return Err(io::Error::other(
                    "--tls needs --gateway or --peer, whose certificate is known",
                ));
            }
            let plan = plan(scenario, load, delivery, None);
            let name = address.to_string();
            return Ok(Self { name, address, id, plan, target: None, origin: None });
        };
        let origin = if load.upstream_tls {
            Origin::start_tls(places.load, &[load.size])?
        } else {
            Origin::start(places.load, &[load.size])?
        };
        let target = Target::start(&kind, &load.job(scenario, &origin, &places.target))?;
        Ok(Self {
            name: target.name.to_owned(),
            address: target.address,
            id: Some(target.id()),
            plan: plan(scenario, load, delivery, Some(&origin.url)),
            target: Some(target),
            origin: Some(origin),
        })
    }

    /// Lays one load on.
    pub fn load(&self, scenario: Scenario, load: &LoadArgs, pace: Pace) -> io::Result<Outcome> {
        let digests = if load.trust_digests { Digests::None } else { Digests::All };
        let tls = self.target.as_ref().and_then(|target| target.tls.clone());
        let settings = Settings { digests, tls, ..load.settings(self.address, pace) };
        let before = self.id.map(Usage::of).transpose()?;
        let memory_before = self.id.map(Memory::of).transpose()?;
        let background = match (&self.target, scenario) {
            (Some(target), _) => Background::start(scenario, target, load.slow)?,
            (None, Scenario::Slow | Scenario::Reload) => {
                let words = "what goes on beside this load needs --gateway or --peer";
                return Err(io::Error::other(words));
            }
            (None, _) => None,
        };
        let watch = &mut progress(&self.name);
        let origin_used = || self.origin.as_ref().map(Origin::used).transpose();
        let origin_before = origin_used()?;
        let (mut recorded, held) = if scenario == Scenario::Idle {
            engine::run_and_hold(&self.plan, &settings, watch)?
        } else {
            (engine::run(&self.plan, &settings, watch)?, Vec::new())
        };
        if let Some((before, after)) = origin_before.zip(origin_used()?) {
            // It is on the load's CPU.
            recorded.cpu += after.saturating_sub(before);
        }
        let remark = background.map(Background::finish).transpose()?;
        let used = match (self.id, before) {
            (Some(id), Some(before)) => Some((Usage::of(id)?.since(before), Memory::of(id)?)),
            _ => None,
        };
        let mut outcome = Outcome::new(scenario.as_str(), &self.name, &settings, &recorded, used);
        outcome.remarks.extend(remark);
        if scenario == Scenario::Idle {
            crate::pause(QUIET_TIME);
            let after = self.id.map(Memory::of).transpose()?;
            outcome.held = Some(Held::new(held.len(), memory_before.zip(after)));
        }
        Ok(outcome)
    }
}

/// What goes on beside the load speaks plain HTTP.
pub fn check_tls(scenario: Scenario, load: &LoadArgs) -> io::Result<()> {
    match (scenario, load.tls) {
        (Scenario::Slow, Some(_)) => Err(io::Error::other("`slow` is not for --tls")),
        (Scenario::Idle | Scenario::PullStorm, _) if load.http2.is_some() => {
            Err(io::Error::other("--http2 is for closed loops only"))
        }
        _ => Ok(()),
    }
}

fn plan(scenario: Scenario, load: &LoadArgs, delivery: Delivery, origin: Option<&str>) -> Plan {
    scenario.plan(&Shape {
        packages: load.packages,
        delivery,
        origin,
        blob_bytes: load.size,
        keep_alive: !load.close,
    })
}

/// After a burst: what is given back is given back by then.
const QUIET_TIME: Duration = Duration::from_secs(5);
