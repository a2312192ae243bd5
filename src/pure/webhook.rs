//! What is sent to webhooks, signed as Standard Webhooks says (<https://www.standardwebhooks.com/>, 1.0), so
//! that receivers find a library that checks it; and when it is tried again.

use std::time::Duration;

use ring::hmac;

use crate::pure::base64;

/// What a secret begins with.
pub const PREFIX: &str = "whsec_";

/// A secret of these bytes, as it is shown once to who sets it up.
pub fn secret(bytes: &[u8]) -> String {
    format!("{PREFIX}{}", base64::encode(bytes))
}

/// The secret that a text is: of as many bytes as the standard wants.
///
/// # Errors
/// What is wrong with it, and what to do, without it.
pub fn secret_of(text: &str) -> Result<&str, String> {
    let remedy = "make one by `echo \"whsec_$(openssl rand -base64 32)\"`";
    match text.strip_prefix(PREFIX).and_then(base64::decode).map(|bytes| bytes.len()) {
        Some(24..=64) => Ok(text),
        Some(many) => Err(format!("holds a secret of {many} bytes, not of 24 to 64; {remedy}")),
        None => Err(format!(
            "holds no secret, which is `{PREFIX}` and 24 to 64 random bytes in base64; {remedy}"
        )),
    }
}

/// The signature of one delivery: over its identifier, its time in seconds since 1970, and its body.
/// `None` for a secret that is none.
pub fn signature(secret: &str, id: &str, at_s: i64, body: &str) -> Option<String> {
    let bytes = base64::decode(secret.strip_prefix(PREFIX)?)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    let signed = hmac::sign(&key, format!("{id}.{at_s}.{body}").as_bytes());
    Some(format!("v1,{}", base64::encode(signed.as_ref())))
}

/// How long to wait after so many tries have failed; `None` where there is no next one.
pub fn next_try(failed: u32) -> Option<Duration> {
    let waits = WAITS_S.get(usize::try_from(failed).ok()?.checked_sub(1)?)?;
    Some(Duration::from_secs(*waits))
}

/// Two seconds at first, for a receiver that is just restarting; then up to half a day, for one that is
/// down over night.
const WAITS_S: [u64; 9] = [2, 10, 60, 300, 900, 3600, 2 * 3600, 6 * 3600, 12 * 3600];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_standard() {
        // The example of the standard's own libraries.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
        assert_eq!(
            signature(secret, id, 1_614_265_330, body).as_deref(),
            Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        );
        assert_ne!(
            signature(secret, id, 1_614_265_331, body),
            signature(secret, id, 1_614_265_330, body)
        );
        assert_eq!(signature("secret", id, 0, body), None);
        let own = super::secret(&[7; 24]);
        assert!(own.starts_with("whsec_BwcH") && signature(&own, id, 0, body).is_some(), "{own}");
        assert_eq!(secret_of(&own), Ok(&*own));
        assert_eq!(secret_of(&super::secret(&[7; 64])).map(str::len), Ok(94));
        for wrong in [&super::secret(&[7; 23])[..], &super::secret(&[7; 65]), "whsec_ü", "BwcH", ""]
        {
            assert!(secret_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tries_are_further_and_further_apart_until_there_is_none() {
        let waits: Vec<_> = (1..).map_while(next_try).collect();
        assert_eq!(waits.len(), 9);
        assert!(waits.is_sorted() && waits[0] == Duration::from_secs(2));
        assert_eq!(next_try(0), None);
    }
}
