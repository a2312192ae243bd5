//! A changed configuration is put in force; a broken one is refused and the old one stays. What the
//! configuration names (passwords, certificates, the table of clients) belongs to it: a change there
//! is one of the configuration.
//!
//! The file is looked at when something changes in its directory, and once a second anyway: that
//! covers file systems that report nothing and directories swapped further up the path. A look
//! compares what `stat` says of the file behind all symlinks, so an editor's rename, a write in
//! place and Kubernetes' swap of `..data` are the same to it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::made::{Order, Orders};
use super::status::{Phase, Status};
use super::supervisor::Supervisor;
use super::watch::{Stamp, Watch};
use crate::pure::config::problem::Problem;

/// What to watch, and what to do with it.
pub struct Options {
    /// The configuration file, where it is one.
    pub path: Option<PathBuf>,
    /// Its text that is in force.
    pub text: String,
    /// The files that it names, as of before they were read.
    pub files: Files,
    /// Puts things in force.
    pub adopter: Box<dyn Adopter>,
    /// Changes of packages that are made in the dashboard.
    pub orders: Orders,
    /// Where reloads are counted.
    pub status: Arc<Status>,
    /// Who is told of them.
    pub supervisor: Supervisor,
    /// What has the files looked at, and hears of it: with room for one, for while a wake waits another
    /// adds nothing.
    pub wake: (Sender<()>, Receiver<()>),
}

/// Puts what was written in force.
pub trait Adopter: Send {
    /// Puts the file's text in force, with the packages made in the dashboard beside it, or says everything
    /// that is wrong with it or with a file that it names. Those are looked at before they are read.
    fn file(
        &mut self,
        text: &str,
        files: &mut Files,
        orders: &Orders,
    ) -> Result<Applied, Vec<Problem>>;

    /// Does what somebody wants at the dashboard, beside the text that is in force, and tells them.
    fn change(&mut self, order: Order, orders: &Orders);

    /// Puts the packages that the store has in force, where they are others; whether they are then.
    fn look(&mut self, orders: &Orders) -> bool;
}

/// Files that a configuration names, each as of the last look; `None` when there was none.
#[derive(Default)]
pub struct Files(Vec<(PathBuf, Option<Stamp>)>);

impl Files {
    /// Looks at these from now on.
    pub fn look_at(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let stamped = |path: PathBuf| {
            let stamp = Stamp::of(&path);
            (path, stamp)
        };
        Self(paths.into_iter().map(stamped).collect())
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        self.0.iter().map(|(path, _)| Stamp::of(path)).collect()
    }

    fn have_changed(&self) -> bool {
        self.0.iter().any(|(path, stamp)| Stamp::of(path) != *stamp)
    }
}

/// A text was put in force.
pub struct Applied {
    /// What it holds, in words that continue "configuration reloaded: ".
    pub summary: String,
    /// Keys whose new values wait for a restart.
    pub needs_restart: Vec<&'static str>,
}

/// The watcher at work.
pub struct Reload {
    trigger: Trigger,
    thread: JoinHandle<()>,
}

/// Asks for the file to be read, changed or not.
#[derive(Clone)]
pub struct Trigger {
    asked: Arc<Asked>,
    waker: Sender<()>,
}

#[derive(Default)]
struct Asked {
    read: AtomicBool,
    stop: AtomicBool,
}

/// Begins watching. A change since `options.text` was read is seen too.
pub fn start(options: Options) -> io::Result<Reload> {
    let Options { path, text, files, adopter, orders, .. } = options;
    let Options { status, supervisor, wake: (waker, wakes), .. } = options;
    let trigger = Trigger { asked: Arc::default(), waker: waker.clone() };
    let asked = Arc::clone(&trigger.asked);
    let thread = std::thread::Builder::new().name("reload".into()).spawn(move || {
        let file = path.map(|path| {
            let (watch, tried) = (Watch::new(waker), digest(&text));
            drop(text);
            Configuration { watch, path, stamp: None, files, tried, status, supervisor }
        });
        run(file, To { adopter, orders }, &asked, &wakes);
    })?;
    Ok(Reload { trigger, thread })
}

impl Reload {
    /// A handle that asks for the file to be read, changed or not.
    pub fn trigger(&self) -> Trigger {
        self.trigger.clone()
    }

    /// Ends watching.
    pub fn stop(self) {
        self.trigger.asked.stop.store(true, SeqCst);
        let _ = self.trigger.waker.try_send(());
        if self.thread.join().is_err() {
            tracing::error!("the configuration's watcher panicked");
        }
    }
}

impl Trigger {
    /// Asks. Never blocks.
    pub fn ask(&self) {
        self.asked.read.store(true, SeqCst);
        let _ = self.waker.try_send(());
    }
}

impl Asked {
    /// Waits so long, unless something is asked for.
    fn comes_within(&self, time: Duration, wakes: &Receiver<()>) -> bool {
        let until = Instant::now() + time;
        loop {
            if self.read.load(SeqCst) || self.stop.load(SeqCst) {
                return true;
            }
            if wakes.recv_deadline(until).is_err() {
                return false;
            }
        }
    }
}

struct Configuration {
    path: PathBuf,
    /// The file as of the last look; `None` when there was none.
    stamp: Option<Stamp>,
    files: Files,
    /// The text that was last tried, whether it was accepted or not.
    tried: u64,
    status: Arc<Status>,
    supervisor: Supervisor,
    watch: Watch,
}

fn run(mut file: Option<Configuration>, mut to: To, asked: &Asked, wakes: &Receiver<()>) {
    if let Some(file) = &mut file {
        file.watch.follow(&file.path);
    }
    // What could not be read at the start may be there by now.
    let mut is_behind = true;
    while !asked.stop.load(SeqCst) {
        let is_asked = asked.read.swap(false, SeqCst);
        match &mut file {
            Some(file) if is_asked => file.load(true, &mut to),
            Some(file) => file.look(&mut to, asked, wakes),
            None => {}
        }
        // One a round: however many are asked for, the file has its turn.
        let order = to.orders.next();
        let may_wait = order.is_none() && !asked.read.load(SeqCst);
        if let Some(order) = order {
            to.adopter.change(order, &to.orders);
        }
        // Until it has succeeded, also where a change before it has read the same.
        is_behind |= to.orders.is_behind();
        is_behind = is_behind && !to.adopter.look(&to.orders);
        // Woken or not, what there is to do is looked up.
        if may_wait {
            let _ = wakes.recv_timeout(LOOK_EVERY);
        }
    }
}

/// Who puts things in force, and who asks for that beside the file.
struct To {
    adopter: Box<dyn Adopter>,
    orders: Orders,
}

impl Configuration {
    /// Loads the file if it, or what it names, is another than at the last look, once nobody is
    /// writing to it. Whoever asks for it to be read meanwhile has written it: then it is left to that.
    fn look(&mut self, to: &mut To, asked: &Asked, wakes: &Receiver<()>) {
        let stamps = |this: &Self| (Stamp::of(&this.path), this.files.stamps());
        if Stamp::of(&self.path) == self.stamp && !self.files.have_changed() {
            return;
        }
        let mut last = stamps(self);
        for _ in 0..SETTLE_ROUNDS {
            if asked.comes_within(SETTLE, wakes) {
                return;
            }
            let before = std::mem::replace(&mut last, stamps(self));
            let is_empty = last.0.is_some_and(|stamp| stamp.is_empty());
            if before == last && !is_empty {
                break;
            }
        }
        // The text may be the same, but not what it leads to.
        self.load(self.files.have_changed(), to);
    }

    /// Reads the file and applies its text if it is `asked` for or new.
    fn load(&mut self, asked: bool, to: &mut To) {
        // Taken before reading: what is written meanwhile is then a change.
        self.stamp = Stamp::of(&self.path);
        let named = std::mem::take(&mut self.files).0;
        self.files = Files::look_at(named.into_iter().map(|(path, _)| path));
        self.watch.follow(&self.path);
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) => {
                drop(self.reloading());
                self.status.count_reload(false);
                tracing::error!(
                    "{}: cannot be read: {error}; the running configuration stays",
                    self.path.display()
                );
                return;
            }
        };
        let digest = digest(&text);
        if digest == self.tried && !asked {
            return;
        }
        self.tried = digest;
        let reloading = self.reloading();
        let outcome = match text.trim().is_empty() {
            true => Err(vec![self.nothing()]),
            false => to.adopter.file(&text, &mut self.files, &to.orders),
        };
        drop(reloading);
        self.status.count_reload(outcome.is_ok());
        match outcome {
            Ok(applied) => {
                tracing::info!("configuration reloaded: {}", applied.summary);
                if !applied.needs_restart.is_empty() {
                    let keys = applied.needs_restart.join(", ");
                    tracing::warn!("changed, but in force only after a restart: {keys}");
                }
            }
            Err(problems) => {
                for problem in &problems {
                    tracing::error!("{problem}");
                }
                tracing::error!(
                    "the running configuration stays: {} has {} problem{}",
                    self.path.display(),
                    problems.len(),
                    if problems.len() == 1 { "" } else { "s" },
                );
            }
        }
    }
}

/// Until it is dropped, whoever supervises the process takes it to be reading its configuration.
struct Reloading(Supervisor);

impl Drop for Reloading {
    fn drop(&mut self) {
        self.0.ready();
    }
}

impl Configuration {
    /// What an empty file is, which somebody writes to and has not got any further: that no package is to be
    /// there any more is said in words.
    fn nothing(&self) -> Problem {
        let what = "the file is empty, as one is that is being written; to have no packages, write a comment";
        let (file, key) = (self.path.display().to_string(), "TOML".into());
        Problem { file, line: 1, key, what: what.into() }
    }

    /// Says that the configuration is read; who drains has said its last word.
    fn reloading(&self) -> Option<Reloading> {
        (self.status.phase() == Phase::Serving).then(|| {
            self.supervisor.reloading();
            Reloading(self.supervisor.clone())
        })
    }
}

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// How often the file is looked at when nothing is heard.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a changed file must stay as it is before it is read, and how often that is tried.
const SETTLE: Duration = Duration::from_millis(100);
const SETTLE_ROUNDS: usize = 5;

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::control::made::tests::ask_and_go;
    use crate::control::made::{self, Makers, Refused};
    use crate::control::tests::eventually;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    struct Watched {
        dir: tempfile::TempDir,
        path: PathBuf,
        applied: Receiver<String>,
        status: Arc<Status>,
        makers: Makers,
        reload: Reload,
    }

    impl Watched {
        fn next_applied(&self) -> String {
            self.applied.recv_timeout(Duration::from_secs(10)).expect("a text to be applied")
        }

        /// Stops; nothing was applied but what the test has seen.
        fn stop(self) {
            self.reload.stop();
            assert_eq!(self.applied.try_recv().ok(), None);
        }
    }

    /// Whoever looks on has what is put in force, and whoever asked for something asks for more.
    struct ToSee(Sender<String>, Makers);

    impl Adopter for ToSee {
        fn file(
            &mut self,
            text: &str,
            files: &mut Files,
            _: &Orders,
        ) -> Result<Applied, Vec<Problem>> {
            if let Some(path) = text.strip_prefix("names ") {
                *files = Files::look_at([PathBuf::from(path)]);
            }
            if text == "broken" {
                let (file, key, what) = ("pullgate.toml".into(), "word".into(), "none".into());
                return Err(vec![Problem { file, line: 1, key, what }]);
            }
            self.0.send(text.to_owned()).unwrap();
            Ok(Applied { summary: text.to_owned(), needs_restart: Vec::new() })
        }

        fn change(&mut self, order: Order, _: &Orders) {
            order.answer(Err(Refused::Changed));
            ask_and_go(&self.1);
        }

        fn look(&mut self, _: &Orders) -> bool {
            true
        }
    }

    /// A configuration is one word here, and `broken` is none.
    fn watched(lay_out: impl FnOnce(&Path)) -> Watched {
        watched_at("pullgate.toml", lay_out)
    }

    fn watched_at(path: &str, lay_out: impl FnOnce(&Path)) -> Watched {
        let dir = tempfile::tempdir().unwrap();
        lay_out(dir.path());
        let path = dir.path().join(path);
        let text = fs::read_to_string(&path).unwrap();
        let (applied, to_see) = bounded(16);
        let status = Status::new();
        let (files, status_too) = (Files::default(), Arc::clone(&status));
        let (path_too, wake) = (Some(path.clone()), bounded(1));
        let supervisor = Supervisor::default();
        let (makers, orders) = made::channel(wake.0.clone());
        let adopter = Box::new(ToSee(applied, makers.clone()));
        let options = Options {
            path: path_too,
            text,
            files,
            adopter,
            orders,
            status: status_too,
            supervisor,
            wake,
        };
        Watched { dir, path, applied: to_see, status, makers, reload: start(options).unwrap() }
    }

    fn one_file(dir: &Path) {
        fs::write(dir.join("pullgate.toml"), "one").unwrap();
    }

    /// Succeeds at the third look.
    struct Late(Sender<()>, u32);

    impl Adopter for Late {
        fn file(&mut self, _: &str, _: &mut Files, _: &Orders) -> Result<Applied, Vec<Problem>> {
            unreachable!("there is no file")
        }

        fn change(&mut self, _: Order, _: &Orders) {}

        fn look(&mut self, _: &Orders) -> bool {
            self.1 += 1;
            self.0.send(()).unwrap();
            self.1 >= 3
        }
    }

    #[test]
    fn what_the_store_has_is_looked_for_until_it_is_in_force() {
        let ((looked, to_see), wake) = (bounded(9), bounded(1));
        let (makers, orders) = made::channel(wake.0.clone());
        let options = Options {
            path: None,
            text: String::new(),
            files: Files::default(),
            adopter: Box::new(Late(looked, 0)),
            orders,
            status: Status::new(),
            supervisor: Supervisor::default(),
            wake,
        };
        let reload = start(options).unwrap();
        let looks = |many| {
            for _ in 0..many {
                to_see.recv_timeout(Duration::from_secs(10)).expect("a look");
            }
        };
        looks(3);
        makers.look();
        looks(1);
        reload.stop();
        assert!(to_see.try_recv().is_err(), "one that has succeeded is enough");
    }

    #[test]
    fn a_changed_file_has_its_turn_however_much_is_asked_for() {
        let watched = watched(one_file);
        ask_and_go(&watched.makers);
        fs::write(&watched.path, "two").unwrap();
        assert_eq!(watched.next_applied(), "two");
        watched.stop();
    }

    #[test]
    fn a_write_in_place_and_an_editors_rename_are_changes() {
        let watched = watched(one_file);
        fs::write(&watched.path, "two").unwrap();
        assert_eq!(watched.next_applied(), "two");
        let swap = watched.dir.path().join(".pullgate.toml.swp");
        fs::write(&swap, "three").unwrap();
        fs::rename(&swap, &watched.path).unwrap();
        assert_eq!(watched.next_applied(), "three");
        watched.stop();
    }

    #[test]
    fn a_swap_of_kubernetes_data_link_is_a_change() {
        let watched = watched(|dir| {
            for (version, text) in [("..1", "one"), ("..2", "two")] {
                fs::create_dir(dir.join(version)).unwrap();
                fs::write(dir.join(version).join("pullgate.toml"), text).unwrap();
            }
            symlink("..1", dir.join("..data")).unwrap();
            symlink("..data/pullgate.toml", dir.join("pullgate.toml")).unwrap();
        });
        let made = watched.dir.path().join("..data_tmp");
        symlink("..2", &made).unwrap();
        fs::rename(&made, watched.dir.path().join("..data")).unwrap();
        assert_eq!(watched.next_applied(), "two");
        watched.stop();
    }

    #[test]
    fn a_swap_of_the_directory_is_a_change() {
        let watched = watched_at("current/pullgate.toml", |dir| {
            for (version, text) in [("1", "one"), ("2", "two")] {
                fs::create_dir(dir.join(version)).unwrap();
                fs::write(dir.join(version).join("pullgate.toml"), text).unwrap();
            }
            symlink("1", dir.join("current")).unwrap();
        });
        let made = watched.dir.path().join("new");
        symlink("2", &made).unwrap();
        fs::rename(&made, watched.dir.path().join("current")).unwrap();
        assert_eq!(watched.next_applied(), "two");
        watched.stop();
    }

    #[test]
    fn what_a_link_points_to_elsewhere_is_watched_too() {
        let elsewhere = tempfile::tempdir().unwrap();
        let target = elsewhere.path().join("real.toml");
        fs::write(&target, "one").unwrap();
        let watched = watched(|dir| symlink(&target, dir.join("pullgate.toml")).unwrap());
        fs::write(&target, "two").unwrap();
        assert_eq!(watched.next_applied(), "two");
        watched.stop();
    }

    #[test]
    fn the_same_text_again_is_no_change_unless_it_is_asked_for() {
        let watched = watched(one_file);
        fs::write(&watched.path, "one").unwrap();
        watched.reload.trigger().ask();
        assert_eq!(watched.next_applied(), "one");
        fs::write(&watched.path, "two").unwrap();
        assert_eq!(watched.next_applied(), "two");
        watched.stop();
    }

    #[test]
    fn a_change_of_a_file_that_the_text_names_is_a_change() {
        let secrets = tempfile::tempdir().unwrap();
        let password = secrets.path().join("password");
        let watched = watched(one_file);
        let text = format!("names {}", password.display());
        fs::write(&watched.path, &text).unwrap();
        assert_eq!(watched.next_applied(), text);
        for change in ["first", "other"] {
            fs::write(&password, change).unwrap();
            assert_eq!(watched.next_applied(), text);
        }
        // Even while the text itself is refused, what it named before is looked at once only.
        fs::write(&watched.path, "broken").unwrap();
        let refused = || watched.status.configuration().reloads_refused;
        eventually("the broken file to be refused", || refused() == 1);
        fs::remove_file(&password).unwrap();
        eventually("the broken file to be tried again", || refused() == 2);
        fs::write(&watched.path, "one").unwrap();
        assert_eq!(watched.next_applied(), "one");
        assert_eq!(refused(), 2);
        watched.stop();
    }

    #[test]
    fn a_broken_missing_or_empty_file_changes_nothing_and_is_counted_once() {
        let watched = watched(one_file);
        let refused = || watched.status.configuration().reloads_refused;
        fs::write(&watched.path, "broken").unwrap();
        eventually("the broken file to be refused", || refused() == 1);
        fs::remove_file(&watched.path).unwrap();
        eventually("the missing file to be noticed", || refused() == 2);
        fs::write(&watched.path, "\n").unwrap();
        eventually("the empty file to be refused", || refused() == 3);
        fs::write(&watched.path, "three").unwrap();
        assert_eq!(watched.next_applied(), "three");
        assert_eq!(refused(), 3);
        watched.stop();
    }
}
