//! Named pipes, which block their reader until they have a writer.

use std::{
    fs::{File, OpenOptions, metadata},
    io,
    os::unix::fs::FileTypeExt,
    path::Path,
};

use crossbeam_channel::bounded;
use lookout_stage::Stop;

/// Returns whether `path` is a named pipe.
pub fn is_pipe(path: &Path) -> bool {
    metadata(path).is_ok_and(|meta| meta.file_type().is_fifo())
}

/// Opens the pipe at `path` once it has a writer. Returns None if the camera is stopped first.
///
/// # Errors
/// The pipe cannot be opened.
pub(crate) fn open(path: &Path, stop: &Stop) -> io::Result<Option<File>> {
    let (done, opened) = bounded(1);
    let reader = path.to_owned();
    let open = move || {
        let _ = done.send(File::open(reader));
    };
    let thread = std::thread::Builder::new().name("ingest-open".into()).spawn(open)?;
    let result = crossbeam_channel::select! {
        recv(opened) -> result => result.map_err(io::Error::other)?.map(Some),
        recv(stop.channel()) -> _ => {
            // Opens the pipe as a writer, which unblocks the thread. Opening it for reading and writing never
            // blocks.
            let _ = OpenOptions::new().read(true).write(true).open(path);
            Ok(None)
        }
    };
    let _ = thread.join();
    result
}
