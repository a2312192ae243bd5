//! Redirects of a registry: followed inside or handed on, whole, and without what is nobody else's
//! business.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::io;
use std::sync::Arc;

use support::bench::{Bench, config, is_refusal};
use support::gate::{DRIVERS, Gate};
use support::hosts::{CDN, CDN_IP, REGISTRY, REGISTRY_IP};
use support::images::image;
use support::origin::{Origin, Request, Talk};
use support::scripted::serve;
use support::tls::Authority;

#[test]
fn a_manifest_elsewhere_is_fetched_inside_without_credentials() {
    for driver in DRIVERS {
        let hello = image("hello");
        let (digest, served) = (hello.index.digest.clone(), hello.clone());
        let cdn = elsewhere(CDN_IP);
        let away = format!("http://{CDN}:{}", cdn.address().port());
        let bench = members(driver, "broker", move |talk, request| {
            if request.target.contains("/manifests/latest") {
                let location =
                    format!("Location: {away}/v2/kept/manifests/{}?sig=1", served.index.digest);
                return talk.answer(request, "307 Temporary Redirect", &[&location], b"");
            }
            serve(talk, request, &served)
        });
        let target = "/v2/acme/rocket/manifests/latest";
        let answer = bench.ask("GET", target, &[SECRET, "Accept: a/b", "Accept: c/d"]);
        assert_eq!((answer.status, &answer.body), (200, &hello.index.bytes));
        assert_eq!(bench.ask("HEAD", target, &[SECRET]).status, 200);
        let kept = format!("/v2/kept/manifests/{digest}?sig=1");
        let asked: Vec<_> = cdn.requests();
        assert_eq!(asked.len(), 2);
        assert_eq!([&asked[0].method, &asked[1].method], ["GET", "HEAD"]);
        for request in &asked {
            assert_eq!(request.target, kept);
            assert_eq!(request.field("authorization"), None, "credentials went elsewhere");
            let host = format!("{CDN}:{}", cdn.address().port());
            assert_eq!(request.field("host"), Some(&*host));
        }
        let first = bench.asked().remove(0);
        assert_eq!(first.field("authorization"), Some("Bearer c2VjcmV0"), "the registry's own");
    }
}

#[test]
fn the_same_host_on_another_port_is_another() {
    for driver in DRIVERS {
        let other = elsewhere(REGISTRY_IP);
        let away = format!("http://{REGISTRY}:{}", other.address().port());
        let bench = members(driver, "stream", move |talk, request| {
            let location = format!("Location: {away}{}", request.target);
            talk.answer(request, "302 Found", &[&location], b"")
        });
        for target in ["/v2/acme/rocket/manifests/latest".into(), blob()] {
            assert_eq!(bench.ask("GET", &target, &[SECRET]).status, 200);
            let asked = other.requests();
            assert_eq!(asked.len(), 1);
            assert_eq!(asked[0].field("authorization"), None, "credentials went elsewhere");
        }
    }
}

#[test]
fn a_blob_elsewhere_is_handed_on_by_broker_and_followed_by_stream() {
    for driver in DRIVERS {
        for (delivery, location) in [
            ("broker", "http://cdn.fourth.test:PORT/blob?sig=a%2Fb"),
            ("stream", "http://cdn.fourth.test:PORT/blob?sig=a%2Fb"),
            ("broker", "//cdn.fourth.test:PORT/blob?sig=a%2Fb"),
            ("stream", "//cdn.fourth.test:PORT/blob?sig=a%2Fb"),
        ] {
            let cdn = elsewhere(CDN_IP);
            let location = location.replace("PORT", &cdn.address().port().to_string());
            let field = format!("Location: {location}");
            let bench = members(driver, delivery, move |talk, request| {
                talk.answer(request, "307 Temporary Redirect", &[&field, "Set-Cookie: a=b"], b"")
            });
            let answer = bench.ask("GET", &blob(), &[SECRET, "Range: bytes=1-"]);
            assert_eq!(answer.header("set-cookie"), None);
            let asked = cdn.requests();
            if delivery == "broker" {
                let absolute = format!(
                    "http://{}",
                    location.trim_start_matches("http:").trim_start_matches("//")
                );
                assert_eq!(answer.status, 307);
                assert_eq!(answer.header("location"), Some(&*absolute), "{answer:?}");
                assert!(asked.is_empty(), "the client goes there, not the gateway");
            } else {
                assert_eq!((answer.status, &*answer.body), (206, &BODY[1..]));
                assert_eq!(asked[0].target, "/blob?sig=a%2Fb");
                assert_eq!(asked[0].field("range"), Some("bytes=1-"));
                assert_eq!(asked[0].field("authorization"), None);
            }
            let head = bench.ask("HEAD", &blob(), &[SECRET]);
            match delivery {
                "broker" => assert_eq!(head.status, 307),
                _ => assert_eq!((head.status, cdn.requests()[0].method.as_str()), (200, "HEAD")),
            }
        }
    }
}

#[test]
fn a_relative_location_is_the_registry_s_own() {
    for driver in DRIVERS {
        // Below `/v2/` only the gateway has what the registry asks for; beside it is storage.
        for (delivery, location, is_handed_on) in [
            ("broker", "/downloads/here?a=b", true),
            ("broker", "../../../../downloads/here?a=b", true),
            ("broker", "/v2/kept/here?a=b", false),
            ("stream", "/downloads/here?a=b", false),
            ("stream", "../../../kept/here?a=b", false),
        ] {
            let field = format!("Location: {location}");
            let bench = members(driver, delivery, move |talk, request| {
                if request.target.ends_with("/here?a=b") {
                    return talk.answer(request, "200 OK", &[], BODY);
                }
                talk.answer(request, "307 Temporary Redirect", &[&field], b"")
            });
            let answer = bench.ask("GET", &blob(), &[SECRET]);
            let backend = format!("{REGISTRY}:{}", bench.registry.address().port());
            if is_handed_on {
                let absolute = format!("http://{backend}/downloads/here?a=b");
                assert_eq!(answer.header("location"), Some(&*absolute), "{answer:?}");
            } else {
                assert_eq!((answer.status, &*answer.body), (200, BODY));
                let last = bench.asked().pop().expect("it was followed");
                let place = location.trim_start_matches("../../..").trim_start_matches("/v2");
                assert!(last.target.ends_with(place), "{}", last.target);
                assert_eq!(last.field("authorization"), Some("Bearer c2VjcmV0"), "the same origin");
            }
        }
    }
}

#[test]
fn a_redirect_without_end_is_given_up() {
    for driver in DRIVERS {
        let bench = members(driver, "stream", |talk, request| {
            let location = format!("Location: {}x", request.target);
            talk.answer(request, "307 Temporary Redirect", &[&location], b"")
        });
        for target in ["/v2/acme/rocket/manifests/latest".into(), blob()] {
            let answer = bench.ask("GET", &target, &[SECRET]);
            is_refusal(&answer, 502, "UNAVAILABLE", REGISTRY);
            assert_eq!(bench.asked().len(), 11, "max_redirects is 10");
        }
    }
}

#[test]
fn a_location_that_is_none_is_refused() {
    for driver in DRIVERS {
        for location in [
            "X-Nothing: here",
            "Location: gopher://cdn.fourth.test/blob",
            "Location: http://ada:secret@cdn.fourth.test/blob",
            "Location: http://cdn.fourth.test:99999/blob",
            "Location: http://cdn fourth test/blob",
            "Location: http://",
        ] {
            println!("{location}");
            for (delivery, target) in [
                ("stream", blob()),
                ("broker", blob()),
                ("broker", "/v2/acme/rocket/manifests/latest".into()),
            ] {
                let field = location.to_owned();
                let bench = members(driver, delivery, move |talk, request| {
                    talk.answer(request, "307 Temporary Redirect", &[&field], b"")
                });
                let answer = bench.ask("GET", &target, &[SECRET]);
                is_refusal(&answer, 502, "UNAVAILABLE", REGISTRY);
            }
        }
    }
}

#[test]
fn a_redirect_to_what_only_the_gateway_can_reach_is_refused() {
    for driver in DRIVERS {
        let inside = elsewhere([127, 0, 0, 5]);
        let port = inside.address().port();
        for host in ["127.0.0.5", "inside.test", "[::ffff:127.0.0.5]", "2130706437"] {
            let field = format!("Location: http://{host}:{port}/");
            let registry = Origin::start(REGISTRY_IP, move |talk| {
                while let Some(request) = talk.request()? {
                    talk.answer(&request, "307 Temporary Redirect", &[&field], b"")?;
                }
                Ok(())
            });
            let bench = Bench::behind(registry, |backend| {
                let only = format!("\"{REGISTRY_IP}/32\"");
                let config = config("", "delivery = \"stream\"\n", backend);
                Gate::start_among_names(
                    driver,
                    &config.replace("\"127.0.0.0/8\"", &only),
                    |hosts| {
                        hosts.add("inside.test", "127.0.0.5");
                    },
                )
            });
            for target in ["/v2/acme/rocket/manifests/latest".into(), blob()] {
                let answer = bench.get(&target);
                let words = String::from_utf8_lossy(&answer.body);
                assert_eq!(answer.status, 502, "{host}: {words}");
            }
        }
        assert_eq!(inside.connections(), 0, "a packet left");
    }
}

#[test]
fn over_tls_no_redirect_leads_back_to_plain_http() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::new();
    let file = directory.path().join("ca.crt");
    authority.write(&file);
    for driver in DRIVERS {
        let (plain, tls) = (elsewhere(CDN_IP), authority.identify(CDN).server());
        let secure = Origin::start_tls(CDN_IP, tls, give_body_to_all);
        let [http, https] = [&plain, &secure].map(|it| it.address().port());
        let lead = move |talk: &mut Talk| {
            while let Some(request) = talk.request()? {
                let location = if request.target.contains("/downgraded/") {
                    format!("Location: http://{CDN}:{http}/blob")
                } else {
                    format!("Location: https://{CDN}:{https}/blob")
                };
                talk.answer(&request, "307 Temporary Redirect", &[&location], b"")?;
            }
            Ok(())
        };
        let registry = Origin::start_tls(REGISTRY_IP, authority.identify(REGISTRY).server(), lead);
        let bench = Bench::behind(registry, |backend| {
            let ca_file = format!("ca_file = \"{}\"\n", file.display());
            let config = config(&ca_file, "delivery = \"stream\"\n", backend);
            Gate::start_proxy(driver, &config.replace("http://", "https://"))
        });
        let target = blob();
        let kept = bench.get(&target);
        assert_eq!((kept.status, &*kept.body), (200, BODY));
        let downgraded = bench.get(&target.replace("rocket", "downgraded"));
        is_refusal(&downgraded, 502, "UNAVAILABLE", REGISTRY);
        assert_eq!(plain.connections(), 0, "a packet left");
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("ca.crt");
    known.write(&file);
    for driver in DRIVERS {
        for identity in [unknown.identify(REGISTRY), known.identify("another.test")] {
            let registry = Origin::start_tls(REGISTRY_IP, identity.server(), give_body_to_all);
            let bench = Bench::behind(registry, |backend| {
                let ca_file = format!("ca_file = \"{}\"\n", file.display());
                let config = config(&ca_file, "delivery = \"broker\"\n", backend);
                Gate::start_proxy(driver, &config.replace("http://", "https://"))
            });
            let answer = bench.get("/v2/acme/rocket/manifests/latest");
            is_refusal(&answer, 502, "UNAVAILABLE", REGISTRY);
            assert!(bench.registry.requests().is_empty(), "nothing is asked before it is known");
        }
    }
}

/// A bench whose registry gets its clients' own credentials.
fn members<L>(driver: &str, delivery: &str, lead: L) -> Bench
where
    L: Fn(&mut Talk, &Request) -> io::Result<()> + Send + Sync + 'static,
{
    let lead = Arc::new(lead);
    let registry = Origin::start(REGISTRY_IP, move |talk| {
        while let Some(request) = talk.request()? {
            lead(talk, &request)?;
        }
        Ok(())
    });
    Bench::behind(registry, |backend| {
        let keys = format!("delivery = \"{delivery}\"\ncredentials = \"client\"\n");
        Gate::start_proxy(driver, &config("", &keys, backend))
    })
}

/// Gives `BODY`, or what is asked for of it, or the image's index for a manifest.
fn elsewhere(ip: impl Into<std::net::IpAddr>) -> Origin {
    Origin::start(ip, give_body_to_all)
}

fn give_body_to_all(talk: &mut Talk) -> io::Result<()> {
    let hello = image("hello");
    while let Some(request) = talk.request()? {
        if request.target.contains("/manifests/") {
            serve(talk, &request, &hello)?;
        } else if request.field("range") == Some("bytes=1-") {
            let part = format!("Content-Range: bytes 1-{}/{}", BODY.len() - 1, BODY.len());
            talk.answer(&request, "206 Partial Content", &[&part], &BODY[1..])?;
        } else {
            talk.answer(&request, "200 OK", &[], BODY)?;
        }
    }
    Ok(())
}

fn blob() -> String {
    format!("/v2/acme/rocket/blobs/sha256:{}", "a".repeat(64))
}

const BODY: &[u8] = b"a layer";
/// The client's login, which is the registry's business alone.
const SECRET: &str = "Authorization: Bearer c2VjcmV0";
