//! Hosts: anonymous network namespaces, and what runs in them.

use std::{
    fs::File,
    io,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::{Child, Command},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

use super::sys;

/// A network namespace. It lives as long as something holds on to it: this, a device's descriptor,
/// or a process in it.
#[derive(Debug)]
pub(super) struct Namespace(OwnedFd);

impl Namespace {
    /// Makes one, and leaves this thread in it.
    pub(super) fn enter_new() -> io::Result<Self> {
        sys::unshare(UnshareFlags::NEWNET)?;
        Ok(Self(File::open("/proc/thread-self/ns/net")?.into()))
    }

    /// Moves this thread into it.
    pub(super) fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?)
    }
}

/// A host of the topology: a network of its own, with nothing in it but the host's interfaces.
#[derive(Debug)]
pub struct HostNamespace {
    name: String,
    namespace: Arc<Namespace>,
    addresses: Addresses,
}

/// The addresses of a host, by interface, as they are now.
pub(super) type Addresses = Arc<Mutex<Vec<Vec<IpAddr>>>>;

impl HostNamespace {
    pub(super) fn new(name: &str, namespace: Arc<Namespace>, addresses: Addresses) -> Self {
        Self { name: name.to_owned(), namespace, addresses }
    }

    pub(super) fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// The host's name in the topology.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its addresses now, in the order of its interfaces.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.iter().flatten().copied().collect()
    }

    /// Runs a thread on the host: every socket that it opens is there, also those of the threads
    /// and programs that it starts.
    ///
    /// # Errors
    /// When the thread cannot start or cannot enter the host.
    pub fn spawn_thread<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let namespace = Arc::clone(&self.namespace);
        let (entered, entering) = mpsc::sync_channel(1);
        let handle = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let outcome = namespace.enter();
            let error = outcome.as_ref().err().map(ToString::to_string);
            // The caller waits for this, so it is there.
            let _ = entered.send(outcome);
            assert!(error.is_none(), "the host cannot be entered: {error:?}");
            work()
        })?;
        entering.recv().map_err(|_| io::Error::other("the thread ended at once"))??;
        Ok(handle)
    }

    /// Starts a program on the host, with a view of `/sys` in which only the host's interfaces are.
    ///
    /// # Errors
    /// When it cannot start.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        thread::scope(|scope| {
            let start = || {
                self.namespace.enter()?;
                see_own_devices();
                command.spawn()
            };
            let thread =
                thread::Builder::new().name(self.name.clone()).spawn_scoped(scope, start)?;
            thread.join().map_err(|_| io::Error::other("the starting thread panicked"))?
        })
    }
}

/// Mounts a `/sys` of the namespace of this thread, for it and its children only. A program that
/// looks for interfaces there would see another host's; one that does not, needs no such mount, so
/// that failing is no error.
fn see_own_devices() {
    let mounted = sys::unshare(UnshareFlags::NEWNS).and_then(|()| mount_sys());
    if let Err(error) = mounted {
        tracing::debug!(%error, "programs on this host see the interfaces of another in /sys");
    }
}

fn mount_sys() -> io::Result<()> {
    make_mounts_private()?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount("sysfs", Path::new("/sys"), "sysfs", flags, None)?)
}

/// What is mounted from now on is seen in this mount namespace only.
pub(super) fn make_mounts_private() -> io::Result<()> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(mount_change(Path::new("/"), flags)?)
}
