//! Who may do what only some may do.

use portolan_identity::PeerId;

/// Rights besides the admin right, which includes them all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// To write to everyone who is there.
    pub broadcast: Right,
}

/// Who has a right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Right {
    /// Every user.
    #[default]
    Everyone,
    /// Only admins.
    Admins,
    /// Admins and these keys.
    Keys(Vec<PeerId>),
}

impl Right {
    /// Whether the holder of `key`, who is no admin, has it.
    pub(crate) fn is_given_to(&self, key: PeerId) -> bool {
        match self {
            Self::Everyone => true,
            Self::Admins => false,
            Self::Keys(keys) => keys.contains(&key),
        }
    }
}
