//! A file that is not there until it is whole.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// What unfinished files end with.
const ENDING: &str = ".part";

/// How many names are tried for one file; one that another process removes in between costs a try.
const TRIES: usize = 100;

/// A file in the making beside its place; it goes with this guard unless it is kept.
///
/// It is locked while it is written. The system releases the lock when the process ends, however it ends, so that
/// [`sweep`] can tell the files of a killed process from those that are being written, also across containers.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    part: PathBuf,
    place: PathBuf,
}

impl Part {
    /// A new file beside `place`, whose folder is made where it is not there.
    pub(super) fn beside(place: &Path) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
            sweep(folder);
        }
        for _ in 0..TRIES {
            let mut name = OsString::from(".");
            name.push(place.file_name().ok_or(io::ErrorKind::InvalidInput)?);
            // Other processes and threads may make the same file at the same time.
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            name.push(format!(".{}-{count}{ENDING}", std::process::id()));
            let part = place.with_file_name(name);
            let file = match File::options().write(true).create_new(true).open(&part) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            let locked = match file.try_lock() {
                Ok(()) => true,
                // Another process inspects it.
                Err(TryLockError::WouldBlock) => false,
                // A file system without locks, on which nobody sweeps either.
                Err(TryLockError::Error(_)) => true,
            };
            // Another process may have removed it before it was locked.
            if locked && part.exists() {
                return Ok(Self { file, part, place: place.to_owned() });
            }
        }
        Err(io::Error::other("no unfinished file could be made beside it"))
    }

    pub(super) fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)
    }

    /// Puts the file in its place at once, over one that may be there.
    pub(super) fn keep(&self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.part, &self.place)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Not there any more once it is kept; and where it cannot be removed, nothing is lost by it.
        _ = fs::remove_file(&self.part);
    }
}

/// Removes the unfinished files in `folder` that processes left which were killed. Those that are being written stay,
/// and so do files that cannot be locked.
pub fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_part(&entry.file_name().to_string_lossy())) {
        let path = entry.path();
        let unlocked = || File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if entry.file_type().is_ok_and(|kind| kind.is_file()) && unlocked() {
            match fs::remove_file(&path) {
                Ok(()) => {
                    tracing::info!(file = %path.display(), "removed what a killed process left unfinished");
                }
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "cannot remove an unfinished file");
                }
            }
        }
    }
}

/// Whether a name is `.NAME.PID-COUNT.part`.
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
    fn what_a_killed_process_left_is_removed_and_what_is_being_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // This process is alive, as one with the number of a killed one's may be.
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
