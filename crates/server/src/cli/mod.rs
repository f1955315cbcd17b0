//! The `server` program: it runs a server, or asks a running one.

mod admin;
mod ask;
mod exit;
mod gateways;
mod knobs;
mod layers;
mod notify;
mod options;
mod output;
mod registries;
mod run;
mod runtime_file;
mod settings;
mod show;
mod watch;

use std::process::ExitCode;

use portolan_transport::Transport;

use self::{
    exit::Failure,
    options::{Cli, Task},
    output::Format,
};

/// Runs the whole `server` program with the arguments of this process.
///
/// `transports` is the table that it listens with; the first is the default for its own questions
/// to a running server.
#[must_use]
pub fn main(transports: &'static [&'static dyn Transport]) -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors and go to stdout.
            let _printed = error.print();
            return if error.use_stderr() { exit::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    log_diagnostics();
    let format = Format::new(cli.json());
    match run_task(cli, transports) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::report(format, &failure);
            failure.code.into()
        }
    }
}

fn run_task(cli: Cli, transports: &'static [&'static dyn Transport]) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::error(&error).during("cannot start"))?;
    match cli.task {
        None => runtime.block_on(run::run(cli.run, transports)),
        Some(Task::Config { check, run, .. }) => show::config(*run, check, transports),
        Some(Task::Completions { shell }) => {
            show::completions(shell);
            Ok(())
        }
        Some(Task::Manual) => show::manual(),
        Some(Task::Ask(question)) => runtime.block_on(admin::ask(question, transports)),
    }
}

/// Diagnostics for developers go to stderr; `PORTOLAN_LOG=debug` says more.
fn log_diagnostics() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PORTOLAN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let _already =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
