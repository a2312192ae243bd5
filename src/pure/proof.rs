//! stub until wip-decide
#![allow(missing_docs)]
use std::collections::HashMap;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof { Unknown, Refused, Open, WithToken }
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryProof { pub challenge: Option<String>, pub since_us: u64 }
#[derive(Default)]
pub struct Proofs { r: HashMap<String, Proof>, b: HashMap<String, RegistryProof> }
impl Proofs {
    pub fn build(r: impl IntoIterator<Item = (String, Proof)>, b: impl IntoIterator<Item = (String, RegistryProof)>) -> Self {
        Self { r: r.into_iter().collect(), b: b.into_iter().collect() }
    }
    pub fn repository(&self, location: &str, tail: &str) -> Proof { self.r.get(&[location, tail].concat()).copied().unwrap_or(Proof::Unknown) }
    pub fn registry(&self, base: &str) -> Option<&RegistryProof> { self.b.get(base) }
}
