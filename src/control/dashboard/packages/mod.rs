//! The counts as people look at them: all packages, one package, what is shown there to take along,
//! and each pull as it happens. Everything is asked of [`crate::aggregator::Query`], in a thread that
//! may wait for it.

mod contents;
mod detail;
mod download;
mod figures;
mod list;
mod listed;
pub(super) mod live;
mod public;
mod series;
mod sheet;
mod view;

pub(super) use contents::pull_command;
pub(super) use download::{format_of, kind};
pub(super) use public::by_file;

use axum::Router;

use super::Dashboard;
use super::counted::{Asker, counted};
use super::trouble::Trouble;
use crate::aggregator::Ask;

pub(super) fn routes() -> Router<Dashboard> {
    list::routes()
        .merge(detail::routes())
        .merge(download::routes())
        .merge(live::routes())
        .merge(public::routes())
}

/// That there is this package, served or made here; or that there was, and pulls of it were counted.
///
/// # Errors
/// [`Trouble::absent`] for a name that is neither, or that the counts cannot be read now.
async fn is_there(at: &Dashboard, asker: Asker, package: &str) -> Result<(), Trouble> {
    if at.has_package(package) {
        return Ok(());
    }
    let ask = Ask { package: Some(package.to_owned()), ..Ask::default() };
    let ever = counted(at, asker, move |query| query.rows(&ask)).await?;
    match ever.rows.is_empty() {
        true => Err(Trouble::absent()),
        false => Ok(()),
    }
}
