//! Forwards the cameras' reports from their threads to the supervisor's task.

use std::{io, thread};

use crossbeam_channel::Sender;
use lookout_stage::CameraReport;
use tokio::sync::mpsc;

/// Maximum number of reports that wait; when it is reached, a camera's thread waits.
const CAPACITY: usize = 256;

/// Returns a channel with a sender for threads and a receiver for a task.
pub(crate) fn channel() -> io::Result<(Sender<CameraReport>, mpsc::Receiver<CameraReport>)> {
    let (from_threads, reports) = crossbeam_channel::bounded(CAPACITY);
    let (to_task, task_end) = mpsc::channel(CAPACITY);
    let carry = move || {
        for report in reports {
            if to_task.blocking_send(report).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("reports".into()).spawn(carry)?;
    Ok((from_threads, task_end))
}
