//! The command line: the whole `peer` program but for the parts that the facade gives it.
//!
//! ```text
//!   args ── settings ── connect ──┬── one_shot       list, say, send, get, files, echo
//!                                 └── interactive    lines: input ── slash ── Peer
//!                                            │
//!                                     output ── line (JSON) ── human (text)
//! ```
//!
//! Everything said on standard output is a `line::Line` first, so that people and programs are
//! told the same.

mod address;
mod args;
mod audio;
mod calls;
mod connect;
mod counters;
mod device;
mod doctor;
mod exit;
mod group;
mod human;
mod input;
mod interactive;
mod key_checks;
mod lan;
mod line;
mod mail;
mod networks;
mod one_shot;
mod output;
mod password;
mod playing;
mod preferences;
mod settings;
mod slash;
mod sound;
mod stage;
mod status_line;
mod stream;
mod talks;
mod text;
mod tree_line;
mod undelivered;
mod watch;

use std::{pin::Pin, process::ExitCode, sync::Arc};

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use self::{
    args::{Arguments, OneShot, Options},
    exit::{Exit, Failure},
    line::Line,
    output::Output,
    settings::{Format, Settings, check_transport},
};
use crate::Stack;

/// What the demo is asked to show.
#[derive(Debug, Clone, Default)]
pub struct DemoOptions {
    /// One transport of the table, or `all`; `None`: its own default.
    pub transport: Option<String>,
    /// One JSON object a line in place of text.
    pub json: bool,
}

/// The demo, which needs a server and so is the facade's.
pub type DemoCommand = fn(DemoOptions) -> Pin<Box<dyn Future<Output = ExitCode> + Send>>;

/// Runs the program: reads the command line, does what it says, and gives the exit code.
#[must_use]
pub fn main(stack: Stack, demo: DemoCommand) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            // Help and version are what was asked for.
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    if arguments.options.verbose {
        start_log();
    }
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::failed(format!("cannot start: {error}"));
            return complain(&failure, &arguments.options);
        }
    };
    let code = run(arguments, stack, demo, &runtime);
    // A thread that still waits for the keyboard must not hold up the end.
    runtime.shutdown_background();
    code
}

fn run(mut arguments: Arguments, stack: Stack, demo: DemoCommand, runtime: &Runtime) -> ExitCode {
    let options = arguments.options.clone();
    if let Some(name) = arguments.name.take() {
        arguments.options.as_name = Some(name);
    } else if arguments.command.is_none() {
        let advice = "who are you? `peer NAME --server HOST` talks, `peer demo` shows how, \
                      `peer --help` the rest";
        return complain(&Failure::usage(advice), &options);
    }
    if let Some(OneShot::Demo) = arguments.command {
        return run_demo(&options, stack, demo, runtime);
    }
    let work = work(arguments, stack);
    match runtime.block_on(work) {
        Ok(exit) => exit.into(),
        Err(failure) => complain(&failure, &options),
    }
}

async fn work(arguments: Arguments, stack: Stack) -> Result<Exit, Failure> {
    let mut settings = Settings::new(&arguments.options, &stack)?;
    let output = match settings.output {
        Format::Json => Output::json(),
        Format::Human if arguments.options.quiet => Output::quiet(),
        Format::Human => Output::human(),
    };
    match arguments.command {
        Some(OneShot::Id) => {
            let name = settings.name()?;
            let id = settings.identity(&name)?.id().to_string();
            output.show(&Line::Id { name: name.to_string(), id });
            Ok(Exit::Done)
        }
        Some(OneShot::Doctor) => doctor::run(&settings, &output).await,
        Some(OneShot::Devices) => {
            sound::show_devices(&output);
            Ok(Exit::Done)
        }
        Some(OneShot::Decode { file, to }) => {
            sound::decode(file, to, settings.existing, &output).await?;
            Ok(Exit::Done)
        }
        Some(OneShot::Play { what }) if stage::is_here(&what) => {
            stage::play_here(&what, &settings.sink, &output).await?;
            Ok(Exit::Done)
        }
        Some(command) => {
            settings.take_device()?;
            let output = Arc::new(output.with_bars());
            let done = Box::pin(one_shot::run(command, &settings, &stack, &output)).await;
            watch::finish(&settings.shared);
            done
        }
        None => {
            settings.take_device()?;
            let shared = settings.shared.clone();
            let done = Box::pin(interactive::run(settings, &stack, Arc::new(output))).await;
            watch::finish(&shared);
            done
        }
    }
}

fn run_demo(options: &Options, stack: Stack, demo: DemoCommand, runtime: &Runtime) -> ExitCode {
    if let Some(word) = &options.transport
        && word != "auto"
        && let Err(failure) = check_transport(word, &stack, "all")
    {
        return complain(&failure, options);
    }
    let demo_options = DemoOptions { transport: options.transport.clone(), json: options.json };
    runtime.block_on(demo(demo_options))
}

/// Says what went wrong, in the form that was asked for, and gives its exit code.
fn complain(failure: &Failure, options: &Options) -> ExitCode {
    // Errors go to standard error for people; programs find them among the events.
    let output = if options.json { Output::json() } else { Output::human() };
    output.show(&failure.into());
    failure.exit.into()
}

/// Logs to standard error what `PORTOLAN_LOG` asks for.
fn start_log() {
    use tracing_subscriber::EnvFilter;

    let filter = EnvFilter::try_from_env("PORTOLAN_LOG")
        .unwrap_or_else(|_| EnvFilter::new("portolan=debug,info"));
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
