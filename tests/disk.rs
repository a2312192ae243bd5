//! Manifests that are kept on disk: there after a restart though their registry is gone, for nobody
//! else than before, and never in the way.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pullgate::cli::demo::image::Image;
use support::bench::{Bench, NOTHING_KEPT, config, is_refusal};
use support::eventually::{eventually, pause};
use support::gate::{Counts, DRIVERS, Gate};
use support::hosts::{REGISTRY, REGISTRY_IP};
use support::images::image;
use support::origin::{Origin, Request, Talk};
use support::scripted::serve;

#[test]
fn what_was_pulled_before_a_restart_is_there_though_the_registry_is_gone() {
    for driver in DRIVERS {
        let mut world = World::pulled(driver);
        let hello = image("hello");
        world.is_gone.store(true, Ordering::SeqCst);
        world.bench.gate.stop();
        world.bench.gate.launch();
        world.bench.asked();
        world.pulls(&hello);
        let digest = format!("/v2/acme/rocket/manifests/{}", hello.index.digest);
        assert_eq!(world.bench.ask("HEAD", &digest, &[]).status, 200);
        let asked: Vec<String> = world.bench.asked().into_iter().map(|it| it.target).collect();
        assert!(asked.iter().all(|it| it.ends_with("/latest")), "digests are known: {asked:?}");
        let gate = &world.bench.gate;
        assert_eq!(gate.metric("pullgate_manifest_disk_reads_total{outcome=\"found\"}"), 3);
        // The tag's manifest, whatever its digest was found by; the platform's is what it says.
        assert_eq!(gate.metric("pullgate_manifests_total{source=\"stale\"}"), 1);
        assert_eq!(gate.metric("pullgate_manifests_total{source=\"registry\"}"), 1);
        is_refusal(&world.bench.get(OTHER), 502, "UNAVAILABLE", REGISTRY);
        world.bench.gate.stop();
        let counts = world.bench.gate.counts("gw.pg.test/acme/rocket");
        assert_eq!(counts, Counts { requests: 4, pulls: 2, checks: 1, ..Counts::default() });
    }
}

/// Nobody has waited for the registry longer than for the disk behind it.
#[test]
fn what_was_pulled_before_a_restart_is_there_though_the_registry_is_silent() {
    for driver in DRIVERS {
        let mut world = World::pulled(driver);
        let hello = image("hello");
        world.bench.gate.stop();
        world.is_silent.store(true, Ordering::SeqCst);
        world.bench.gate.launch();
        world.pulls(&hello);
        world.is_silent.store(false, Ordering::SeqCst);
    }
}

/// What is asked beside manifests may be refused by itself.
#[test]
fn who_may_not_list_tags_keeps_the_manifests() {
    for driver in DRIVERS {
        let world = World::pulled(driver);
        assert_eq!(world.bench.get("/v2/acme/rocket/tags/list").status, 401);
        let other =
            format!("/v2/acme/rocket/manifests/{}", image("hello").platforms[1].manifest.digest);
        assert_eq!(world.bench.get(&other).status, 200);
        world.holds(4);
    }
}

/// What the registry has taken back is not served by the next process either.
#[test]
fn what_a_registry_takes_back_is_gone_from_the_disk() {
    for driver in DRIVERS {
        for status in ["403 Forbidden", "404 Not Found"] {
            let mut world = World::pulled(driver);
            world.says(status);
            assert!(["403", "404"].contains(&&*world.bench.get(LATEST).status.to_string()));
            // A refusal is of all that is there, that a tag is absent is of the tag.
            world.holds(if status.starts_with("403") { 0 } else { 2 });
            world.is_gone.store(true, Ordering::SeqCst);
            world.bench.gate.stop();
            world.bench.gate.launch();
            is_refusal(&world.bench.get(LATEST), 502, "UNAVAILABLE", REGISTRY);
        }
    }
}

#[test]
fn a_file_that_is_damaged_or_cannot_be_read_is_as_if_it_were_not_there() {
    for driver in DRIVERS {
        let mut world = World::pulled(driver);
        let hello = image("hello");
        world.bench.gate.stop();
        for file in world.files() {
            let mut bytes = fs::read(&file).expect("a manifest");
            let last = bytes.len() - 40;
            bytes[last] ^= 1;
            fs::write(&file, bytes).expect("a damaged manifest");
        }
        world.bench.gate.launch();
        world.bench.asked();
        world.pulls(&hello);
        assert_eq!(world.bench.asked().len(), 3, "all of them are asked for again");
        let failures = "pullgate_manifest_disk_failures_total";
        assert_eq!(world.bench.gate.metric(failures), 2);
        world.says_once("is damaged");
        world.holds(3);
    }
}

/// A folder that cannot be used, as on a full or a broken disk: a file is in its place.
#[test]
fn a_disk_that_takes_nothing_is_said_once_and_serves_nobody_worse() {
    for driver in DRIVERS {
        let mut world = World::start(driver, "");
        world.bench.gate.stop();
        let folder = world.folder();
        fs::remove_dir_all(&folder).expect("the folder was made");
        fs::write(&folder, "in the way").expect("a file");
        world.bench.gate.launch();
        world.pulls(&image("hello"));
        world.pulls(&image("hello"));
        world.says_once("as if none were kept on disk");
        assert!(world.bench.gate.metric("pullgate_manifest_disk_failures_total") >= 1);
    }
}

#[test]
fn what_is_kept_is_bounded_and_its_owner_s_alone() {
    let (driver, room) = (DRIVERS[0], 16 * 4096);
    let mut world = World::start(driver, "disk = \"64KiB\"\n");
    for number in 0..40 {
        let target = format!("/v2/acme/rocket/manifests/{number}");
        assert_eq!(world.bench.get(&target).status, 200);
    }
    eventually(|| match world.bench.gate.metric("pullgate_manifest_disk_bytes") {
        bytes if bytes > 0 && bytes <= room => Ok(()),
        bytes => Err(format!("{bytes} bytes")),
    });
    eventually(|| match world.files().len() {
        1..=16 => Ok(()),
        held => Err(format!("{held} files")),
    });
    let mode = |path: &Path| Some(fs::metadata(path).ok()?.permissions().mode() & 0o777);
    assert_eq!(mode(&world.folder()), Some(0o700));
    assert_eq!(mode(&world.folder().join("secret")), Some(0o600));
    // The last of the forty may still be on their way, and older ones go to make room for them.
    let modes: Vec<u32> = world.files().iter().filter_map(|file| mode(file)).collect();
    assert!(!modes.is_empty() && modes.iter().all(|&mode| mode == 0o600), "{modes:?}");
    // Switched off, nothing stays.
    let file = world.bench.gate.config_file();
    let text = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, text.replace("64KiB", "0B")).expect("another one");
    eventually(|| match world.folder().exists() {
        false => Ok(()),
        true => Err("the folder is there".to_owned()),
    });
    assert_eq!(world.bench.get(LATEST).status, 200);
    world.bench.gate.stop();
    assert!(!world.folder().exists());
}

/// A gateway that asks for tags each time, and a registry that can be taken away.
struct World {
    bench: Bench,
    is_gone: Arc<AtomicBool>,
    is_silent: Arc<AtomicBool>,
    status: [Arc<AtomicBool>; 2],
}

impl World {
    /// An image was pulled: its tag and two manifests are on disk.
    fn pulled(driver: &str) -> Self {
        let world = Self::start(driver, "");
        world.pulls(&image("hello"));
        world.holds(3);
        world
    }

    /// `cache` has more keys of `[cache]`.
    fn start(driver: &str, cache: &str) -> Self {
        let (is_gone, is_silent) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let status: [Arc<AtomicBool>; 2] = Default::default();
        let (gone, silent, says) = (Arc::clone(&is_gone), Arc::clone(&is_silent), status.clone());
        let hello = image("hello");
        let answer = move |talk: &mut Talk, request: &Request| {
            while silent.load(Ordering::SeqCst) {
                pause();
            }
            let says = says.each_ref().map(|it| it.load(Ordering::SeqCst));
            match says {
                _ if gone.load(Ordering::SeqCst) => Err(io::ErrorKind::ConnectionAborted.into()),
                [true, _] => talk.answer(request, "403 Forbidden", &[], b""),
                [_, true] => talk.answer(request, "404 Not Found", &[], b""),
                [false, false] if request.target.ends_with("/tags/list") => {
                    talk.answer(request, "401 Unauthorized", &[], b"")
                }
                [false, false] => serve(talk, request, &hello),
            }
        };
        let registry = Origin::start(REGISTRY_IP, move |talk| {
            while let Some(request) = talk.request()? {
                answer(talk, &request)?;
            }
            Ok(())
        });
        let bench = Bench::behind(registry, |backend| {
            let keys = format!("memory = \"1MiB\"\ntag_ttl = \"0s\"\n{cache}");
            let times = "connect_timeout = \"1s\"\nfirst_byte_timeout = \"1s\"\n";
            let config = config(times, "delivery = \"broker\"\n", backend);
            Gate::start_proxy(driver, &config.replace(NOTHING_KEPT, &keys))
        });
        Self { bench, is_gone, is_silent, status }
    }

    fn says(&self, status: &str) {
        self.status[usize::from(status.starts_with("404"))].store(true, Ordering::SeqCst);
    }

    /// By tag, then the platform's by its digest.
    fn pulls(&self, hello: &Image) {
        let child = &hello.platforms[0].manifest;
        assert!(self.bench.get(LATEST).body == hello.index.bytes);
        let target = format!("/v2/acme/rocket/manifests/{}", child.digest);
        assert!(self.bench.get(&target).body == child.bytes);
    }

    /// Waits until so many files are kept.
    fn holds(&self, files: u64) {
        eventually(|| match self.bench.gate.metric("pullgate_manifest_disk_files") {
            held if held == files => Ok(()),
            held => Err(format!("{held} files instead of {files}")),
        });
    }

    /// Waits until the log says it: a worker has its answer before the archive says what it found.
    fn says_once(&mut self, what: &str) {
        let words = eventually(|| match self.bench.gate.words() {
            words if words.contains(what) => Ok(words),
            words => Err(words),
        });
        assert_eq!(words.matches(what).count(), 1, "{words}");
    }

    fn folder(&self) -> PathBuf {
        self.bench.gate.data_dir().join("manifests")
    }

    fn files(&self) -> Vec<PathBuf> {
        let inside = |folder: &Path| -> Vec<PathBuf> {
            let entries = fs::read_dir(folder).expect("a folder");
            entries.map(|entry| entry.expect("an entry").path()).collect()
        };
        let folders = inside(&self.folder()).into_iter().filter(|path| path.is_dir());
        folders.flat_map(|folder| inside(&folder)).collect()
    }
}

const LATEST: &str = "/v2/acme/rocket/manifests/latest";
const OTHER: &str = "/v2/acme/rocket/manifests/other";
