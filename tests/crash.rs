//! Counts survive kills, a full disk, and a store that is damaged, shortened or gone.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/counting.rs"]
mod support;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pullgate::aggregator::{Answer, Ask, By};
use pullgate::pure::config::values::Counting;

use support::*;

/// 50 times: a process counts and says what it has sent and what the store has shown it, and is
/// killed; then no more is there than was sent, and no less than was shown.
#[test]
fn a_kill_at_any_time_doubles_nothing_and_loses_only_what_was_not_yet_written() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let said = dir.path().join("said");
    let seed = std::env::var("PULLGATE_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut random: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()) << 7 | 1);
    println!("PULLGATE_SEED={random}");
    let mut before = 0;
    for round in 0..50 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["the_process_that_is_killed", "--exact", "--nocapture"])
            .env("PULLGATE_TEST_DATA_DIR", &data_dir)
            .stdout(fs::File::create(&said).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let wait = Duration::from_millis(20 + random % 180);
        std::thread::park_timeout(wait);
        child.kill().unwrap();
        child.wait().unwrap();
        let said = fs::read_to_string(&said).unwrap();
        let last = |word: &str| {
            let mut lines = said.lines().filter_map(|line| line.strip_prefix(word));
            lines.next_back().and_then(|number| number.trim().parse::<u64>().ok())
        };
        let (sent, shown) = (last("sent ").unwrap_or(0), last("shown ").unwrap_or(before));
        if !data_dir.exists() {
            continue;
        }
        let query = opened(&data_dir);
        let answer = query.rows(&Ask::default()).unwrap();
        let by = vec![By::Tag, By::Day];
        let by_tag = query.rows(&Ask { by, ..Ask::default() }).unwrap();
        // Of clients tags have no part.
        let of_tags = |answer: &Answer| answer.totals.to_array()[..8].to_vec();
        assert_eq!(of_tags(&by_tag), of_tags(&answer), "round {round}: a batch was torn");
        let stored = answer.totals.requests;
        assert!(stored <= before + sent, "round {round}: {stored} stored, {before} + {sent} sent");
        assert!(stored >= shown, "round {round}: {stored} stored, {shown} shown");
        before = stored;
    }
    assert!(before > 0, "no round lived long enough to count");
}

/// Not a test by itself: what the one above starts and kills.
#[test]
fn the_process_that_is_killed() {
    let Some(data_dir) = std::env::var_os("PULLGATE_TEST_DATA_DIR") else {
        return;
    };
    let short = Counting { flush: Duration::from_millis(5), ..counting() };
    let mut gateway = Gateway::start_with(Path::new(&data_dir), 2, short);
    let mut sent = 0;
    loop {
        println!("sent {}", sent + 40);
        for client in 0..20 {
            gateway.worker = client as usize % 2;
            gateway.docker_pull(
                client,
                &format!("acme/n{}", sent % 1000),
                &format!("tag-{client}"),
            );
            sent += 2;
        }
        for sender in &mut gateway.senders {
            sender.flush();
        }
        let Some((requests, ..)) = gateway.totals() else { continue };
        // It may be shown before it is written: it is on disk once the journal has gone on.
        let journal = || gateway.health.journal_bytes.load(Ordering::Relaxed);
        let before = journal();
        let end = Instant::now() + Duration::from_millis(100);
        while journal() == before && Instant::now() < end {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        if journal() != before {
            println!("shown {requests}");
        }
    }
}

#[test]
fn a_torn_journal_loses_what_was_torn_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    gateway.docker_pull(1, "acme/rocket", "latest");
    eventually("the first is written", || gateway.totals() == Some((2, 1, 0)));
    gateway.docker_pull(2, "acme/rocket", "latest");
    eventually("the second is written", || gateway.totals() == Some((4, 2, 0)));
    gateway.stop();
    let journal = journal(dir.path());
    let file = OpenOptions::new().write(true).open(&journal).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    // sled has the second: nothing is lost.
    assert_eq!(totals(&opened(dir.path())), (4, 2, 0));
    // And what is not in the journal any more is in a checkpoint.
    fs::remove_dir_all(dir.path().join("counts")).unwrap();
    assert_eq!(totals(&opened(dir.path())), (4, 2, 0));
    let mut gateway = Gateway::start(dir.path());
    gateway.docker_pull(3, "acme/rocket", "latest");
    gateway.stop();
    assert_eq!(totals(&opened(dir.path())), (6, 3, 0));
}

#[test]
fn a_shortened_or_missing_store_is_made_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut pulls = 0;
    for part in [9, 7, 5, 3, 1, 0] {
        let mut gateway = Gateway::start(dir.path());
        for client in 0..100 {
            gateway.docker_pull(client, &format!("acme/n{}", client % 20), &format!("tag-{part}"));
            pulls += 1;
        }
        gateway.stop();
        let path = dir.path().join("counts/db");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() * part / 10).unwrap();
        assert_eq!(totals(&opened(dir.path())), (2 * pulls, pulls, 0), "{part}/10");
    }
    fs::remove_dir_all(dir.path().join("counts")).unwrap();
    assert_eq!(totals(&opened(dir.path())), (2 * pulls, pulls, 0));
    // And what is left of an unfinished snapshot does not keep it from opening.
    fs::write(dir.path().join("counts/snap.0000000000000001.generating"), "half").unwrap();
    assert_eq!(totals(&opened(dir.path())), (2 * pulls, pulls, 0));
}

#[test]
fn a_damaged_store_is_moved_aside_and_built_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    for client in 0..200 {
        gateway.docker_pull(client, &format!("acme/n{}", client % 20), "latest");
    }
    gateway.stop();
    for file in ["db", "conf"] {
        let path = dir.path().join("counts").join(file);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        for at in (0..length).step_by(97) {
            file.write_all_at(b"\xa5rot\x5a", at).unwrap();
        }
    }
    let mut gateway = Gateway::start(dir.path());
    eventually("all is there again", || gateway.totals() == Some((400, 200, 0)));
    assert_eq!(gateway.health.store_rebuilds_total.load(Ordering::Relaxed), 1);
    assert!(dir.path().join("counts.damaged.1").exists());
    gateway.stop();
    assert_eq!(totals(&opened(dir.path())), (400, 200, 0));
}

#[test]
fn a_full_disk_delays_counts_and_loses_none() {
    let disk = SmallDisk::mount();
    let data_dir = disk.path.join("data");
    let mut gateway = Gateway::start(&data_dir);
    gateway.docker_pull(0, "acme/rocket", "latest");
    eventually("the first is written", || gateway.totals() == Some((2, 1, 0)));

    let ballast = disk.path.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    drop(file);
    let mut pulls = 1;
    eventually("the disk is full and counts wait", || {
        gateway.docker_pull(pulls, "acme/rocket", &format!("tag-{pulls}"));
        pulls += 1;
        gateway.health.persist_pending.load(Ordering::Relaxed) > 0
    });
    assert_eq!(gateway.health.store_ok.load(Ordering::Relaxed), 0);
    for _ in 0..500 {
        gateway.docker_pull(pulls, "acme/rocket", &format!("tag-{pulls}"));
        pulls += 1;
    }
    let all = u64::from(pulls);
    eventually("all are counted", || gateway.counted_pulls() == all);
    fs::remove_file(&ballast).unwrap();
    eventually("there is room again and all are written", || {
        gateway.health.persist_pending.load(Ordering::Relaxed) == 0
            && gateway.totals() == Some((2 * all, all, 0))
    });
    gateway.stop();
    assert_eq!(totals(&opened(&data_dir)), (2 * all, all, 0));
}

#[test]
fn counts_wait_in_memory_while_there_is_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let in_the_way = data_dir.join("counts.unfinished");
    fs::create_dir(&data_dir).unwrap();
    fs::write(&in_the_way, "not a folder").unwrap();
    let mut gateway = Gateway::start(&data_dir);
    gateway.docker_pull(1, "acme/rocket", "latest");
    eventually("the pull is counted, and waits", || {
        gateway.counted_pulls() == 1 && gateway.health.persist_pending.load(Ordering::Relaxed) > 0
    });
    assert_eq!(gateway.health.store_ok.load(Ordering::Relaxed), 0);
    assert!(gateway.query.rows(&Ask::default()).is_err());
    fs::remove_file(&in_the_way).unwrap();
    eventually("it is written", || gateway.totals() == Some((2, 1, 0)));
    assert_eq!(gateway.health.persist_pending.load(Ordering::Relaxed), 0);
    assert_eq!(gateway.health.store_ok.load(Ordering::Relaxed), 1);
    gateway.stop();
}

struct SmallDisk {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        let is_mounted = mount.is_ok_and(|status| status.success());
        assert!(is_mounted, "a small tmpfs cannot be mounted: this test needs root");
        Self { path: dir.path().to_owned(), _dir: dir }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

fn journal(dir: &Path) -> PathBuf {
    let mut paths = all_files(dir);
    let is_journal =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("journal.");
    paths.retain(is_journal);
    paths.sort();
    paths.pop().unwrap()
}
