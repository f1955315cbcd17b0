//! `mac0448`: command lines with JSON replies, over TCP and over UDP, and chats between clients.

mod bridge;
mod chat;
mod json;
mod state;
mod talk;
#[cfg(test)]
mod tests;
pub mod wire;

use std::sync::Arc;

use self::bridge::MacBridge;
use crate::{
    bridge::{Bridge, Carrier, Gateway, Lane, Service, Visitor},
    options::{OptionInfo, Options, OptionsError},
};

/// Its two ways, and the registry of each.
const LANES: &[Lane] = &[
    Lane { carrier: Carrier::Tcp, registry: "mac0448" },
    Lane { carrier: Carrier::Udp, registry: "mac0448-udp" },
];

/// The row of the table.
#[derive(Debug)]
pub(crate) struct Mac0448;

/// Whom a client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lists {
    /// Those of the same carrier.
    Separate,
    /// Everyone.
    All,
}

impl Gateway for Mac0448 {
    fn name(&self) -> &'static str {
        "mac0448"
    }

    fn about(&self) -> &'static str {
        "command lines with JSON replies, over TCP and UDP"
    }

    fn port(&self) -> u16 {
        8125
    }

    fn lanes(&self) -> &'static [Lane] {
        LANES
    }

    fn options(&self) -> &'static [OptionInfo] {
        &[OptionInfo {
            key: "lists",
            about: "whom a client sees: `separate` (those of the same carrier, TCP or UDP; the \
                    default) or `all`",
        }]
    }

    fn open(&self, options: &Options) -> Result<Arc<dyn Service>, OptionsError> {
        options.check(self.options())?;
        let lists = match options.0.get("lists").map(String::as_str) {
            None | Some("separate") => Lists::Separate,
            Some("all") => Lists::All,
            Some(other) => {
                let (value, expected) = (other.to_owned(), "`separate` or `all`");
                return Err(OptionsError::Value { key: "lists", value, expected });
            }
        };
        Ok(Arc::new(Switchboard { lists }))
    }
}

#[derive(Debug)]
struct Switchboard {
    lists: Lists,
}

impl Service for Switchboard {
    fn accept(&self, visitor: Visitor) -> Box<dyn Bridge> {
        Box::new(MacBridge::new(visitor, self.lists))
    }
}
