//! Who makes an account: what they may be called, by which password, and how they come in.

use super::Dashboard;
use super::cookie::Cookie;
use super::form::Fields;
use super::trouble::Trouble;
use crate::control::accounts::{Store, StoreError, now_s};
use crate::pure::{account, password};

/// The name of somebody who makes an account and an organisation with it, and the organisation's.
///
/// # Errors
/// All that speaks against them and their password.
pub(super) fn with_organisation(fields: &Fields) -> Result<(String, String), Trouble> {
    let organisation = account::organisation(fields.text("organisation"));
    let wrong = organisation.as_ref().err().map(|why| format!("The organisation's name {why}."));
    let login = judged(fields, wrong.map(|words| ("organisation", words)))?;
    Ok((login, organisation.unwrap_or_default()))
}

/// The name of somebody who makes an account by itself.
///
/// # Errors
/// The same.
pub(super) fn alone(fields: &Fields) -> Result<String, Trouble> {
    judged(fields, None)
}

/// Opens a session of the account that `account` finds or makes, in one go with that; the cookie that stands for
/// it. What the one before stood for is worth nothing from then on.
///
/// # Errors
/// Those of `account`; then there is no session.
pub(super) async fn enter(
    at: &Dashboard,
    cookie: &Cookie,
    browser: String,
    account: impl FnOnce(&mut Store) -> Result<i64, StoreError> + Send + 'static,
) -> Result<Cookie, Trouble> {
    let session = cookie.renewed()?;
    let (before, secret) = (cookie.text.clone(), session.text.clone());
    at.accounts
        .run(move |store| {
            let account = account(store)?;
            store.open_session(account, &before, &secret, &browser, now_s())
        })
        .await?;
    Ok(session)
}

fn judged(fields: &Fields, more: Option<(&'static str, String)>) -> Result<String, Trouble> {
    let login = account::login(fields.text("login"));
    let called = login.as_deref().unwrap_or_default();
    let password = password::judge(fields.text("password"), called);
    // In the order in which a form has them.
    let mut wrong = Vec::new();
    wrong.extend(login.as_ref().err().map(|why| ("login", format!("The name {why}."))));
    wrong.extend(more);
    wrong.extend(password.err().map(|why| ("password", format!("The password {why}."))));
    match login {
        Ok(login) if wrong.is_empty() => Ok(login),
        Ok(_) | Err(_) => Err(Trouble::of_fields(wrong)),
    }
}
