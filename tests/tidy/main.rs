//! House rules that the compiler does not know: who may name whom, what each floor never says, and
//! what the pages promise. A rule that is broken says where, and what is allowed.
//!
//! The tables are held to from both sides: an allowance that nobody uses is a problem too, so that
//! they stay the truth. Each rule is tried on samples, good and bad, where it is written. The keys
//! of the configuration need no rule here: their page and their file are written from one table,
//! which `tests/config.rs` compares.

#![allow(unreachable_pub, reason = "its modules read like the library that they are to it")]
#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use code::{Exception, Floor, Items};
use source::Source;

mod code;
mod pages;
mod source;

/// The folders of `src/`, from the ground up.
const FLOORS: &[Floor] = &[
    Floor {
        name: "pure",
        ours: &[],
        outside: &[
            "foldhash",
            "hashbrown",
            "httparse",
            "jiff",
            "maxminddb",
            "memchr",
            "ring",
            "serde",
            "serde_json",
            "serde_spanned",
            "sha2",
            "siphasher",
            "toml",
        ],
        // No I/O, no clock, no thread, no global, no unsafe.
        never: &[
            "std::fs",
            "std::io",
            "std::env",
            "std::process",
            "Instant::now",
            "SystemTime",
            "Timestamp::now",
            "Zoned::now",
            "std::thread",
            "static",
            "thread_local!",
            "Mutex",
            "RwLock",
            "unsafe",
            "async",
            "print!",
            "println!",
            "eprintln!",
        ],
    },
    Floor {
        name: "messages",
        ours: &["pure"],
        outside: &[
            "crossbeam_channel",
            "foldhash",
            "hashbrown",
            "hdrhistogram",
            "rustix",
            "rustls",
            "serde",
            "siphasher",
            "tracing",
        ],
        never: &[
            "std::fs",
            "std::thread",
            "Mutex",
            "RwLock",
            "unsafe",
            "async",
            "println!",
            "eprintln!",
        ],
    },
    Floor {
        name: "worker",
        ours: &["pure", "messages"],
        outside: &[
            "bytes",
            "crossbeam_channel",
            "h2",
            "http",
            "io_uring",
            "jiff",
            "monoio",
            "monoio_http",
            // Its trials only: servers that show certificates of their own.
            "rcgen",
            "rustix",
            "rustls",
            "socket2",
            "tokio",
            "tracing",
        ],
        // A worker waits for its ring, and for nothing else.
        never: &[
            "std::fs",
            "thread::sleep",
            "to_socket_addrs",
            "block_on",
            "Mutex",
            "RwLock",
            "unsafe",
            "println!",
            "eprintln!",
        ],
    },
    Floor {
        name: "aggregator",
        ours: &["pure", "messages"],
        outside: &[
            "crc32fast",
            "crossbeam_channel",
            "foldhash",
            "hashbrown",
            "jiff",
            "postcard",
            "rustix",
            "serde",
            "siphasher",
            "sled",
            "tracing",
        ],
        never: &["thread::sleep", "Mutex", "RwLock", "unsafe", "async", "println!", "eprintln!"],
    },
    Floor {
        name: "control",
        ours: &["pure", "messages", "aggregator"],
        outside: &[
            "argon2",
            "askama",
            "axum",
            "crossbeam_channel",
            "http_body_util",
            "hyper",
            "hyper_util",
            "instant_acme",
            "jiff",
            "notify",
            "rcgen",
            "rusqlite",
            "rustix",
            "rustls",
            "rustls_native_certs",
            "serde",
            "serde_json",
            "tar",
            "tokio",
            "tokio_rustls",
            "tracing",
            "tracing_appender",
            "tracing_subscriber",
            "utoipa",
            "utoipa_axum",
            "x509_parser",
        ],
        never: &["unsafe", "println!", "eprintln!"],
    },
    Floor {
        name: "cli",
        ours: &["pure", "messages", "worker", "aggregator", "control"],
        outside: &[
            "axum",
            "clap",
            "crossbeam_channel",
            "flate2",
            "http_body_util",
            "hyper",
            "hyper_util",
            "jiff",
            "postcard",
            "rustix",
            "serde",
            "serde_json",
            "tar",
            "tempfile",
            "tokio",
            "tracing",
        ],
        never: &["unsafe"],
    },
];

/// What a floor may name of another, where that is less than everything.
const ITEMS: &[Items] = &[Items {
    floor: "control",
    of: "aggregator",
    allowed: &[
        "Amendment",
        "Answer",
        "Ask",
        "Booked",
        "By",
        "Export",
        "Feed",
        "Health",
        "Kept",
        "Only",
        "Portion",
        "Query",
        "QueryError",
        "Row",
        "is_of_store",
    ],
}];

/// What no Rust file says.
const NEVER: &[&str] = &["super::super", "dbg!", "todo!", "unimplemented!", "#[ignore]"];

/// What tests never say: they wait for something, with a deadline, and not for a while.
const TESTS_NEVER: &[&str] = &["sleep(", "unsafe"];

/// Who says it all the same.
const EXCEPTIONS: &[Exception] = &[
    Exception {
        file: "src/messages/pulls.rs",
        says: "unsafe",
        why: "pages are kept out of core dumps",
    },
    Exception {
        file: "src/cli/inherited.rs",
        says: "unsafe",
        why: "descriptors that systemd has opened are known by their numbers only",
    },
    Exception {
        file: "src/worker/buffers.rs",
        says: "unsafe",
        why: "the ring reads into memory that is ours",
    },
    Exception {
        file: "src/worker/socket.rs",
        says: "unsafe",
        why: "the system is asked directly about sockets that the ring's streams own",
    },
    Exception {
        file: "src/worker/slots.rs",
        says: "unsafe",
        why: "the sweep ends waits on connections' descriptors",
    },
    Exception {
        file: "src/worker/upstream/encode.rs",
        says: "unsafe",
        why: "what monoio-http has written is copied from its buffer",
    },
    Exception {
        file: "src/worker/upstream/resolver.rs",
        says: "to_socket_addrs",
        why: "threads of its own wait for names, so that no worker does",
    },
    Exception {
        file: "src/worker/driver.rs",
        says: "block_on",
        why: "a worker's runtime begins there",
    },
    Exception {
        file: "src/control/mod.rs",
        says: "sleep(",
        why: "the unit tests' `eventually` is there",
    },
    Exception {
        file: "tests/support/eventually.rs",
        says: "sleep(",
        why: "the other tests' `eventually` is there",
    },
    Exception {
        file: "tests/no_alloc.rs",
        says: "unsafe",
        why: "an allocator that counts is an allocator",
    },
    Exception {
        file: "tests/support/sandbox.rs",
        says: "unsafe",
        why: "a process is held to less between fork and exec",
    },
];

#[test]
fn floors_name_only_what_they_may() {
    let dependencies = pages::dependencies(&read("Cargo.toml"));
    tidy(&code::imports(&sources(), FLOORS, ITEMS, &dependencies));
}

#[test]
fn nobody_says_what_is_never_said() {
    tidy(&code::words(&sources(), FLOORS, EXCEPTIONS));
}

#[test]
fn the_files_of_a_floor_name_each_other_in_no_circle() {
    tidy(&code::circles(&sources()));
}

#[test]
fn unsafe_code_says_why_it_is_sound() {
    tidy(&sources().iter().flat_map(code::unsound).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_for_later() {
    for file in files(&["rs", "md", "toml", "sh", "svg"]) {
        // The rule itself and its samples have to name what they look for.
        if file != "tests/tidy/pages.rs" {
            tidy(&pages::left_for_later(&file, &read(&file)));
        }
    }
}

#[test]
fn pages_have_one_title_and_links_that_lead_somewhere() {
    let exists = |target: &Path| root().join(target).exists();
    let problems = files(&["md"])
        .iter()
        .flat_map(|file| pages::page(file, &read(file), exists))
        .collect::<Vec<_>>();
    tidy(&problems);
}

#[test]
fn the_readme_shows_every_command() {
    let arguments = Source::new("src/cli/args.rs", &read("src/cli/args.rs"));
    tidy(&pages::commands(&arguments, &read("README.md")));
}

#[test]
fn the_operators_page_has_every_metric_and_no_other() {
    tidy(&pages::metrics(&sources(), &read("docs/operating.md")));
}

#[test]
fn every_dependency_says_whose_it_is_and_what_for() {
    tidy(&pages::reasons(&read("Cargo.toml"), FLOORS));
}

#[test]
fn the_load_harness_links_nothing_of_the_gateway() {
    let linked = pages::dependencies(&read("loadtest/Cargo.toml"));
    assert!(linked.contains("rustix") && !linked.contains("pullgate"), "{linked:?}");
}

fn tidy(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

fn sources() -> Vec<Source> {
    let read = |file: String| Source::new(&file, &read(&file));
    files(&["rs"]).into_iter().map(read).collect()
}

/// The files of these kinds that are ours, by their path in the package.
fn files(kinds: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(root()).expect("it is inside");
            let is_ours = !name.starts_with("target") && !name.to_string_lossy().starts_with('.');
            let is_kind = path.extension().is_some_and(|kind| kinds.iter().any(|one| kind == *one));
            if path.is_dir() && is_ours {
                folders.push(path);
            } else if is_kind {
                found.push(name.to_string_lossy().into_owned());
            }
        }
    }
    found.sort_unstable();
    assert!(!found.is_empty(), "no files of {kinds:?}");
    found
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|problem| panic!("{file}: {problem}"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
