//! What goes on being answered after it was asked for, and who may not see it any more by then.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Dashboard;
use crate::control::accounts::rights::Right;

/// Comes once nobody has the right any more, or it cannot be told: its owner may have been removed, or signed out
/// elsewhere.
pub(super) async fn lost(at: Dashboard, right: Right) {
    let mut looks = interval(TRUSTED);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let right = right.clone().under(at.in_force.snapshot());
        if at.accounts.run_by(right, |_, _| Ok(())).await.is_err() {
            return;
        }
    }
}

/// For so long who could see something may see it still.
const TRUSTED: Duration = Duration::from_secs(2);
