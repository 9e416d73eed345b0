//! Which file systems a database in WAL mode does not work on.
//!
//! WAL keeps an index in memory that all processes share, and locks that all see. File systems over
//! a network have no such memory, and often no such locks: commits get lost and databases corrupt.
//! SQLite: "Write-Ahead Logging", 'WAL does not work over a network filesystem'.

use std::path::Path;

use rustix::fs::{statfs, statvfs};

/// The magic numbers of statfs(2), and the names.
const NETWORK: [(u32, &str); 9] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x564c, "NCP"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00c3_6400, "Ceph"),
];

/// The name of the network file system that a file is on, or would be.
pub fn network_name(path: &Path) -> Option<&'static str> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let found = statfs(path).or_else(|_| statfs(directory.unwrap_or(Path::new("."))));
    // Some have their sign extended into the upper half.
    found.ok().and_then(|found| name(u32::try_from(found.f_type & 0xffff_ffff).ok()?))
}

/// The room on the file system of a database, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub free: u64,
    pub size: u64,
}

/// How much room the file system of a path has, for who is not root.
#[must_use]
pub fn room(path: &Path) -> Option<Room> {
    let found = statvfs(path).ok()?;
    Some(Room { free: found.f_bavail * found.f_frsize, size: found.f_blocks * found.f_frsize })
}

fn name(magic: u32) -> Option<&'static str> {
    NETWORK.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_have_names_and_others_have_none() {
        let named = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x00c3_6400].map(name);
        assert_eq!(named, [Some("NFS"), Some("CIFS"), Some("SMB"), Some("Ceph")]);
        // ext4, xfs, btrfs, tmpfs, overlayfs, zfs, FUSE, 9p
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0x2fc1_2fc1] {
            assert_eq!(name(local), None, "{local:x}");
        }
        assert_eq!(name(0x6573_5546), None);
        assert_eq!(name(0x0102_1997), None);
    }

    #[test]
    fn a_file_that_is_not_there_yet_is_on_the_file_system_of_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(network_name(&directory.path().join("new.db")), None);
        assert_eq!(network_name(Path::new("new.db")), None);
    }
}
