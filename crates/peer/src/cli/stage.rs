//! What plays in one run of the program: a player, and the files of others that it waits for.

use std::path::PathBuf;

use portolan_media::{
    CHANNELS_MAX, Item, OpenError, OrderError, Pacing, Player, Report, SOURCES, Track, open_file,
    open_sink, open_track,
};
use portolan_protocol::Name;
use tokio::{sync::mpsc, task::JoinSet, time::Duration};

use super::{
    exit::{Exit, Failure},
    line::Line,
    output::Output,
    playing::Playing,
    sound::failure,
};
use crate::{Peer, RemoteAudio};

/// News of a player that wait to be shown; a player that is ahead of them waits.
const NEWS_MAX: usize = 64;

/// Something to be played, as it is named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A source of the table.
    Source(String),
    /// A file of this machine.
    File(PathBuf),
    /// A file that another user shares.
    Shared(Name, String),
}

impl Piece {
    /// `tone:440` and its like, `WHO:FILE`, or a file.
    pub(crate) fn new(word: &str) -> Self {
        let (name, rest) = word.split_once(':').unwrap_or((word, ""));
        if SOURCES.iter().any(|kind| kind.name == name) {
            return Self::Source(word.to_owned());
        }
        match Name::new(name) {
            Ok(who) if !rest.is_empty() && !std::path::Path::new(word).exists() => {
                Self::Shared(who, rest.to_owned())
            }
            Ok(_) | Err(_) => Self::File(word.into()),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Source(word) => word.clone(),
            Self::File(path) => path.display().to_string(),
            Self::Shared(who, path) => format!("{who}:{path}"),
        }
    }
}

/// What a player, or a file on its way to it, tells.
#[derive(Debug)]
pub(crate) enum News {
    Player(Report),
    /// What is to be heard has not arrived.
    Waits(String),
    /// It has.
    GoesOn(String),
}

impl News {
    pub(crate) fn line(&self) -> Playing {
        match self {
            Self::Player(report) => Playing::of(report),
            Self::Waits(name) => Playing::waiting("buffering", name),
            Self::GoesOn(name) => Playing::waiting("buffered", name),
        }
    }
}

/// Where things are played, one after the other.
pub(crate) struct Stage {
    sink: String,
    playing: Option<Active>,
}

struct Active {
    player: Player,
    told: mpsc::Sender<News>,
    /// What arrives last of what waits: the next one arrives behind it.
    last: Option<RemoteAudio>,
    arriving: JoinSet<()>,
}

impl Stage {
    pub(crate) fn new(sink: &str) -> Self {
        Self { sink: sink.to_owned(), playing: None }
    }

    /// Plays these behind what waits already. News come where nothing played; whoever gets them
    /// shows them.
    pub(crate) fn play(
        &mut self,
        pieces: &[Piece],
        peer: Option<&Peer>,
    ) -> Result<Option<mpsc::Receiver<News>>, Failure> {
        if let Some(active) = &mut self.playing {
            match active.enqueue(pieces, peer) {
                Ok(()) => return Ok(None),
                Err(OrderError::Over) => {}
                Err(error @ OrderError::Busy) => return Err(failure(&error)),
            }
        }
        let (told, news) = mpsc::channel(NEWS_MAX);
        let (mut last, mut arriving) = (None, JoinSet::new());
        let items = pieces
            .iter()
            .filter_map(|piece| item(piece, peer, &told, (&mut last, &mut arriving)))
            .collect();
        let (sink, player_told) = (self.sink.clone(), told.clone());
        // Nothing that we play has more than two channels, and one is heard on both sides.
        let player = Player::start(
            move || open_sink(&sink, CHANNELS_MAX, pacing(&sink)),
            items,
            move |report| {
                let _ = player_told.blocking_send(News::Player(report));
            },
        );
        self.playing = Some(Active { player, told, last, arriving });
        Ok(Some(news))
    }

    pub(crate) fn pause(&self) -> Result<(), Failure> {
        self.order(Player::pause)
    }

    pub(crate) fn resume(&self) -> Result<(), Failure> {
        self.order(Player::resume)
    }

    pub(crate) fn seek(&self, to: Duration) -> Result<(), Failure> {
        self.order(|player| player.seek(to))
    }

    pub(crate) fn next(&self) -> Result<(), Failure> {
        self.order(Player::next)
    }

    pub(crate) fn stop(&self) -> Result<(), Failure> {
        self.order(Player::stop)
    }

    fn order(&self, order: impl Fn(&Player) -> Result<(), OrderError>) -> Result<(), Failure> {
        let given = match &self.playing {
            Some(active) => order(&active.player),
            None => Err(OrderError::Over),
        };
        given.map_err(|error| Failure::usage(error.to_string()))
    }
}

impl Active {
    fn enqueue(&mut self, pieces: &[Piece], peer: Option<&Peer>) -> Result<(), OrderError> {
        for piece in pieces {
            let files = (&mut self.last, &mut self.arriving);
            if let Some(item) = item(piece, peer, &self.told, files) {
                self.player.enqueue(item)?;
            }
        }
        Ok(())
    }
}

/// What a player is to do for something; none where that needs a peer and there is none.
fn item(
    piece: &Piece,
    peer: Option<&Peer>,
    told: &mpsc::Sender<News>,
    (last, arriving): (&mut Option<RemoteAudio>, &mut JoinSet<()>),
) -> Option<Item> {
    let name = piece.name();
    match (piece.clone(), peer) {
        (Piece::Source(word), _) => Some(Item { name, open: Box::new(move |_| open_track(&word)) }),
        (Piece::File(path), _) => {
            Some(Item { name, open: Box::new(move |_| Ok(Box::new(open_file(&path)?))) })
        }
        (Piece::Shared(..), None) => None,
        (Piece::Shared(who, path), Some(peer)) => {
            let audio = peer.audio(&who, &path);
            arriving.spawn(in_turn(last.replace(audio.clone()), audio.clone()));
            Some(shared(name, audio, told.clone()))
        }
    }
}

/// Lets a file arrive once the one before it has, so that it is there when its turn comes.
async fn in_turn(before: Option<RemoteAudio>, audio: RemoteAudio) {
    if let Some(before) = before {
        // Where it does not arrive, the player tells.
        let _ = before.whole().await;
    }
    audio.begin();
    let _ = audio.whole().await;
}

fn shared(name: String, audio: RemoteAudio, told: mpsc::Sender<News>) -> Item {
    let called = name.clone();
    let open = move |interrupt: &_| -> Result<Box<dyn Track>, OpenError> {
        let path = PathBuf::from(&called);
        let waits = move |waits: bool| {
            let news = if waits { News::Waits } else { News::GoesOn };
            let _ = told.try_send(news(called.clone()));
        };
        match audio.open(interrupt, waits) {
            Ok(decoder) => Ok(Box::new(decoder)),
            Err(source) => Err(OpenError::Decode { path, source }),
        }
    };
    Item { name, open: Box::new(open) }
}

/// What is written is written as it comes; what nobody hears takes its time.
fn pacing(sink: &str) -> Pacing {
    if sink == "null" { Pacing::RealTime } else { Pacing::Unpaced }
}

/// Shows how it goes, to the end.
pub(crate) async fn show(mut news: mpsc::Receiver<News>, output: &Output) -> Result<(), Failure> {
    while let Some(news) = news.recv().await {
        match news {
            News::Player(Report::Over { failure: None }) => break,
            News::Player(Report::Over { failure: Some(message) }) => {
                return Err(Failure { exit: Exit::Failed, code: "audio", message });
            }
            News::Player(_) | News::Waits(_) | News::GoesOn(_) => {
                output.show(&Line::Playing(news.line()));
            }
        }
    }
    Ok(())
}

/// Whether all of that can be played without another peer.
pub(crate) fn is_here(words: &[String]) -> bool {
    words.iter().all(|word| !matches!(Piece::new(word), Piece::Shared(..)))
}

/// Plays what needs no other peer.
pub(crate) async fn play_here(
    words: &[String],
    sink: &str,
    output: &Output,
) -> Result<(), Failure> {
    let pieces: Vec<Piece> = words.iter().map(|word| Piece::new(word)).collect();
    play_all(&pieces, (sink, None), output).await
}

/// Plays everything, one after the other, and shows how it goes.
pub(crate) async fn play_all(
    pieces: &[Piece],
    (sink, peer): (&str, Option<&Peer>),
    output: &Output,
) -> Result<(), Failure> {
    let mut stage = Stage::new(sink);
    let Some(news) = stage.play(pieces, peer)? else { return Ok(()) };
    let shown = show(news, output);
    tokio::pin!(shown);
    tokio::select! {
        outcome = &mut shown => outcome,
        _ = tokio::signal::ctrl_c() => {
            // It has ended by itself otherwise; what was played is put in order first.
            let _ = stage.stop();
            let _ = shown.await;
            Err(Failure::interrupted())
        }
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::Name;

    use super::Piece;

    #[test]
    fn what_is_to_be_played_is_a_source_a_file_of_someone_or_a_file_of_ours() {
        let bob = Name::new("bob").unwrap();
        let rows = [
            ("tone:440", Piece::Source("tone:440".into())),
            ("device", Piece::Source("device".into())),
            ("pcm:-", Piece::Source("pcm:-".into())),
            ("bob:music/a b.mp3", Piece::Shared(bob, "music/a b.mp3".into())),
            ("a.mp3", Piece::File("a.mp3".into())),
            ("./bob:a.mp3", Piece::File("./bob:a.mp3".into())),
            ("bob:", Piece::File("bob:".into())),
        ];
        for (word, piece) in rows {
            assert_eq!(Piece::new(word), piece, "{word}");
        }
    }
}
