//! Folding: what real clients send and what it must come to, as dialogues.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/naive_fold.rs"]
mod naive_fold;

use pullgate::pure::pull::event::{Asked, Outcome};
use pullgate::pure::pull::rollup::Measures;

use naive_fold::{Sent, Simulated, WINDOW_US, reference};

// `> METHOD reference [status [digest]]` is a request (307 unless it says so), `=` what the requests
// since the last `=` came to once their windows had closed. `@name` stands for a digest, `@name.sig`
// and `@name-` for the tags of its signature and of its referrers. A word before `>` names another
// client. What was fetched (200) by digest is that digest; what manifests say stands in
// `support/naive_fold.rs`.

#[test]
fn docker_with_its_classic_store() {
    check(
        "
        > HEAD latest
        > GET @index
        > GET @amd64
        > BLOB @config
        > BLOB @layer
        = requests 2 pulls 1 checks 0 supply_chain 0

        the same tag again, unchanged
        > HEAD latest
        = requests 0 pulls 0 checks 1 supply_chain 0

        single-arch
        > HEAD latest
        > GET @amd64
        > BLOB @layer
        = requests 1 pulls 1 checks 0 supply_chain 0

        by digest; again it asks for nothing
        > GET @index
        > GET @amd64
        > BLOB @layer
        = requests 2 pulls 1 checks 0 supply_chain 0

        the manifests are still in its store: a check with data
        > HEAD latest
        > BLOB @config
        > BLOB @layer
        = requests 0 pulls 0 checks 1 supply_chain 0
        ",
    );
}

#[test]
fn docker_whose_pull_fails_asks_for_the_tag_after_its_head() {
    check(
        "
        > HEAD nosuch
        > GET nosuch
        = requests 1 pulls 0 checks 1 supply_chain 0

        the HEAD alone failed: what follows proves the pull
        > HEAD latest
        > GET latest
        > GET @amd64
        = requests 2 pulls 1 checks 0 supply_chain 0

        single-arch: only blobs follow
        > HEAD latest
        > GET latest
        > BLOB @config
        > BLOB @layer
        = requests 1 pulls 1 checks 0 supply_chain 0

        seen to succeed, it needs no proof
        > HEAD latest 200
        > GET latest 200
        = requests 1 pulls 1 checks 0 supply_chain 0
        ",
    );
}

#[test]
fn docker_with_containerds_store_and_containerd_1() {
    check(
        "
        > HEAD latest
        > GET @index
        > GET @amd64
        > BLOB @layer
        = requests 2 pulls 1 checks 0 supply_chain 0

        again
        > HEAD latest
        = requests 0 pulls 0 checks 1 supply_chain 0

        redirected to a registry that asks for a token: it starts over at the gateway
        > HEAD latest
        > HEAD latest
        > GET @index
        > GET @index
        > GET @amd64
        > BLOB @layer
        = requests 3 pulls 1 checks 0 supply_chain 0

        by digest
        > HEAD @index
        > GET @index
        > GET @amd64
        = requests 2 pulls 1 checks 0 supply_chain 0

        by digest, again
        > HEAD @index
        = requests 0 pulls 0 checks 1 supply_chain 0

        by digest, with the index still in its store: one act
        > HEAD @index
        > GET @amd64
        = requests 1 pulls 1 checks 0 supply_chain 0
        ",
    );
}

#[test]
fn containerd_2_fetches_all_platforms_manifests() {
    check(
        "
        > HEAD latest
        > GET @index
        > GET @amd64
        > GET @arm64
        > BLOB @layer
        = requests 3 pulls 1 checks 0 supply_chain 0

        redirected to a registry that asks for a token
        > HEAD latest
        > HEAD latest
        > GET @index
        > GET @index
        > GET @amd64
        > GET @arm64
        = requests 4 pulls 1 checks 0 supply_chain 0

        by digest, and again
        > HEAD @index
        > GET @index
        > GET @amd64
        > GET @arm64
        = requests 3 pulls 1 checks 0 supply_chain 0
        > HEAD @index
        = requests 0 pulls 0 checks 1 supply_chain 0
        ",
    );
}

#[test]
fn docker_29_looks_for_attestations_and_signatures() {
    check(
        "
        > HEAD latest
        > GET @index
        > GET @amd64
        > GET @attestation
        > REFERRERS @attestation
        = requests 3 pulls 1 checks 0 supply_chain 1

        redirected: it asks for the fallback tag too
        > HEAD latest
        > GET @index
        > GET @amd64
        > GET @attestation
        > REFERRERS @attestation
        > GET @attestation-
        = requests 4 pulls 1 checks 0 supply_chain 2

        again
        > HEAD latest
        = requests 0 pulls 0 checks 1 supply_chain 0
        ",
    );
}

#[test]
fn podman_skopeo_and_buildah() {
    check(
        "
        > GET latest
        > GET @amd64
        > BLOB @config
        > BLOB @layer
        = requests 2 pulls 1 checks 0 supply_chain 0

        again, unchanged: up to date, and a pull
        > GET latest
        > GET @amd64
        > BLOB @config
        = requests 2 pulls 1 checks 0 supply_chain 0

        by digest
        > GET @index
        > GET @amd64
        = requests 2 pulls 1 checks 0 supply_chain 0

        skopeo copy --all
        > GET latest
        > GET @amd64
        > GET @arm64
        = requests 3 pulls 1 checks 0 supply_chain 0

        skopeo inspect
        > GET latest
        = requests 1 pulls 1 checks 0 supply_chain 0

        with sigstore attachments
        > GET latest
        > GET @amd64
        > GET @index.sig
        = requests 3 pulls 1 checks 0 supply_chain 1
        ",
    );
}

#[test]
fn oras_and_crane() {
    check(
        "
        > GET latest
        > GET @amd64
        > GET @arm64
        > BLOB @layer
        = requests 3 pulls 1 checks 0 supply_chain 0

        oras, again
        > GET latest
        = requests 1 pulls 1 checks 0 supply_chain 0

        by digest
        > GET @index
        > GET @amd64
        > GET @arm64
        = requests 3 pulls 1 checks 0 supply_chain 0

        helm looks before it fetches
        helm> HEAD 1.0
        helm> GET 1.0
        = requests 1 pulls 1 checks 0 supply_chain 0

        crane digest
        > HEAD latest
        = requests 0 pulls 0 checks 1 supply_chain 0
        ",
    );
}

#[test]
fn pollers_are_checks_once_per_window() {
    check(
        "
        watchtower> HEAD latest
        watchtower> HEAD latest
        renovate> HEAD latest
        renovate> HEAD 1.2
        renovate> HEAD 1.3
        = requests 0 pulls 0 checks 4 supply_chain 0

        a poller that sends If-None-Match
        > GET latest 304
        = requests 1 pulls 0 checks 1 supply_chain 0

        and finds something new
        > GET latest 304
        > GET @amd64
        = requests 2 pulls 1 checks 0 supply_chain 0
        > GET @index 304
        = requests 1 pulls 0 checks 1 supply_chain 0
        > GET @index 304
        > GET @amd64
        = requests 2 pulls 1 checks 0 supply_chain 0
        ",
    );
}

#[test]
fn two_tags_are_two_pulls_and_one_tag_twice_is_one() {
    check(
        "
        > HEAD 1.2
        > HEAD 1.3
        > GET @index
        > GET @amd64
        > GET @another
        = requests 3 pulls 2 checks 0 supply_chain 0
        > GET 1.2
        > GET 1.2
        > GET @amd64
        = requests 3 pulls 1 checks 0 supply_chain 0

        two clients
        alice> GET 1.2
        bob> GET 1.2
        = requests 2 pulls 2 checks 0 supply_chain 0

        blobs, signatures and referrers open no window
        > BLOB @layer
        > GET @index.sig
        > HEAD @index.att
        > REFERRERS @index
        = requests 1 pulls 0 checks 0 supply_chain 2
        ",
    );
}

#[test]
fn where_answers_are_seen_a_digest_joins_the_tag_that_points_at_it() {
    check(
        "
        another tag was named since
        > HEAD 1.2 200 @index
        > HEAD 1.3 200 @index2
        > GET @index2 200
        > GET @amd64-2 200
        = requests 2 pulls 1 checks 1 supply_chain 0 complete 0 up_to_date 1

        the index was seen before: a child joins by what it says
        > HEAD 1.3 200 @index2
        > HEAD 1.2 200 @index
        > GET @amd64-2 200
        > BLOB @layer3
        = requests 1 pulls 1 checks 1 supply_chain 0 complete 1 up_to_date 0

        an index that nobody has fetched may list anything
        > HEAD 1.2 200 @index
        > GET @amd64-2 200
        = requests 1 pulls 1 checks 0 supply_chain 0 complete 0 up_to_date 1

        and once somebody has, it does not
        alice> GET @index 200
        bob> HEAD 1.2 200 @index
        bob> GET @amd64-2 200
        = requests 2 pulls 2 checks 1 supply_chain 0 complete 0 up_to_date 2

        an index within an index
        > GET 1.2 200 @nested
        > GET @index2 200
        > HEAD 1.3
        > GET @amd64-2 200
        > BLOB @layer3
        = requests 3 pulls 1 checks 1 supply_chain 0 complete 1 up_to_date 0

        two tags of one index
        > HEAD 1.2 200 @index
        > HEAD 1.3 200 @index
        > GET @index 200
        > GET @index 200
        > GET @amd64 200
        = requests 3 pulls 2 checks 0 supply_chain 0 complete 0 up_to_date 2

        docker's GET of a tag after its HEAD needs no proof
        > HEAD 1.2 200 @amd64
        > GET 1.2 200 @amd64
        = requests 1 pulls 1 checks 0 supply_chain 0 complete 0 up_to_date 1

        by digest; its HEAD is no check
        > HEAD @index2 200
        > GET @amd64-2 200
        = requests 1 pulls 1 checks 0 supply_chain 0 complete 0 up_to_date 1
        > HEAD @index 200
        > HEAD @index2 200
        > GET @amd64-2 200
        = requests 1 pulls 1 checks 1 supply_chain 0 complete 0 up_to_date 1
        ",
    );
}

#[test]
fn a_pull_is_complete_when_a_layer_was_asked_for() {
    check(
        "
        > GET latest 200 @index
        > GET @amd64 200
        > BLOB @config
        > BLOB @layer
        > BLOB @base
        = requests 2 pulls 1 checks 0 supply_chain 0 complete 1 up_to_date 0

        up to date
        > GET latest 200 @index
        > GET @amd64 200
        > BLOB @config
        = requests 2 pulls 1 checks 0 supply_chain 0 complete 0 up_to_date 1

        two pulls, and a layer that both have: the older one is complete first
        > GET 1.2 200 @amd64
        > GET 1.3 200 @amd64-2
        > BLOB @base
        > BLOB @layer3
        = requests 2 pulls 2 checks 0 supply_chain 0 complete 2 up_to_date 0

        by digest
        > GET @index 200
        > GET @amd64 200
        > BLOB @layer
        = requests 2 pulls 1 checks 0 supply_chain 0 complete 1 up_to_date 0

        a check with data is a check
        > HEAD latest 200 @amd64
        > BLOB @layer
        = requests 0 pulls 0 checks 1 supply_chain 0

        a manifest that says nothing, and a redirect: unseen
        > GET latest 200 @unknown
        > BLOB @layer
        = requests 1 pulls 1 checks 0 supply_chain 0
        > GET latest
        > GET @amd64
        > BLOB @layer
        = requests 2 pulls 1 checks 0 supply_chain 0

        nothing was fetched
        > GET latest 304 @amd64
        > GET @amd64 304
        = requests 2 pulls 0 checks 1 supply_chain 0
        ",
    );
}

#[test]
fn a_pull_is_partial_when_a_transfer_broke_off_and_was_not_resumed() {
    check(
        "
        > GET latest 200 @amd64
        > BLOB @layer 200
        > END @layer broken
        = requests 1 pulls 1 checks 0 supply_chain 0 complete 1 up_to_date 0 blobs 1 aborted 1 partial 1

        resumed, while another client's is not
        > GET latest 200 @amd64
        podman> GET latest 200 @amd64
        > BLOB @layer 200
        > BLOB @base 200
        podman> BLOB @layer 200
        > END @layer broken
        podman> END @layer broken
        > BLOB @layer 200
        > END @layer 200
        > END @base 200
        = requests 2 pulls 2 checks 0 supply_chain 0 complete 2 up_to_date 0 blobs 4 aborted 2 partial 1

        a tag of the same image that was only looked at is not what broke off
        > HEAD stable 200 @amd64
        > GET latest 200 @amd64
        > BLOB @layer 200
        > END @layer broken
        = requests 1 pulls 1 checks 1 supply_chain 0 complete 1 up_to_date 0 blobs 1 aborted 1 partial 1

        a configuration that breaks off is no layer
        > GET latest 200 @amd64
        > BLOB @config 200
        > END @config broken
        = requests 1 pulls 1 checks 0 supply_chain 0 complete 0 up_to_date 1 blobs 1 aborted 1 partial 0
        ",
    );
}

#[test]
fn signatures_are_known_by_their_manifest() {
    check(
        "
        cosign: a bundle that the referrers listed
        > HEAD latest 200 @index
        > REFERRERS @index
        > GET @bundle 200
        > BLOB @config
        = requests 1 pulls 0 checks 1 supply_chain 2

        known from then on, whoever asks and however
        skopeo> GET sbom 200 @bundle
        skopeo> HEAD sbom 200 @bundle
        skopeo> GET @bundle
        = requests 2 pulls 0 checks 0 supply_chain 2

        docker 29: the attestation that the index lists belongs to the pull
        > HEAD latest 200 @index
        > GET @index 200
        > GET @amd64 200
        > GET @attestation 200
        > REFERRERS @attestation
        > BLOB @layer
        = requests 3 pulls 1 checks 0 supply_chain 1 complete 1 up_to_date 0

        alone it is none
        > GET @attestation 200
        = requests 1 pulls 0 checks 0 supply_chain 1
        ",
    );
}

fn check(dialogue: &str) {
    let mut simulated = Simulated::new();
    let mut seen = Measures::ZERO;
    for line in dialogue.lines().map(str::trim) {
        if let Some(expected) = line.strip_prefix('=') {
            simulated.at_us += WINDOW_US;
            let (fold, booked) = (&mut simulated.fold, &mut simulated.booked);
            fold.pass(simulated.at_us, &mut |booking| booked.push(booking));
            for booking in booked.drain(..) {
                seen += booking.measures;
            }
            let Measures { requests, pulls, checks, supply_chain, .. } = seen;
            let mut came = format!(
                "requests {requests} pulls {pulls} checks {checks} supply_chain {supply_chain}"
            );
            let Measures { complete, up_to_date, .. } = seen;
            if complete + up_to_date > 0 {
                came += &format!(" complete {complete} up_to_date {up_to_date}");
            }
            let Measures { blobs, blob_bytes, blobs_aborted, partial, .. } = seen;
            if blob_bytes > 0 {
                came += &format!(" blobs {blobs} aborted {blobs_aborted} partial {partial}");
            }
            assert_eq!(came, expected.trim(), "in\n{dialogue}");
            seen = Measures::ZERO;
        } else if let Some((client, request)) = line.split_once('>') {
            let words: Vec<&str> = request.split_whitespace().collect();
            let reference = reference(words[1]);
            let asked = match words[0] {
                "GET" => Asked::Manifest,
                "HEAD" => Asked::ManifestHead,
                "BLOB" => Asked::Blob,
                "END" => Asked::BlobEnd,
                "REFERRERS" => Asked::Referrers,
                other => panic!("{other}"),
            };
            let outcome = match words.get(2) {
                None => Outcome::Redirected,
                Some(&"200") => Outcome::Succeeded,
                Some(&"304") => Outcome::NotModified,
                Some(&"broken") => Outcome::Broken,
                Some(other) => panic!("{other}"),
            };
            simulated.at_us += 1000;
            let at_us = simulated.at_us;
            let source = client.bytes().map(u32::from).sum();
            let family = if client.trim() == "helm" { "helm" } else { "docker" };
            let is_read = asked == Asked::Manifest && outcome == Outcome::Succeeded;
            let itself = is_read && reference.contains(':');
            let answer = words.get(3).map(|word| naive_fold::reference(word));
            let answer = answer.or_else(|| itself.then(|| reference.clone()));
            simulated.take(&Sent {
                at_us,
                source,
                package: 0,
                family,
                asked,
                outcome,
                reference,
                answer,
                is_read,
            });
        }
    }
    assert_eq!(seen, Measures::ZERO, "the dialogue ends without =");
}
