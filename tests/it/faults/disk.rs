//! A full disk.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::while_checking;
use crate::support::{Server, Session, Setup, WeChat};

/// Mounts the disk where only it and who joins it can see it, and keeps it until its standard
/// input ends, which it does with the test at the latest.
const KEEPER: &str = r#"mount -t tmpfs -o size=2m small "$1" && echo mounted && exec cat"#;

/// A disk of two megabytes.
struct SmallDisk {
    mounted_on: TempDir,
    keeper: Child,
}

impl SmallDisk {
    fn mount() -> Self {
        let mounted_on = tempfile::tempdir().unwrap();
        let mut keeper = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", KEEPER, "keeper"])
            .arg(mounted_on.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`unshare` of util-linux runs");
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "mounted\n", "this test must be root, or allowed to make user namespaces");
        Self { mounted_on, keeper }
    }

    /// The path on the disk, for programs that see it.
    fn path(&self, name: &str) -> PathBuf {
        self.mounted_on.path().join(name)
    }

    /// A command as one that sees the disk.
    fn seen_by(&self, command: &Command) -> Command {
        let mut seeing = Command::new("nsenter");
        seeing
            .args(["--preserve-credentials", "--user", "--mount", "--target"])
            .arg(self.keeper.id().to_string())
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => seeing.env(name, value),
                None => seeing.env_remove(name),
            };
        }
        seeing
    }

    /// Writes a file until there is no room; removes the file with [`SmallDisk::make_room`].
    fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        let refused = loop {
            if let Err(error) = filler.write_all(&[0; 512]) {
                break error;
            }
        };
        assert_eq!(refused.kind(), ErrorKind::StorageFull);
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    /// A file on the disk, as this process sees it.
    fn filler(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.keeper.id());
        PathBuf::from(root + self.path("filler").to_str().unwrap())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Logs people in until one cannot; the sessions of those before.
fn log_in_until_refused(server: &Server, name: &str) -> Vec<Session> {
    let answers = (0..10_000).map(|n| server.log_in(&format!("{name}{n}")));
    let sessions: Vec<_> =
        answers.take_while(|answer| answer.code != 1006).map(|answer| answer.session()).collect();
    assert!(sessions.len() < 10_000, "all of them had room");
    sessions
}

fn assert_all_check_out(server: &Server, sessions: &[Session]) {
    for session in sessions {
        assert_eq!(server.check(session).line(), "0 AUTH_SUCCESS");
    }
}

#[test]
fn a_full_disk_refuses_logins_and_nothing_else_until_there_is_room() {
    let disk = SmallDisk::mount();
    let wechat = WeChat::of_anybody();
    let url = format!("storage.url = \"sqlite:{}\"", disk.path("mina-auth.db").display());
    let setup = Setup::new(wechat.address).with(&url);
    let serve = || Server::start(&mut disk.seen_by(&setup.command(&["serve"])));
    let server = serve();
    let mut answered = vec![server.session("known")];
    for round in 0..3 {
        let known = answered.clone();
        while_checking(&server, &known, || {
            disk.fill();
            answered.extend(log_in_until_refused(&server, &format!("round{round}-")));
            for _ in 0..20 {
                assert_eq!(server.log_in("nobody").code, 1006);
            }
            assert_all_check_out(&server, &answered);
            disk.make_room();
        });
        answered.push(server.session(&format!("after{round}")));
        assert_all_check_out(&server, &answered);
    }
    server.stop();
    assert_all_check_out(&serve(), &answered);
}
