//! Manifests asked for by workers that own their keys, and by workers that do not, on every driver.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::*;
use crate::messages::archive::{Archivist, Errand as DiskErrand};
use crate::messages::keyring::Keyring;
use crate::pure::cache::{Refused, Sought};
use crate::pure::snapshot::Snapshot;
use crate::pure::tokens::Identity;
use crate::worker::driver::Driver;
use crate::worker::trial::{self, Errand, drivers, errand, workers, workers_and_disk};

/// What every digest of the registry names.
const BODY: &str = "{}";
/// Its digest.
const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// A registry on loopback in which every tag is the same manifest, and what it was asked.
fn registry() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (ask, asked) = bounded(ASKED_MAX);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let ask = ask.clone();
            thread::spawn(move || serve(stream.unwrap(), &ask));
        }
    });
    (address, asked)
}

fn serve(mut stream: TcpStream, ask: &Sender<String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    ask.send(format!("{method} {}", path.rsplit('/').next().unwrap())).unwrap();
    let body = if method == "HEAD" { "" } else { BODY };
    let fields = format!("Docker-Content-Digest: {DIGEST}\r\nContent-Length: {}", BODY.len());
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n{fields}\r\n\r\n{body}");
}

fn snapshot(registry: SocketAddr) -> Arc<Snapshot> {
    trial::snapshot(&format!(
        "[[packages]]\ndomain = \"*\"\nname = \"acme/rocket\"\n\
         backend = \"http://{registry}/acme/rocket\"\n"
    ))
}

fn wanted(snapshot: &Snapshot, reference: &str) -> Sought {
    Sought {
        base: snapshot.registries[0].base.as_str().into(),
        repository: "acme/rocket".into(),
        reference: reference.into(),
        identity: Identity::Anonymous,
        accept: "".into(),
        is_head: false,
        has_others: false,
    }
}

/// What a worker gets, and whether it had it.
async fn ask(worker: &Rc<Worker>, reference: &str) -> String {
    let adopted = worker.snapshot();
    let looking = Looking { worker, adopted: &adopted, registry: 0, by: u64::MAX };
    let mut source = Source::Memory;
    let found = looking.up(&wanted(&adopted, reference), &mut source).await;
    let had = if source == Source::Memory { "had" } else { "got" };
    found.map_or_else(
        |failure| format!("{:?}", failure.fault.kind),
        |found| format!("{had} {} {}", found.kept.status, found.kept.digest),
    )
}

#[test]
fn each_worker_gets_a_copy_and_the_registry_is_asked_once() {
    for driver in drivers() {
        let (address, asked) = registry();
        let asks = || {
            errand(|worker: Rc<Worker>| async move {
                for reference in ["latest", DIGEST] {
                    let first = ask(&worker, reference).await;
                    assert!(first.ends_with(&format!(" 200 {DIGEST}")), "{first}");
                    assert_eq!(ask(&worker, reference).await, format!("had 200 {DIGEST}"));
                }
                assert!(worker.manifests.bytes() > 2 * BODY.len());
            })
        };
        let errands = vec![asks(), asks(), asks()];
        workers(driver, &snapshot(address), &Arc::new(Keyring::bare()), errands);
        let mut asked: Vec<String> = asked.try_iter().collect();
        asked.sort();
        // Who meets the registry by a digest begins with a HEAD too.
        asked.retain(|it| *it != format!("HEAD {DIGEST}"));
        assert_eq!(asked, [format!("GET {DIGEST}"), "HEAD latest".to_owned()]);
    }
}

#[test]
fn an_owner_that_does_not_answer_is_done_without() {
    for driver in drivers() {
        let (address, asked) = registry();
        let snapshot = snapshot(address);
        let owner = Key::of(&wanted(&snapshot, DIGEST)).owner(2);
        let (done, stuck) = bounded::<()>(0);
        let mut errands: Vec<Errand<String>> = Vec::new();
        let mut asks = Some(errand(move |worker| async move {
            let _until_here = done;
            ask(&worker, DIGEST).await
        }));
        let mut owns = Some(errand(move |_| async move {
            // Its thread does nothing else until the other has been told.
            let _ = stuck.recv();
            String::new()
        }));
        for index in 0..2 {
            errands.extend(if index == owner { owns.take() } else { asks.take() });
        }
        let told = workers(driver, &snapshot, &Arc::new(Keyring::bare()), errands);
        assert_eq!(told[1 - owner].0, format!("got 200 {DIGEST}"));
        // The owner may ask too, when it comes to it.
        let asked: Vec<String> = asked.try_iter().take(2).collect();
        assert_eq!(asked, [format!("HEAD {DIGEST}"), format!("GET {DIGEST}")]);
    }
}

/// What a disk is asked after `doing`, which is done by one worker while the disk does nothing.
fn beside_a_hung_disk<F: Future<Output = ()> + 'static>(
    driver: Driver,
    snapshot: &Arc<Snapshot>,
    doing: impl FnOnce(Rc<Worker>, Receiver<Archivist>) -> F + Send + 'static,
) {
    let (give, disk) = bounded(1);
    let errands = vec![errand(move |worker| doing(worker, disk))];
    let keep = move |archivist| give.send(archivist).unwrap();
    workers_and_disk(driver, snapshot, &Arc::new(Keyring::bare()), errands, keep);
}

#[test]
fn a_disk_that_says_nothing_is_done_without() {
    for driver in drivers() {
        let (address, asked) = registry();
        let snapshot = snapshot(address);
        beside_a_hung_disk(driver, &snapshot, |worker, disk| async move {
            let disk = disk.recv().unwrap();
            let began = worker.clock.sweep();
            assert_eq!(ask(&worker, DIGEST).await, format!("got 200 {DIGEST}"));
            assert!(worker.clock.sweep() >= began + disk::DISK_SWEEPS_MAX, "it was waited for");
            assert!(matches!(disk.next(), DiskErrand::Find(_)));
            assert!(matches!(disk.next(), DiskErrand::Keep { .. }));
        });
        assert_eq!(asked.try_iter().count(), 2, "a HEAD, for it was not met, and a GET");
    }
}

#[test]
fn a_refusal_that_finds_no_room_is_told_again_and_again() {
    for driver in drivers() {
        let (address, _asked) = registry();
        let snapshot = snapshot(address);
        let key = Key::of(&wanted(&snapshot, DIGEST));
        beside_a_hung_disk(driver, &snapshot, |worker, disk| async move {
            let disk = disk.recv().unwrap();
            let mut waiting = 0;
            while worker.archive.forget(key.clone()) {
                waiting += 1;
            }
            for _ in 0..2 {
                refusals::refuse(&worker, key.scope());
                worker.next_sweep().await;
            }
            for _ in 0..waiting {
                assert!(matches!(disk.next(), DiskErrand::Forget(_)));
            }
            // Now there is room, and the next sweep finds it.
            worker.next_sweep().await;
            worker.next_sweep().await;
            let DiskErrand::Refuse(refused) = disk.next() else {
                panic!("the refusal is lost");
            };
            assert_eq!(refused, Refused::These([key.scope()].into()));
        });
    }
}

#[test]
fn a_worker_whose_letterbox_is_full_hears_of_a_refusal_later() {
    for driver in drivers() {
        let (address, _asked) = registry();
        let snapshot = snapshot(address);
        let scope = Key::of(&wanted(&snapshot, DIGEST)).scope();
        let (ready, is_ready) = bounded::<()>(1);
        let (release, released) = bounded::<()>(1);
        let refuses = errand(move |worker: Rc<Worker>| async move {
            while is_ready.try_recv().is_err() {
                worker.next_sweep().await;
            }
            while worker.post.send(1, Letter::ManifestAwaited { round: 0 }).is_ok() {}
            refusals::refuse(&worker, scope);
            release.send(()).unwrap();
        });
        let keeps = errand(move |worker: Rc<Worker>| async move {
            assert_eq!(ask(&worker, DIGEST).await, format!("got 200 {DIGEST}"));
            ready.send(()).unwrap();
            // Its thread does nothing else until there is no room left.
            released.recv().unwrap();
            assert_eq!(ask(&worker, DIGEST).await, format!("had 200 {DIGEST}"));
            while ask(&worker, DIGEST).await.starts_with("had") {
                worker.next_sweep().await;
            }
        });
        workers(driver, &snapshot, &Arc::new(Keyring::bare()), vec![refuses, keeps]);
    }
}

/// More than any test asks.
const ASKED_MAX: usize = 1_000;
