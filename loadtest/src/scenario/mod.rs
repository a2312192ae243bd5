//! What clients do.

mod clients;

use std::ops::Range;

use crate::origin::content::{Content, Image, blob};
use crate::plan::{Expect, Plan, Request};
use crate::target::packages::{Delivery, name};
use clients::Client;

/// What is done, by the name that it has on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Scenario {
    /// GETs of manifests by tag, all answered with a redirect
    Redirect,
    /// GETs of manifests by tag, for which the registry is asked
    BrokerManifest,
    /// GETs of blobs of --size, which come through
    StreamBlob,
    /// Whole images, as docker and as podman pull them
    Pull,
    /// Whole images of one tag, begun by all connections at once
    PullStorm,
    /// Connections that were served once and stay open
    Idle,
    /// Manifests, beside clients that read or write very slowly
    Slow,
    /// Redirects, while the configuration changes ten times a second
    Reload,
    /// Pulls and checks of packages some of which are far more popular than others
    Mixed,
}

/// What a plan is made for.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Packages of the configuration.
    pub packages: usize,
    /// How they are delivered.
    pub delivery: Delivery,
    /// The registry behind them, as `http://host:port`; where it is not known, so are locations.
    pub origin: Option<&'a str>,
    /// Bytes of the blobs that are streamed.
    pub blob_bytes: u64,
    /// Whether connections stay.
    pub keep_alive: bool,
}

impl Scenario {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::BrokerManifest => "broker-manifest",
            Self::StreamBlob => "stream-blob",
            Self::Pull => "pull",
            Self::PullStorm => "pull-storm",
            Self::Idle => "idle",
            Self::Slow => "slow",
            Self::Reload => "reload",
            Self::Mixed => "mixed",
        }
    }

    /// How images are delivered in it, unless it is said otherwise.
    pub fn delivery(self) -> Delivery {
        match self {
            Self::Redirect | Self::Idle | Self::Reload => Delivery::Redirect,
            Self::BrokerManifest | Self::Slow | Self::Mixed => Delivery::Broker,
            Self::StreamBlob | Self::Pull | Self::PullStorm => Delivery::Stream,
        }
    }

    /// The requests.
    pub fn plan(self, shape: &Shape<'_>) -> Plan {
        let mut writer = Writer { shape, image: Image::new(), requests: Vec::new() };
        let names = || (0..shape.packages).map(name);
        match self {
            Self::Redirect | Self::BrokerManifest | Self::Idle | Self::Slow | Self::Reload => {
                let jobs = names().map(|name| writer.manifest(&name)).collect();
                Plan::of(writer.requests, jobs)
            }
            Self::StreamBlob => {
                let blob = blob(shape.blob_bytes);
                let jobs = names().map(|name| writer.blob(&name, &blob)).collect();
                Plan::of(writer.requests, jobs)
            }
            Self::Pull => {
                let both =
                    |name: String| [Client::Docker, Client::Podman].map(|it| (it, name.clone()));
                let jobs =
                    names().flat_map(both).map(|(it, name)| writer.pull(it, &name)).collect();
                Plan::of(writer.requests, jobs)
            }
            Self::PullStorm => {
                let job = writer.pull(Client::Docker, &name(0));
                Plan::of(writer.requests, vec![job])
            }
            Self::Mixed => {
                let mut jobs = Vec::new();
                for name in names() {
                    jobs.push(writer.check(&name));
                    jobs.push(writer.pull(Client::Docker, &name));
                    jobs.push(writer.pull(Client::Podman, &name));
                }
                Plan::of(writer.requests, jobs).by_popularity(3)
            }
        }
    }
}

/// Writes requests, job by job.
struct Writer<'a> {
    shape: &'a Shape<'a>,
    image: Image,
    requests: Vec<Request>,
}

impl Writer<'_> {
    /// A manifest by tag, alone.
    fn manifest(&mut self, name: &str) -> Range<usize> {
        let begin = self.requests.len();
        let [by_tag, _] = self.image.index.clone();
        self.get(Client::Docker, name, &by_tag);
        begin..self.requests.len()
    }

    /// A blob, alone.
    fn blob(&mut self, name: &str, blob: &Content) -> Range<usize> {
        let begin = self.requests.len();
        self.get(Client::Docker, name, blob);
        begin..self.requests.len()
    }

    /// Docker's look whether a tag has changed.
    fn check(&mut self, name: &str) -> Range<usize> {
        let begin = self.requests.len();
        let [by_tag, _] = self.image.index.clone();
        self.base(Client::Docker);
        self.head(Client::Docker, name, &by_tag);
        begin..self.requests.len()
    }

    /// A whole image of which the client has nothing yet. Real clients fetch blobs side by side; here
    /// each client has one connection, and there are more clients.
    fn pull(&mut self, client: Client, name: &str) -> Range<usize> {
        let begin = self.requests.len();
        let [by_tag, by_digest] = self.image.index.clone();
        self.base(client);
        match client {
            Client::Docker => {
                self.head(client, name, &by_tag);
                self.get(client, name, &by_digest);
            }
            Client::Podman => self.get(client, name, &by_tag),
        }
        let parts = [&self.image.manifest, &self.image.config];
        let parts: Vec<Content> = parts.into_iter().chain(&self.image.layers).cloned().collect();
        parts.iter().for_each(|part| self.get(client, name, part));
        begin..self.requests.len()
    }

    /// `/v2/`, with which most clients begin.
    fn base(&mut self, client: Client) {
        let bytes = client.request("GET", "/v2/", &[], self.shape.keep_alive);
        // Classic docker may be redirected here too.
        let expect = Expect::default();
        self.requests.push(Request { bytes, is_head: false, is_counted: false, expect });
    }

    fn head(&mut self, client: Client, name: &str, content: &Content) {
        self.request(client, "HEAD", name, content);
    }

    fn get(&mut self, client: Client, name: &str, content: &Content) {
        self.request(client, "GET", name, content);
    }

    fn request(&mut self, client: Client, method: &str, name: &str, content: &Content) {
        let Shape { delivery, origin, keep_alive, .. } = self.shape;
        let target = format!("/v2/{name}/{}", content.tail);
        let is_manifest = content.tail.starts_with("manifests/");
        let fields = if is_manifest { clients::MANIFEST_FIELDS } else { &[] };
        let is_head = method == "HEAD";
        let expect = match delivery {
            Delivery::Redirect => Expect {
                status: 307,
                location: origin.map(|it| format!("{it}{target}").into_bytes().into()),
                ..Expect::default()
            },
            Delivery::Broker | Delivery::Stream => Expect {
                status: 200,
                length: Some(content.body.length()),
                digest: (!is_head).then_some(content.digest),
                location: None,
            },
        };
        self.requests.push(Request {
            bytes: client.request(method, &target, fields, *keep_alive),
            is_head,
            is_counted: is_manifest && !is_head,
            expect,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method and what is behind the name, of each request of a job.
    fn said(plan: &Plan, job: usize) -> Vec<String> {
        let requests = &plan.requests[plan.jobs[job].clone()];
        let line = |request: &Request| {
            let text = String::from_utf8_lossy(&request.bytes);
            let line = text.lines().next().unwrap_or_default().to_owned();
            let line = line.replace(" HTTP/1.1", "");
            line.split("sha256:").next().unwrap_or_default().to_owned()
        };
        requests.iter().map(line).collect()
    }

    fn shape(delivery: Delivery) -> Shape<'static> {
        let origin = Some("http://127.0.0.1:9");
        Shape { packages: 2, delivery, origin, blob_bytes: 1024, keep_alive: true }
    }

    #[test]
    fn docker_and_podman_pull_in_their_own_ways() {
        let plan = Scenario::Pull.plan(&shape(Delivery::Stream));
        let blobs = ["GET /v2/acme/rocket-000000/blobs/"; 4];
        let docker = [
            "GET /v2/",
            "HEAD /v2/acme/rocket-000000/manifests/latest",
            "GET /v2/acme/rocket-000000/manifests/",
            "GET /v2/acme/rocket-000000/manifests/",
        ];
        let podman = [
            "GET /v2/",
            "GET /v2/acme/rocket-000000/manifests/latest",
            "GET /v2/acme/rocket-000000/manifests/",
        ];
        assert_eq!(said(&plan, 0), [&docker[..], &blobs].concat());
        assert_eq!(said(&plan, 1), [&podman[..], &blobs].concat());
        let counted = |job: usize| {
            plan.requests[plan.jobs[job].clone()].iter().filter(|one| one.is_counted).count()
        };
        assert_eq!([counted(0), counted(1)], [2, 2]);
    }

    #[test]
    fn what_is_expected_depends_on_the_delivery() {
        let expect = |delivery| {
            let plan = Scenario::BrokerManifest.plan(&shape(delivery));
            plan.requests[0].expect.clone()
        };
        let redirected = expect(Delivery::Redirect);
        assert_eq!(redirected.status, 307);
        let there: &[u8] = b"http://127.0.0.1:9/v2/acme/rocket-000000/manifests/latest";
        assert_eq!(redirected.location.as_deref(), Some(there));
        let brokered = expect(Delivery::Broker);
        assert_eq!(brokered.status, 200);
        assert!(brokered.length.is_some() && brokered.digest.is_some());
    }
}
