//! Playing to several at the same time, on the command line.

use std::{path::Path, time::Duration};

use portolan_media::{Decoder, OpenError, Seeking, Source, open_source};
use portolan_protocol::Name;
use tokio::task::spawn_blocking;

use super::exit::Failure;
use crate::{Peer, Stage, Switch};

/// What a person wants of what is played to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamOrder {
    Play { who: Vec<Name>, file: String },
    Invite(Vec<Name>),
    Pause(Switch),
    Seek(Duration),
    Stop,
}

/// Reads what stands behind `/stream`.
///
/// # Errors
/// Advice for people.
pub(crate) fn parse(text: &str) -> Result<StreamOrder, String> {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match (word, rest) {
        ("", _) => Err("to whom, and what".to_owned()),
        ("pause", "") => Ok(StreamOrder::Pause(Switch::On)),
        ("on", "") => Ok(StreamOrder::Pause(Switch::Off)),
        ("stop", "") => Ok(StreamOrder::Stop),
        ("seek", time) => place(time).map(StreamOrder::Seek),
        (who, "") => names(who).map(StreamOrder::Invite),
        (who, file) => Ok(StreamOrder::Play { who: names(who)?, file: file.to_owned() }),
    }
}

/// Names with commas between.
///
/// # Errors
/// Which of them is none.
pub(crate) fn names(text: &str) -> Result<Vec<Name>, String> {
    let name = |text: &str| Name::new(text).map_err(|error| format!("{text:.40}: {error}"));
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(name).collect()
}

/// A place in what is played: `90` or `1:30`.
fn place(text: &str) -> Result<Duration, String> {
    let advice = || format!("{text:.40?} is no place; say 90 or 1:30");
    let (minutes, seconds) = text.split_once(':').unwrap_or(("0", text));
    let minutes: u32 = minutes.parse().map_err(|_| advice())?;
    let seconds: u32 = seconds.parse().map_err(|_| advice())?;
    Ok(Duration::from_secs(u64::from(minutes) * 60 + u64::from(seconds)))
}

/// Opens a file, or a source by its word, to be played to others.
///
/// # Errors
/// Why it cannot be played.
pub(crate) async fn open(file: String) -> Result<Stage, Failure> {
    let looked = {
        let file = file.clone();
        spawn_blocking(move || look(&file)).await
    };
    let duration = looked.map_err(|error| Failure::failed(error.to_string()))?;
    let duration = duration.map_err(|error| Failure::failed(error.to_string()))?;
    let title = Path::new(&file).file_name().and_then(|name| name.to_str()).unwrap_or(&file);
    let title = title.to_owned();
    Ok(Stage::start(&title, duration, move |from| open_at(&file, from)))
}

/// Checks that it can be opened, and says how long it is.
fn look(file: &str) -> Result<Option<Duration>, OpenError> {
    if Path::new(file).is_file() {
        return Ok(decoder(file)?.info().duration);
    }
    open_source(file).map(|_| None)
}

fn open_at(file: &str, from: Duration) -> Result<Box<dyn Source>, OpenError> {
    if !Path::new(file).is_file() {
        return open_source(file);
    }
    let mut decoder = decoder(file)?;
    if !from.is_zero() {
        let failed = |source| OpenError::Decode { path: file.into(), source };
        decoder.seek(from).map_err(failed)?;
    }
    Ok(Box::new(decoder))
}

fn decoder(file: &str) -> Result<Decoder, OpenError> {
    let input =
        std::fs::File::open(file).map_err(|source| OpenError::Io { path: file.into(), source })?;
    Decoder::open(Box::new(input), Seeking::Exact)
        .map_err(|source| OpenError::Decode { path: file.into(), source })
}

/// Plays to all of them until it ends, or until nobody listens any more.
pub(crate) async fn play(peer: &Peer, who: &[Name], file: String) -> Result<(), Failure> {
    let stage = open(file).await?;
    let mut watches = Vec::new();
    for who in who {
        watches.push(peer.watch_call(peer.invite_to_listen(who, &stage)?)?);
    }
    let everybody = async {
        let mut heard = false;
        for watch in &mut watches {
            heard |= watch.accepted().await;
            watch.over().await;
        }
        heard
    };
    tokio::select! {
        heard = everybody => match heard {
            true => Ok(()),
            false => Err(Failure { message: "nobody listens".into(), ..refused() }),
        },
        () = stage.ended() => Ok(()),
    }
}

fn refused() -> Failure {
    let (exit, code) = (super::exit::Exit::RefusedByPeer, "denied");
    Failure { exit, code, message: String::new() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_protocol::Name;

    use super::{StreamOrder, parse};
    use crate::Switch;

    #[test]
    fn what_is_played_to_others_is_said_in_words() {
        let names = |names: &[&str]| -> Vec<Name> {
            names.iter().map(|name| Name::new(name).unwrap()).collect()
        };
        let rows = [
            ("pause", StreamOrder::Pause(Switch::On)),
            ("on", StreamOrder::Pause(Switch::Off)),
            ("stop", StreamOrder::Stop),
            ("seek 1:30", StreamOrder::Seek(Duration::from_secs(90))),
            ("seek 20", StreamOrder::Seek(Duration::from_secs(20))),
            ("dave", StreamOrder::Invite(names(&["dave"]))),
            (
                "bob,carol my song.flac",
                StreamOrder::Play { who: names(&["bob", "carol"]), file: "my song.flac".into() },
            ),
        ];
        for (text, wanted) in rows {
            assert_eq!(parse(text), Ok(wanted), "{text}");
        }
        for wrong in ["", "seek", "seek soon", "no+name song.flac"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
