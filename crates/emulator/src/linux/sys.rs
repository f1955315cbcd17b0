//! The kernel calls that have no safe wrapper. Nothing else in this crate is unsafe.

#![expect(unsafe_code, reason = "ioctl on TUN devices, clone into namespaces, signals, scheduling")]

use std::{
    fs::OpenOptions,
    io, mem,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::OpenOptionsExt, process::CommandExt},
    },
    process::Command,
    ptr,
};

use rustix::{process::Pid, thread::UnshareFlags};

use crate::packet::VNET_HEADER;

/// A priority above ordinary programs and below the kernel's own threads.
const REALTIME_PRIORITY: i32 = 10;

/// From `linux/if_tun.h`.
const OFFLOADS: [libc::c_uint; 4] = [
    libc::TUN_F_CSUM
        | libc::TUN_F_TSO4
        | libc::TUN_F_TSO6
        | libc::TUN_F_TSO_ECN
        | libc::TUN_F_USO4
        | libc::TUN_F_USO6,
    libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN,
    libc::TUN_F_CSUM,
    0,
];

/// Opens `/dev/net/tun`.
pub(super) fn open_tun() -> io::Result<OwnedFd> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    Ok(file.into())
}

/// Makes a TAP device in the network namespace of this thread; it is gone with the descriptor.
pub(super) fn make_tap(name: &str) -> io::Result<OwnedFd> {
    let tap = open_tun()?;
    // SAFETY: all-zero bytes are a valid ifreq, which is plain data.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() || !name.is_ascii() {
        let reason = "a name has 1 to 15 ASCII characters";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte.cast_signed() as libc::c_char;
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).unwrap_or_default();
    // SAFETY: TUNSETIFF reads and writes an ifreq, which outlives the call.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    let header = libc::c_int::try_from(VNET_HEADER).unwrap_or_default();
    // SAFETY: TUNSETVNETHDRSZ reads an int, which outlives the call.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const header) })?;
    ask_for_offloads(&tap)?;
    Ok(tap)
}

/// As many as this kernel knows.
fn ask_for_offloads(tap: &OwnedFd) -> io::Result<()> {
    let mut last = Ok(());
    for offloads in OFFLOADS {
        let offloads = libc::c_ulong::from(offloads);
        // SAFETY: TUNSETOFFLOAD takes its bits by value.
        last = check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETOFFLOAD, offloads) });
        if last.is_ok() {
            break;
        }
    }
    last
}

/// Gives this thread namespaces of its own.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    assert!(!flags.contains(UnshareFlags::FILES), "descriptors are shared by all threads");
    // SAFETY: the table of descriptors stays shared, as checked above.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Lets this thread go before all others.
pub(super) fn go_realtime() -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid sched_param, which is plain data.
    let mut parameters: libc::sched_param = unsafe { mem::zeroed() };
    parameters.sched_priority = REALTIME_PRIORITY;
    // SAFETY: reads a sched_param, which outlives the call; 0 is this thread.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) })
}

/// Goes on twice: with the child's id, and with `None` in a child that is the first process of new
/// namespaces.
///
/// # Panics
/// When there is another thread, whose locks the child could wait for for ever.
pub(super) fn fork_into(flags: UnshareFlags) -> io::Result<Option<Pid>> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    assert!(threads == 1, "`launch` comes before any thread");
    let flags = libc::c_long::from(flags.bits()) | libc::c_long::from(libc::SIGCHLD);
    // SAFETY: without CLONE_VM and without a stack this is `fork` (clone(2), "C library/kernel
    // differences"); there is only this thread, so no lock is held by one that the child lacks.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Pid::from_raw(i32::try_from(child).unwrap_or_default()))
}

/// Ends this process without what others have left to do at its end: it is a copy of the launcher,
/// whose buffered output is not its own.
pub(super) fn exit_at_once(code: i32) -> ! {
    // SAFETY: it takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    /// Which.
    pub(super) signal: i32,
    /// From the kernel (a terminal, for one), which sends it to all of a group, rather than from a
    /// process.
    pub(super) from_kernel: bool,
}

/// Signals that wait until [`next_signal`] asks for them.
pub(super) const HELD: [i32; 5] =
    [libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

fn held() -> libc::sigset_t {
    // SAFETY: all-zero bytes are a valid signal set, and it is emptied before use.
    let mut set: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: writes a set that outlives the calls.
    unsafe {
        libc::sigemptyset(&raw mut set);
        for signal in HELD {
            libc::sigaddset(&raw mut set, signal);
        }
    }
    set
}

/// Holds signals back in this thread, and in the processes that it starts.
pub(super) fn hold_signals() -> io::Result<()> {
    mask_signals(libc::SIG_BLOCK)
}

/// Lets them come again.
pub(super) fn release_signals() -> io::Result<()> {
    mask_signals(libc::SIG_UNBLOCK)
}

/// Lets them come to the program that the command starts.
pub(super) fn release_signals_of(command: &mut Command) {
    // SAFETY: between fork and exec this calls `sigemptyset`, `sigaddset` and `pthread_sigmask`,
    // which are safe there (signal-safety(7)), and allocates nothing.
    unsafe { command.pre_exec(release_signals) };
}

fn mask_signals(how: libc::c_int) -> io::Result<()> {
    let set = held();
    // SAFETY: reads a set that outlives the call; the old one is not asked for.
    let error = unsafe { libc::pthread_sigmask(how, &raw const set, ptr::null_mut()) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Waits for one of the signals that are held back.
pub(super) fn next_signal() -> io::Result<Received> {
    let set = held();
    // SAFETY: all-zero bytes are a valid siginfo_t, which is plain data.
    let mut information: libc::siginfo_t = unsafe { mem::zeroed() };
    // SAFETY: reads a set and writes an information, which outlive the call.
    check(unsafe { libc::sigwaitinfo(&raw const set, &raw mut information) })?;
    Ok(Received { signal: information.si_signo, from_kernel: information.si_code > 0 })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
