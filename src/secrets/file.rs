//! Files that keys are kept in: one key per line, `#` begins a comment, the first one writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;

use super::{Key, Keys, NoKey};

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read the key file `{}`: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("cannot make the key file `{}`: {cause}", path.display())]
    Unwritable { path: PathBuf, cause: io::Error },
    #[error("line {line} of the key file `{}` is no key: {problem}", path.display())]
    Line { path: PathBuf, line: usize, problem: NoKey },
    #[error("there is no key in the key file `{}`", .0.display())]
    Empty(PathBuf),
}

/// Reads the keys of a file.
///
/// # Errors
///
/// When it cannot be read, or holds something else.
pub fn read(path: &Path) -> Result<Keys, FileError> {
    let unreadable = |cause| FileError::Unreadable { path: path.into(), cause };
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(unreadable)?);
    let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            key_file = %path.display(),
            "others than its owner may read or change the key file; make it 0600"
        );
    }
    let mut keys = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            let problem = |problem| FileError::Line { path: path.into(), line: at + 1, problem };
            keys.push(line.parse::<Key>().map_err(problem)?);
        }
    }
    if keys.is_empty() {
        return Err(FileError::Empty(path.into()));
    }
    Ok(Keys::new(keys, &format!("the key file `{}` (`secrets.key_file`)", path.display())))
}

/// Makes a file with a new key. It is on disk, whole, before it has its name.
///
/// The caller sees to it that nobody makes the same one at the same time.
///
/// # Errors
///
/// When it cannot be written.
pub fn make(path: &Path) -> Result<Keys, FileError> {
    write(path).map_err(|cause| FileError::Unwritable { path: path.into(), cause })?;
    tracing::warn!(
        key_file = %path.display(),
        "made a new key file: a backup of the database is worthless without it, and must not be \
         kept in the same place"
    );
    read(path)
}

fn write(path: &Path) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    // A process that was killed may have left one.
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let text = Zeroizing::new(format!(
        "# The secrets in the database beside this file are encrypted under this key.\n\
         # Keep a copy of it, and not where the backups of the database are.\n{}\n",
        Key::generate().expose_secret()
    ));
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn read_text(text: &str) -> Result<Keys, FileError> {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path().join("keys");
        std::fs::write(&path, text).expect("it is written");
        read(&path)
    }

    #[test]
    fn a_new_file_holds_a_key_for_its_owner_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path().join("x.key");
        let keys = make(&path).expect("it is made");
        assert_eq!(keys.writes(), read(&path).expect("it is read").writes());
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).expect("it is read").count(), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_in_nobodys_way() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        std::fs::write(directory.path().join("x.key.new"), "half a k").expect("it is written");
        make(&directory.path().join("x.key")).expect("it is made");
    }

    #[test]
    fn comments_and_empty_lines_are_passed_over() {
        let keys = read_text(&format!("# the new one\n\n  {KEY}  # since May\n{KEY}\n"));
        assert_eq!(format!("{:?}", keys.expect("it is read")), r#"["630dcd29", "630dcd29"]"#);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_its_text() {
        let said = |text: &str| read_text(text).expect_err("it is refused").to_string();
        let error = said(&format!("{KEY}\nno-key-at-all\n"));
        assert!(error.starts_with("line 2 of the key file `"), "{error}");
        assert!(!error.contains("no-key-at-all") && !error.contains(KEY), "{error}");
        assert!(said("# nothing\n").starts_with("there is no key in the key file `"));
        let error = read(Path::new("/nowhere/key")).expect_err("it is not there").to_string();
        assert!(error.starts_with("cannot read the key file `/nowhere/key`: "), "{error}");
    }
}
