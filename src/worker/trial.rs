//! Workers on trial: real ones on threads of their own, with their tick, their orders and their
//! letters, that do what a test says instead of listening.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::bounded;

use crate::messages::archive::Archivist;
use crate::messages::keyring::Keyring;
use crate::messages::ledger::{Ledger, ROWS};
use crate::messages::meters::Meters;
use crate::messages::{archive, latency, mail, names, order, pulls, quotas, wanted};
use crate::pure::client::ClientTable;
use crate::pure::config::check;
use crate::pure::config::values::Driver as Wanted;
use crate::pure::desk::OwnKeys;
use crate::pure::snapshot::{Circumstances, Snapshot};
use crate::worker::driver::Driver;
use crate::worker::upstream::resolver;
use crate::worker::{Parts, Worker, begin, tick};

/// What one worker does.
pub type Errand<T> = Box<dyn FnOnce(Rc<Worker>) -> Pin<Box<dyn Future<Output = T>>> + Send>;

/// An errand.
pub fn errand<T, F: Future<Output = T> + 'static>(
    errand: impl FnOnce(Rc<Worker>) -> F + Send + 'static,
) -> Errand<T> {
    Box::new(move |worker| Box::pin(errand(worker)))
}

/// Every driver that this system has.
pub fn drivers() -> Vec<Driver> {
    [Wanted::IoUring, Wanted::Epoll]
        .into_iter()
        .filter_map(|wanted| Driver::choose(wanted).ok())
        .collect()
}

/// Lets one worker do `errand`, with a configuration that says nothing.
pub fn alone<T: Send, F: Future<Output = T> + 'static>(
    driver: Driver,
    does: impl FnOnce(Rc<Worker>) -> F + Send + 'static,
) -> T {
    workers(driver, &snapshot(""), &Arc::new(Keyring::bare()), vec![errand(does)]).remove(0).0
}

/// What a configuration compiles to.
pub fn snapshot(config: &str) -> Arc<Snapshot> {
    let (config, _) = check("trial.toml", config).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(|problem| format!("{problem}\n")).collect::<String>())
    });
    let clients = ClientTable::built_in();
    let around = Circumstances { clients, via: "trial", before: None, now_us: 0 };
    Arc::new(Snapshot::build(&config, 1, around))
}

/// Lets as many workers as there are `errands` each do one, beside no disk.
pub fn workers<T: Send>(
    driver: Driver,
    snapshot: &Arc<Snapshot>,
    keyring: &Arc<Keyring>,
    errands: Vec<Errand<T>>,
) -> Vec<(T, Arc<Meters>)> {
    workers_and_disk(driver, snapshot, keyring, errands, drop)
}

/// Lets as many workers as there are `errands` each do one; `disk` is given the end of the disk's
/// thread. All of them run until the last errand
/// is done. Returns what came of each, and the worker's meters.
pub fn workers_and_disk<T: Send>(
    driver: Driver,
    snapshot: &Arc<Snapshot>,
    keyring: &Arc<Keyring>,
    errands: Vec<Errand<T>>,
    disk: impl FnOnce(Archivist),
) -> Vec<(T, Arc<Meters>)> {
    let (retired, _) = bounded(errands.len());
    let channels: Vec<_> = errands.iter().map(|_| order::channel().unwrap()).collect();
    let bells = || channels.iter().map(|(orders, _)| orders.bell());
    let post = mail::post(bells());
    let (names, desk) = names::channel(bells());
    let (archives, archivist) = archive::channel(bells());
    disk(archivist);
    resolver::spawn(&desk).unwrap();
    let under_way = Under(Arc::new(AtomicUsize::new(errands.len())));
    thread::scope(|scope| {
        let mut running = Vec::new();
        let each = errands
            .into_iter()
            .zip(channels)
            .zip(post)
            .zip(names.into_iter().zip(archives))
            .enumerate();
        for (index, (((errand, (orders, order_book)), post), (names, archive))) in each {
            let parts = Parts {
                index,
                cpu: None,
                driver,
                listeners: Vec::new(),
                snapshot: Arc::clone(snapshot),
                keyring: Arc::clone(keyring),
                keys: Arc::new(OwnKeys::new(&[7; 32], None)),
                certificates: Arc::default(),
                wanted: wanted::channel().0,
                quotas: quotas::channel().0,
                look: bounded(1).0,
                retired: retired.clone(),
                orders: order_book,
                post,
                names,
                archive,
                seed: index as u64,
                pulls: pulls::channel().0,
                meters: Meters::new(),
                latency: latency::channel().0,
                access: None,
                ledger: Ledger::new([(1, 2); ROWS]),
                connections_max: 1,
            };
            let (under_way, meters) = (under_way.clone(), Arc::clone(&parts.meters));
            let done = scope.spawn(move || driver.run(run(parts, errand, under_way)).unwrap());
            running.push((done, meters, orders));
        }
        let done = |(done, meters, _): (thread::ScopedJoinHandle<'_, T>, _, _)| {
            (done.join().unwrap(), meters)
        };
        running.into_iter().map(done).collect()
    })
}

async fn run<T>(parts: Parts, errand: Errand<T>, under_way: Under) -> T {
    let (worker, timer) = begin(parts).unwrap();
    let ticking = Rc::clone(&worker);
    monoio::spawn(async move { tick::run(&ticking, timer).await });
    let one = One(under_way.clone());
    let done = errand(Rc::clone(&worker)).await;
    drop(one);
    while under_way.0.load(Ordering::SeqCst) > 0 {
        worker.next_sweep().await;
    }
    done
}

/// How many errands are not done.
#[derive(Clone)]
struct Under(Arc<AtomicUsize>);

/// One of them. Should it panic, the others need not wait for it.
struct One(Under);

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}
