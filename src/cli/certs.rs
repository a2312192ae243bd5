//! `pullgate certs`: the certificates of a running gateway, and the domains that wait for one.

use std::process::ExitCode;

use hyper::StatusCode;
use serde_json::Value;

use super::args::CertsArgs;
use super::{fail, print, socket};

/// Prints a row for each domain, and under it what went wrong.
pub fn run(args: &CertsArgs) -> ExitCode {
    match rows(args) {
        Ok(rows) if args.json => print(&format!("{rows}\n")),
        Ok(rows) => print(&table(&rows)),
        Err(words) => fail(&words),
    }
}

fn rows(args: &CertsArgs) -> Result<Value, String> {
    let (status, body) = socket::ask(&args.data, "/certs", None)?
        .map_err(|error| socket::unheard(&args.data, &error))?;
    match serde_json::from_str(&body) {
        Ok(rows) if status == StatusCode::OK => Ok(rows),
        _ => Err(format!("the gateway answers {status}: is it of the same version?")),
    }
}

fn table(answer: &Value) -> String {
    let rows = answer["certificates"].as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return "no certificates: see [acme] and [[certificates]] of the configuration\n"
            .to_owned();
    }
    let text = |row: &Value, key: &str, none: &str| row[key].as_str().unwrap_or(none).to_owned();
    let titles = ["domain", "expires", "next", "issuer"].map(str::to_owned);
    let cells: Vec<[String; 4]> = rows
        .iter()
        .map(|row| {
            let next = if row["from"] == "file" { "from a file" } else { "-" };
            [
                text(row, "domain", ""),
                text(row, "expires", "none yet"),
                text(row, "next", next),
                text(row, "issuer", "-"),
            ]
        })
        .collect();
    let mut widths = [0; 4];
    for row in cells.iter().chain([&titles]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; 4]| {
        let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  "));
        format!("{}\n", padded.collect::<String>().trim_end())
    };
    let mut out = line(&titles);
    for (row, cells) in rows.iter().zip(&cells) {
        out += &line(cells);
        if let Some(error) = row["error"].as_str() {
            out += &format!("    {error}\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_for_each_domain_and_what_went_wrong_below_it() {
        let rows = json!({ "certificates": [
            { "domain": "a.b", "from": "file", "issuer": "CN=one", "expires": "2027-01-01T00:00:00Z",
              "next": null, "error": null },
            { "domain": "c.example", "from": "authority", "issuer": null, "expires": null,
              "next": "2026-11-27T09:00:00Z", "error": "no address" },
        ]});
        let expected = "\
domain     expires               next                  issuer
a.b        2027-01-01T00:00:00Z  from a file           CN=one
c.example  none yet              2026-11-27T09:00:00Z  -
    no address
";
        assert_eq!(table(&rows), expected);
        assert!(table(&json!({ "certificates": [] })).starts_with("no certificates"));
    }
}
