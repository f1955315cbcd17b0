//! One transport's row: everything that two people do, each step checked.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::{Row, actor::Actor, audio, memory, now, tell};
use crate::{
    Transport,
    protocol::{ConversationState, Name, Recipient},
    server::Server,
};

const ROUND_TRIPS: usize = 200;
const FILE_BYTES: usize = 64 << 20;

/// Plays all acts over `transport`.
pub(super) async fn play(
    server: &Server,
    transport: &'static dyn Transport,
) -> Result<Row, String> {
    let scheme = transport.scheme();
    tell(&format!("\n{scheme}: {}", transport.capabilities().summary));
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let downloads = directory.path().join("downloads");
    std::fs::create_dir(&downloads).map_err(|error| error.to_string())?;

    let start = now();
    let mut alice = Actor::enter(server, transport, &format!("alice-{scheme}"), &downloads).await?;
    let handshake = start.elapsed();
    let mut bob = Actor::enter(server, transport, &format!("bob-{scheme}"), &downloads).await?;
    tell(&format!("  alice and bob are logged in, the first in {:.1} ms", millis(handshake)));

    list(&alice, &bob, scheme).await?;
    converse(&mut alice, &mut bob).await?;
    let round_trips = chat(&mut alice, &mut bob).await?;
    broadcast(&mut alice, &mut bob).await?;
    let (file_time, hash) = file(&alice, &bob, directory.path(), &downloads).await?;
    let audio = audio::play(&mut alice, &mut bob).await?;
    let memory = memory::resident();
    part(alice, bob).await?;
    let file_bytes = FILE_BYTES as u64;
    Ok(Row {
        transport: scheme,
        handshake,
        round_trips,
        file_bytes,
        file_time,
        hash,
        audio,
        memory,
    })
}

async fn list(alice: &Actor, bob: &Actor, scheme: &str) -> Result<(), String> {
    let users = alice.peer.list(Some(scheme)).await.map_err(|error| error.to_string())?;
    let names: Vec<&Name> = users.iter().map(|user| &user.name).collect();
    if names != [alice.peer.name(), bob.peer.name()] {
        return Err(format!("the {scheme} registry should hold alice and bob, it holds {names:?}"));
    }
    tell(&format!("  list {scheme}: {} and {}", names[0], names[1]));
    Ok(())
}

async fn converse(alice: &mut Actor, bob: &mut Actor) -> Result<(), String> {
    let (from, to) = (alice.peer.name().clone(), bob.peer.name().clone());
    alice.peer.converse(&to).await.map_err(|error| error.to_string())?;
    bob.see(&from, ConversationState::Requested).await?;
    bob.peer.accept(&from).await.map_err(|error| error.to_string())?;
    alice.see(&to, ConversationState::Accepted).await?;
    bob.see(&from, ConversationState::Accepted).await?;
    tell("  alice asks for a conversation, bob accepts");
    Ok(())
}

async fn chat(alice: &mut Actor, bob: &mut Actor) -> Result<Vec<Duration>, String> {
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for number in 0..ROUND_TRIPS {
        let start = now();
        say(alice, bob, &format!("question {number}")).await?;
        say(bob, alice, &format!("answer {number}")).await?;
        times.push(start.elapsed());
    }
    times.sort();
    tell(&format!("  {ROUND_TRIPS} questions and answers"));
    Ok(times)
}

async fn say(from: &Actor, to: &mut Actor, text: &str) -> Result<(), String> {
    let recipient = Recipient::User(to.peer.name().clone());
    from.peer.send(recipient, text).await.map_err(|error| error.to_string())?;
    let message = to.hear(text).await?;
    if message.from != *from.peer.name() {
        return Err(format!("{:?} seems to come from {}", message.text, message.from));
    }
    Ok(())
}

async fn broadcast(alice: &mut Actor, bob: &mut Actor) -> Result<(), String> {
    for (to, text) in [(Recipient::All, "to all"), (Recipient::Others, "to all others")] {
        alice.peer.send(to, text).await.map_err(|error| error.to_string())?;
        bob.hear(text).await?;
    }
    alice.hear("to all").await?;
    let echo = alice.peer.echo("ahoy").await.map_err(|error| error.to_string())?;
    if echo != "ahoy" {
        return Err(format!("the echo of \"ahoy\" is {echo:?}"));
    }
    tell("  broadcasts reach whom they should, and the server echoes");
    Ok(())
}

async fn file(
    alice: &Actor,
    bob: &Actor,
    directory: &Path,
    downloads: &Path,
) -> Result<(Duration, String), String> {
    let (path, hash) = random_file(directory).await?;
    let start = now();
    let sent = alice.peer.send_file(bob.peer.name(), &path).await;
    let sent = sent.map_err(|error| error.to_string())?;
    let elapsed = start.elapsed();
    let arrived = downloads.join("chart.bin");
    let found = hash_of(arrived).await?;
    if found != hash || sent.hash.to_string() != hash {
        return Err(format!("the file's hash should be {hash}, it is {found}"));
    }
    tell(&format!("  a file of {} MiB, end to end encrypted: {hash}", FILE_BYTES >> 20));
    Ok((elapsed, hash))
}

/// Writes a file of random bytes; its path and hash.
async fn random_file(directory: &Path) -> Result<(PathBuf, String), String> {
    let path = directory.join("chart.bin");
    let written = path.clone();
    let task = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; FILE_BYTES];
        ChaCha8Rng::seed_from_u64(7275).fill_bytes(&mut bytes);
        std::fs::write(&written, &bytes)?;
        Ok::<_, std::io::Error>(blake3::hash(&bytes).to_string())
    });
    let result = task.await.map_err(|error| error.to_string())?;
    Ok((path, result.map_err(|error| error.to_string())?))
}

async fn hash_of(path: PathBuf) -> Result<String, String> {
    let task = tokio::task::spawn_blocking(move || {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(std::fs::File::open(path)?)?;
        Ok::<_, std::io::Error>(hasher.finalize().to_string())
    });
    let result = task.await.map_err(|error| error.to_string())?;
    result.map_err(|error| error.to_string())
}

async fn part(mut alice: Actor, mut bob: Actor) -> Result<(), String> {
    let (one, other) = (alice.peer.name().clone(), bob.peer.name().clone());
    alice.peer.end(&other).await.map_err(|error| error.to_string())?;
    bob.see(&one, ConversationState::Ended).await?;
    alice.skip();
    alice.peer.logout().await;
    bob.peer.logout().await;
    tell("  they part and log out");
    Ok(())
}

/// Milliseconds with decimals.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
