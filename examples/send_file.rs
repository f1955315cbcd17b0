//! A file from one peer to another, verified, over any transport:
//! `cargo run --example send_file -- PATH quic` (this very source over UDP if nothing is said).

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::{error::Error, path::PathBuf};

use portolan::{
    ALL_TRANSPORTS, Expect, Identity, TUNNEL, Transport,
    peer::{Config, Existing, FileRule, Peer},
    protocol::Name,
    server::{self, Server},
    transport,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let this = concat!(env!("CARGO_MANIFEST_DIR"), "/send_file.rs");
    let path = PathBuf::from(words.next().unwrap_or_else(|| this.into()));
    let scheme = words.next().unwrap_or_else(|| "udp".into());
    let transport = transport(&scheme).ok_or("say tcp, udp or quic")?;

    let local = "127.0.0.1:0".parse()?;
    let server =
        Server::start(server::Config::new(local, ALL_TRANSPORTS, Identity::generate())).await?;
    let (alice, _news) = Peer::connect(config("alice", &server, transport)?).await?;
    let mut receiving = config("bob", &server, transport)?;
    receiving.accept_files = FileRule::All;
    receiving.existing = Existing::Replace;
    receiving.downloads = std::env::temp_dir();
    let (bob, _other_news) = Peer::connect(receiving).await?;

    let sent = alice.send_file(bob.name(), &path).await?;
    println!("{} bytes over {scheme}, BLAKE3 {} on both sides", sent.size, sent.hash);
    alice.logout().await;
    bob.logout().await;
    server.shutdown("done").await;
    Ok(())
}

fn config(
    name: &str,
    server: &Server,
    transport: &'static dyn Transport,
) -> Result<Config, Box<dyn Error>> {
    let addresses = server.addresses();
    let address = addresses.iter().find(|(scheme, _)| *scheme == transport.scheme());
    let (_, address) = address.ok_or("the server does not listen there")?;
    let (name, identity) = (Name::new(name)?, Identity::generate());
    Ok(Config::new(name, identity, *address, Expect::Id(server.id()), transport, TUNNEL))
}
