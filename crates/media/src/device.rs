//! The sound device, through whichever program of the system plays and records.
//!
//! No system library is linked: a player is started and is given bare samples through a pipe,
//! which is kept short so that little waits in it.

use std::{
    env,
    io::{Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel},
    time::Duration,
};

use crate::{OpenError, Sink, SinkError, Source, SourceError, pcm::to_i16, raw::RawSource};

/// How long a program has to find out that it cannot play.
const START: Duration = Duration::from_millis(400);
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

/// Opens the loudspeaker.
pub(crate) fn play(channels: u16) -> Result<Box<dyn Sink>, OpenError> {
    first_that_starts(PLAYERS, channels, |mut running| {
        let pipe = running.child.stdin.take()?;
        shorten(&pipe);
        Some(Box::new(Player { running, pipe: Some(pipe), channels }) as Box<dyn Sink>)
    })
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
        match Running::start(program, &path, channels) {
            Ok(running) => match ready(running) {
                Some(opened) => return Ok(opened),
                None => tried.push(format!("{}: it has no pipe", program.name)),
            },
            Err(words) => tried.push(format!("{}: {words}", program.name)),
        }
    }
    let names: Vec<_> = programs.iter().map(|program| program.name).collect();
    let reason = match tried.as_slice() {
        [] => "no program that plays or records was found".to_owned(),
        tried => tried.join("; "),
    };
    Err(OpenError::NoDevice { reason, programs: names.join(", ") })
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
    /// Starts a program and gives it a moment to fail.
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
        let mut running = Self { program: program.name, child, words };
        match running.words.recv_timeout(START) {
            Err(RecvTimeoutError::Timeout) => Ok(running),
            Ok(words) => Err(running.outcome(words)),
            Err(RecvTimeoutError::Disconnected) => Err(running.outcome(String::new())),
        }
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

/// The loudspeaker.
struct Player {
    running: Running,
    pipe: Option<ChildStdin>,
    channels: u16,
}

impl Sink for Player {
    fn channels(&self) -> u16 {
        self.channels
    }

    fn write(&mut self, samples: &[f32]) -> Result<(), SinkError> {
        let bytes: Vec<u8> =
            samples.iter().flat_map(|&sample| to_i16(sample).to_le_bytes()).collect();
        let written = match &mut self.pipe {
            Some(pipe) => pipe.write_all(&bytes),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        written.map_err(|source| match self.running.words.try_recv() {
            Ok(words) => SinkError::Ended { program: self.running.program.into(), words },
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                SinkError::Io { what: self.running.program.into(), source }
            }
        })
    }

    fn delay(&self) -> Duration {
        DELAY
    }

    fn finish(mut self: Box<Self>) -> Result<(), SinkError> {
        // The end of its input is what makes the program play out and end.
        self.pipe = None;
        let waited = self.running.child.wait();
        waited
            .map(drop)
            .map_err(|source| SinkError::Io { what: self.running.program.into(), source })
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
