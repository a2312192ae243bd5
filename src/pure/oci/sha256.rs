//! The digest that registries name content by.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// `sha256:` and the 64 hexadecimal digits of what `body` hashes to (OCI image spec, "Digests").
pub fn sha256_of(body: &[u8]) -> String {
    let mut digest = String::from("sha256:");
    for byte in Sha256::digest(body) {
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_as_the_specification_writes_them() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256_of(b""), empty);
        let object = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(sha256_of(b"{}"), object);
    }
}
