//! Giving way: the aggregator may share its core with a worker, whose clients wait for as long as it
//! goes on, and what it does once a second takes it many milliseconds.

/// Lets who waits for this core go first, now and then. `at`: how far what takes so long has come.
pub fn give_way(at: usize) {
    if at.is_multiple_of(STEPS) {
        std::thread::yield_now();
    }
}

/// These things, one after the other, while who waits for this core goes first now and then. `steps`: how many each
/// of them is.
pub fn giving_way<I: IntoIterator>(things: I, steps: usize) -> impl Iterator<Item = I::Item> {
    things.into_iter().enumerate().map(move |(at, thing)| {
        give_way(at * steps);
        thing
    })
}

/// Steps between two turns of others. A step is an event or a cell: some tenths of a microsecond up to
/// three; to ask whether anybody waits takes as long.
const STEPS: usize = 64;
