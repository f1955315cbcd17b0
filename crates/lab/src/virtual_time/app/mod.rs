//! What talks over the simulated connections: one answering side, and an asking side a workload.

mod asker;
mod burster;
mod line;
mod live;
mod meter;
mod pourer;
mod server;

pub(crate) use asker::{Asker, Load};
pub(crate) use burster::Burster;
pub(crate) use line::{Duty, Line, Order, drain};
pub(crate) use live::{INTERVAL, Live, Way};
pub(crate) use meter::{Meter, Window};
pub(crate) use pourer::{Direction, Pourer};
pub(crate) use server::Server;
