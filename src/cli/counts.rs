//! Who is asked about the counts in a `data_dir`: the gateway that runs on it, else the store itself.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;

use hyper::StatusCode;
use serde_json::Value;

use super::args::{Format, Wanted};
use super::progress::Progress;
use super::remote::{Failure, Remote};
use super::socket::{self, Begun, Lines};
use crate::aggregator::{self, Amendment, Ask, Export, Query};
use crate::control::while_busy;

/// The counts in a `data_dir`, or of a gateway elsewhere.
pub(super) struct Counts<'d> {
    data: &'d Path,
    /// The store, once it was found that no gateway runs.
    store: Option<Query>,
    remote: Option<Remote>,
}

impl<'d> Counts<'d> {
    /// Those in `data`.
    ///
    /// # Errors
    /// It is no folder.
    pub(super) fn of(data: &'d Path) -> Result<Self, String> {
        if !data.is_dir() {
            return Err(format!("{}: no such directory: --data is the data_dir", data.display()));
        }
        Ok(Self { data, store: None, remote: None })
    }

    /// Those that the command line names.
    ///
    /// # Errors
    /// As [`Self::of`], and where what is said of a gateway elsewhere cannot be used.
    pub(super) fn wanted(wanted: &'d Wanted) -> Result<Self, String> {
        match Remote::of(&wanted.elsewhere)? {
            None => Self::of(wanted.data.as_deref().unwrap_or_else(|| Path::new(""))),
            remote => Ok(Self { data: Path::new(""), store: None, remote }),
        }
    }

    /// The answer's JSON.
    pub(super) fn ask(&mut self, ask: &Ask, progress: &Progress) -> Result<String, String> {
        if let Some(remote) = &self.remote {
            return remote.get(&target("/api/v1/pulls", ask));
        }
        if self.store.is_none() {
            if let Some(body) = self.heard(socket::ask(self.data, &target("/pulls", ask), None)?)? {
                return Ok(body);
            }
            self.store = Some(self.offline(progress)?);
        }
        let Some(query) = &self.store else { return Err("the store is not open".to_owned()) };
        let answer = query.rows(ask).map_err(|error| error.to_string())?;
        serde_json::to_string(&answer).map_err(|error| error.to_string())
    }

    /// The same, read.
    pub(super) fn answer(&mut self, ask: &Ask, progress: &Progress) -> Result<Value, String> {
        parsed(&self.ask(ask, progress)?)
    }

    /// All rows that are asked for, a portion at a time.
    pub(super) fn export(&mut self, ask: &Ask, progress: &Progress) -> Result<Exported, String> {
        if self.store.is_none() {
            match socket::lines(self.data, &target("/export", ask))? {
                Ok(Begun::Lines(lines)) => return Ok(Exported::Live(lines)),
                Ok(Begun::Refused(body)) => return Err(said(&body)?),
                Err(error) if socket::is_alone(&error) => {}
                Err(error) => return Err(socket::unheard(self.data, &error)),
            }
            self.store = Some(self.offline(progress)?);
        }
        let Some(query) = &self.store else { return Err("the store is not open".to_owned()) };
        let export =
            Export::begin(query.clone(), ask.clone()).map_err(|error| error.to_string())?;
        Ok(Exported::Offline(Box::new(export)))
    }

    /// The same of a gateway elsewhere, as it writes them to `out`; `None` where it is none.
    pub(super) fn copied(
        &self,
        ask: &Ask,
        format: Format,
        out: &mut impl Write,
    ) -> Option<Result<(), Failure>> {
        let remote = self.remote.as_ref()?;
        let mut target = target("/api/v1/export", ask);
        socket::add(&mut target, "format", if format == Format::Csv { "csv" } else { "ndjson" });
        Some(remote.copy(&target, out))
    }

    /// Changes the counts.
    pub(super) fn amend(mut self, amendment: &Amendment) -> Result<(), String> {
        if self.store.take().is_none() {
            let body = serde_json::to_vec(amendment).map_err(|error| error.to_string())?;
            if self.heard(socket::ask(self.data, "/amend", Some(body))?)?.is_some() {
                return Ok(());
            }
        }
        self.must_be_kept()?;
        while_busy(|| aggregator::amend_offline(self.data, amendment))
            .map_err(|error| error.to_string())
    }

    /// What the gateway has answered; `None` where none runs, or it was killed.
    fn heard(&self, answer: io::Result<(StatusCode, String)>) -> Result<Option<String>, String> {
        match answer {
            Ok((StatusCode::OK, body)) => Ok(Some(body)),
            Ok((_, body)) => Err(said(&body)?),
            Err(error) if socket::is_alone(&error) => Ok(None),
            Err(error) => Err(socket::unheard(self.data, &error)),
        }
    }

    /// Opens the store. A gateway that is just ending holds it a moment longer.
    fn offline(&self, progress: &Progress) -> Result<Query, String> {
        self.must_be_kept()?;
        progress.say("opening the store");
        let query = while_busy(|| aggregator::open_offline(self.data));
        progress.say("adding up the counts");
        query.map_err(|error| error.to_string())
    }

    fn must_be_kept(&self) -> Result<(), String> {
        if self.data.join("lock").exists() {
            return Ok(());
        }
        let data = self.data.display();
        Err(format!(
            "{data}: no gateway has kept counts here: --data is the data_dir of its configuration"
        ))
    }
}

/// An export that is under way.
pub(super) enum Exported {
    /// The gateway tells it.
    Live(Lines),
    /// The store is read here.
    Offline(Box<Export>),
}

impl Exported {
    /// The next portion: rows, and how many packages of how many are done.
    pub(super) fn next(&mut self) -> Result<Option<Value>, String> {
        let lines = match self {
            Self::Offline(export) => {
                let portion = export.portion().map_err(|error| error.to_string())?;
                let portion = portion.map(serde_json::to_value).transpose();
                return portion.map_err(|error| error.to_string());
            }
            Self::Live(lines) => lines,
        };
        let ended = |error: &dyn Display| format!("the export has ended early: {error}");
        let line = lines.next().map_err(|error| ended(&error))?;
        let portion = parsed(&line.ok_or_else(|| ended(&"is the gateway stopping?"))?)?;
        match portion["error"].as_str() {
            Some(words) => Err(ended(&words)),
            None => Ok(Some(portion).filter(|portion| portion["end"].is_null())),
        }
    }
}

/// The words in which the gateway refused.
fn said(body: &str) -> Result<String, String> {
    Ok(parsed(body)?["error"].as_str().unwrap_or(body).to_owned())
}

/// The question as `control::admin::socket` reads it.
fn target(path: &str, ask: &Ask) -> String {
    let mut target = path.to_owned();
    let mut add = |key: &str, value: &str| socket::add(&mut target, key, value);
    if let Some(package) = &ask.package {
        add("package", package);
    }
    for by in &ask.by {
        add("by", by.as_str());
    }
    for only in &ask.only {
        add("only", &format!("{}={}", only.by.as_str(), only.value));
    }
    if let Some(top) = ask.top {
        add("top", &top.to_string());
    }
    if ask.compare {
        add("compare", "true");
    }
    if ask.public {
        add("public", "true");
    }
    if let Some(from) = &ask.from {
        add("from", &from.to_string());
    }
    if let Some(to) = &ask.to {
        add("to", &to.to_string());
    }
    target
}

pub(super) fn parsed(text: &str) -> Result<Value, String> {
    serde_json::from_str(text)
        .map_err(|_| "the gateway's answer is not JSON: is it of the same version?".to_owned())
}

pub(super) fn rows(answer: &Value) -> &[Value] {
    answer["rows"].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::By;

    #[test]
    fn the_question_is_one_target_whatever_is_in_it() {
        let ask = Ask {
            package: Some("registry.acme.com/acme/ro&k et".to_owned()),
            by: vec![By::Tag, By::Day],
            only: vec!["tag=a b".parse().unwrap()],
            top: Some(3),
            compare: true,
            public: false,
            from: Some("2026-01-31T12:00:00Z".parse().unwrap()),
            to: None,
        };
        assert_eq!(
            target("/pulls", &ask),
            "/pulls?package=registry.acme.com%2Facme%2Fro%26k%20et&by=tag&by=day&only=tag%3Da%20b\
             &top=3&compare=true&from=2026-01-31T12%3A00%3A00Z"
        );
        assert_eq!(target("/pulls", &Ask::default()), "/pulls");
    }
}
