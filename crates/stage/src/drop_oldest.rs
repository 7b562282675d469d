//! A bounded channel that drops its oldest item when it is full.

use crossbeam_channel::{Receiver, Sender, TrySendError};

/// The sending side of a bounded channel. It never waits.
#[derive(Debug)]
pub struct DropOldestSender<T> {
    items: Sender<T>,
    // A receiver on the sending side, so that the oldest item can be dropped from here. With it, the channel is never
    // disconnected.
    oldest: Receiver<T>,
}

impl<T> DropOldestSender<T> {
    /// Creates the sending side of the channel of `items` and `receiver`.
    pub fn new(items: Sender<T>, receiver: &Receiver<T>) -> Self {
        Self { items, oldest: receiver.clone() }
    }

    /// Enqueues `item`. If the channel is full, the oldest items are passed to `dropped` until there is space.
    pub fn send(&self, mut item: T, mut dropped: impl FnMut(T)) {
        while let Err(TrySendError::Full(refused)) = self.items.try_send(item) {
            // The receiver may have taken it in the meantime.
            if let Ok(oldest) = self.oldest.try_recv() {
                dropped(oldest);
            }
            item = refused;
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn drops_the_oldest_items_when_the_channel_is_full() {
        let (items, receiver) = bounded(2);
        let sender = DropOldestSender::new(items, &receiver);
        let mut dropped = Vec::new();
        (0..5).for_each(|item| sender.send(item, |oldest| dropped.push(oldest)));
        assert_eq!(dropped, [0, 1, 2]);
        drop(sender);
        assert!(receiver.iter().eq([3, 4]));
    }
}
