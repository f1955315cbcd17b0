//! The network model: links, loss, delay and faults in virtual time, from one seed.
