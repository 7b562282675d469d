//! A file that is not there until it is whole.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// A file in the making beside its place; it goes with this guard unless it is kept.
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
        }
        let mut name = OsString::from(".");
        name.push(place.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        // Other processes and threads may make the same file at the same time.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        name.push(format!(".{}-{count}.part", std::process::id()));
        let part = place.with_file_name(name);
        Ok(Self { file: File::create(&part)?, part, place: place.to_owned() })
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
