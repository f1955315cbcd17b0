//! Files of other peers that are heard while they arrive.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{fs, path::PathBuf, sync::mpsc, time::Duration};

use portolan_media::{
    Decoder, Interrupt, Item, OpenError, Pacing, Player, RATE, Report, Sink, Source, WavSink,
    open_file, open_sink,
};
use portolan_peer::{Config, Peer, RemoteAudio};
use portolan_protocol::{Content, Hash, PeerCommand, PeerReply};
use tokio::{io::AsyncWriteExt, task::spawn_blocking};

use self::support::{Harbour, name, next_request, reply, within};

/// Of the long file: several groups of two channels as a WAV file of 32-bit floats.
const SECONDS: usize = 12;

fn fixture(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../media/tests/fixtures").join(file)
}

/// Bob shares the fixtures and a long file; alice is who hears.
async fn alice_and_bob(harbour: &Harbour) -> (Peer, Peer) {
    let (alice, _) = harbour.peer_with(impatient(harbour, "alice")).await;
    (alice, harbour.peer_with(sharing(harbour)).await.0)
}

fn impatient(harbour: &Harbour, of: &str) -> Config {
    let mut config = harbour.config(of);
    config.timing.retry = Duration::from_millis(20);
    config.limits.retries = 10_000;
    config
}

fn sharing(harbour: &Harbour) -> Config {
    let shared = harbour.directory.path().join("shared");
    fs::create_dir_all(&shared).unwrap();
    for file in ["tone.mp3", "tone.flac", "tone.ogg", "tone.opus", "tone.m4a", "tone.aac"] {
        fs::copy(fixture(file), shared.join(file)).unwrap();
    }
    let mut sink = Box::new(WavSink::create(&shared.join("long.wav"), 2).unwrap());
    let mut source = portolan_media::open_source(&format!("tone:441:{SECONDS}")).unwrap();
    let mut both = Vec::new();
    portolan_media::mix(&all(&mut *source), 1, 2, &mut both);
    sink.write(&both).unwrap();
    sink.finish().unwrap();
    fs::write(shared.join("letter.mp3"), "no music at all ".repeat(100)).unwrap();
    let mut config = impatient(harbour, "bob");
    config.share = Some(shared);
    config
}

fn shared(harbour: &Harbour, file: &str) -> PathBuf {
    harbour.directory.path().join("shared").join(file)
}

fn all(source: &mut dyn Source) -> Vec<f32> {
    let (mut all, mut some) = (Vec::new(), vec![0.0; 4096]);
    loop {
        match source.read(&mut some).unwrap() {
            0 => return all,
            count => all.extend_from_slice(&some[..count]),
        }
    }
}

async fn open(audio: &RemoteAudio) -> Decoder {
    let audio = audio.clone();
    let opened = spawn_blocking(move || audio.open(&Interrupt::default(), |_| {}));
    within("opening", opened).await.unwrap().unwrap()
}

async fn heard(mut decoder: Decoder) -> Vec<f32> {
    within("hearing", spawn_blocking(move || all(&mut decoder))).await.unwrap()
}

#[tokio::test]
async fn every_format_is_heard_over_the_network_as_it_is_on_the_disk() {
    let harbour = Harbour::open().await;
    let (alice, _bob) = alice_and_bob(&harbour).await;
    for file in
        ["tone.mp3", "tone.flac", "tone.ogg", "tone.opus", "tone.m4a", "tone.aac", "long.wav"]
    {
        let decoder = open(&alice.audio(&name("bob"), file)).await;
        let here = all(&mut open_file(&shared(&harbour, file)).unwrap());
        assert!(heard(decoder).await == here, "{file} is another sound over the network");
    }
}

#[tokio::test]
async fn a_seek_into_what_has_not_arrived_is_heard_from_there() {
    let harbour = Harbour::open().await;
    let (alice, _bob) = alice_and_bob(&harbour).await;
    let mut decoder = open(&alice.audio(&name("bob"), "long.wav")).await;
    let here = all(&mut open_file(&shared(&harbour, "long.wav")).unwrap());
    let to = Duration::from_secs(SECONDS as u64 - 2);
    let decoder = spawn_blocking(move || {
        assert_eq!(decoder.seek(to).unwrap(), to);
        decoder
    });
    let after = heard(within("seeking", decoder).await.unwrap()).await;
    assert!(after == here[here.len() - 2 * RATE as usize * 2..], "the seek went elsewhere");
}

#[tokio::test]
async fn what_is_heard_goes_on_when_its_owner_comes_back() {
    let harbour = Harbour::open().await;
    let (alice, bob) = alice_and_bob(&harbour).await;
    let audio = alice.audio(&name("bob"), "long.wav");
    let mut decoder = open(&audio).await;
    // What has begun is cut off.
    within("leaving", bob.logout()).await;
    drop(bob);
    let (begun, mut beginning) = {
        let mut some = vec![0.0; 960];
        let count = decoder.read(&mut some).unwrap();
        (decoder, some[..count].to_vec())
    };
    let rest = tokio::spawn(heard(begun));
    let _bob = harbour.peer_with(sharing(&harbour)).await;
    let rest = within("the rest", rest).await.unwrap();
    beginning.extend(rest);
    let here = all(&mut open_file(&shared(&harbour, "long.wav")).unwrap());
    assert!(beginning == here, "something is missing after the break");
}

#[tokio::test]
async fn a_queue_of_files_is_written_without_a_gap() {
    let harbour = Harbour::open().await;
    let (alice, _bob) = alice_and_bob(&harbour).await;
    let files = ["tone.ogg", "long.wav", "tone.mp3"];
    let items = files.iter().map(|file| {
        let audio = alice.audio(&name("bob"), file);
        let open = move |interrupt: &_| match audio.open(interrupt, |_| {}) {
            Ok(decoder) => Ok(Box::new(decoder) as Box<_>),
            Err(source) => Err(OpenError::Decode { path: PathBuf::new(), source }),
        };
        Item { name: (*file).to_owned(), open: Box::new(open) }
    });
    let out = harbour.directory.path().join("out.wav");
    let word = format!("wav:{}", out.display());
    let (told, reports) = mpsc::sync_channel(1000);
    let sink = move || open_sink(&word, 2, Pacing::Unpaced);
    let player = Player::start(sink, items.collect(), move |report| {
        let _ = told.try_send(report);
    });
    let over = spawn_blocking(move || {
        let reports: Vec<Report> = reports.iter().collect();
        drop(player);
        reports.last().cloned()
    });
    let over = within("playing", over).await.unwrap();
    assert_eq!(over, Some(Report::Over { failure: None }));
    let here = files.iter().flat_map(|file| all(&mut open_file(&shared(&harbour, file)).unwrap()));
    let written = all(&mut open_file(&out).unwrap());
    assert!(written == here.collect::<Vec<_>>(), "what was written is not the three files");
}

#[tokio::test]
async fn what_is_not_there_or_no_music_is_said_and_nothing_is_kept() {
    let harbour = Harbour::open().await;
    let (alice, _bob) = alice_and_bob(&harbour).await;
    for (file, words) in [("nothing.mp3", "no such file"), ("letter.mp3", "not audio")] {
        let audio = alice.audio(&name("bob"), file);
        let opened = spawn_blocking(move || audio.open(&Interrupt::default(), |_| {}));
        let error = within("opening", opened).await.unwrap().unwrap_err().to_string();
        assert!(error.contains(words), "{file}: {error}");
    }
    assert_eq!(fs::read_dir(harbour.downloads("alice")).unwrap().count(), 0);
}

#[tokio::test]
async fn who_waits_for_a_file_can_be_called_away() {
    let harbour = Harbour::open().await;
    let (alice, _) = harbour.peer_with(impatient(&harbour, "alice")).await;
    let bob = harbour.raw("bob").await;
    let audio = alice.audio(&name("bob"), "long.wav");
    let (told, reports) = mpsc::sync_channel(1000);
    let open = move |interrupt: &_| match audio.open(interrupt, |_| {}) {
        Ok(decoder) => Ok(Box::new(decoder) as Box<_>),
        Err(source) => Err(OpenError::Decode { path: PathBuf::new(), source }),
    };
    let item = Item { name: "long.wav".into(), open: Box::new(open) };
    let sink = || open_sink("null", 2, Pacing::Unpaced);
    let player = Player::start(sink, vec![item], move |report| {
        let _ = told.try_send(report);
    });
    // Bob is asked, and never answers.
    let connection = within("a call", bob.answer_call()).await;
    let _asked = within("a question", next_request(&connection)).await;
    let over = spawn_blocking(move || {
        player.stop().unwrap();
        reports.iter().last()
    });
    let over = within("stopping", over).await.unwrap();
    assert!(matches!(over, Some(Report::Over { failure: None })), "{over:?}");
}

/// Bytes of a piece.
const LENGTH: usize = 16 << 10;

/// What is wrong with the hashes of the pieces, or with the first of them.
type Lie = fn(&mut Vec<u8>, &mut Vec<u8>);

/// A WAV file of one group, and the hashes of its pieces as they go over.
fn short_wav(harbour: &Harbour) -> (Vec<u8>, Vec<u8>) {
    use blake3::hazmat::HasherExt;
    let path = harbour.directory.path().join("short.wav");
    let mut sink = Box::new(WavSink::create(&path, 2).unwrap());
    sink.write(&vec![0.25; 48_000]).unwrap();
    sink.finish().unwrap();
    let whole = fs::read(&path).unwrap();
    let pieces = whole.chunks(LENGTH).zip((0..).step_by(LENGTH));
    let hash = |(piece, start): (&[u8], u64)| {
        blake3::Hasher::new().set_input_offset(start).update(piece).finalize_non_root()
    };
    let list = pieces.flat_map(hash).collect();
    (whole, list)
}

fn content_of(whole: &[u8]) -> PeerReply {
    let hash = Some(Hash(*blake3::hash(whole).as_bytes()));
    Content { size: whole.len() as u64, hash, pieces: true, ..Content::default() }.into()
}

#[tokio::test]
async fn the_first_piece_of_a_file_is_heard_before_anything_else_of_it_has_come() {
    let harbour = Harbour::open().await;
    let (alice, _) = harbour.peer_with(impatient(&harbour, "alice")).await;
    let bob = harbour.raw("bob").await;
    let audio = alice.audio(&name("bob"), "short.wav");
    let hearing = spawn_blocking(move || {
        let mut decoder = audio.open(&Interrupt::default(), |_| {}).unwrap();
        let mut some = vec![0.0; 960];
        let count = decoder.read(&mut some).unwrap();
        some.truncate(count);
        some
    });
    let connection = within("a call", bob.answer_call()).await;
    let (command, mut writer, _reader) = within("a question", next_request(&connection)).await;
    let PeerCommand::Get(get) = command else { panic!("{command:?}") };
    assert!(get.edges.is_some_and(|edges| edges.first > 0), "{get:?}");
    let (whole, list) = short_wav(&harbour);
    reply(&mut writer, content_of(&whole)).await;
    writer.get_mut().write_all(&list).await.unwrap();
    writer.get_mut().write_all(&whole[..LENGTH]).await.unwrap();
    let heard = within("the first sound", hearing).await.unwrap();
    assert!(!heard.is_empty() && heard.iter().all(|sample| *sample == 0.25), "{heard:?}");
}

#[tokio::test]
async fn a_piece_that_is_not_the_files_is_never_heard() {
    let harbour = Harbour::open().await;
    let mut config = impatient(&harbour, "alice");
    config.limits.retries = 0;
    let (alice, _) = harbour.peer_with(config).await;
    let bob = harbour.raw("bob").await;
    let (whole, list) = short_wav(&harbour);
    let lies: [Lie; 2] = [|list, _| list[40] ^= 1, |_, piece| piece[5_000] ^= 1];
    let mut connection = None;
    for (number, lie) in lies.into_iter().enumerate() {
        let audio = alice.audio(&name("bob"), "short.wav");
        let opening = spawn_blocking(move || {
            let mut decoder = audio.open(&Interrupt::default(), |_| {})?;
            decoder.read(&mut [0.0; 960]).map_err(|error| match error {
                portolan_media::SourceError::Decode(error) => error,
                other => panic!("{other}"),
            })
        });
        if connection.is_none() {
            connection = Some(within("a call", bob.answer_call()).await);
        }
        let connection = connection.as_ref().unwrap();
        let (_, mut writer, _reader) = within("a question", next_request(connection)).await;
        let (mut list, mut piece) = (list.clone(), whole[..LENGTH].to_vec());
        lie(&mut list, &mut piece);
        reply(&mut writer, content_of(&whole)).await;
        let _ = writer.get_mut().write_all(&list).await;
        let _ = writer.get_mut().write_all(&piece).await;
        let error = within("the outcome", opening).await.unwrap().unwrap_err().to_string();
        assert!(error.contains("are not those of"), "lie {number}: {error}");
    }
}
