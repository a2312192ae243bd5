//! Tables of networks: of those that hold an address, the smallest decides.

use std::collections::HashMap;
use std::fmt;

use foldhash::fast::FixedState;

use super::database::tidy;
use crate::pure::config::values::Cidr;
use crate::pure::limits::LABELS_MAX;

/// Networks, each with something that is said of it.
#[derive(Clone, Debug)]
pub(super) struct Networks<T> {
    entries: Vec<T>,
    /// By the length of the networks, the longest first: their places in `entries`. Who runs the
    /// gateway chose them, so that nobody else can make them collide.
    by_bits: Vec<(u8, HashMap<u128, u32, FixedState>)>,
}

impl<T> Networks<T> {
    pub(super) fn new(networks: impl IntoIterator<Item = (Cidr, T)>) -> Self {
        let mut by_bits: Vec<(u8, HashMap<u128, u32, FixedState>)> = Vec::new();
        let mut entries = Vec::new();
        for (Cidr { network, bits }, entry) in networks {
            let at = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            entries.push(entry);
            match by_bits.iter_mut().find(|(known, _)| *known == bits) {
                Some((_, networks)) => _ = networks.entry(network).or_insert(at),
                None => by_bits.push((bits, HashMap::from_iter([(network, at)]))),
            }
        }
        by_bits.sort_unstable_by_key(|(bits, _)| std::cmp::Reverse(*bits));
        Self { entries, by_bits }
    }

    /// Which entry an address has, from 1; 0 for none.
    pub(super) fn entry(&self, address: [u8; 16]) -> u32 {
        let address = u128::from_be_bytes(address);
        let mut found = self.by_bits.iter().filter_map(|(bits, networks)| {
            let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
            networks.get(&(address & mask))
        });
        found.next().map_or(0, |at| at + 1)
    }

    pub(super) fn get(&self, address: [u8; 16]) -> Option<&T> {
        self.entries.get(self.entry(address).checked_sub(1)? as usize)
    }
}

impl<T> Default for Networks<T> {
    fn default() -> Self {
        Self::new([])
    }
}

/// What an operator says of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// What it is called.
    pub text: String,
    /// Whether nothing of it is counted.
    pub is_excluded: bool,
}

/// An operator's file of networks: `CIDR, label` or `CIDR, label, exclude`, one a line, with `#`
/// before remarks.
#[derive(Clone, Debug, Default)]
pub struct Labels(pub(super) Networks<Label>);

/// Something that is wrong with such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworksProblem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what is allowed.
    pub what: String,
}

impl Labels {
    /// Reads such a file's text.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<NetworksProblem>> {
        let (mut networks, mut problems) = (Vec::<(Cidr, Label)>::new(), Vec::new());
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            match entry(line) {
                Ok((network, _)) if networks.iter().any(|(known, _)| *known == network) => {
                    let what = "the same network stands above; leave one out".to_owned();
                    problems.push(NetworksProblem { line: at + 1, what });
                }
                Ok(entry) => networks.push(entry),
                Err(what) => problems.push(NetworksProblem { line: at + 1, what }),
            }
        }
        if networks.len() > LABELS_MAX {
            let what = format!("more than {LABELS_MAX} networks; leave some out");
            problems.push(NetworksProblem { line: 1, what });
        }
        if problems.is_empty() { Ok(Self(Networks::new(networks))) } else { Err(problems) }
    }
}

fn entry(line: &str) -> Result<(Cidr, Label), String> {
    let mut words = line.split(',').map(str::trim);
    let network = Cidr::parse(words.next().unwrap_or_default())?;
    let text = words.next().and_then(tidy).ok_or("a label is missing: `10.0.0.0/8, office`")?;
    let is_excluded = match words.next() {
        None => false,
        Some("exclude") => true,
        Some(other) => {
            return Err(format!("{other:?} is not `exclude`, which is all that may follow"));
        }
    };
    match words.next() {
        None => Ok((network, Label { text, is_excluded })),
        Some(_) => Err("more than a network, a label and `exclude`".to_owned()),
    }
}

impl fmt::Display for NetworksProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_problem_has_its_line() {
        let text = "# ours\n10.0.0.0/8, office\n10.0.0.0/8, again\n10.0.0.1/8, x\n::/0\n\
                    192.0.2.0/24, ci, exclud\n192.0.2.0/24, ci, exclude, x\nfd00::/8, ok # fine\n";
        let said: Vec<_> =
            Labels::parse(text).unwrap_err().iter().map(ToString::to_string).collect();
        let expected = [
            "3: the same network stands above",
            "4: `10.0.0.1/8` has bits behind its length",
            "5: a label is missing",
            "6: \"exclud\" is not `exclude`",
            "7: more than a network",
        ];
        assert_eq!(said.len(), expected.len(), "{said:?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.starts_with(expected), "{said}");
        }
    }

    proptest! {
        /// The naive twin: the longest of all networks that hold the address.
        #[test]
        fn the_smallest_network_decides(
            networks in prop::collection::vec((0u8..4, 0u8..4, 0u8..=128), 0..20), last in 0u8..8,
        ) {
            let networks: Vec<_> = networks.into_iter().enumerate().map(|(at, (first, last, bits))| {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                let network = (u128::from(first) << 120 | u128::from(last)) & mask;
                (Cidr { network, bits }, at)
            }).collect();
            let mut address = [0; 16];
            (address[0], address[15]) = (last / 2, last % 4);
            let holding = networks.iter().filter(|(cidr, _)| cidr.contains(address));
            let naive = holding.rev().max_by_key(|(cidr, _)| cidr.bits);
            let naive = naive.and_then(|(it, _)| networks.iter().find(|(cidr, _)| cidr == it));
            let table = Networks::new(networks.iter().copied());
            prop_assert_eq!(table.get(address).copied(), naive.map(|(_, at)| *at));
        }
    }
}
