//! What can be driven in virtual time: one table.

use std::{fmt, sync::Arc};

use portolan_identity::Identity;
use portolan_rudp::Congestion;
use portolan_transport::ConnectionConfig;
use portolan_transport_udp::machine_config;
use quinn_proto::{TransportConfig, congestion::BbrConfig};

use super::{keys::Keys, machine::Machine, quic::Quic, udp::Udp};
use crate::result::SubjectNote;

/// A protocol whose state machine the simulation can drive.
pub struct Subject {
    /// Its name in reports and on the command line.
    pub name: &'static str,
    /// One line: what it is.
    pub summary: &'static str,
    congestion_control: fn() -> String,
    machine: fn(&Keys) -> Box<dyn Machine>,
}

/// All of them, in the order of reports.
pub static SUBJECTS: &[Subject] = &[
    Subject {
        name: "udp",
        summary: "our UDP: portolan-rudp's machine, set up as the transport does it",
        congestion_control: || of_udp(None),
        machine: |keys| Box::new(Udp::new(keys, None)),
    },
    Subject {
        name: "udp-cubic",
        summary: "our UDP with CUBIC, whatever the transport chooses",
        congestion_control: || of_udp(Some(Congestion::Cubic)),
        machine: |keys| Box::new(Udp::new(keys, Some(Congestion::Cubic))),
    },
    Subject {
        name: "udp-bbr",
        summary: "our UDP with BBR, whatever the transport chooses",
        congestion_control: || of_udp(Some(Congestion::Bbr)),
        machine: |keys| Box::new(Udp::new(keys, Some(Congestion::Bbr))),
    },
    Subject {
        name: "quic",
        summary: "QUIC: quinn-proto's machine, set up as the transport does it",
        congestion_control: || "cubic (quinn)".to_owned(),
        machine: |keys| Box::new(Quic::new(keys, None)),
    },
    Subject {
        name: "quinn",
        summary: "quinn-proto's machine as it comes",
        congestion_control: || "cubic (quinn)".to_owned(),
        machine: |keys| Box::new(Quic::new(keys, Some(TransportConfig::default()))),
    },
    Subject {
        name: "quinn-bbr",
        summary: "quinn-proto's machine as it comes but for BBR",
        congestion_control: || "bbr (quinn)".to_owned(),
        machine: |keys| {
            let mut transport = TransportConfig::default();
            transport.congestion_controller_factory(Arc::new(BbrConfig::default()));
            Box::new(Quic::new(keys, Some(transport)))
        },
    },
];

impl Subject {
    /// The subject of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        SUBJECTS.iter().find(|subject| subject.name == name)
    }

    /// The congestion control in force.
    #[must_use]
    pub fn congestion_control(&self) -> String {
        (self.congestion_control)()
    }

    /// How reports introduce it.
    #[must_use]
    pub fn note(&self) -> SubjectNote {
        SubjectNote {
            name: self.name.to_owned(),
            summary: self.summary.to_owned(),
            congestion_control: self.congestion_control(),
            encrypted: true,
        }
    }

    pub(crate) fn machine(&self, keys: &Keys) -> Box<dyn Machine> {
        (self.machine)(keys)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).finish_non_exhaustive()
    }
}

fn of_udp(chosen: Option<Congestion>) -> String {
    let usual = || machine_config(&ConnectionConfig::new(Identity::from_seed([0; 32])));
    let congestion = chosen.unwrap_or_else(|| usual().connection.congestion);
    format!("{congestion:?} (ours)").to_lowercase()
}
