//! The sound device, through whichever program of the system plays and records.
//!
//! No system library is linked: a player is started and is given bare samples through a pipe,
//! which is kept short so that little waits in it.

use std::{
    env,
    io::{Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    time::Duration,
};

use crate::{OpenError, Sink, SinkError, Source, SourceError, pcm::to_i16, raw::RawSource};

/// How long a program has to find out that it cannot record.
const START: Duration = Duration::from_millis(400);
/// Bytes of sound after which a player that ends is not one that could not begin: half a second of
/// two channels.
const KEPT_MAX: usize = 96_000;
/// Bytes that a pipe holds, where that can be chosen: about 20 ms of two channels.
#[cfg(target_os = "linux")]
const PIPE: usize = 4096;
/// Bytes of what a program says that are kept.
const WORDS_MAX: u64 = 500;
/// What the programs below are told to hold back, and what waits in the pipe.
const DELAY: Duration = Duration::from_millis(100);

/// A program that plays or records 48 kHz, 16 bit little-endian samples.
struct Program {
    name: &'static str,
    /// `{c}` is the number of channels.
    arguments: &'static [&'static str],
}

/// In this order: sound servers first, then the bare device.
const PLAYERS: &[Program] = &[
    Program {
        name: "pacat",
        arguments: &[
            "--playback",
            "--raw",
            "--format=s16le",
            "--rate=48000",
            "--channels={c}",
            "--latency-msec=80",
            "--client-name=portolan",
        ],
    },
    Program {
        name: "pw-cat",
        arguments: &[
            "--playback",
            "--raw",
            "--format",
            "s16",
            "--rate",
            "48000",
            "--channels",
            "{c}",
            "--latency",
            "80ms",
            "-",
        ],
    },
    Program {
        name: "aplay",
        arguments: &[
            "-q",
            "-t",
            "raw",
            "-f",
            "S16_LE",
            "-r",
            "48000",
            "-c",
            "{c}",
            "--buffer-time=80000",
        ],
    },
    Program {
        name: "ffplay",
        arguments: &[
            "-loglevel",
            "error",
            "-nodisp",
            "-autoexit",
            "-f",
            "s16le",
            "-ar",
            "48000",
            "-ch_layout",
            "{c}c",
            "-i",
            "-",
        ],
    },
];

const RECORDERS: &[Program] = &[
    Program {
        name: "parec",
        arguments: &[
            "--raw",
            "--format=s16le",
            "--rate=48000",
            "--channels={c}",
            "--latency-msec=20",
            "--client-name=portolan",
        ],
    },
    Program {
        name: "pw-cat",
        arguments: &[
            "--record",
            "--raw",
            "--format",
            "s16",
            "--rate",
            "48000",
            "--channels",
            "{c}",
            "--latency",
            "20ms",
            "-",
        ],
    },
    Program {
        name: "arecord",
        arguments: &["-q", "-t", "raw", "-f", "S16_LE", "-r", "48000", "-c", "{c}"],
    },
];

/// A program of this machine that plays or records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub program: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// Whether it plays; else it records.
    pub plays: bool,
}

/// The programs of this machine that play or record, in the order in which they are tried.
#[must_use]
pub fn devices() -> Vec<Device> {
    let found = |programs: &'static [Program], plays| {
        programs.iter().filter_map(move |program| {
            let path = find(program.name)?;
            Some(Device { program: program.name, path, plays })
        })
    };
    found(PLAYERS, true).chain(found(RECORDERS, false)).collect()
}

/// Opens the loudspeaker. Sound begins at once: a player that turns out not to work is followed by
/// the next one, which is given the same from its beginning.
pub(crate) fn play(channels: u16) -> Result<Box<dyn Sink>, OpenError> {
    let mut tried = Vec::new();
    match Playing::next_of(PLAYERS, channels, &mut tried) {
        Some((playing, rest)) => {
            let kept = Some(Vec::new());
            Ok(Box::new(Player { playing: Some(playing), rest, channels, kept, tried }))
        }
        None => Err(no_device(PLAYERS, &tried)),
    }
}

/// Opens the microphone, with one channel.
pub(crate) fn record() -> Result<Box<dyn Source>, OpenError> {
    first_that_starts(RECORDERS, 1, |mut running| {
        let pipe = running.child.stdout.take()?;
        let what = format!("the microphone ({})", running.program);
        let samples = RawSource::new(Box::new(pipe), what, 1);
        Some(Box::new(Recorder { samples, _running: running }) as Box<dyn Source>)
    })
}

fn first_that_starts<T: ?Sized>(
    programs: &'static [Program],
    channels: u16,
    mut ready: impl FnMut(Running) -> Option<Box<T>>,
) -> Result<Box<T>, OpenError> {
    let mut tried = Vec::new();
    for program in programs {
        let Some(path) = find(program.name) else { continue };
        match Running::start(program, &path, channels).and_then(Running::lasting) {
            Ok(running) => match ready(running) {
                Some(opened) => return Ok(opened),
                None => tried.push(format!("{}: it has no pipe", program.name)),
            },
            Err(words) => tried.push(format!("{}: {words}", program.name)),
        }
    }
    Err(no_device(programs, &tried))
}

fn no_device(programs: &[Program], tried: &[String]) -> OpenError {
    let names: Vec<_> = programs.iter().map(|program| program.name).collect();
    let reason = match tried {
        [] => "no program that plays or records was found".to_owned(),
        tried => tried.join("; "),
    };
    OpenError::NoDevice { reason, programs: names.join(", ") }
}

fn find(program: &str) -> Option<PathBuf> {
    let paths = env::var_os("PATH")?;
    env::split_paths(&paths).map(|path| path.join(program)).find(|path| path.is_file())
}

/// A program that runs. Dropped, it is ended.
struct Running {
    program: &'static str,
    child: Child,
    /// What it said on its standard error, once it has ended.
    words: Receiver<String>,
}

impl Running {
    /// Starts a program.
    fn start(program: &'static Program, path: &PathBuf, channels: u16) -> Result<Self, String> {
        let count = channels.to_string();
        let arguments = program.arguments.iter().map(|argument| argument.replace("{c}", &count));
        let mut child = Command::new(path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (said, words) = sync_channel(1);
        let stderr = child.stderr.take();
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(stderr) = stderr {
                let mut limited = stderr.take(WORDS_MAX);
                let _ = limited.read_to_end(&mut text);
                // To its end, so that the program is not held up by what it says.
                let _ = std::io::copy(&mut limited.into_inner(), &mut std::io::sink());
            }
            let _ = said.send(String::from_utf8_lossy(&text).trim().to_owned());
        });
        Ok(Self { program: program.name, child, words })
    }

    /// Gives it a moment to fail.
    fn lasting(mut self) -> Result<Self, String> {
        match self.words.recv_timeout(START) {
            Err(RecvTimeoutError::Timeout) => Ok(self),
            Ok(words) => Err(self.outcome(words)),
            Err(RecvTimeoutError::Disconnected) => Err(self.outcome(String::new())),
        }
    }

    /// What it has said, now that it does not take any more.
    fn last_words(&mut self) -> String {
        let words = self.words.recv_timeout(START).unwrap_or_default();
        let _ = self.child.kill();
        self.outcome(words)
    }

    fn outcome(&mut self, words: String) -> String {
        let status = self.child.wait().map(|status| status.to_string()).unwrap_or_default();
        if words.is_empty() { status } else { words.replace('\n', " ") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A player and the pipe into it.
struct Playing {
    running: Running,
    pipe: ChildStdin,
}

impl Playing {
    /// The first of `programs` that can be started, and those behind it.
    fn next_of(
        programs: &'static [Program],
        channels: u16,
        tried: &mut Vec<String>,
    ) -> Option<(Self, &'static [Program])> {
        let mut rest = programs;
        while let Some((program, others)) = rest.split_first() {
            rest = others;
            let Some(path) = find(program.name) else { continue };
            match Running::start(program, &path, channels) {
                Ok(mut running) => {
                    let Some(pipe) = running.child.stdin.take() else { continue };
                    shorten(&pipe);
                    return Some((Self { running, pipe }, rest));
                }
                Err(words) => tried.push(format!("{}: {words}", program.name)),
            }
        }
        None
    }
}

/// The loudspeaker.
struct Player {
    playing: Option<Playing>,
    /// What has not been tried.
    rest: &'static [Program],
    channels: u16,
    /// All that was played, while the player may turn out not to work.
    kept: Option<Vec<u8>>,
    /// Those that did not, and why.
    tried: Vec<String>,
}

impl Player {
    /// Gives `bytes` to the player; whether it took them.
    fn pass(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        let Some(playing) = &mut self.playing else {
            let source = std::io::ErrorKind::BrokenPipe.into();
            return Err(SinkError::Io { what: "the loudspeaker".into(), source });
        };
        playing.pipe.write_all(bytes).map_err(|_| {
            let (program, words) = (playing.running.program, playing.running.last_words());
            self.tried.push(format!("{program}: {words}"));
            SinkError::Ended { program: program.into(), words }
        })
    }

    /// The player has ended before anything can have been heard: the next one begins anew.
    fn begin_again(&mut self, mut failed: SinkError) -> Result<(), SinkError> {
        let Some(kept) = self.kept.take() else { return Err(failed) };
        while let Some((playing, rest)) =
            Playing::next_of(self.rest, self.channels, &mut self.tried)
        {
            (self.playing, self.rest) = (Some(playing), rest);
            match self.pass(&kept) {
                Ok(()) => {
                    self.kept = Some(kept);
                    return Ok(());
                }
                Err(error) => failed = error,
            }
        }
        if let SinkError::Ended { words, .. } = &mut failed {
            *words = self.tried.join("; ");
        }
        Err(failed)
    }
}

impl Sink for Player {
    fn channels(&self) -> u16 {
        self.channels
    }

    fn write(&mut self, samples: &[f32]) -> Result<(), SinkError> {
        let bytes: Vec<u8> =
            samples.iter().flat_map(|&sample| to_i16(sample).to_le_bytes()).collect();
        let passed = self.pass(&bytes);
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(&bytes);
        }
        passed.or_else(|error| self.begin_again(error))?;
        self.kept = self.kept.take().filter(|kept| kept.len() < KEPT_MAX);
        Ok(())
    }

    fn delay(&self) -> Duration {
        DELAY
    }

    fn finish(mut self: Box<Self>) -> Result<(), SinkError> {
        let Some(Playing { mut running, pipe }) = self.playing.take() else { return Ok(()) };
        // The end of its input is what makes the program play out and end.
        drop(pipe);
        let waited = running.child.wait();
        waited.map(drop).map_err(|source| SinkError::Io { what: running.program.into(), source })
    }
}

/// The microphone.
struct Recorder {
    samples: RawSource,
    _running: Running,
}

impl Source for Recorder {
    fn channels(&self) -> u16 {
        self.samples.channels()
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, SourceError> {
        self.samples.read(out)
    }
}

#[cfg(target_os = "linux")]
fn shorten(pipe: &ChildStdin) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE);
}

#[cfg(not(target_os = "linux"))]
fn shorten(_pipe: &ChildStdin) {}
