//! What bad datagrams can do: nothing but be counted.

mod common;

use bytes::Bytes;
use common::{signal, start};
use portolan_live::{
    Audio, Channels, Datagram, FRAME, FRAME_SAMPLES, Made, Moment, Receiver, ReceiverConfig,
    Sender, SenderConfig,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[test]
fn any_frames_in_any_order_at_any_time_leave_a_receiver_that_still_plays() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("SEED={seed}");
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let mut receiver = Receiver::new(ReceiverConfig::new(1, Channels::Mono)).unwrap();
    let mut out = [0.0; FRAME_SAMPLES];
    for tick in 0..3_000 {
        let now = start() + FRAME * tick;
        for _ in 0..chance.random_range(0..4) {
            let length = chance.random_range(1..200);
            let mut payload: Vec<u8> = (0..length).map(|_| chance.random()).collect();
            // Mostly frames of 20 ms, or none would pass the door.
            payload[0] =
                if chance.random_bool(0.9) { payload[0] & 0xfc | 0x08 } else { payload[0] };
            let audio = Audio {
                stream: 1,
                epoch: u8::from(chance.random_bool(0.01)),
                moment: [Moment::Talking, Moment::Spurt, Moment::Silent][chance.random_range(0..3)],
                level: 0,
                sequence: chance.random_range(0..40) + u16::try_from(tick).unwrap(),
                timestamp: 960 * (chance.random_range(0..40) + tick),
                payload: payload.into(),
            };
            let _ = receiver.handle_audio(now, &audio);
        }
        receiver.pull(now, &mut out);
        assert!(out.iter().all(|sample| sample.is_finite()));
    }
    // Whoever begins anew is heard.
    let mut sender = Sender::new(SenderConfig::voice(1, 9)).unwrap();
    let mut tone = signal::tone(440.0);
    let mut last = Made::Silence;
    for tick in 3_000..3_100 {
        let now = start() + FRAME * tick;
        let bytes = sender.send(now, &tone()).unwrap().unwrap();
        receiver.handle_datagram(now, &bytes).unwrap();
        last = receiver.pull(now, &mut out).made;
    }
    assert_eq!(last, Made::Played);
}

#[test]
fn a_flood_is_held_within_the_bound() {
    let mut receiver = Receiver::new(ReceiverConfig::new(3, Channels::Mono)).unwrap();
    let mut sender = Sender::new(SenderConfig::voice(3, 0)).unwrap();
    let mut tone = signal::tone(440.0);
    let sent: Vec<Bytes> =
        (0..900).map(|_| sender.send(start(), &tone()).unwrap().unwrap()).collect();
    sent.iter().for_each(|bytes| receiver.handle_datagram(start(), bytes).unwrap());
    let mut out = [0.0; FRAME_SAMPLES];
    let mut heard = 0;
    for tick in 0..1_000 {
        let made = receiver.pull(start() + FRAME * tick, &mut out).made;
        heard += usize::from(made == Made::Played);
    }
    assert!((1..=140).contains(&heard), "{heard} frames of 900 were kept");
}

#[test]
fn a_frame_that_is_no_sound_is_made_up_for() {
    let mut receiver = Receiver::new(ReceiverConfig::new(3, Channels::Mono)).unwrap();
    let mut sender = Sender::new(SenderConfig::voice(3, 0)).unwrap();
    let mut tone = signal::tone(440.0);
    let mut out = [0.0; FRAME_SAMPLES];
    let mut worst = Made::Silence;
    for tick in 0..60 {
        let now = start() + FRAME * tick;
        let bytes = sender.send(now, &tone()).unwrap().unwrap();
        let Ok(Datagram::Audio(mut audio)) = Datagram::decode(&bytes) else { unreachable!() };
        if tick == 30 {
            audio.payload = audio.payload.slice(..3);
        }
        receiver.handle_audio(now, &audio).unwrap();
        worst = worst.max(receiver.pull(now, &mut out).made);
    }
    assert!(out.iter().any(|sample| sample.abs() > 0.2));
    assert_eq!(receiver.stats().lost, 0);
}
