//! The network model with real packets: TUN devices in namespaces of this process.
