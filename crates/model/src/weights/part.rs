//! Atomic writes: a file appears at its destination only when it is complete.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// Suffix of unfinished files.
const ENDING: &str = ".part";

/// Maximum number of names that are tried for one file. A name is used up when another process removes the file
/// before it is locked.
const TRIES: usize = 100;

/// An unfinished file next to its destination. It is removed when this guard is dropped, unless [`Part::keep`]
/// was called.
///
/// It is locked while it is written. The operating system releases the lock when the process ends for any
/// reason, so that [`sweep`] can distinguish the files of a killed process from those that are being written,
/// also across containers.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    part: PathBuf,
    place: PathBuf,
}

impl Part {
    /// Creates an unfinished file next to its destination `place`, whose folder is created if necessary.
    pub(super) fn beside(place: &Path) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
            sweep(folder);
        }
        for _ in 0..TRIES {
            let mut name = OsString::from(".");
            name.push(place.file_name().ok_or(io::ErrorKind::InvalidInput)?);
            // Other processes and threads may write the same file at the same time.
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            name.push(format!(".{}-{count}{ENDING}", std::process::id()));
            let part = place.with_file_name(name);
            let file = match File::options().write(true).create_new(true).open(&part) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            let locked = match file.try_lock() {
                Ok(()) => true,
                // Another process holds the lock while it checks for abandoned files.
                Err(TryLockError::WouldBlock) => false,
                // The file system does not support locks, so no process can sweep files there either.
                Err(TryLockError::Error(_)) => true,
            };
            // Another process may have removed it before it was locked.
            if locked && part.exists() {
                return Ok(Self { file, part, place: place.to_owned() });
            }
        }
        Err(io::Error::other("cannot create a temporary file in its folder"))
    }

    pub(super) fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)
    }

    /// Moves the file to its destination atomically and replaces an existing file.
    pub(super) fn keep(&self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.part, &self.place)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // The file no longer exists after `keep`. If it cannot be removed, no data is lost.
        _ = fs::remove_file(&self.part);
    }
}

/// Removes unfinished files that killed processes left in `folder`. Files that are being written, and files
/// that cannot be locked, are kept.
pub fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_part(&entry.file_name().to_string_lossy())) {
        let path = entry.path();
        let unlocked = || File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if entry.file_type().is_ok_and(|kind| kind.is_file()) && unlocked() {
            match fs::remove_file(&path) {
                Ok(()) => {
                    tracing::info!(file = %path.display(), "removed an unfinished file of a killed process");
                }
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "cannot remove an unfinished file");
                }
            }
        }
    }
}

/// Returns whether a name has the form `.NAME.PID-COUNT.part`.
fn is_part(name: &str) -> bool {
    let numbers = |name: &str| {
        let (_, last) = name.strip_suffix(ENDING)?.rsplit_once('.')?;
        let (process, count) = last.split_once('-')?;
        Some(process.parse::<u32>().is_ok() && count.parse::<u32>().is_ok())
    };
    name.starts_with('.') && numbers(name) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unfinished_files_of_ended_processes_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // A live process can have the same PID as a killed one. The first file tests this with the PID of this
        // process.
        let left =
            [format!(".best.safetensors.{}-99.part", std::process::id()), ".a.pth.1-0.part".to_owned()];
        let others = ["notes.part", ".hidden.part", ".a.b-c.part", "best.safetensors"];
        for name in left.iter().map(String::as_str).chain(others) {
            fs::write(path(name), "half").unwrap();
        }
        let writing = Part::beside(&path("checkpoint.safetensors")).unwrap();
        assert!(left.iter().all(|name| !path(name).exists()), "removed when the next file is written");
        sweep(folder.path());
        writing.write_all(b"whole").unwrap();
        writing.keep().unwrap();
        drop(writing);
        assert_eq!(fs::read(path("checkpoint.safetensors")).unwrap(), b"whole");
        assert!(others.iter().all(|name| path(name).exists()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), others.len() + 1);
    }
}
