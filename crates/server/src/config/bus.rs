//! How news reach the clients.

use std::str::FromStr;

/// By which bus news go from where they are decided to those who are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BusKind {
    /// Straight into the queues of the clients.
    #[default]
    Direct,
    /// Encoded and through a queue, from which a thread of its own serves the clients: the next
    /// decision need not wait until everybody was told of the last one.
    Queued,
}

impl BusKind {
    /// Every kind with its word.
    pub const TABLE: [(Self, &'static str); 2] =
        [(Self::Direct, "direct"), (Self::Queued, "queued")];
}

impl FromStr for BusKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let row = Self::TABLE.iter().find(|(_, word)| *word == text);
        row.map(|(kind, _)| *kind).ok_or_else(|| format!("{text:?} is not one of direct, queued"))
    }
}
