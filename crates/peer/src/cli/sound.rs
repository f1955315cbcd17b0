//! Sound on this machine: what there is, and files decoded.

use std::path::{Path, PathBuf};

use portolan_media::{
    FRAME, Pacing, RATE, SINKS, SOURCES, Sink, SinkError, Source, SourceError, WavSink, devices,
    open_file, open_sink,
};
use tokio::task::spawn_blocking;

use super::{
    exit::{Exit, Failure},
    line::Line,
    output::Output,
    playing::{Decoded, Devices, Playing, Program, Sound},
};
use crate::Existing;

/// Shows what sound can come from and go to here.
pub(crate) fn show_devices(output: &Output) {
    let programs = devices().into_iter().map(|device| Program {
        program: device.program,
        path: device.path.display().to_string(),
        does: if device.plays { "plays" } else { "records" },
    });
    let devices = Devices {
        sources: SOURCES
            .iter()
            .map(|kind| Sound::of(kind.name, kind.argument, kind.about))
            .collect(),
        sinks: SINKS.iter().map(|kind| Sound::of(kind.name, kind.argument, kind.about)).collect(),
        programs: programs.collect(),
    };
    output.show(&Line::Devices(devices));
}

/// Decodes a file into a WAV file, or into a sink of the table.
pub(crate) async fn decode(
    file: PathBuf,
    to: String,
    existing: Existing,
    output: &Output,
) -> Result<(), Failure> {
    let done = spawn_blocking(move || decode_blocking(&file, &to, existing)).await;
    let decoded = done.map_err(|error| Failure::failed(error.to_string()))??;
    output.show(&Line::Decoded(decoded));
    Ok(())
}

fn decode_blocking(file: &Path, to: &str, existing: Existing) -> Result<Decoded, Failure> {
    let mut decoder = open_file(file).map_err(|error| failure(&error))?;
    let (info, channels) = (decoder.info().clone(), decoder.channels());
    let mut sink = target(to, channels, existing)?;
    let mut samples = vec![0.0; FRAME * usize::from(channels)];
    let mut frames = 0;
    loop {
        let count = decoder.read(&mut samples).map_err(|error: SourceError| failure(&error))?;
        if count == 0 {
            break;
        }
        let heard = samples.get(..count).unwrap_or_default();
        sink.write(heard).map_err(|error: SinkError| failure(&error))?;
        frames += count as u64 / u64::from(channels);
    }
    sink.finish().map_err(|error| failure(&error))?;
    let sound = Playing::described(&file.display().to_string(), &info);
    Ok(Decoded { to: to.to_owned(), frames, rate: RATE, sound })
}

fn target(to: &str, channels: u16, existing: Existing) -> Result<Box<dyn Sink>, Failure> {
    let kind = to.split_once(':').map(|(kind, _)| kind);
    if SINKS.iter().any(|sink| Some(sink.name) == kind) || to == "null" {
        return open_sink(to, channels, Pacing::Unpaced).map_err(|error| failure(&error));
    }
    let path = Path::new(to);
    if existing == Existing::Keep && path.symlink_metadata().is_ok() {
        let message = format!("{to} is there already; --overwrite replaces it");
        return Err(Failure::usage(message));
    }
    Ok(Box::new(WavSink::create(path, channels).map_err(|error| failure(&error))?))
}

/// Sound that fails here is nobody else's fault.
pub(crate) fn failure(error: &dyn std::error::Error) -> Failure {
    Failure { exit: Exit::Failed, code: "audio", message: error.to_string() }
}
