//! A call: alice's tone, as bob hears it.

use std::{
    f64::consts::TAU,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use portolan_media::{RATE, Silence, Sink, SinkError, Tone};

use super::{actor::Actor, tell};
use crate::peer::{AudioUpdate, CallId, CallMedia, CallPhase, Event};

/// What alice plays.
const HERTZ: f64 = 440.0;
/// For how long: a second.
const SAMPLES: u64 = RATE as u64;
/// Samples that are judged together.
const STRETCH: usize = 1920;
/// A stretch is the tone if so much of its energy is.
const PURE: f64 = 0.8;

/// What became of the frames of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Audio {
    pub(super) sent: u64,
    /// Came when it was time for them, or before.
    pub(super) on_time: u64,
    /// Heard from the copy that the next frame carries.
    pub(super) repaired: u64,
    /// Made up.
    pub(super) concealed: u64,
    /// Came when their time had passed.
    pub(super) late: u64,
}

/// Lets alice call bob and play a tone, and checks that he hears it.
pub(super) async fn play(alice: &mut Actor, bob: &mut Actor) -> Result<Audio, String> {
    let ear = Ear::default();
    let (ours, theirs) = connect(alice, bob, &ear).await?;
    whole_tone(bob, theirs).await?;
    alice.peer.hang_up(ours, None).map_err(|error| error.to_string())?;
    let sent = last(alice, ours).await?.sent.ok_or("alice has sent nothing")?;
    let heard = last(bob, theirs).await?.received.ok_or("bob has heard nothing")?.counts;
    let audio = Audio {
        sent: sent.counts.datagrams,
        on_time: heard.received - heard.late,
        repaired: heard.repaired,
        concealed: heard.concealed,
        late: heard.late,
    };
    verify(&audio, &ear)?;
    tell(&format!(
        "  a call: bob hears {} of {} frames of alice's tone in time",
        audio.on_time, audio.sent
    ));
    Ok(audio)
}

async fn connect(
    alice: &mut Actor,
    bob: &mut Actor,
    ear: &Ear,
) -> Result<(CallId, CallId), String> {
    let tone = CallMedia::new(
        || Ok(Box::new(Tone::new(HERTZ, SAMPLES))),
        |channels| Ok(Box::new(Ear { channels, ..Ear::default() })),
    );
    let ours = alice.peer.call(bob.peer.name(), tone).map_err(|error| error.to_string())?;
    let theirs = bob
        .wait("the ringing", |event| match event {
            Event::Call(update) if update.phase == CallPhase::Ringing => Some(update.id),
            _ => None,
        })
        .await?;
    let ear = ear.clone();
    let listening = CallMedia::new(
        || Ok(Box::new(Silence::new(u64::MAX))),
        move |channels| Ok(Box::new(Ear { channels, ..ear })),
    );
    bob.peer.accept_call(theirs, listening).map_err(|error| error.to_string())?;
    Ok((ours, theirs))
}

/// Frames in a second; in a pause there are far fewer.
const SECOND: u64 = 50;

/// Waits until sound has come, and then little more for a second: the tone ends by itself.
async fn whole_tone(bob: &mut Actor, id: CallId) -> Result<(), String> {
    let mut before = 0;
    loop {
        let came = bob.wait("the tone", |event| match event {
            Event::Audio(update) if update.id == id => Some(update.received?.counts.received),
            _ => None,
        });
        let came = came.await?;
        if before > 0 && came - before < SECOND / 2 {
            return Ok(());
        }
        before = came;
    }
}

/// The last report of a call.
async fn last(actor: &mut Actor, id: CallId) -> Result<AudioUpdate, String> {
    actor
        .wait("the last report of the call", |event| match event {
            Event::Audio(update) if update.id == id && update.is_last => Some(*update),
            _ => None,
        })
        .await
}

/// More than half is heard in time on any machine, and what is heard is the tone.
fn verify(audio: &Audio, ear: &Ear) -> Result<(), String> {
    if audio.on_time * 2 < audio.sent {
        return Err(format!("bob should hear most of the tone: {audio:?}"));
    }
    let pure = ear.stretches_of(HERTZ);
    let half = usize::try_from(SAMPLES).unwrap_or(usize::MAX) / STRETCH / 2;
    if pure < half {
        return Err(format!("bob hears {pure} stretches of a {HERTZ} Hz tone, not {half}"));
    }
    Ok(())
}

/// Keeps what it hears.
#[derive(Debug, Clone, Default)]
struct Ear {
    channels: u16,
    heard: Arc<Mutex<Vec<f32>>>,
}

impl Sink for Ear {
    fn channels(&self) -> u16 {
        self.channels
    }

    fn write(&mut self, samples: &[f32]) -> Result<(), SinkError> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(samples);
        Ok(())
    }

    fn delay(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

impl Ear {
    fn stretches_of(&self, hertz: f64) -> usize {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.chunks_exact(STRETCH).filter(|stretch| share(stretch, hertz) > PURE).count()
    }
}

/// The share of the energy of `samples` that is at `hertz` (Goertzel's algorithm).
fn share(samples: &[f32], hertz: f64) -> f64 {
    let turn = (TAU * hertz / f64::from(RATE)).cos() * 2.0;
    let (mut one, mut two, mut energy) = (0.0, 0.0, 0.0);
    for sample in samples.iter().copied().map(f64::from) {
        (one, two) = (sample + turn * one - two, one);
        energy += sample * sample;
    }
    // Silence is no tone.
    if energy < 1e-3 {
        return 0.0;
    }
    let power = one * one + two * two - turn * one * two;
    2.0 * power / (energy * samples.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::{Ear, HERTZ, STRETCH};

    #[test]
    fn an_ear_tells_a_tone_from_another_and_from_silence() {
        let tone = |hertz: f64| -> Vec<f32> {
            let sample =
                |n: usize| (std::f64::consts::TAU * hertz * n as f64 / 48_000.0).sin() * 0.5;
            #[expect(clippy::cast_possible_truncation, reason = "a sample")]
            (0..STRETCH * 3).map(|n| sample(n) as f32).collect()
        };
        let stretches = |samples: Vec<f32>| {
            let ear = Ear { channels: 1, heard: std::sync::Arc::new(samples.into()) };
            ear.stretches_of(HERTZ)
        };
        assert_eq!(stretches(tone(HERTZ)), 3);
        assert_eq!(stretches(tone(550.0)), 0);
        assert_eq!(stretches(vec![0.0; STRETCH * 3]), 0);
    }
}
