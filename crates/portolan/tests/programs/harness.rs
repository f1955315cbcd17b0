//! Real programs, started and watched: one helper touches them.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

/// Long enough for a loaded machine; nothing is asserted about time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program under test: its events come as JSON lines, its input are slash commands.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    label: String,
}

impl Program {
    pub(crate) fn start(label: &str, command: Command) -> Self {
        Self::start_by(label, command, Command::spawn)
    }

    /// Starts it in a way of the caller's.
    pub(crate) fn start_by(
        label: &str,
        mut command: Command,
        spawn: impl FnOnce(&mut Command) -> std::io::Result<Child>,
    ) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PORTOLAN_")) {
            command.env_remove(name);
        }
        let mut child = spawn(&mut command).unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = sync_channel(10_000);
        // Ends with the program: its output does.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: Vec::new(), label: label.to_owned() }
    }

    /// Types a line.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for the first event from now on that `wanted` likes.
    pub(crate) fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_within(PATIENCE, what, wanted)
    }

    /// The same for work that takes long: other events must come meanwhile.
    pub(crate) fn wait_for_long(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_within(PATIENCE * 10, what, wanted)
    }

    fn wait_within(
        &mut self,
        patience: Duration,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        loop {
            match self.lines.recv_timeout(patience) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    let event: Value = serde_json::from_str(&line)
                        .unwrap_or_else(|e| panic!("{}: {line:?} is not JSON: {e}", self.label));
                    if wanted(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{}: no {what}; it said:\n{}", self.label, self.seen.join("\n"))
                }
            }
        }
    }

    /// Waits for an event of that name.
    pub(crate) fn wait_event(&mut self, name: &str) -> Value {
        self.wait_for(name, |event| event["event"] == name)
    }

    /// Everything that was waited for or passed over.
    pub(crate) fn seen(&self) -> impl Iterator<Item = Value> {
        self.seen.iter().filter_map(|line| serde_json::from_str(line).ok())
    }

    /// Waits for a message with that text.
    pub(crate) fn wait_message(&mut self, text: &str) -> Value {
        self.wait_for(text, |event| event["event"] == "message" && event["text"] == text)
    }

    /// Ends the program as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops the program, or lets it go on, as the terminal's job control does.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Resident memory of the program in bytes, where the system tells (Linux).
    pub(crate) fn resident(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib << 10)
    }

    /// Closes its input and waits for its end.
    pub(crate) fn finish(mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server program with its data, and what is needed to reach it.
pub(crate) struct Harbour {
    pub(crate) server: Program,
    pub(crate) address: String,
    pub(crate) key: String,
    /// What it said when it was ready.
    pub(crate) ready: Value,
    directory: TempDir,
    /// What else the server is started with.
    options: Vec<String>,
}

impl Harbour {
    /// A server on a free port with a heartbeat of two seconds.
    pub(crate) fn open() -> Self {
        Self::open_with(&["--heartbeat", "2"])
    }

    /// A server on a free port that waits as long for silent clients as it does by default.
    pub(crate) fn open_patient() -> Self {
        Self::open_with(&[])
    }

    /// A server on a free port with these options.
    pub(crate) fn open_with(options: &[&str]) -> Self {
        Self::open_with_variables(options, &[])
    }

    /// The same, and with these variables in its environment the first time.
    pub(crate) fn open_with_variables(options: &[&str], variables: &[(&str, &Path)]) -> Self {
        let directory = TempDir::new().unwrap();
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let mut command = server_command(directory.path(), "127.0.0.1:0", &options);
        command.envs(variables.iter().copied());
        let (server, address, key, ready) = start_server(command);
        Self { server, address, key, ready, directory, options }
    }

    /// Kills the server and starts it again on the same port and data.
    pub(crate) fn crash_and_restart(&mut self) {
        self.server.kill();
        self.start_again();
    }

    /// Starts the server that has ended on the same port and data.
    pub(crate) fn start_again(&mut self) {
        let command = server_command(self.directory.path(), &self.address, &self.options);
        let (server, address, key, ready) = start_server(command);
        assert_eq!((&address, &key), (&self.address, &self.key));
        (self.server, self.ready) = (server, ready);
    }

    /// The same, with other options.
    pub(crate) fn start_with(&mut self, options: &[String]) {
        self.options = options.to_vec();
        self.start_again();
    }

    /// Ends the server in good order and starts it again on the same port and data.
    pub(crate) fn shut_down_and_restart(&mut self) {
        self.shut_down(&[]);
        self.start_again();
    }

    /// Ends the server in good order.
    pub(crate) fn shut_down(&mut self, options: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
        command.arg("shutdown").args(options).arg("--data").arg(self.server_data());
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
        assert!(self.server.wait_for_end().success());
    }

    /// The data directory of a user.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join("peers").join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// A file with `size` bytes that depend on `seed`.
    pub(crate) fn file(&self, name: &str, size: usize, seed: u64) -> PathBuf {
        let path = self.directory.path().join(name);
        let mut state = seed | 1;
        let bytes: Vec<u8> = (0..size.div_ceil(8))
            .flat_map(|_| {
                // xorshift64*: fast and different everywhere, which is all a test file needs.
                state ^= state >> 12;
                state ^= state << 25;
                state ^= state >> 27;
                state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()
            })
            .take(size)
            .collect();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Starts a peer that is ready to take commands.
    pub(crate) fn peer(&self, name: &str, transport: &str) -> Program {
        let mut peer = self.peer_unready(name, transport, &[]);
        peer.wait_event("ready");
        peer
    }

    /// Starts a peer with more options, and waits until it is ready.
    pub(crate) fn peer_with(&self, name: &str, transport: &str, more: &[&str]) -> Program {
        let mut peer = self.peer_unready(name, transport, more);
        peer.wait_event("ready");
        peer
    }

    /// Starts a peer without waiting.
    pub(crate) fn peer_unready(&self, name: &str, transport: &str, more: &[&str]) -> Program {
        let mut command = self.peer_command(name);
        command.args([name, "--transport", transport, "--json"]).args(more);
        Program::start(&format!("{name} on {transport}"), command)
    }

    /// Starts a peer with a variable in its environment, and waits until it is ready.
    pub(crate) fn peer_with_variable(
        &self,
        (name, transport): (&str, &str),
        (variable, value): (&str, &Path),
    ) -> Program {
        let mut command = self.peer_command(name);
        command.args([name, "--transport", transport, "--json"]).env(variable, value);
        let mut peer = Program::start(&format!("{name} on {transport}"), command);
        peer.wait_event("ready");
        peer
    }

    fn peer_command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
        command.arg("--data").arg(self.data(name)).args(["--server", &self.address]);
        command.args(["--server-key", &self.key]).args(["--accept-files", "all"]);
        command.arg("--downloads").arg(self.downloads(name));
        command
    }

    /// Where a user's files arrive.
    pub(crate) fn downloads(&self, name: &str) -> PathBuf {
        let path = self.data(name).join("downloads");
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// `server status --json`.
    pub(crate) fn status(&self) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_server"))
            .args(["status", "--json", "--data"])
            .arg(self.server_data())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&text).unwrap()
    }

    /// The server's data directory.
    pub(crate) fn server_data(&self) -> PathBuf {
        self.directory.path().join("server")
    }
}

fn server_command(directory: &Path, listen: &str, options: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.args(["--json", "--listen", listen, "--data"]).arg(directory.join("server"));
    command.args(options);
    command
}

fn start_server(command: Command) -> (Program, String, String, Value) {
    let mut server = Program::start("server", command);
    let ready = server.wait_event("ready");
    let address = ready["addresses"][0]["address"].as_str().unwrap().to_owned();
    (server, address, ready["id"].as_str().unwrap().to_owned(), ready)
}

/// Runs a program to its end: exit code, standard output, standard error.
pub(crate) fn run(program: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let path = match program {
        "peer" => env!("CARGO_BIN_EXE_peer"),
        "server" => env!("CARGO_BIN_EXE_server"),
        other => panic!("there is no program {other}"),
    };
    let output = Command::new(path).args(args).stdin(Stdio::null()).output().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}
