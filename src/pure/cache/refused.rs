//! Refusals on their way to all that keep manifests. None is lost on it.

use std::collections::HashSet;
use std::mem;

use super::Scope;

/// Of what nothing that is kept may be served any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Of these.
    These(HashSet<Scope>),
    /// Of anything: there were too many to remember which.
    All,
}

impl Default for Refused {
    /// Of nothing.
    fn default() -> Self {
        Self::These(HashSet::new())
    }
}

impl Refused {
    /// Of `scope` too.
    pub fn add(&mut self, scope: Scope) {
        if let Self::These(these) = self {
            these.insert(scope);
            if these.len() > REFUSED_MAX {
                *self = Self::All;
            }
        }
    }

    /// Of `others` too.
    pub fn join(&mut self, others: Self) {
        match others {
            Self::These(others) => others.into_iter().for_each(|scope| self.add(scope)),
            Self::All => *self = Self::All,
        }
    }

    /// All of it, if there is any, which is then nobody's to tell any more.
    pub fn take(&mut self) -> Option<Self> {
        let is_empty = matches!(self, Self::These(these) if these.is_empty());
        (!is_empty).then(|| mem::take(self))
    }
}

/// Refusals that wait to be told. Who asks for what it is refused costs a registry something the first
/// time only: there is room for more of these than tokens are remembered to be refused.
const REFUSED_MAX: usize = 4 * crate::pure::limits::TOKENS_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(number: usize) -> Scope {
        Scope(number.to_le_bytes())
    }

    #[test]
    fn none_is_told_twice_and_none_is_lost() {
        let mut refused = Refused::default();
        assert_eq!(refused.take(), None);
        for number in [1, 2, 1] {
            refused.add(scope(number));
        }
        let told = refused.take().unwrap();
        assert_eq!(told, Refused::These([scope(1), scope(2)].into()));
        assert_eq!(refused.take(), None);
        // They come back where nobody takes them.
        refused.add(scope(3));
        refused.join(told);
        assert_eq!(refused.take(), Some(Refused::These([1, 2, 3].map(scope).into())));
    }

    #[test]
    fn too_many_are_all() {
        let mut refused = Refused::default();
        (0..REFUSED_MAX).for_each(|number| refused.add(scope(number)));
        assert!(matches!(&refused, Refused::These(these) if these.len() == REFUSED_MAX));
        refused.add(scope(REFUSED_MAX));
        refused.add(scope(7));
        assert_eq!(refused.take(), Some(Refused::All));
        refused.join(Refused::All);
        assert_eq!(refused, Refused::All);
    }
}
