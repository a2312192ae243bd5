//! What the control plane tells a worker. Orders wait in a channel; a doorbell wakes the ring.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::messages::doorbell::{Bell, Doorbell};
use crate::pure::snapshot::Snapshot;

/// What a worker is told.
pub enum Order {
    /// Decide by this snapshot from the next request on.
    Adopt(Arc<Snapshot>),
    /// Stop accepting, let what is under way finish within this time, then end.
    Drain(Duration),
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
    /// Hands `order` over and rings. Waits while the channel is full: a worker takes its orders
    /// within a turn. A worker that is gone needs no orders.
    pub fn give(&self, order: Order) {
        let _ = self.orders.send(order);
        self.bell.ring();
    }
}

/// The worker's end.
pub struct OrderBook {
    /// Orders that wait. Answer the doorbell first: an order that comes in between rings again.
    pub to_follow: Receiver<Order>,
    /// What rings when there is an order.
    pub doorbell: Doorbell,
}

/// Orders that may wait for one worker. They come by people's actions, seconds apart.
const ORDERS_WAITING_MAX: usize = 16;
