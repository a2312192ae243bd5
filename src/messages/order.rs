//! What the control plane tells a worker. Orders wait in a channel; a doorbell wakes the ring.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::messages::certificates::Certificates;
use crate::messages::doorbell::{Bell, Doorbell};
use crate::messages::keyring::Keyring;
use crate::pure::desk::OwnKeys;
use crate::pure::proof::Proofs;
use crate::pure::snapshot::Snapshot;

/// What a worker is told.
pub enum Order {
    /// Decide by this snapshot from the next request on, and open its registries with these keys.
    Adopt(Arc<Snapshot>, Arc<Keyring>),
    /// This is known of registries from now on.
    Know(Arc<Proofs>),
    /// Make tokens of the gateway's own with these from now on.
    Sign(Arc<OwnKeys>),
    /// Show these to clients from now on.
    Show(Arc<Certificates>),
    /// Say that it follows orders.
    Answer(Sender<()>),
    /// Stop accepting, let what is under way finish, then end.
    Drain(Drain),
}

/// How a worker ends.
#[derive(Clone)]
pub struct Drain {
    /// How long what is under way may take.
    pub within: Duration,
    /// Where another process accepts connections by these same sockets, if one does.
    pub handed_over: Option<Arc<[SocketAddr]>>,
}

/// Makes the two ends of control's way to one worker.
pub fn channel() -> io::Result<(Orders, OrderBook)> {
    let (orders, to_follow) = bounded(ORDERS_WAITING_MAX);
    let (bell, doorbell) = Bell::new()?;
    Ok((Orders { orders, bell }, OrderBook { to_follow, doorbell }))
}

/// Control's end.
pub struct Orders {
    orders: Sender<Order>,
    bell: Bell,
}

impl Orders {
    /// Hands `order` over and rings; says whether it will be followed. A worker takes its orders
    /// within a turn, so a full channel is waited for only so long; one that is gone takes none.
    pub fn give(&self, order: Order) -> bool {
        let given = self.orders.send_timeout(order, PATIENCE).is_ok();
        self.bell.ring();
        given
    }

    /// What wakes the worker, for whatever else waits for it.
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }
}

/// The worker's end.
pub struct OrderBook {
    /// Orders that wait. Answer the doorbell first: an order that comes in between rings again.
    pub to_follow: Receiver<Order>,
    /// What rings when there is an order.
    pub doorbell: Doorbell,
}

/// How long a full channel is waited for: a worker that takes no orders for so long has failed.
const PATIENCE: Duration = Duration::from_secs(1);

/// Orders that may wait for one worker. They come by people's actions, seconds apart, and as
/// registries are asked, a few a second.
const ORDERS_WAITING_MAX: usize = 16;
