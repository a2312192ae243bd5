//! What is sent, ready as bytes, and what must come back.

use std::ops::Range;

/// Jobs to choose from, each one request or several in a row.
pub struct Plan {
    /// All requests; jobs are ranges of it.
    pub requests: Vec<Request>,
    /// What a client does: its requests go out one after the other, each once the one before is
    /// answered.
    pub jobs: Vec<Range<usize>>,
    /// In which order the jobs are taken, over and over.
    pub order: Vec<u32>,
}

/// One request.
pub struct Request {
    /// As it is sent.
    pub bytes: Box<[u8]>,
    /// Its answer has no body, whatever the head says.
    pub is_head: bool,
    /// A gateway that counts must have counted it: a GET of a manifest.
    pub is_counted: bool,
    /// What the answer must be.
    pub expect: Expect,
}

/// What an answer must be; what is `None` may be anything.
#[derive(Clone, Default)]
pub struct Expect {
    /// The status; 0 for any that is no refusal.
    pub status: u16,
    /// The body's length. For HEAD, what the head announces.
    pub length: Option<u64>,
    /// The body's sha256.
    pub digest: Option<[u8; 32]>,
    /// The whole `Location`.
    pub location: Option<Box<[u8]>>,
}

impl Plan {
    /// Each of `requests` is a job of its own, and they are taken in a fixed, shuffled order.
    pub fn singles(requests: Vec<Request>) -> Self {
        let jobs = (0..requests.len()).map(|index| index..index + 1).collect();
        Self::of(requests, jobs)
    }

    /// Jobs of several requests, taken in a fixed, shuffled order.
    pub fn of(requests: Vec<Request>, jobs: Vec<Range<usize>>) -> Self {
        let mut order: Vec<u32> = (0..).take(jobs.len()).collect();
        let mut random = Random::new(1);
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last + 1));
        }
        Self { requests, jobs, order }
    }

    /// The same jobs, `each` of them for a package; those of the `n`-th are asked for in proportion to
    /// 1 / `n`, as popularity goes.
    pub fn by_popularity(mut self, each: usize) -> Self {
        let weights = (0..self.jobs.len()).map(|job| 1.0 / (job / each.max(1) + 1) as f64);
        let bounds: Vec<f64> = weights
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let all = bounds.last().copied().unwrap_or_default();
        let mut random = Random::new(2);
        self.order = (0..ORDER_LENGTH)
            .map(|_| {
                let point = random.unit() * all;
                let job = bounds.partition_point(|bound| *bound <= point);
                u32::try_from(job.min(bounds.len() - 1)).unwrap_or(0)
            })
            .collect();
        self
    }

    /// Requests in the longest job.
    pub fn steps_max(&self) -> usize {
        self.jobs.iter().map(ExactSizeIterator::len).max().unwrap_or(0)
    }
}

/// A small generator with a seed: the same load each time.
pub struct Random(u64);

impl Random {
    /// From `seed`, which is not 0.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// xorshift64*.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.draw() % bound as u64).unwrap_or(0)
    }

    /// From 0 up to 1.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How many choices are made beforehand where jobs are not equally likely.
const ORDER_LENGTH: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(count: usize) -> Plan {
        let request = |_| Request {
            bytes: Box::default(),
            is_head: false,
            is_counted: true,
            expect: Expect::default(),
        };
        Plan::singles((0..count).map(request).collect())
    }

    #[test]
    fn every_job_has_its_turn() {
        let mut order = plan(100).order;
        assert_ne!(order, (0..100).collect::<Vec<u32>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<u32>>());
    }

    #[test]
    fn the_popular_are_asked_for_most() {
        let order = plan(100).by_popularity(1).order;
        let count = |job: u32| order.iter().filter(|one| **one == job).count() as f64;
        // 1 to 1/10, within what chance does to 65,536 draws.
        let ratio = count(0) / count(9);
        assert!((8.0..12.5).contains(&ratio), "{ratio}");
        assert!(count(99) > 0.0);
    }
}
