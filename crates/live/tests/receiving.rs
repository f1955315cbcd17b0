//! What is heard over paths of every kind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Heard, Talk, paths::Model, signal, start};
use portolan_live::{
    Buffer, Channels, FRAME, FRAME_SAMPLES, Made, ReceiveError, Receiver, ReceiverConfig, Refused,
    Sender, SenderConfig,
};

const HERTZ: f32 = 440.0;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn of_tone(model: &str, time: Duration) -> Heard {
    let model = Model::find(model);
    let talk = Talk {
        sender: SenderConfig::voice(7, 1),
        buffer: Buffer::ADAPTIVE,
        source: &mut signal::tone(HERTZ),
        path: &mut *model.path(1),
        time,
        drift_ppm: model.drift_ppm,
    };
    talk.run()
}

#[test]
fn a_tone_over_a_steady_path_is_heard_whole_after_little_more_than_the_path() {
    let heard = of_tone("constant", seconds(20));
    assert_eq!(heard.share(Made::Concealed, seconds(1)), 0.0);
    let delay = heard.mean_delay(seconds(5));
    assert!(delay <= 40.0 + 20.0, "{delay} ms over 40 ms");
    let after = 48_000 * 2;
    assert_eq!(signal::glitches(&heard.pcm[after..], HERTZ), 0);
    assert_eq!((heard.stats.lost, heard.stats.late, heard.stats.duplicates), (0, 0, 0));
}

#[test]
fn clocks_that_differ_by_200_ppm_neither_fill_nor_drain_the_buffer() {
    for model in ["drift+200", "drift-200"] {
        let heard = of_tone(model, seconds(300));
        let late = heard.share(Made::Concealed, seconds(1));
        assert!(late <= 0.01, "{model}: {late}");
        let after = heard.mean_delay(seconds(280));
        assert!((40.0..80.0).contains(&after), "{model}: {after} ms");
        // Three hundred seconds at 200 ppm are 60 ms.
        let stats = heard.stats;
        let waited = FRAME.as_secs_f64() * stats.concealed as f64;
        let net = stats.shortened.as_secs_f64() - stats.lengthened.as_secs_f64() - waited;
        println!("{model}: {stats:?}");
        let want = if model == "drift-200" { 0.060 } else { -0.060 };
        assert!((net - want).abs() < 0.030, "{model}: {net} s");
        assert!(signal::glitches(&heard.pcm[96_000..], HERTZ) <= 60, "{model}");
    }
}

#[test]
fn losses_are_repaired_from_the_next_frame_once_reports_have_asked_for_it() {
    let mut number = 0;
    let talk = Talk {
        sender: SenderConfig::voice(1, 0),
        buffer: Buffer::ADAPTIVE,
        source: &mut signal::voice(),
        path: &mut |_| {
            number += 1;
            (number % 12 != 0).then_some(Duration::from_millis(30))
        },
        time: seconds(30),
        drift_ppm: 0.0,
    };
    let heard = talk.run();
    assert!(heard.sender.protection() >= 7, "{} %", heard.sender.protection());
    let stats = heard.stats;
    assert!(stats.repaired >= 40, "{stats:?}");
    assert!(stats.repaired > 2 * stats.concealed, "{stats:?}");
}

#[test]
fn a_pause_sends_next_to_nothing_and_is_no_loss() {
    let talk = Talk {
        sender: SenderConfig::voice(1, 0),
        buffer: Buffer::ADAPTIVE,
        source: &mut signal::voice(),
        path: &mut |_| Some(Duration::from_millis(30)),
        time: seconds(20),
        drift_ppm: 0.0,
    };
    let heard = talk.run();
    let sent = heard.sender.stats();
    assert!(sent.datagrams * 10 < sent.frames * 9, "{sent:?}");
    assert_eq!((heard.stats.lost, heard.stats.concealed), (0, 0), "{:?}", heard.stats);
    assert!(heard.stats.silence >= 100, "{:?}", heard.stats);
}

#[test]
fn a_second_of_nothing_is_caught_up_with_and_nothing_piles_up() {
    let talk = Talk {
        sender: SenderConfig::voice(1, 0),
        buffer: Buffer::ADAPTIVE,
        source: &mut signal::tone(HERTZ),
        // What is sent between 5 s and 6 s comes at once at 6 s.
        path: &mut |sent| {
            let held = (seconds(5)..seconds(6)).contains(&sent);
            let until = if held { seconds(6) - sent } else { Duration::ZERO };
            Some(until + Duration::from_millis(30))
        },
        time: seconds(40),
        drift_ppm: 0.0,
    };
    let heard = talk.run();
    assert!((45..=55).contains(&heard.stats.concealed), "{:?}", heard.stats);
    let after = heard.mean_delay(seconds(35));
    assert!(after <= 60.0, "{after} ms");
    let shortly = heard.delays.iter().filter(|(time, _)| *time > seconds(6) + FRAME * 4);
    let longest = shortly.map(|(_, delay)| *delay).max().unwrap();
    assert!(longest <= Duration::from_millis(300), "{longest:?}");
}

/// A receiver, and the datagrams of a tone.
fn at_hand(count: usize) -> (Receiver, Vec<Bytes>) {
    let mut sender = Sender::new(SenderConfig::voice(3, 9)).unwrap();
    let mut tone = signal::tone(HERTZ);
    let datagrams = (0..count).map(|_| sender.send(start(), &tone()).unwrap().unwrap()).collect();
    (Receiver::new(ReceiverConfig::new(3, Channels::Mono)).unwrap(), datagrams)
}

#[test]
fn copies_and_what_is_behind_its_time_are_counted_and_not_heard() {
    let (mut receiver, datagrams) = at_hand(20);
    let mut out = [0.0; FRAME_SAMPLES];
    for (number, bytes) in (0..).zip(&datagrams) {
        let now = start() + FRAME * number;
        if number != 5 {
            receiver.handle_datagram(now, bytes).unwrap();
            let again = receiver.handle_datagram(now, bytes);
            assert_eq!(again, Err(ReceiveError::Refused(Refused::Duplicate)));
        }
        receiver.pull(now, &mut out);
    }
    let now = start() + FRAME * 20;
    let late = receiver.handle_datagram(now, &datagrams[5]);
    assert_eq!(late, Err(ReceiveError::Refused(Refused::Late)));
    let stats = receiver.stats();
    assert_eq!((stats.duplicates, stats.late, stats.lost), (19, 1, 0), "{stats:?}");
}

#[test]
fn a_stream_that_begins_anew_is_followed_at_once_and_its_past_is_not_heard() {
    let (mut receiver, old) = at_hand(50);
    let mut again = Sender::new(SenderConfig::voice(3, 10)).unwrap();
    let mut tone = signal::tone(HERTZ);
    let mut out = [0.0; FRAME_SAMPLES];
    for (number, bytes) in (0..).zip(&old) {
        let now = start() + FRAME * number;
        receiver.handle_datagram(now, bytes).unwrap();
        receiver.pull(now, &mut out);
    }
    let mut last = Made::Silence;
    for number in 50..100 {
        let now = start() + FRAME * number;
        let bytes = again.send(now, &tone()).unwrap().unwrap();
        receiver.handle_datagram(now, &bytes).unwrap();
        assert_eq!(receiver.handle_datagram(now, &old[7]), Err(ReceiveError::Other));
        last = receiver.pull(now, &mut out).made;
    }
    assert_eq!(last, Made::Played);
    let stats = receiver.stats();
    assert_eq!((stats.restarts, stats.lost), (1, 0), "{stats:?}");
}

#[test]
fn the_sender_learns_the_round_trip_and_the_loss() {
    let mut number = 0;
    let talk = Talk {
        sender: SenderConfig::voice(1, 0),
        buffer: Buffer::ADAPTIVE,
        source: &mut signal::tone(HERTZ),
        path: &mut |_| {
            number += 1;
            (number % 10 != 0).then_some(Duration::from_millis(45))
        },
        time: seconds(10),
        drift_ppm: 0.0,
    };
    let heard = talk.run();
    // Reports take 30 ms here.
    let round_trip = heard.sender.round_trip().unwrap();
    let error = round_trip.abs_diff(Duration::from_millis(75));
    assert!(error <= Duration::from_millis(1), "{round_trip:?}");
    assert_eq!(heard.sender.protection(), 10);
    let quality = heard.receiver.quality(heard.end, Some(round_trip));
    assert!((0.09..=0.11).contains(&quality.loss), "{quality}");
    assert!((3.0..4.3).contains(&quality.mos), "{quality}");
}

#[test]
fn stereo_stays_stereo_and_a_mono_sink_hears_both_sides() {
    for channels in [Channels::Mono, Channels::Stereo] {
        let mut sender = Sender::new(SenderConfig::music(1, 0, Channels::Stereo)).unwrap();
        let mut receiver = Receiver::new(ReceiverConfig::new(1, channels)).unwrap();
        let mut tone = signal::tone(HERTZ);
        let mut out = vec![0.0; FRAME_SAMPLES * channels.count()];
        let mut powers = [0.0_f32; 2];
        for number in 0..100 {
            let now = start() + FRAME * number;
            // The tone is on the left only.
            let pcm: Vec<_> = tone().into_iter().flat_map(|sample| [sample, 0.0]).collect();
            let bytes = sender.send(now, &pcm).unwrap().unwrap();
            receiver.handle_datagram(now, &bytes).unwrap();
            receiver.pull(now, &mut out);
            for samples in out.chunks(channels.count()) {
                powers[0] += samples[0] * samples[0];
                powers[1] += samples.last().unwrap() * samples.last().unwrap();
            }
        }
        match channels {
            Channels::Mono => assert!(powers[0] > 100.0, "{powers:?}"),
            Channels::Stereo => assert!(powers[0] > 50.0 * powers[1], "{powers:?}"),
        }
    }
}
