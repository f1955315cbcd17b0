//! `cod`: clients of a messenger with two-digit codes and thirteen-digit ids.

mod bridge;
mod directory;
mod ids;
mod shared;
pub mod wire;

use std::{sync::Arc, time::Duration};

use self::{bridge::CodBridge, shared::Shared};
use crate::{
    bridge::{Bridge, Carrier, Gateway, Lane, Service, Visitor},
    options::{Options, OptionsError},
    tr223::PACING,
};

/// The row of the table.
#[derive(Debug)]
pub(crate) struct Cod;

impl Gateway for Cod {
    fn name(&self) -> &'static str {
        "cod"
    }

    fn about(&self) -> &'static str {
        "messenger clients with codes 01 to 11 and ids of 13 digits (message-net)"
    }

    fn port(&self) -> u16 {
        19_033
    }

    fn lanes(&self) -> &'static [Lane] {
        &[Lane { carrier: Carrier::Tcp, registry: "cod" }]
    }

    fn open(&self, _options: &Options) -> Result<Arc<dyn Service>, OptionsError> {
        Ok(Arc::new(Open { shared: Arc::default() }))
    }
}

#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
}

impl Service for Open {
    fn pacing(&self) -> Duration {
        PACING
    }

    fn accept(&self, visitor: Visitor) -> Box<dyn Bridge> {
        Box::new(CodBridge::new(visitor, Arc::clone(&self.shared)))
    }
}
