//! Interfaces, addresses and routes of the network namespace in which the thread is.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use futures_util::TryStreamExt as _;
use portolan_netsim::Addressing;
use rtnetlink::{
    Handle, LinkUnspec, RouteMessageBuilder,
    packet_route::{
        address::{AddressAttribute, AddressFlags},
        link::{LinkAttribute, LinkMessage},
        route::RouteScope,
    },
};

/// The longest packet of a TAP device: 64 KiB - 1 with its Ethernet header.
const MTU_MAX: u32 = 65_535 - 14;

/// Packets that wait to be read. The default of 500 drops bursts without a word.
const QUEUE_LENGTH: u32 = 10_000;

/// Routes of the first interface win.
const METRIC: u32 = 100;

/// How often, and after what time, a new address is looked for: 5 s together.
const LOOKS_MAX: u32 = 5000;
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What the kernel does not do by itself on a host: look for routers, defend addresses, remember
/// earlier connections; and the buffers that 1 Gbit/s over a long way needs.
const SETTINGS: [(&str, &str); 9] = [
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/autoconf", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
    ("net/ipv4/tcp_rmem", "4096 131072 67108864"),
    ("net/ipv4/tcp_wmem", "4096 65536 67108864"),
    ("net/ipv4/tcp_no_metrics_save", "1"),
    ("net/ipv4/ping_group_range", "0 65534"),
];

/// What went wrong, for people.
pub(super) type Reason = String;

/// Runs netlink requests in the namespace in which this thread is.
fn with_netlink<T>(work: impl AsyncFnOnce(&Handle) -> Result<T, Reason>) -> Result<T, Reason> {
    let said = |error: io::Error| error.to_string();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(said)?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(said)?;
        let connection = tokio::spawn(connection);
        let result = work(&handle).await;
        connection.abort();
        result
    })
}

/// Brings the loopback interface up, and settles what holds for every interface to come.
pub(super) fn prepare() -> Result<(), Reason> {
    for (setting, value) in SETTINGS {
        set(setting, value);
    }
    with_netlink(async |handle| {
        let index = link(handle, "lo").await?.header.index;
        let up = LinkUnspec::new_with_index(index).up().build();
        handle.link().set(up).execute().await.map_err(failed("bringing up lo"))
    })
}

/// Settings are best effort: where one is not there, or may not be written, the kernel's default
/// serves too.
fn set(setting: &str, value: &str) {
    if let Err(error) = fs::write(format!("/proc/sys/{setting}"), value) {
        tracing::debug!(%error, setting, "a kernel setting keeps its default");
    }
}

/// Sets up a new device: its hardware address, its addresses and its routes.
pub(super) fn set_up(name: &str, hardware: [u8; 6], addressing: &Addressing) -> Result<(), Reason> {
    allow_ipv6(name, addressing);
    with_netlink(async |handle| {
        let index = link(handle, name).await?.header.index;
        let change = LinkUnspec::new_with_index(index)
            .address(hardware.to_vec())
            .arp(false)
            .multicast(true)
            .mtu(mtu(addressing))
            .txqueuelen(QUEUE_LENGTH)
            .up()
            .build();
        handle.link().set(change).execute().await.map_err(failed("setting up the device"))?;
        address(handle, index, addressing).await
    })
}

/// Gives a device other addresses and routes.
pub(super) fn readdress(name: &str, addressing: &Addressing) -> Result<(), Reason> {
    // Off and on again: every old IPv6 address and route is gone.
    set(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1");
    allow_ipv6(name, addressing);
    with_netlink(async |handle| {
        let index = link(handle, name).await?.header.index;
        forget_addresses(handle, index).await?;
        let change = LinkUnspec::new_with_index(index).mtu(mtu(addressing)).up().build();
        handle.link().set(change).execute().await.map_err(failed("changing the device"))?;
        address(handle, index, addressing).await
    })
}

/// Takes a device down, and every route through it.
pub(super) fn take_down(name: &str) -> Result<(), Reason> {
    with_netlink(async |handle| {
        let index = link(handle, name).await?.header.index;
        let change = LinkUnspec::new_with_index(index).down().build();
        handle.link().set(change).execute().await.map_err(failed("taking the device down"))
    })
}

/// Packets that the device has dropped because nobody read them in time.
pub(super) fn dropped(names: &[String]) -> Result<u64, Reason> {
    with_netlink(async |handle| {
        let mut total = 0;
        for name in names {
            let link = link(handle, name).await?;
            total += link.attributes.iter().find_map(tx_dropped).unwrap_or_default();
        }
        Ok(total)
    })
}

fn tx_dropped(attribute: &LinkAttribute) -> Option<u64> {
    match attribute {
        LinkAttribute::Stats(stats) => Some(u64::from(stats.tx_dropped)),
        _ => None,
    }
}

/// IPv6 is on where the network has it; elsewhere its chatter would only take part in chance.
fn allow_ipv6(name: &str, addressing: &Addressing) {
    let off = !addressing.addresses.iter().any(|(address, _)| address.is_ipv6());
    set(&format!("net/ipv6/conf/{name}/disable_ipv6"), if off { "1" } else { "0" });
}

fn mtu(addressing: &Addressing) -> u32 {
    addressing.mtu.min(MTU_MAX)
}

async fn link(handle: &Handle, name: &str) -> Result<LinkMessage, Reason> {
    let mut links = handle.link().get().match_name(name.to_owned()).execute();
    let link = links.try_next().await.map_err(failed("finding the device"))?;
    link.ok_or_else(|| format!("device {name} is not there"))
}

async fn forget_addresses(handle: &Handle, index: u32) -> Result<(), Reason> {
    let mut addresses = handle.address().get().set_link_index_filter(index).execute();
    let mut old = Vec::new();
    while let Some(address) = addresses.try_next().await.map_err(failed("listing addresses"))? {
        let link_local = address.attributes.iter().any(|attribute| {
            matches!(attribute, AddressAttribute::Address(IpAddr::V6(own))
                if own.is_unicast_link_local())
        });
        if !link_local {
            old.push(address);
        }
    }
    for address in old {
        handle.address().del(address).execute().await.map_err(failed("removing an address"))?;
    }
    Ok(())
}

async fn address(handle: &Handle, index: u32, addressing: &Addressing) -> Result<(), Reason> {
    for (address, length) in &addressing.addresses {
        let mut request = handle.address().add(index, *address, *length).replace();
        // Good at once: nobody else can have it.
        request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        request.execute().await.map_err(failed("adding an address"))?;
    }
    let own = addressing.addresses.iter().map(|(address, _)| *address);
    within_reach(own).await?;
    if addressing.addresses.iter().any(|(address, _)| address.is_ipv4()) {
        reach_everybody(handle, index).await?;
    }
    for gateway in &addressing.gateways {
        default_route(handle, index, *gateway).await?;
    }
    Ok(())
}

/// The kernel takes packets for a new IPv6 address a moment after it has said that the address is
/// there: once the local route is. Nobody tells when, so this looks.
async fn within_reach(own: impl Iterator<Item = IpAddr>) -> Result<(), Reason> {
    let route = |address| match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(format!("{:032x} 80 ", address.to_bits())),
    };
    let routes: Vec<String> = own.filter_map(route).collect();
    for _ in 0..LOOKS_MAX {
        let table = fs::read_to_string("/proc/thread-self/net/ipv6_route");
        let Ok(table) = table else { return Ok(()) };
        if routes.iter().all(|route| table.lines().any(|line| line.starts_with(route))) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err("the kernel does not take up a new IPv6 address".to_owned())
}

/// Multicast and broadcast find the interface also where there is no default route.
async fn reach_everybody(handle: &Handle, index: u32) -> Result<(), Reason> {
    for (prefix, length) in [(Ipv4Addr::new(224, 0, 0, 0), 4), (Ipv4Addr::BROADCAST, 32)] {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(prefix, length)
            .output_interface(index)
            .scope(RouteScope::Link)
            .priority(METRIC + index)
            .build();
        let request = handle.route().add(route).replace();
        request.execute().await.map_err(failed("adding the route for multicast"))?;
    }
    Ok(())
}

async fn default_route(handle: &Handle, index: u32, gateway: IpAddr) -> Result<(), Reason> {
    let route = match gateway {
        IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new()
            .gateway(gateway)
            .output_interface(index)
            .priority(METRIC + index)
            .onlink()
            .build(),
        IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new()
            .gateway(gateway)
            .output_interface(index)
            .priority(METRIC + index)
            .onlink()
            .build(),
    };
    let request = handle.route().add(route).replace();
    request.execute().await.map_err(failed("adding the default route"))
}

fn failed(doing: &'static str) -> impl Fn(rtnetlink::Error) -> Reason {
    move |error| format!("{doing}: {error}")
}
