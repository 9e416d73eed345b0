//! What the process keeps to itself.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Setup, WeChat};

#[test]
fn files_are_the_users_alone_and_there_are_no_core_dumps() {
    let setup = Setup::new(WeChat::of_anybody().address);
    let server = setup.serve();
    server.session("person");
    let status = server.program.proc("status");
    assert!(status.contains("\nUmask:\t0077\n"), "{status}");
    let limits = server.program.proc("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).collect::<Vec<_>>(), ["0", "0", "bytes"]);
    for file in ["mina-auth.db", "mina-auth.db-wal", "mina-auth.db-shm"] {
        let mode = setup.path(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}
