//! Organisations and packages, where roles are held and which deeds are done to.

use std::fmt;

use crate::pure::access::OrganisationId;

/// Where roles are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On an organisation, and so on all its packages.
    Organisation(OrganisationId),
    /// On one package.
    Package {
        /// `<domain>/<name>`.
        name: String,
        /// Whose it is.
        owner: OrganisationId,
    },
}

impl Place {
    /// An organisation, or a package of it.
    pub fn new(owner: OrganisationId, package: Option<String>) -> Self {
        match package {
            None => Self::Organisation(owner),
            Some(name) => Self::Package { name, owner },
        }
    }

    /// The organisation that it is or is of.
    pub fn organisation(&self) -> OrganisationId {
        match self {
            Self::Organisation(id) => *id,
            Self::Package { owner, .. } => *owner,
        }
    }

    /// The package, `<domain>/<name>`, where it is one.
    pub fn package(&self) -> Option<&str> {
        match self {
            Self::Organisation(_) => None,
            Self::Package { name, .. } => Some(name),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organisation(id) => write!(f, "organisation {id}"),
            Self::Package { name, .. } => f.write_str(name),
        }
    }
}
