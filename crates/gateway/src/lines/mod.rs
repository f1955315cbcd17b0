//! `lines`: a gateway of our own for anything that can open a socket. JSON, one object a line.

mod bridge;
pub mod request;

use std::{sync::Arc, time::Duration};

use crate::{
    bridge::{Bridge, Carrier, Gateway, Lane, Service, Visitor},
    options::{Options, OptionsError},
};

/// The row of the table.
#[derive(Debug)]
pub(crate) struct Lines;

impl Gateway for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn about(&self) -> &'static str {
        "anything that can open a socket: JSON, one object a line"
    }

    fn port(&self) -> u16 {
        7276
    }

    fn lanes(&self) -> &'static [Lane] {
        &[Lane { carrier: Carrier::Tcp, registry: "lines" }]
    }

    fn open(&self, _options: &Options) -> Result<Arc<dyn Service>, OptionsError> {
        Ok(Arc::new(Open))
    }
}

#[derive(Debug)]
struct Open;

impl Service for Open {
    fn patience(&self) -> Duration {
        Duration::from_secs(300)
    }

    fn accept(&self, _visitor: Visitor) -> Box<dyn Bridge> {
        Box::new(bridge::LinesBridge::new())
    }
}
