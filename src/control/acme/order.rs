//! One order: a certificate for one domain, from asking for it to holding it (RFC 8555, 7.4).

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier,
    NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use crate::control::certificates::proving;
use crate::control::showcase::Showcase;
use crate::messages::certificates::Proof;
use crate::pure::agenda::Way;

/// What is wanted.
pub(super) struct Wanted<'w> {
    pub(super) domain: &'w str,
    /// How it is proven to be ours.
    pub(super) way: Way,
    /// Which one it replaces, where the authority wants to know (RFC 9773, 5).
    pub(super) replaces: Option<CertificateIdentifier<'w>>,
}

/// Asks for it, proves the domain by what `showcase` shows meanwhile, and returns the key and the
/// chain in PEM.
pub(super) async fn fulfil(
    account: &Account,
    wanted: Wanted<'_>,
    showcase: &Showcase,
) -> Result<Vec<u8>, Error> {
    let Wanted { domain, way, replaces } = wanted;
    let identifiers = [Identifier::Dns(domain.to_owned())];
    let mut new = NewOrder::new(&identifiers);
    if let Some(replaces) = replaces {
        new = new.replaces(replaces);
    }
    let mut order = account.new_order(&new).await?;
    prove(&mut order, domain, way, showcase).await?;
    let key = KeyPair::generate().map_err(other)?;
    let mut params = CertificateParams::new(vec![domain.to_owned()]).map_err(other)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(other)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    Ok([key.serialize_pem(), chain].concat().into_bytes())
}

/// Proves `domain` until the authority has looked.
async fn prove(
    order: &mut Order,
    domain: &str,
    way: Way,
    showcase: &Showcase,
) -> Result<(), Error> {
    let kind = match way {
        Way::Http => ChallengeType::Http01,
        Way::Tls => ChallengeType::TlsAlpn01,
    };
    let mut proofs = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let Some(mut challenge) = authorization.challenge(kind.clone()) else {
            return Err(Error::Unsupported("this way of proving a domain"));
        };
        let answer = challenge.key_authorization();
        let proof = match way {
            Way::Http => {
                Proof::Text { token: challenge.token.as_str().into(), said: answer.as_str().into() }
            }
            Way::Tls => Proof::Handshake(proving(domain, answer.digest().as_ref()).map_err(other)?),
        };
        proofs.push(showcase.prove(domain, proof));
        challenge.set_ready().await?;
    }
    let status = order.poll_ready(&PATIENCE).await;
    if let Ok(OrderStatus::Ready | OrderStatus::Valid) = status {
        return Ok(());
    }
    // The reason stands with the challenge that failed.
    match found_wrong(order).await {
        Some(problem) => Err(Error::Api(problem)),
        None => Err(status.err().unwrap_or(Error::Str("the authority does not say why"))),
    }
}

/// What the authority has found wrong with the domain.
async fn found_wrong(order: &mut Order) -> Option<Problem> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let state = authorization.refresh().await.ok()?;
        let found = state.challenges.iter().find_map(|challenge| challenge.error.clone());
        if found.is_some() {
            return found;
        }
    }
    None
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Other(error.into())
}

/// How long the authority may take to look, and to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(60));
