//! What a former provider counted.

use std::fs;
use std::process::Command;

use super::gate::{Gate, pullgate};
use super::process::run;

/// Has it added.
pub fn import(gate: &Gate, csv: &str) {
    let file = gate.config_file().with_file_name("old.csv");
    fs::write(&file, csv).expect("written");
    let mut import = Command::new(pullgate());
    run(import.arg("import").arg(&file).arg("--data").arg(gate.data_dir()));
}

/// Has so much of it added to a package that an export of that does not fit into sockets (tcp(7), tcp_wmem: four
/// megabytes) and the sixteen pieces that the library takes: so many rows.
pub fn import_much(gate: &Gate, package: &str) -> usize {
    let (days, versions) = (84, 900);
    let mut old = "time,package,version,pulls\n".to_owned();
    for day in 0..days {
        let (month, day) = (2 + day / 28, 1 + day % 28);
        for version in 0..versions {
            old += &format!("2024-{month:02}-{day:02},{package},{version}.0,1\n");
        }
    }
    import(gate, &old);
    days * versions
}
