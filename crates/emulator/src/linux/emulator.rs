//! A world with real packets in it.

use std::{
    collections::HashMap,
    net::IpAddr,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        mpsc::{self, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use portolan_netsim::{
    Addressing, InterfaceId, World, WorldError,
    topology::{Happening, Host, NodeKind, Topology},
};
use rustix::event::{EventfdFlags, eventfd};

use super::{
    device::Device,
    driver::{self, Command, Driver, clock},
    hands::{self, Job, Place},
    namespace::{Addresses, HostNamespace, Namespace},
    netlink,
};
use crate::{ApplyError, Counters, Health, Options, StartError};

/// Commands that wait at once.
const COMMANDS_MAX: usize = 64;

/// A world with real packets in it. Dropping it ends it: its thread stops, its devices go, and the
/// hosts' namespaces with the last program in them.
#[derive(Debug)]
pub struct Emulator {
    hosts: Vec<HostNamespace>,
    /// For each host, the names of its interfaces.
    interfaces: Vec<Vec<String>>,
    /// Packets that each host's devices had dropped when counting began.
    dropped_before: Mutex<u64>,
    commands: SyncSender<Command>,
    wake: Arc<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
}

/// A host that has been made.
struct Made {
    host: HostNamespace,
    devices: Vec<(Device, Addressing)>,
    addresses: Addresses,
}

/// An interface that is to be made.
struct Plan {
    id: InterfaceId,
    number: u16,
    name: String,
    addressing: Addressing,
}

impl Emulator {
    /// Builds a topology: a namespace for every host, and one thread between them. Its timeline
    /// counts from now; its programs are not started.
    ///
    /// # Errors
    /// When the topology does not make a world, or the system does not let it be built.
    pub fn start(topology: &Topology, options: Options) -> Result<Self, StartError> {
        super::launch::check_device()?;
        let sketch = World::<()>::new(topology, clock())?;
        let made = make_hosts(topology, &sketch)?;
        let (hosts, devices, places) = sort(made);
        let interfaces = hosts.iter().map(|host| names(&places, host)).collect();

        let wake = Arc::new(
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
                .map_err(|error| StartError::Thread(error.into()))?,
        );
        let (commands, obeyed) = mpsc::sync_channel(COMMANDS_MAX);
        let (jobs, done) = mpsc::sync_channel::<Job>(hands::JOBS_MAX);
        let driver = Driver {
            world: World::new(topology, clock())?,
            devices,
            options,
            commands: obeyed,
            wake: Arc::clone(&wake),
            jobs,
        };
        let threads = vec![
            thread("emulator", move || driver::run(driver))?,
            thread("emulator-hands", move || hands::work(&done, places))?,
        ];
        let dropped_before = Mutex::new(0);
        Ok(Self { hosts, interfaces, dropped_before, commands, wake, threads })
    }

    /// A host by its name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&HostNamespace> {
        self.hosts.iter().find(|host| host.name() == name)
    }

    /// Makes something happen now. Returns when packets met it and the hosts have followed: the
    /// time at which packets did.
    ///
    /// # Errors
    /// When it does not fit the world, a host could not follow, or the emulator has stopped.
    pub fn apply(&self, what: &Happening) -> Result<Instant, ApplyError> {
        let what = Box::new(what.clone());
        self.ask(|answer| Command::Apply(what, answer)).ok_or(ApplyError::Stopped)?
    }

    /// How well it has kept its promises.
    #[must_use]
    pub fn health(&self) -> Health {
        let mut health = self.ask(Command::Health).unwrap_or_default();
        let before = self.dropped_before.lock().map_or(0, |before| *before);
        health.device_dropped = self.dropped().saturating_sub(before);
        health
    }

    /// What the model has counted since the start. All zero when the emulator has stopped.
    #[must_use]
    pub fn stats(&self) -> Counters {
        self.ask(Command::Counters).unwrap_or_default()
    }

    /// Begins to count anew.
    pub fn reset_health(&self) {
        let dropped = self.dropped();
        if let Ok(mut before) = self.dropped_before.lock() {
            *before = dropped;
        }
        // Who has stopped has nothing to count.
        let _: Option<()> = self.ask(Command::Reset);
    }

    /// Puts a question to the driver; `None`: it has stopped.
    fn ask<T>(&self, question: impl FnOnce(SyncSender<T>) -> Command) -> Option<T> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.commands.send(question(answer)).ok()?;
        driver::wake(&self.wake).ok()?;
        answered.recv().ok()
    }

    /// Packets that devices have dropped since they were made.
    fn dropped(&self) -> u64 {
        let count = |host: &HostNamespace, names: &[String]| {
            let names = names.to_vec();
            let thread = host.spawn_thread("counting", move || netlink::dropped(&names));
            thread.ok()?.join().ok()?.ok()
        };
        let counts = self.hosts.iter().zip(&self.interfaces);
        counts.filter_map(|(host, names)| count(host, names)).sum()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // When the driver has stopped by itself there is nobody to tell.
        let _ = self.commands.send(Command::Stop);
        let _ = driver::wake(&self.wake);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the emulator had panicked");
            }
        }
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(StartError::Thread)
}

fn make_hosts(topology: &Topology, sketch: &World<()>) -> Result<Vec<Made>, StartError> {
    let mut made = Vec::new();
    let mut number = 0;
    for node in &topology.nodes {
        let NodeKind::Host(host) = &node.kind else { continue };
        let plans = plan(&node.name, host, sketch, &mut number)?;
        made.push(make_host(&node.name, plans)?);
    }
    Ok(made)
}

fn plan(
    name: &str,
    host: &Host,
    sketch: &World<()>,
    number: &mut u16,
) -> Result<Vec<Plan>, StartError> {
    let mut plans = Vec::new();
    for interface in &host.interfaces {
        let id = sketch.interface(name, &interface.name).ok_or_else(|| WorldError::Unknown {
            what: "interface",
            name: interface.name.clone(),
        })?;
        *number = number.wrapping_add(1);
        let (name, addressing) = (interface.name.clone(), sketch.addressing(id));
        plans.push(Plan { id, number: *number, name, addressing });
    }
    Ok(plans)
}

/// Makes a host in a thread that does not outlive it: threads do not come back from a namespace.
fn make_host(name: &str, plans: Vec<Plan>) -> Result<Made, StartError> {
    let no_namespace = |source| StartError::Namespace { host: name.to_owned(), source };
    let no_interface = |interface: &str, reason| StartError::Interface {
        host: name.to_owned(),
        interface: interface.to_owned(),
        reason,
    };
    thread::scope(|scope| {
        let make = || {
            let namespace = Arc::new(Namespace::enter_new().map_err(no_namespace)?);
            netlink::prepare().map_err(|reason| no_interface("lo", reason))?;
            let mut devices = Vec::new();
            for Plan { id, number, name, addressing } in &plans {
                let device = Device::make(*id, *number, name, addressing);
                let device = device.map_err(|reason| no_interface(name, reason))?;
                devices.push((device, addressing.clone()));
            }
            let own = |plan: &Plan| -> Vec<IpAddr> {
                plan.addressing.addresses.iter().map(|(address, _)| *address).collect()
            };
            let addresses: Addresses = Arc::new(Mutex::new(plans.iter().map(own).collect()));
            let host = HostNamespace::new(name, namespace, Arc::clone(&addresses));
            Ok(Made { host, devices, addresses })
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, make);
        let panicked = |_| no_namespace(std::io::Error::other("its thread panicked"));
        thread.map_err(StartError::Thread)?.join().map_err(panicked)?
    })
}

type Sorted = (Vec<HostNamespace>, Vec<Device>, HashMap<InterfaceId, Place>);

fn sort(made: Vec<Made>) -> Sorted {
    let (mut hosts, mut all, mut places) = (Vec::new(), Vec::new(), HashMap::new());
    for Made { host, devices, addresses } in made {
        for (position, (device, addressing)) in devices.into_iter().enumerate() {
            let place = Place {
                namespace: Arc::clone(host.namespace()),
                name: device.name.clone(),
                addressing,
                plugged: true,
                addresses: Arc::clone(&addresses),
                position,
            };
            places.insert(device.id, place);
            all.push(device);
        }
        hosts.push(host);
    }
    (hosts, all, places)
}

fn names(places: &HashMap<InterfaceId, Place>, host: &HostNamespace) -> Vec<String> {
    let own = places.values().filter(|place| Arc::ptr_eq(&place.namespace, host.namespace()));
    own.map(|place| place.name.clone()).collect()
}
