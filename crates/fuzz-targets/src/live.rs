//! The datagrams of live audio, and the codec behind them.

use std::time::Duration;

use bytes::Bytes;
use portolan_live::{
    Audio, Channels, Datagram, FRAME, FRAME_SAMPLES, Moment, Receiver, ReceiverConfig, Report,
    Sender, SenderConfig,
};

use crate::start;

/// Frames of an input that are played: enough for a talk to begin and to break off.
const FRAMES_MAX: usize = 64;

/// Bytes that say how the next frame comes, before its own.
const HEAD: usize = 4;

pub(crate) fn datagram(bytes: &[u8]) {
    let Ok(decoded) = Datagram::decode(&Bytes::copy_from_slice(bytes)) else { return };
    let again = match &decoded {
        Datagram::Audio(audio) => audio.encode(),
        Datagram::Report(report) => report.encode(),
    };
    assert_eq!(Datagram::decode(&again), Ok(decoded), "what is read is written");
    let mut sender = Sender::new(SenderConfig::voice(1, 0)).expect("a sender");
    let _ = sender.handle_datagram(start() + Duration::from_secs(1), &again);
}

pub(crate) fn datagram_seeds() -> Vec<Vec<u8>> {
    let report = Report { stream: 1, expected: 50, lost: 3, ..Report::default() };
    let mut seeds: Vec<_> = frames().iter().map(|frame| frame.encode().to_vec()).collect();
    seeds.push(report.encode().to_vec());
    seeds
}

/// A run of frames, each with its length, the steps of its number and of its time, and whether it
/// begins or ends a talk: what reaches the codec through a receiver.
pub(crate) fn receiver(bytes: &[u8]) {
    let mut receiver = Receiver::new(ReceiverConfig::new(1, Channels::Mono)).expect("a receiver");
    let (mut sequence, mut timestamp, mut rest) = (0_u16, 0_u32, bytes);
    let mut now = start();
    let mut out = [0.0; FRAME_SAMPLES];
    for _ in 0..FRAMES_MAX {
        let Some((head, after)) = rest.split_first_chunk::<HEAD>() else { break };
        let [length, step, pause, moment] = *head;
        let length = usize::from(length).min(after.len());
        let (payload, after) = after.split_at(length);
        rest = after;
        sequence = sequence.wrapping_add(u16::from(step));
        timestamp = timestamp.wrapping_add(960 * (u32::from(step) + u32::from(pause)));
        let moments = [Moment::Talking, Moment::Spurt, Moment::Silent];
        let audio = Audio {
            stream: 1,
            epoch: 0,
            moment: moments[usize::from(moment) % moments.len()],
            level: 0,
            sequence,
            timestamp,
            payload: Bytes::copy_from_slice(payload),
        };
        let _ = receiver.handle_audio(now, &audio);
        receiver.pull(now, &mut out);
        assert!(out.iter().all(|sample| sample.is_finite()), "sound is made of numbers");
        now += FRAME;
    }
}

pub(crate) fn receiver_seeds() -> Vec<Vec<u8>> {
    let frames = frames();
    let line = |step: u8| {
        let each = frames.iter().filter(|frame| frame.payload.len() <= usize::from(u8::MAX));
        let words = each.map(move |frame| {
            let length = u8::try_from(frame.payload.len()).expect("filtered");
            [&[length, step, 0, 0][..], &frame.payload].concat()
        });
        words.collect::<Vec<_>>().concat()
    };
    vec![line(1), line(2), line(1)[..200].to_vec()]
}

/// Frames of a sound with a pause in it, sent by somebody who knows of losses.
fn frames() -> Vec<Audio> {
    let mut sender = Sender::new(SenderConfig::voice(1, 0)).expect("a sender");
    let report = Report { stream: 1, expected: 50, lost: 10, ..Report::default() };
    sender.handle_datagram(start(), &report.encode()).expect("a report of this stream");
    let mut frames = Vec::new();
    for number in 0..40_u16 {
        let loud = if (15..30).contains(&number) { 0.0 } else { 0.3 };
        let wave = |at: u16| (f32::from(at) * 0.03).sin() * loud;
        let pcm: Vec<_> = (0..960).map(wave).collect();
        let sent = sender.send(start() + FRAME * u32::from(number), &pcm).expect("a frame");
        let Some(bytes) = sent else { continue };
        if let Ok(Datagram::Audio(audio)) = Datagram::decode(&bytes) {
            frames.push(audio);
        }
    }
    frames
}
