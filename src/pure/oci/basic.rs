//! The Basic scheme (RFC 7617), as registries and token services take an account by it.

/// What `Authorization` says for an account.
pub fn basic(username: &str, password: &str) -> String {
    let mut value = String::from("Basic ");
    let account = [username.as_bytes(), b":", password.as_bytes()].concat();
    for three in account.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
        let bits = bits << (8 * (3 - three.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            value.push(if digit > three.len() { '=' } else { DIGITS[index as usize].into() });
        }
    }
    value
}

/// RFC 4648, table 1.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_as_the_specification_writes_them() {
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic("test", "123\u{a3}"), "Basic dGVzdDoxMjPCow==");
        assert_eq!(basic("", ""), "Basic Og==");
        assert_eq!(basic("a", "b"), "Basic YTpi");
        assert_eq!(basic("\u{3ff}\u{3fb}", "?>~"), "Basic z7/Puzo/Pn4=");
    }
}
