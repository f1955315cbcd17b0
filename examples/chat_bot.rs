//! A bot in a few lines: it says every message back, backwards.
//!
//! `cargo run --example chat_bot` shows it answering; `cargo run --example chat_bot -- HOST:PORT
//! KEY` puts it on a server of yours, where anyone can write to `bot`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::{error::Error, net::SocketAddr};

use portolan::{
    ALL_TRANSPORTS, Expect, Identity, PeerId, TUNNEL,
    peer::{Config, Event, Events, Peer},
    protocol::{Name, Recipient},
    server::{self, Server},
    transport,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [address, key] = words.as_slice() {
        let (bot, events) = login("bot", address.parse()?, key.parse()?).await?;
        return answer(bot, events).await;
    }
    let local = "127.0.0.1:0".parse()?;
    let server =
        Server::start(server::Config::new(local, ALL_TRANSPORTS, Identity::generate())).await?;
    let address = server.addresses()[0].1;

    let (bot, events) = login("bot", address, server.id()).await?;
    let answering = tokio::spawn(async move { answer(bot, events).await.is_ok() });
    let (alice, mut news) = login("alice", address, server.id()).await?;
    alice.send(Recipient::User(Name::new("bot")?), "portolan").await?;
    while let Some(event) = news.next().await {
        if let Event::Message(message) = event {
            println!("{} says: {}", message.from, message.text);
            break;
        }
    }
    alice.logout().await;
    server.shutdown("done").await;
    answering.await?;
    Ok(())
}

async fn login(
    name: &str,
    server: SocketAddr,
    key: PeerId,
) -> Result<(Peer, Events), Box<dyn Error>> {
    let tcp = transport("tcp").ok_or("no such transport")?;
    let (name, identity) = (Name::new(name)?, Identity::generate());
    Ok(Peer::connect(Config::new(name, identity, server, Expect::Id(key), tcp, TUNNEL)).await?)
}

async fn answer(bot: Peer, mut events: Events) -> Result<(), Box<dyn Error>> {
    while let Some(event) = events.next().await {
        if let Event::Message(message) = event {
            let backwards: String = message.text.chars().rev().collect();
            bot.send(Recipient::User(message.from), backwards).await?;
        }
    }
    Ok(())
}
