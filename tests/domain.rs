//! The dashboard by its host name, through the listeners that clients pull from: what is handed on, what is
//! not, and that pulls never wait for it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::channel;
use std::thread;

use support::eventually::eventually;
use support::gate::{DRIVERS, Gate};
use support::hosted::{
    HOST, MANIFEST, Secured, accept, gate, heard, in_its_place, lines, open, pull,
};
use support::http::{Answer, Connection, get};
use support::person::{PASSWORD, Person, set_up_link, text};
use support::process::run;

/// Somebody who comes by the host name, to the port that clients pull from.
fn visitor(gate: &Gate) -> Person {
    let mut person = Person::at(gate.address());
    person.host = Some(HOST.to_owned());
    person
}

fn signed_in(gate: &mut Gate) -> Person {
    Person::set_up(gate);
    let mut ada = visitor(gate);
    let answer = ada.sign_in("ada", PASSWORD);
    assert_eq!(answer.status, 303, "{}", text(&answer));
    ada
}

#[test]
fn people_sign_in_and_pulls_go_by_the_same_connection() {
    for driver in DRIVERS {
        let mut gate = gate(driver, "", "");
        let mut ada = signed_in(&mut gate);
        assert!(!ada.cookie.clone().unwrap().starts_with("__Host-"), "it is plain HTTP");
        assert!(text(&ada.get("/")).contains("acme/rocket"));
        let cookie = format!("Cookie: {}", ada.cookie.clone().unwrap());
        let mut connection = open(&gate);
        for _ in 0..3 {
            let page = connection.ask("GET", "/account", &lines(HOST, &[&cookie]), b"").unwrap();
            assert_eq!(page.status, 200);
            assert!(text(&page).contains("Sign out") && page.header("connection").is_none());
            let policy = page.header("content-security-policy").unwrap();
            assert!(policy.contains("default-src 'none'"), "{policy}");
            assert_eq!(pull(&mut connection), 307);
            let head =
                connection.ask("HEAD", "/sign-in", &lines("PULLGATE.acme.com.:80", &[]), b"");
            assert_eq!(head.unwrap().status, 200);
        }
        // Another request behind it that came with it, and one of HTTP/1.0.
        let two = format!(
            "GET /sign-in HTTP/1.1\r\nHost: {HOST}\r\n\r\nGET {MANIFEST} HTTP/1.1\r\nHost: registry.acme.com\r\n\r\n"
        );
        connection.send(two.as_bytes()).unwrap();
        assert_eq!(connection.answer(false).unwrap().status, 200);
        assert_eq!(connection.answer(false).unwrap().status, 307);
        let mut old = open(&gate);
        old.send(format!("GET /sign-in HTTP/1.0\r\nHost: {HOST}\r\n\r\n").as_bytes()).unwrap();
        let answer = old.answer(false).unwrap();
        assert!(answer.status == 200 && answer.is_whole && text(&answer).contains("</html>"));
        assert!(gate.metric("pullgate_requests_total{endpoint=\"dashboard\"}") >= 10);
    }
}

#[test]
fn the_first_account_is_made_at_the_host_name_or_the_admin_listener() {
    let mut gate = gate("epoll", "", "");
    let path = set_up_link(&mut gate);
    let (words, admin) = (gate.words(), gate.admin());
    let said = format!(
        "the first account is made, once, at https://{HOST}{path} or, as long as that name does not \
         lead here, at http://{admin}{path}"
    );
    assert!(words.contains(&said), "{said}: {words}");
    assert!(text(&visitor(&gate).get(&path)).contains("action=\"/set-up\""));
}

#[test]
fn that_host_has_the_dashboard_and_nothing_else_and_no_other_host_has_it() {
    let mut gate = gate("epoll", "", "");
    let mut ada = signed_in(&mut gate);
    for path in ["/v2/", "/v2", MANIFEST, "/v2/_catalog"] {
        let answer = ada.get(path);
        assert_eq!(answer.status, 404, "{path}");
        let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let message = told["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("dashboard and no packages"), "{told}");
    }
    for path in ["/metrics", "/healthz", "/readyz", "/token", "/pulls", "/robots.txt"] {
        assert_eq!(ada.get(path).status, 404, "{path}");
    }
    for host in ["registry.acme.com", "elsewhere.example", "x.pullgate.acme.com"] {
        for method in ["GET", "POST"] {
            let answer = open(&gate).ask(method, "/sign-in", &lines(host, &[]), b"").unwrap();
            assert!(answer.status >= 400 && !text(&answer).contains("<html"), "{host}");
        }
    }
    assert_eq!(gate.counts("registry.acme.com/acme/rocket").requests, 0);
}

#[test]
fn a_host_is_smuggled_by_nobody() {
    for driver in DRIVERS {
        let gate = gate(driver, "", "");
        let to_registry = format!("GET {MANIFEST} HTTP/1.1\r\nHost: registry.acme.com\r\n\r\n");
        let length = to_registry.len();
        let kind = "Content-Type: application/x-www-form-urlencoded";
        for (sent, status) in [
            (format!("GET http://{HOST}/ HTTP/1.1\r\nHost: registry.acme.com\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\nHost: registry.acme.com\r\nHost: {HOST}\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1\r\n\r\n"), 400),
            (
                format!(
                    "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
                ),
                400,
            ),
            (
                format!(
                    "POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
                ),
                400,
            ),
            (
                format!(
                    "POST /sign-in HTTP/1.1\r\nHost: {HOST}\r\n{kind}\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"
                ),
                400,
            ),
            (
                format!(
                    "POST /sign-in HTTP/1.1\r\nHost: registry.acme.com\r\nContent-Length: {length}\r\n\r\n{to_registry}"
                ),
                405,
            ),
            (format!("CONNECT {HOST}:80 HTTP/1.1\r\nHost: {HOST}:80\r\n\r\n"), 405),
        ] {
            let mut connection = open(&gate);
            connection.send(sent.as_bytes()).unwrap();
            assert_eq!(connection.answer(false).unwrap().status, status, "{sent}");
            connection.closed().unwrap_or_else(|error| panic!("{sent}: {error}"));
        }
        // What stands in a body is a body, and what stands behind it is the next request.
        let mut connection = open(&gate);
        for body in [
            format!("Content-Length: {length}\r\n\r\n{to_registry}"),
            format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{to_registry}\r\n0\r\n\r\n"),
        ] {
            let sent =
                format!("POST /sign-in HTTP/1.1\r\nHost: {HOST}\r\n{kind}\r\n{body}{to_registry}");
            connection.send(sent.as_bytes()).unwrap();
            let answer = connection.answer(false).unwrap();
            assert_eq!(answer.status, 403, "a form that was not shown: {}", text(&answer));
            assert_eq!(connection.answer(false).unwrap().status, 307);
        }
    }
}

#[test]
fn a_page_hears_of_pulls_and_a_stop_does_not_wait_for_it() {
    for driver in DRIVERS {
        let mut gate = gate(driver, "", "");
        let ada = signed_in(&mut gate);
        let cookie = format!("Cookie: {}", ada.cookie.clone().unwrap());
        let mut live = open(&gate);
        let head = format!(
            "GET /live/registry.acme.com/acme/rocket HTTP/1.1\r\nHost: {HOST}\r\n{cookie}\r\n\r\n"
        );
        live.send(head.as_bytes()).unwrap();
        let answer = live.head().unwrap();
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        assert!(live.until("watching").is_ok());
        assert_eq!(pull(&mut open(&gate)), 307);
        let told = live.until("\"client\":\"docker\"").unwrap();
        assert!(told.contains("\"tag\":\"latest\""), "{told}");
        // Within the time that a drain has; the page's connection ends by then.
        gate.stop();
        assert!(!gate.data_dir().join("dashboard.sock").exists());
    }
}

#[test]
fn guessers_are_told_apart_whatever_they_say_and_no_address_is_written() {
    let access = "\n[log]\naccess = \"json\"\naccess_file = \"ACCESS\"\n";
    let room = tempfile::tempdir().unwrap();
    let access = access.replace("ACCESS", &room.path().join("access").display().to_string());
    let mut gate = gate("io_uring", "", &access);
    Person::set_up(&mut gate);
    let from = |last, gate: &Gate| {
        let mut person = visitor(gate);
        person.from = Some(IpAddr::from([127, 0, 0, last]));
        person
    };
    let mut guesser = from(9, &gate);
    let is_refused = (0..20).any(|number| {
        guesser.also = vec![
            format!("Pullgate-Client: 192.0.2.{number}"),
            format!("X-Forwarded-For: 192.0.2.{number}"),
        ];
        guesser.sign_in("ada", "not the right one").status == 429
    });
    assert!(is_refused);
    assert_eq!(from(10, &gate).sign_in("ada", PASSWORD).status, 303);
    // At the admin listener itself the field is nobody's word either.
    let mut direct = Person::before(&gate);
    let is_refused = (0..20).any(|number| {
        direct.also = vec![format!("Pullgate-Client: 192.0.2.{number}")];
        direct.sign_in("ada", "not the right one").status == 429
    });
    assert!(is_refused);
    gate.stop();
    let written = fs::read_to_string(room.path().join("access")).unwrap();
    assert!(written.contains("/sign-in") && !written.contains("127.0.0."), "{written}");
    for entry in fs::read_dir(gate.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap_or_default();
        let found = bytes.windows(9).any(|bytes| bytes == b"127.0.0.9");
        assert!(!found, "{}", path.display());
    }
}

#[test]
fn nobody_waits_for_a_control_plane_that_is_gone_or_stuck() {
    for driver in DRIVERS {
        let gate = gate(driver, "workers = 1\n", "");
        let socket = gate.data_dir().join("dashboard.sock");
        fs::remove_file(&socket).unwrap();
        let refused = |answer: &Answer, words: &str| {
            assert_eq!(answer.status, 503, "{}", text(answer));
            assert!(answer.header("retry-after").is_some());
            assert!(text(answer).contains(words), "{}", text(answer));
        };
        let mut connection = open(&gate);
        let page = |connection: &mut Connection| {
            connection.ask("GET", "/sign-in", &lines(HOST, &[]), b"").unwrap()
        };
        refused(&page(&mut connection), "the dashboard does not answer just now; pulls go on");
        assert_eq!(pull(&mut connection), 307, "and the connection goes on");
        // One that takes requests and says nothing: so many wait, and the next is told so at once.
        let stuck = UnixListener::bind(&socket).unwrap();
        let (taken, took) = channel::<UnixStream>();
        thread::spawn(move || {
            while let Ok((stream, _)) = stuck.accept() {
                if taken.send(stream).is_err() {
                    return;
                }
            }
        });
        let mut waiting = Vec::new();
        let mut held = Vec::new();
        for _ in 0..128 {
            let mut one = open(&gate);
            one.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).unwrap();
            held.push(took.recv().unwrap());
            waiting.push(one);
        }
        refused(&page(&mut connection), "too many requests for this host are under way");
        assert_eq!(pull(&mut connection), 307);
        // Who is given up by its client makes room.
        let mut stream = held.pop().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        let mut last = waiting.pop().unwrap();
        assert_eq!(text(&last.answer(false).unwrap()), "hi");
        last.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).unwrap();
        let mut stream = took.recv().unwrap();
        // An answer that is none, and one that breaks off.
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n")
            .unwrap();
        refused(&last.answer(false).unwrap(), "does not answer");
        last.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).unwrap();
        let mut stream = took.recv().unwrap();
        // With something unread its end would be a reset, which may come before what it has sent.
        heard(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
            .unwrap();
        drop(stream);
        assert!(!last.answer(false).unwrap().is_whole, "it does not look like a whole one");
    }
}

#[test]
fn the_control_plane_is_told_of_the_client_by_the_worker_alone() {
    let gate = gate("epoll", "trusted_proxies = [\"127.0.0.7\"]\n", "");
    let listener = in_its_place(&gate);
    let sent = |source: [u8; 4], more: &[&str]| {
        let mut connection = Connection::open_from(IpAddr::from(source), gate.address()).unwrap();
        let head = lines(HOST, more).join("\r\n");
        connection.send(format!("GET /a?b HTTP/1.1\r\n{head}\r\n\r\n").as_bytes()).unwrap();
        heard(&mut accept(&listener))
    };
    let lies =
        ["Pullgate-Client: 192.0.2.1", "X-Forwarded-For: 192.0.2.2", "X-Forwarded-Proto: https"];
    let told = sent([127, 0, 0, 9], &lies);
    assert!(told.starts_with("get /a?b http/1.1\r\nhost: pullgate.acme.com\r\n"), "{told}");
    assert!(told.contains("\r\npullgate-client: 127.0.0.9\r\n"), "{told}");
    assert!(
        told.contains("\r\nx-forwarded-proto: http\r\n") && !told.contains("192.0.2."),
        "{told}"
    );
    // A proxy that is trusted is believed on both.
    let told = sent([127, 0, 0, 7], &lies[1..]);
    assert!(told.contains("\r\npullgate-client: 192.0.2.2\r\n"), "{told}");
    assert!(told.contains("\r\nx-forwarded-proto: https\r\n"), "{told}");
}

#[test]
fn over_tls_and_by_http2_the_cookie_is_secure() {
    for driver in DRIVERS {
        let (mut gate, secured) = Secured::gate(driver, "", "");
        Person::set_up(&mut gate);
        for version in ["--http1.1", "--http2"] {
            let jar = secured.file(version);
            let curl = |arguments: &[&str], path: &str| {
                let mut curl = secured.curl(version, path);
                curl.args(["--max-time", "20"]).arg("-b").arg(&jar).arg("-c").arg(&jar);
                run(curl.args(arguments))
            };
            let page = curl(&["-i"], "/sign-in");
            let lower = page.to_lowercase();
            assert!(lower.contains("set-cookie: __host-pullgate="), "{page}");
            assert!(lower.contains("strict-transport-security: max-age=31536000\r\n"), "{page}");
            let token = page.split("name=\"form_token\" value=\"").nth(1).unwrap();
            let token = format!("form_token={}", token.split('"').next().unwrap());
            let fields = ["-i", "-d", &token, "-d", "login=ada", "--data-urlencode"];
            let password = format!("password={PASSWORD}");
            let answer = curl(&[&fields[..], &[&password]].concat(), "/sign-in").to_lowercase();
            assert!(answer.contains(" 303") && answer.contains("; secure"), "{answer}");
            assert!(curl(&[], "/").contains("acme/rocket"));
            let other = curl(&["-i", "-H", "Host: registry.acme.com"], "/v2/");
            assert!(other.contains(" 421"), "{other}");
            // The live feed begins at once, and goes on until its reader ends.
            let heard = secured.file("heard");
            let mut listening = secured.curl(version, "/live/registry.acme.com/acme/rocket");
            listening.args(["-N", "-m", "1", "-b"]).arg(&jar).arg("-o").arg(&heard);
            let _ = listening.status().unwrap();
            assert!(fs::read_to_string(&heard).unwrap().contains(": watching"));
        }
        // Who comes in plain HTTP is sent there, with nothing of the body taken for a request.
        let mut plain = open(&gate);
        let form =
            format!("POST /sign-in HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nGET /");
        plain.send(form.as_bytes()).unwrap();
        let answer = plain.answer(false).unwrap();
        assert_eq!(answer.status, 308);
        assert!(answer.header("location").unwrap().starts_with(&format!("https://{HOST}")));
        plain.closed().unwrap();
    }
}

#[test]
fn the_name_comes_and_goes_with_the_configuration() {
    let gate = gate("epoll", "", "");
    let page = |host: &str| {
        let mut connection = open(&gate);
        connection.ask("GET", "/sign-in", &lines(host, &[]), b"").unwrap().status
    };
    assert_eq!((page(HOST), page("counts.acme.com")), (200, 404));
    let config = fs::read_to_string(gate.config_file()).unwrap();
    fs::write(gate.config_file(), config.replace(HOST, "counts.acme.com")).unwrap();
    eventually(|| match (page(HOST), page("counts.acme.com")) {
        (404, 200) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let direct: SocketAddr = gate.admin();
    assert_eq!(get(direct, "/sign-in").unwrap().status, 200, "the admin listener is there as ever");
}
