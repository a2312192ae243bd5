//! `pullgate explain`: how the running gateway would answer a request, step by step.

use std::process::ExitCode;

use hyper::StatusCode;
use serde_json::Value;

use super::args::ExplainArgs;
use super::plain::plain;
use super::remote::Remote;
use super::{fail, print, socket};

/// Prints the steps.
pub fn run(args: &ExplainArgs) -> ExitCode {
    match answer(args) {
        Ok(text) => print(&text),
        Err(words) => fail(&words),
    }
}

fn answer(args: &ExplainArgs) -> Result<String, String> {
    let remote = Remote::of(&args.elsewhere)?;
    let mut target = if remote.is_some() { "/api/v1/explain" } else { "/explain" }.to_owned();
    socket::add(&mut target, "url", &url(&args.url_asked));
    socket::add(&mut target, "user_agent", &args.user_agent);
    let (status, body) = match &remote {
        Some(remote) => (StatusCode::OK, remote.get(&target)?),
        None => socket::ask(&args.data, &target, None)?
            .map_err(|error| socket::unheard(&args.data, &error))?,
    };
    let answer: Value = serde_json::from_str(&body)
        .map_err(|_| "the gateway's answer is not JSON: is it of the same version?".to_owned())?;
    if status != StatusCode::OK {
        return Err(answer["error"].as_str().unwrap_or(&body).to_owned());
    }
    let steps = answer["steps"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(steps.iter().filter_map(Value::as_str).map(|step| format!("{}\n", plain(step))).collect())
}

/// The URL of what is typed: one already, or what stands behind `docker pull`.
fn url(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_path = path.is_empty() || path == "token" || path.starts_with("token?");
    if is_path || path == "v2" || path.starts_with("v2/") {
        return format!("{scheme}://{host}/{path}");
    }
    let (name, reference) = match (path.split_once('@'), path.rsplit_once(':')) {
        (Some((name, digest)), _) => (name.split(':').next().unwrap_or(name), digest),
        (None, Some((name, tag))) => (name, tag),
        (None, None) => (path, "latest"),
    };
    format!("{scheme}://{host}/v2/{name}/manifests/{reference}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_types_becomes_a_url() {
        for (typed, expected) in [
            ("a.b/acme/rocket", "http://a.b/v2/acme/rocket/manifests/latest"),
            ("a.b:8080/rocket:1.0", "http://a.b:8080/v2/rocket/manifests/1.0"),
            ("a.b/rocket@sha256:00", "http://a.b/v2/rocket/manifests/sha256:00"),
            ("a.b/rocket:1.0@sha256:00", "http://a.b/v2/rocket/manifests/sha256:00"),
            ("https://a.b/v2/", "https://a.b/v2/"),
            ("a.b/v2/x/tags/list?n=1", "http://a.b/v2/x/tags/list?n=1"),
            ("a.b/token?scope=x", "http://a.b/token?scope=x"),
            ("a.b", "http://a.b/"),
        ] {
            assert_eq!(url(typed), expected, "{typed}");
        }
    }
}
