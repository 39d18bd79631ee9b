//! Devices: a home, a daemon that can be started and killed, and the commands.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use serde_json::Value;
use tempfile::TempDir;

/// What must happen happens within this time, or never.
const BOUND: Duration = Duration::from_secs(120);

/// Waits until something is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < BOUND, "still not so after {BOUND:?}: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// The seed of a test: `HEDGEROW_TEST_SEED` or the usual one. A test that fails says which it was.
pub(crate) struct Seed(u64);

impl Seed {
    pub(crate) fn new(usual: u64) -> Self {
        let named = std::env::var("HEDGEROW_TEST_SEED").ok();
        Self(named.map_or(usual, |seed| seed.parse().expect("HEDGEROW_TEST_SEED is a number")))
    }

    pub(crate) fn dice(&self) -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(self.0)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat: HEDGEROW_TEST_SEED={}", self.0);
        }
    }
}

/// The command under test, with a home.
pub(crate) fn hedgerow(home: &Path, args: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hedgerow-under-test"));
    command.env_remove("HEDGEROW_LOG").env("HEDGEROW_HOME", home).args(args);
    command
}

/// A device with a home in a folder of its own.
pub(crate) struct Device {
    _folder: Option<TempDir>,
    home: PathBuf,
    daemon: Option<Daemon>,
}

struct Daemon {
    process: Child,
    /// What it has printed so far.
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Device {
    /// A new device, whose daemon does not run yet.
    pub(crate) fn new(name: &str) -> Self {
        Self::at("home", name)
    }

    /// A new device with its home at this place in its folder.
    pub(crate) fn at(place: &str, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let device = Self { home: folder.path().join(place), _folder: Some(folder), daemon: None };
        device.ok(&["init", "--name", name]);
        device
    }

    /// A new device with its home in this folder.
    pub(crate) fn on(home: &Path, name: &str) -> Self {
        let device = Self { home: home.to_owned(), _folder: None, daemon: None };
        device.ok(&["init", "--name", name]);
        device
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn run(&self, args: &[impl AsRef<OsStr>]) -> Output {
        hedgerow(&self.home, args).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that must succeed, and gives what it prints.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[impl AsRef<OsStr>]) -> String {
        let shown: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy().into_owned()).collect();
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{shown:?} ended with {}: {errors}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must succeed with `--json`, and gives its lines.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        let printed = self.ok(&[args, &["--json"]].concat());
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs a command that must end with this exit code and one line on standard error, which it gives.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, args: &[impl AsRef<OsStr>]) -> String {
        failure(&self.run(args), code)
    }

    /// Runs a command with this input.
    pub(crate) fn with_input(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = hedgerow(&self.home, args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        // It may have seen enough before the end.
        let _ = process.stdin.take().unwrap().write_all(input);
        process.wait_with_output().unwrap()
    }

    pub(crate) fn peer_id(&self) -> String {
        text(&self.json(&["id"])[0]["peer_id"])
    }

    /// The ticket, with addresses if the daemon runs.
    pub(crate) fn ticket(&self) -> String {
        text(&self.json(&["id"])[0]["ticket"])
    }

    /// The texts of a chat in delivery order.
    #[track_caller]
    pub(crate) fn texts(&self, chat: &str) -> Vec<String> {
        let lines = self.json(&["read", chat]);
        lines.iter().filter(|line| line["kind"] == "text").map(|line| text(&line["text"])).collect()
    }

    /// Verifies the store.
    #[track_caller]
    pub(crate) fn check(&self) {
        let report = &self.json(&["check"])[0];
        assert_eq!((&report["clean"], &report["problem_count"]), (&Value::Bool(true), &Value::from(0)));
    }

    /// Starts the daemon, and waits until it is ready. It takes the same port again each time if it can.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The same with more options.
    #[track_caller]
    pub(crate) fn start_with(&mut self, options: &[&str]) {
        assert!(self.daemon.is_none(), "it runs already");
        let mut command = hedgerow(&self.home, &["run", "--json", "--listen", "tcp://127.0.0.1:0"]);
        command.args(options);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (output, seen) = (BufReader::new(process.stdout.take().unwrap()), lines.clone());
        std::thread::spawn(move || {
            // The last line of a process that was killed may be half a line.
            for line in output.lines().map_while(Result::ok) {
                seen.lock().unwrap().extend(serde_json::from_str::<Value>(&line));
            }
        });
        self.daemon = Some(Daemon { process, lines });
        eventually("the daemon is ready", || {
            let status = self.daemon.as_mut().unwrap().process.try_wait().unwrap();
            assert!(status.is_none(), "the daemon ended: {status:?}");
            self.saw("ready")
        });
    }

    /// Whether the daemon that runs has printed an event.
    pub(crate) fn saw(&self, event: &str) -> bool {
        self.events().iter().any(|line| line["event"] == event)
    }

    /// What the daemon that runs has printed.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.daemon.as_ref().map(|daemon| daemon.lines.lock().unwrap().clone()).unwrap_or_default()
    }

    /// The port of the daemon.
    pub(crate) fn port(&self) -> u16 {
        let events = self.events();
        let listening = events.iter().find(|line| line["event"] == "listening").unwrap();
        text(&listening["address"]).rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// Kills the daemon: it gets no chance to say or write anything more.
    pub(crate) fn kill(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.process.kill().unwrap();
        daemon.process.wait().unwrap();
    }

    /// Asks the daemon to end, and waits until it has.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let mut daemon = self.daemon.take().unwrap();
        signal("TERM", daemon.process.id());
        daemon.process.wait().unwrap()
    }

    pub(crate) fn daemon_runs(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|daemon| daemon.process.try_wait().unwrap().is_none())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            self.kill();
        }
    }
}

/// Sends a signal to a process that this test has started.
pub(crate) fn signal(name: &str, process: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status().unwrap();
    assert!(status.success());
}

/// Makes two devices contacts of each other.
#[track_caller]
pub(crate) fn befriend(one: &Device, other: &Device) {
    one.ok(&["peer", "add", &other.ticket()]);
    other.ok(&["peer", "add", &one.ticket()]);
}

/// The one line on standard error of a command that ended with this exit code.
#[track_caller]
pub(crate) fn failure(output: &Output, code: i32) -> String {
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    errors.trim_end().to_owned()
}

#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
