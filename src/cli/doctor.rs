//! `pullgate doctor`: whether a domain leads to the running gateway, and what to change where not.

use std::process::ExitCode;

use hyper::StatusCode;
use serde_json::Value;

use super::args::DoctorArgs;
use super::{check, fail, print, socket};
use crate::control::visit::{self, Call};
use crate::messages::random::random;
use crate::pure::config::values::Config;
use crate::pure::config::{self, Problem};
use crate::pure::doctor::{Findings, Report};

/// Prints what was found: status 0 where nothing has to be changed, else 1.
pub fn run(args: &DoctorArgs) -> ExitCode {
    match report(args) {
        Ok(Report { lines, is_well }) => {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let printed = print(&text);
            if is_well { printed } else { ExitCode::FAILURE }
        }
        Err(words) => fail(&words),
    }
}

fn report(args: &DoctorArgs) -> Result<Report, String> {
    let name = args.config.display().to_string();
    let (config, _) = config::check(&name, &check::read(&args.config)?).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        lines.join("\n")
    })?;
    let domain = args.domain.trim_end_matches('.').to_ascii_lowercase();
    let nonce: [u8; 16] = random().map_err(|error| error.to_string())?;
    let nonce: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut target = "/reach".to_owned();
    socket::add(&mut target, "nonce", &nonce);
    let answer = asked(&config, &target)?;
    let answer = answer["answer"].as_str().unwrap_or_default().to_owned();
    let trouble = trouble(&asked(&config, "/certs")?, &domain);
    let call = Call {
        domain: domain.clone(),
        nonce,
        answer,
        ports: [args.http_port, args.https_port],
        trust: visit::trust(args.ca_file.as_deref())?,
    };
    let servers = args.resolver.map_or_else(visit::name_servers, |server| vec![server]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let (names, visits) = runtime.block_on(async {
        let names = visit::look_up(&servers, &domain).await;
        let mut visits = Vec::new();
        for address in names.iter().flat_map(|said| &said.addresses) {
            visits.push(visit::visit(&call, *address).await);
        }
        (names, visits)
    });
    Ok(Report::of(&Findings { domain: &domain, config: Some(&config), names, visits, trouble }))
}

/// What the running gateway answers.
fn asked(config: &Config, target: &str) -> Result<Value, String> {
    let data = &config.gateway.data_dir;
    let (status, body) =
        socket::ask(data, target, None)?.map_err(|error| socket::unheard(data, &error))?;
    match serde_json::from_str(&body) {
        Ok(answer) if status == StatusCode::OK => Ok(answer),
        _ => Err(format!("the gateway answers {status}: is it of the same version?")),
    }
}

/// What went wrong with the domain's certificate the last time.
fn trouble(certs: &Value, domain: &str) -> Option<String> {
    let rows = certs["certificates"].as_array()?;
    let row = rows.iter().find(|row| row["domain"] == domain)?;
    row["error"].as_str().map(str::to_owned)
}
