//! `upc`: a relay with `::commands`, by the description of its authors.

mod bridge;
pub mod wire;

use std::{sync::Arc, time::Duration};

use self::bridge::UpcBridge;
use crate::{
    bridge::{Bridge, Carrier, Gateway, Lane, Service, Visitor},
    options::{Options, OptionsError},
};

/// The row of the table.
#[derive(Debug)]
pub(crate) struct Upc;

impl Gateway for Upc {
    fn name(&self) -> &'static str {
        "upc"
    }

    fn about(&self) -> &'static str {
        "a relay with username:, connect: and ::commands"
    }

    fn port(&self) -> u16 {
        8080
    }

    fn lanes(&self) -> &'static [Lane] {
        &[Lane { carrier: Carrier::Tcp, registry: "upc" }]
    }

    fn open(&self, options: &Options) -> Result<Arc<dyn Service>, OptionsError> {
        options.check(self.options())?;
        Ok(Arc::new(Relay))
    }
}

/// Its connections share nothing.
#[derive(Debug)]
struct Relay;

impl Service for Relay {
    /// Clients without line ends take one read for one message.
    fn pacing(&self) -> Duration {
        Duration::from_millis(50)
    }

    fn accept(&self, _visitor: Visitor) -> Box<dyn Bridge> {
        Box::new(UpcBridge::new())
    }
}
