//! Where things are.

use crate::pure::query::put_encoded;

/// The address of something of a package: `/packages/<domain>/<name>`.
pub(super) fn address(below: &str, package: &str) -> String {
    let mut address = format!("/{below}");
    for part in package.split('/') {
        address.push('/');
        put_encoded(&mut address, part);
    }
    address
}
