//! `tr223`: clients of a broadcast server whose messages are four fields with bars between.

mod bridge;
mod dialect;
mod shared;
pub mod wire;

use std::{sync::Arc, time::Duration};

use self::{bridge::Tr223Bridge, shared::Shared};
use crate::{
    bridge::{Bridge, Carrier, Gateway, Lane, Service, Visitor},
    options::{OptionInfo, Options, OptionsError},
};

/// Two messages in one read are one to these clients; 10 ms apart lose none.
pub(crate) const PACING: Duration = Duration::from_millis(50);

/// The row of the table.
#[derive(Debug)]
pub(crate) struct Tr223;

impl Gateway for Tr223 {
    fn name(&self) -> &'static str {
        "tr223"
    }

    fn about(&self) -> &'static str {
        "broadcast clients with four fields a message (video-conference), both dialects"
    }

    fn port(&self) -> u16 {
        1234
    }

    fn lanes(&self) -> &'static [Lane] {
        &[Lane { carrier: Carrier::Tcp, registry: "tr223" }]
    }

    fn options(&self) -> &'static [OptionInfo] {
        &[OptionInfo {
            key: "admin",
            about: "names, with + between, whose close_server closes this gateway [default: none]",
        }]
    }

    fn open(&self, options: &Options) -> Result<Arc<dyn Service>, OptionsError> {
        Ok(Arc::new(Open { shared: Arc::new(Shared::new(options.words("admin"))) }))
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
        Box::new(Tr223Bridge::new(visitor, Arc::clone(&self.shared)))
    }
}
