//! What was booked since it was last written. Each booking is one addition here; only when it is
//! written does it become one cell for each dimension.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::aggregator::clients::Clients;
use crate::aggregator::names::Names;
use crate::pure::client::Client;
use crate::pure::pull::fold::Booking;
use crate::pure::pull::rollup::{Cell, Cells, Dimension, Measures, Unit};
use crate::pure::pull::window::TagRow;

/// Package, row of the tag, client, minute.
type Crossing = (u32, TagRow, u32, u32);

/// Counts of the current interval. The keys are numbers that this process made: nobody outside
/// chooses them, so a fast hash will do.
#[derive(Default)]
pub struct Tally {
    counts: HashMap<Crossing, Measures, RandomState>,
}

impl Tally {
    /// Adds a booking.
    pub fn add(&mut self, booking: &Booking) {
        let crossing = (booking.package, booking.row, booking.client, booking.minute);
        *self.counts.entry(crossing).or_insert(Measures::ZERO) += booking.measures;
    }

    /// Whether so many different things were counted that it must be drained.
    pub fn is_full(&self) -> bool {
        self.counts.len() >= CROSSINGS_MAX
    }

    /// Moves all of it to `cells`.
    pub fn drain(&mut self, names: &mut Names, clients: &Clients, cells: &mut Cells) {
        for ((package, row, client, minute), measures) in self.counts.drain() {
            let client = clients.get(client);
            for dimension in Dimension::EVERY {
                let value = match dimension {
                    Dimension::All => Arc::default(),
                    Dimension::Tag => names.text(row),
                    Dimension::Client
                    | Dimension::Family
                    | Dimension::Os
                    | Dimension::Arch
                    | Dimension::Platform => {
                        names.value(package, dimension, &value_of(client, dimension))
                    }
                };
                cells.add(Cell { package, dimension, value, unit: Unit::Minute, minute }, measures);
            }
        }
    }
}

/// What a client is in one dimension, as people see it.
pub fn value_of(client: &Client, dimension: Dimension) -> String {
    let known = |text: &str| if text.is_empty() { UNKNOWN } else { text }.to_owned();
    match dimension {
        Dimension::All | Dimension::Tag => String::new(),
        Dimension::Client if client.version.is_empty() => known(&client.family),
        Dimension::Client => format!("{} {}", known(&client.family), client.version),
        Dimension::Family => known(&client.family),
        Dimension::Os => known(&client.os),
        Dimension::Arch => known(&client.arch),
        Dimension::Platform if client.os.is_empty() && client.arch.is_empty() => UNKNOWN.to_owned(),
        Dimension::Platform => format!("{}/{}", known(&client.os), known(&client.arch)),
    }
}

/// Different things that are added up before they become cells early.
const CROSSINGS_MAX: usize = 100_000;
const UNKNOWN: &str = "unknown";
