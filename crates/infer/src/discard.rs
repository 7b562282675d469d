//! Drops the frames of a worker that never got a network.

use std::{io, thread, time::Duration};

use crossbeam_channel::{TryRecvError, never, select};
use lookout_schema::DropCause;
use lookout_stage::{CameraQueue, TryRecv};

use crate::{InferThreads, Inlets};

/// A safety limit. A notification always arrives sooner unless there is a bug.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Starts a thread that drops the frames of all cameras with [`DropCause::Shutdown`] until every camera has ended and
/// no camera can be added. It is called instead of [`crate::start`].
///
/// # Errors
/// Returns an error if the thread cannot be started.
pub fn discard(inlets: Inlets) -> io::Result<InferThreads> {
    let discard = move || {
        let (mut cameras, woken) = (inlets.cameras, inlets.wake.1);
        // The cameras hold senders of their own.
        drop(inlets.wake.0);
        let (mut queues, mut more) = (Vec::new(), true);
        while !inlets.abandon.is_stopped() {
            while more {
                match cameras.try_recv() {
                    Ok(queue) => queues.push(queue),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => (cameras, more) = (never(), false),
                }
            }
            queues.retain(is_open);
            if queues.is_empty() && !more {
                return;
            }
            select! {
                recv(woken) -> _ => {}
                recv(inlets.abandon.channel()) -> _ => {}
                recv(cameras) -> queue => queues.extend(queue),
                default(MAX_WAIT) => {}
            }
        }
        queues.extend(cameras.try_iter());
        for queue in &queues {
            let _ = is_open(queue);
        }
    };
    Ok(InferThreads::of(vec![thread::Builder::new().name("batch".into()).spawn(discard)?]))
}

/// Drops the frames in a camera's queue, and returns whether more may arrive.
fn is_open(queue: &CameraQueue) -> bool {
    loop {
        match queue.try_recv() {
            TryRecv::Frame(frame) => frame.ticket.dropped(DropCause::Shutdown),
            TryRecv::Empty => return true,
            TryRecv::Ended => return false,
        }
    }
}
