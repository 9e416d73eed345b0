//! `mina-auth` as a process.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

use super::{PATIENCE, eventually};

/// The program with these arguments and none of the developer's own settings.
pub fn mina_auth(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mina-auth"));
    let own = std::env::vars_os().map(|(name, _)| name);
    for name in own.filter(|name| name.to_string_lossy().starts_with("MINA_AUTH")) {
        command.env_remove(name);
    }
    command.env("MINA_AUTH__LOG__FORMAT", "json").args(arguments);
    command
}

/// A running process whose output is read as it comes; killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    pub stdout: Output,
    pub stderr: Output,
}

impl Program {
    pub fn start(command: &mut Command) -> Self {
        Self::start_with(command, "")
    }

    /// Starts a process with this text as its standard input.
    pub fn start_with(command: &mut Command, input: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A process that does not read its input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let stdout = Output::read(child.stdout.take().unwrap());
        let stderr = Output::read(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// The first IP address that the process logs for this listener.
    pub fn address(&self, listener: &str) -> SocketAddr {
        self.stderr.wait_for(&format!("the {listener} listener"), |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let found = event["message"] == "listening" && event["listener"] == listener;
            found.then(|| event["address"].as_str().unwrap().parse().ok()).flatten()
        })
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `TERM`, `INT`.
    pub fn signal(&self, name: &str) {
        let script = format!("kill -s {name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    }

    /// What the kernel says of the running process in a file of its directory in /proc.
    pub fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// Kills the process with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        eventually(PATIENCE, "the process ends", || self.child.try_wait().unwrap())
    }

    /// Waits for the end of the process and returns all that there is to know.
    pub fn finish(mut self) -> Finished {
        let code = self.wait().code();
        Finished { code, stdout: self.stdout.whole(), stderr: self.stderr.whole() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that has ended.
#[derive(Debug)]
pub struct Finished {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Asserts that the command did what it was asked.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Asserts that the command failed and said so in one line; returns that line.
    #[track_caller]
    pub fn failed_in_one_line(self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("mina-auth: "), "{self:?}");
        self.stderr.trim_end().to_owned()
    }

    /// What the command printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// What a process writes to one of its streams.
#[derive(Debug)]
pub struct Output {
    text: Arc<(Mutex<Text>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Text {
    lines: Vec<String>,
    has_ended: bool,
}

impl Output {
    fn read(stream: impl Read + Send + 'static) -> Self {
        let text: Arc<(Mutex<Text>, Condvar)> = Arc::default();
        let shared = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let (text, changed) = &*shared;
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                text.lock().unwrap().lines.push(line);
                changed.notify_all();
            }
            text.lock().unwrap().has_ended = true;
            changed.notify_all();
        });
        Self { text, reader: Some(reader) }
    }

    /// Waits for a line in which `find` finds something.
    pub fn wait_for<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let (text, changed) = &*self.text;
        let found = |text: &Text| text.lines.iter().find_map(|line| find(line));
        let waiting = |text: &mut Text| found(text).is_none() && !text.has_ended;
        let (text, _) =
            changed.wait_timeout_while(text.lock().unwrap(), PATIENCE, waiting).unwrap();
        found(&text).unwrap_or_else(|| panic!("no line about {what} in {:#?}", text.lines))
    }

    /// Waits for a line with this text in it.
    pub fn wait_for_text(&self, text: &str) {
        self.wait_for(text, |line| line.contains(text).then_some(()));
    }

    /// The lines written so far.
    pub fn lines(&self) -> Vec<String> {
        self.text.0.lock().unwrap().lines.clone()
    }

    /// Everything written, once the process has ended.
    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.lines().into_iter().map(|line| line + "\n").collect()
    }
}
