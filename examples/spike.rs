use pullgate::cli::data_plane::DataPlane;
use pullgate::pure::{config::check, snapshot::Snapshot};
use std::sync::Arc;
fn main() {
    tracing_subscriber::fmt().init();
    let driver = std::env::args().nth(1).unwrap_or("auto".into());
    let workers = std::env::args().nth(2).unwrap_or("0".into());
    let text = format!(
        r#"
[gateway]
listen = ["127.0.0.1:8080"]
driver = "{driver}"
workers = {workers}
data_dir = "/tmp/pgspike"
[limits]
header_timeout = "2s"
idle_timeout = "5s"
connections_per_client = 0
[[packages]]
domain = "*"
name = "acme/rocket"
backend = "ghcr.io/acme/rocket"
[[packages]]
domain = "*"
name = "tools/*"
backend = "ghcr.io/acme/*"
"#
    );
    let (config, _) = match check::check("x", &text) {
        Ok(c) => c,
        Err(p) => {
            for p in p {
                println!("{p}");
            }
            return;
        }
    };
    let snapshot = Arc::new(Snapshot::build(&config, 1));
    let (plane, ends) = match DataPlane::start(&config, &snapshot) {
        Ok(p) => p,
        Err(e) => {
            println!("{e}");
            return;
        }
    };
    println!("{:?} {}", plane.addresses, plane.driver);
    let mut events = 0usize;
    let mut line = String::new();
    std::thread::spawn({
        let c = plane.command();
        move || {
            std::io::stdin().read_line(&mut line).ok();
            c.drain(std::time::Duration::from_secs(3));
        }
    });
    let threads = std::thread::spawn(move || plane.join());
    while !threads.is_finished() {
        for end in &ends.pulls {
            while let Ok(parcel) = end.try_take() {
                if let pullgate::messages::pulls::Parcel::Page(p) = parcel {
                    events += p.len();
                    end.give_back(p);
                }
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    println!("events {events}");
}
