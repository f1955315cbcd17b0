//! The player: one thing after the other, and orders in between.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use portolan_media::{
    Item, OrderError, Player, RATE, Report, Sink, SinkError, frames_in, open_file, open_track,
};
use support::{decoded, fixture};

/// Keeps what it takes, and takes each piece only when it is let.
struct Gated {
    taken: Arc<Mutex<Vec<f32>>>,
    gate: Option<Receiver<()>>,
}

impl Sink for Gated {
    fn channels(&self) -> u16 {
        2
    }

    fn write(&mut self, samples: &[f32]) -> Result<(), SinkError> {
        if let Some(gate) = &self.gate {
            // The test that holds it has ended otherwise.
            let _ = gate.recv();
        }
        self.taken.lock().unwrap().extend_from_slice(samples);
        Ok(())
    }

    fn delay(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

struct Heard {
    player: Player,
    reports: Receiver<Report>,
    taken: Arc<Mutex<Vec<f32>>>,
}

fn file(name: &'static str) -> Item {
    let open = move |_: &_| Ok(Box::new(open_file(&fixture(name))?) as Box<_>);
    Item { name: name.to_owned(), open: Box::new(open) }
}

fn word(word: &'static str) -> Item {
    Item { name: word.to_owned(), open: Box::new(move |_| open_track(word)) }
}

fn play_all(items: Vec<Item>, gate: Option<Receiver<()>>) -> Heard {
    let (told, reports) = sync_channel(1000);
    let taken = Arc::new(Mutex::new(Vec::new()));
    let sink = Gated { taken: Arc::clone(&taken), gate };
    let player =
        Player::start(move || Ok(Box::new(sink)), items, move |report| told.send(report).unwrap());
    Heard { player, reports, taken }
}

fn play(item: Item, gate: Option<Receiver<()>>) -> Heard {
    play_all(vec![item], gate)
}

/// A gate that lets everything through until it is dropped, and holds the first piece.
fn gate() -> (SyncSender<()>, Receiver<()>) {
    sync_channel(1)
}

impl Heard {
    /// Waits for a report of that kind.
    fn wait(&self, wanted: impl Fn(&Report) -> bool) -> Report {
        loop {
            let report = self.reports.recv_timeout(Duration::from_secs(60)).unwrap();
            if wanted(&report) {
                return report;
            }
        }
    }

    fn over(&self) -> Option<String> {
        match self.wait(|report| matches!(report, Report::Over { .. })) {
            Report::Over { failure } => failure,
            _ => None,
        }
    }

    fn taken(&self) -> Vec<f32> {
        self.taken.lock().unwrap().clone()
    }
}

#[test]
fn two_files_follow_each_other_without_a_sample_between() {
    let (open, gate) = gate();
    let heard = play(file("tone.mp3"), Some(gate));
    heard.player.enqueue(file("tone.flac")).unwrap();
    drop(open);
    assert_eq!(heard.over(), None);
    let expected = [decoded("tone.mp3").1, decoded("tone.flac").1].concat();
    assert!(heard.taken() == expected, "what was written is not the two files");
}

#[test]
fn a_file_of_one_channel_is_heard_on_both_sides() {
    let heard = play(word("tone:100:0.1"), None);
    assert_eq!(heard.over(), None);
    let taken = heard.taken();
    assert_eq!(taken.len(), RATE as usize / 10 * 2);
    assert!(taken.chunks(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_seek_goes_on_from_there_and_tells_where() {
    let (open, gate) = gate();
    let heard = play(file("tone.ogg"), Some(gate));
    heard.wait(|report| matches!(report, Report::Started { .. }));
    open.send(()).unwrap();
    let to = Duration::from_millis(1250);
    heard.player.seek(to).unwrap();
    drop(open);
    assert_eq!(
        heard.wait(|report| matches!(report, Report::Sought { .. })),
        Report::Sought { at: to }
    );
    assert_eq!(heard.over(), None);
    let (taken, whole) = (heard.taken(), decoded("tone.ogg").1);
    let rest = &whole[usize::try_from(frames_in(to)).unwrap() * 2..];
    let (before, after) = taken.split_at(taken.len() - rest.len());
    assert!(before.len() <= 4 * 960 * 2, "{} before", before.len());
    let far = after.iter().zip(rest).filter(|(a, b)| (*a - *b).abs() > 1e-4).count();
    assert_eq!(far, 0, "samples differ behind the seek");
}

#[test]
fn what_is_paused_writes_nothing_until_it_goes_on() {
    let (open, gate) = gate();
    let heard = play(word("tone:100:1"), Some(gate));
    heard.wait(|report| matches!(report, Report::Started { .. }));
    heard.player.pause().unwrap();
    open.send(()).unwrap();
    // From here on the gate is open: only the pause holds.
    drop(open);
    heard.wait(|report| matches!(report, Report::Paused { .. }));
    let before = heard.taken().len();
    assert!(before <= 4 * 960 * 2, "{before} samples before the pause");
    heard.player.resume().unwrap();
    heard.wait(|report| matches!(report, Report::Resumed { .. }));
    assert_eq!(heard.over(), None);
    assert_eq!(heard.taken().len(), RATE as usize * 2);
}

#[test]
fn the_next_thing_is_played_at_once_and_stop_ends_it_all() {
    let (open, gate) = gate();
    let heard = play(word("tone:100"), Some(gate));
    heard.player.enqueue(word("silence")).unwrap();
    heard.player.enqueue(word("tone:200")).unwrap();
    heard.wait(|report| matches!(report, Report::Started { .. }));
    drop(open);
    heard.player.next().unwrap();
    let started = heard.wait(|report| matches!(report, Report::Started { .. }));
    assert!(matches!(&started, Report::Started { name, .. } if name == "silence"), "{started:?}");
    heard.player.stop().unwrap();
    assert_eq!(heard.over(), None);
    let stopped = heard.player.enqueue(word("tone:100"));
    assert!(matches!(stopped, Err(OrderError::Over)), "{stopped:?}");
}

#[test]
fn what_cannot_be_played_is_told_and_the_next_one_is() {
    let heard = play_all(vec![file("make.sh"), word("tone:100:0.1")], None);
    let failed = heard.wait(|report| matches!(report, Report::Failed { .. }));
    assert!(matches!(&failed, Report::Failed { name, .. } if name == "make.sh"), "{failed:?}");
    assert!(heard.over().unwrap().contains("not audio"));
    assert_eq!(heard.taken().len(), RATE as usize / 10 * 2);
}

#[test]
fn a_player_that_is_dropped_ends_though_its_source_does_not() {
    let (open, gate) = gate();
    let heard = play(word("tone:100"), Some(gate));
    heard.wait(|report| matches!(report, Report::Started { .. }));
    drop(open);
    drop(heard.player);
    let mut last = None;
    while let Ok(report) = heard.reports.try_recv() {
        last = Some(report);
    }
    assert_eq!(last, Some(Report::Over { failure: None }));
}
