//! The audit log: who did what, when, and what it was before and after.

use rusqlite::{Connection, named_params};
use serde_json::Value;

use super::store::StoreError;
use crate::pure::access::OrganisationId;

/// Who does something.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The account; `None` for the operator at the command line.
    pub account: Option<i64>,
    /// How it is shown, also when the account is gone.
    pub login: String,
}

/// Something that was done.
pub struct Deed<'d> {
    /// A word and what it is done to: `member.add`.
    pub what: &'d str,
    /// The organisation whose admins see it; `None` for what concerns one account only.
    pub organisation: Option<OrganisationId>,
    /// The package that it was done to, `<domain>/<name>`.
    pub package: Option<&'d str>,
    /// What it was before; never a secret.
    pub before: Option<Value>,
    /// What it is now; never a secret.
    pub after: Option<Value>,
}

/// Writes it down. To be called in the transaction that does it.
pub fn note(
    connection: &Connection,
    by: &Actor,
    deed: &Deed<'_>,
    now_s: i64,
) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO audit (at_s, account, login, organisation, package, deed, before, after)
         VALUES (:at_s, :account, :login, :organisation, :package, :deed, :before, :after)",
        named_params! {
            ":at_s": now_s,
            ":account": by.account,
            ":login": by.login,
            ":organisation": deed.organisation,
            ":package": deed.package,
            ":deed": deed.what,
            ":before": deed.before.as_ref().map(Value::to_string),
            ":after": deed.after.as_ref().map(Value::to_string),
        },
    )?;
    Ok(())
}
