//! `lookout bench --cameras`: measures a worker's stages from the cameras' queues to the results, with frames in
//! memory.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use crossbeam_channel::bounded;
use hdrhistogram::Histogram;
use lookout_infer::{BatchPolicy, DeviceEvent, InferSettings, Inlets, ReloadError, ReloadModel, start};
use lookout_measure::Measurement;
use lookout_model::Loaded;
use lookout_schema::{CameraId, Clock, SessionId, Timestamp};
use lookout_stage::{
    CameraIntake, CameraLedger, Detect, Frame, FrameHeader, Pixels, WhenFull, camera_queue, stop_signal,
};

use crate::timed::{self, Timed};

/// Number of threads that fill the cameras' queues.
const FEEDERS: usize = 4;
/// Capacity of a camera's queue, in frames.
const QUEUE: usize = 8;
/// Time before the measurement starts.
const WARM_UP: Duration = Duration::from_millis(500);

/// The results of the device threads during the measurement.
#[derive(Default)]
struct Seen {
    running: AtomicBool,
    frames: AtomicU64,
    /// Histograms in microseconds: of each frame from its queue to its result, of each batch's forward pass, and of
    /// each batch's postprocessing.
    times: Mutex<Option<[Histogram<u64>; 3]>>,
}

/// Measures the frames per second of `cameras` cameras whose images are in memory, in batches of up to `batch` on
/// replicas of `networks`. The latencies are measured per frame, from the time when it is ready to its result.
pub(crate) fn measure(
    networks: &[Loaded],
    cameras: usize,
    batch: usize,
    seconds: Duration,
) -> anyhow::Result<Measurement> {
    let first = networks.first().context("the device has no streams")?;
    let (_abandon, stop) = stop_signal();
    let wake = bounded(1);
    let (inlet, inlets) = bounded(cameras);
    let mut sources = Vec::with_capacity(cameras);
    for number in 0..cameras {
        let size = NonZeroUsize::new(QUEUE).context("the capacity of a queue is 0")?;
        let (intake, queue) = camera_queue(size, WhenFull::Block, wake.0.clone());
        inlet.send(queue).context("the cameras' channel is closed")?;
        let camera: CameraId = format!("camera-{number}").parse()?;
        sources.push(Source::new(first, camera, intake, timed::image(first, number as u32)?));
    }
    drop(inlet);
    let seen = Arc::new(Seen::default());
    let new = || Histogram::<u64>::new(3);
    *seen.times.lock().unwrap_or_else(PoisonError::into_inner) = Some([new()?, new()?, new()?]);
    let policy = BatchPolicy {
        max_size: NonZeroUsize::new(batch).context("the batch size is 0")?,
        max_wait: Duration::from_millis(5),
        max_age: Duration::from_secs(10),
    };
    let settings = InferSettings { policy, prefetch: first.target.is_gpu(), first_pass: None };
    let mut detectors: Vec<Box<dyn Detect>> = Vec::new();
    for network in networks {
        let mut replica = network.replica();
        // Warm-up runs on this thread and without other batch sizes in between, because intermediate sizes are padded
        // to a prepared size.
        replica.warm_up(1)?;
        replica.warm_up(batch)?;
        detectors.push(replica.detector);
    }
    let reload: ReloadModel =
        Arc::new(|| Err(ReloadError::Failed("a benchmark stops at the first failure".into())));
    let sink = Arc::clone(&seen);
    let threads = start(
        settings,
        detectors,
        &reload,
        Inlets { cameras: inlets, wake, abandon: stop.clone() },
        move |event| sink.take(event),
    )?;
    let share = cameras.div_ceil(FEEDERS);
    let over = AtomicBool::new(false);
    let elapsed = thread::scope(|scope| {
        while !sources.is_empty() {
            let mut mine: Vec<Source> = sources.drain(..share.min(sources.len())).collect();
            let (over, stop) = (&over, &stop);
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    mine.iter_mut().for_each(|source| source.push(stop));
                }
            });
        }
        thread::sleep(WARM_UP);
        let started = Instant::now();
        seen.running.store(true, Relaxed);
        thread::sleep(seconds);
        seen.running.store(false, Relaxed);
        let elapsed = started.elapsed();
        over.store(true, Relaxed);
        elapsed
    });
    while !threads.is_finished() {
        thread::sleep(Duration::from_millis(1));
    }
    let times =
        seen.times.lock().unwrap_or_else(PoisonError::into_inner).take().context("nothing was measured")?;
    let [latencies, forwards, posts] = times;
    let images_per_s = seen.frames.load(Relaxed) as f64 / elapsed.as_secs_f64();
    let timed = Timed { images_per_s, latencies, forwards, posts };
    Ok(timed.of(first, batch, networks.len(), Some(cameras)))
}

impl Seen {
    fn take(&self, event: DeviceEvent) {
        let DeviceEvent::Inferred(batch) = event else { return };
        if self.running.load(Relaxed) {
            self.frames.fetch_add(batch.results.len() as u64, Relaxed);
            let now = Instant::now();
            let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some([whole, forward, post]) = &mut *times {
                let us = |duration: Duration| duration.as_micros() as u64;
                for result in &batch.results {
                    let _ = whole.record(us(now.saturating_duration_since(result.header.ready_at)));
                }
                if let Some(result) = batch.results.first() {
                    let _ = forward.record(us(result.infer));
                    let _ = post.record(us(result.post));
                }
            }
        }
        for result in batch.results {
            let mut ticket = result.ticket;
            ticket.published(1);
            ticket.sent();
            ticket.delivered();
        }
    }
}

/// A camera whose image is in memory.
struct Source {
    ledger: Arc<CameraLedger>,
    intake: CameraIntake,
    pixels: Pixels,
    header: FrameHeader,
}

impl Source {
    fn new(network: &Loaded, camera: CameraId, intake: CameraIntake, pixels: Pixels) -> Self {
        let now = Instant::now();
        let header = FrameHeader {
            camera: camera.clone(),
            session: SessionId::generate(),
            seq: 0,
            pts_ns: None,
            captured_at: Timestamp::now(),
            clock: Clock::File,
            source: network.input,
            placement: network.fit.place(network.input, network.input),
            keep: Arc::default(),
            live: false,
            arrived_at: now,
            decoded_at: now,
            ready_at: now,
        };
        Self { ledger: CameraLedger::new(camera), intake, pixels, header }
    }

    fn push(&mut self, stop: &lookout_stage::Stop) {
        let now = Instant::now();
        self.header.seq += 1;
        let header = FrameHeader { arrived_at: now, decoded_at: now, ready_at: now, ..self.header.clone() };
        let ticket = self.ledger.receive(header.session, header.seq);
        self.intake.push(Frame { header, ticket, pixels: self.pixels.clone(), snapshot: None }, stop);
    }
}
