//! The training loop, with periodic evaluations and checkpoints.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use lookout_config::{FitSettings, OptimizerSettings, ScheduleSettings};
use lookout_model::{
    Network, PreparedNetwork, Target, caught,
    weights::{self, StateDict},
};
use tch::{Device, Kind, Tensor};

use super::{
    EvaluationTold, FitError, Identity, StepTold, Told,
    average::Average,
    checkpoint::{self, Place},
    initial,
    metrics::Journal,
    optimizer::Optimizer,
    schedule,
};
use crate::{ClassLoss, Criterion, Dice, Losses, Truth};

/// A batch of images with their ground truth.
#[derive(Debug)]
pub struct Batch {
    /// `[N, 3, H, W]`, normalized, in fp32 on the CPU.
    pub x: Tensor,
    pub truth: Truth,
}

/// A batch, or why it could not be read.
pub type BatchResult = Result<Batch, Box<dyn std::error::Error + Send + Sync>>;

/// A source of batches. The content of an epoch depends only on its number, so that a run can be resumed in the middle
/// of an epoch.
pub trait Batches {
    /// Returns the number of batches in an epoch, which is the same for all epochs.
    fn per_epoch(&self) -> u64;

    /// Returns the batches of an epoch, counted from 0, without the first `first`.
    fn epoch(&mut self, epoch: u64, first: u64) -> Box<dyn Iterator<Item = BatchResult> + '_>;
}

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgment {
    /// The score by which the best network is chosen; higher is better.
    pub score: f64,
    pub metrics: BTreeMap<String, f64>,
}

/// Evaluates networks.
pub trait Judge {
    /// Evaluates a network that is prepared as for inference.
    fn judge(
        &mut self,
        network: &PreparedNetwork,
    ) -> Result<Judgment, Box<dyn std::error::Error + Send + Sync>>;
}

/// The settings and initial weights of a training run.
#[derive(Debug)]
pub struct Run {
    /// The name of a built-in network.
    pub arch: String,
    /// Number of the network's outputs, which for a detector includes the background.
    pub classes: i64,
    pub target: Target,
    pub fit: FitSettings,
    pub optimizer: OptimizerSettings,
    pub schedule: ScheduleSettings,
    pub class_loss: ClassLoss,
    /// Initial weights of the whole network.
    pub weights: Option<StateDict>,
    /// For a detector, the weights of a classifier to initialize its backbone with.
    pub backbone: Option<StateDict>,
    /// The folder for all files of the run: `best.safetensors`, `last.safetensors`, `checkpoint.safetensors` and
    /// `metrics.jsonl`.
    pub folder: PathBuf,
    /// The name of the run.
    pub name: String,
    /// The identity of the run. Only a checkpoint with the same identity is resumed.
    pub recipe: Identity,
}

/// The result of a finished run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub steps: u64,
    pub epochs: u64,
    pub best: Option<f64>,
    /// Whether the run ended early because the score had stopped improving.
    pub early: bool,
}

impl Run {
    /// Trains the network, resuming from the checkpoint in the folder if there is one, and reports metrics to `tell`.
    ///
    /// # Errors
    /// See [`FitError`]. The last checkpoint remains.
    pub fn fit(
        self,
        batches: &mut dyn Batches,
        judge: &mut dyn Judge,
        tell: &mut dyn FnMut(&Told),
    ) -> Result<Outcome, FitError> {
        fs::create_dir_all(&self.folder)
            .map_err(|source| FitError::Write { path: self.folder.clone(), source })?;
        let per_epoch = batches.per_epoch();
        if per_epoch == 0 {
            return Err(FitError::NoBatch);
        }
        let mut fitting = Fitting::begin(self, per_epoch, tell)?;
        while fitting.place.epoch < fitting.run.fit.epochs && !fitting.is_over() {
            fitting.epoch(batches)?;
            fitting.end_epoch(judge)?;
        }
        fitting.end()
    }
}

/// The state of a run in progress.
struct Fitting<'t> {
    run: Run,
    network: Network,
    criterion: Criterion,
    optimizer: Optimizer,
    average: Option<Average>,
    place: Place,
    journal: Journal,
    tell: &'t mut dyn FnMut(&Told),
    clock: Clock,
    tally: Tally,
}

/// The times of a run, which may have been stopped and resumed.
struct Clock {
    begun: Instant,
    /// How long the run had trained before it was resumed.
    before: Duration,
    /// When the last checkpoint was written.
    saved: Instant,
    per_epoch: u64,
    /// The step at which this process started or resumed the run.
    first_step: u64,
}

/// Sums for the metrics of the steps since the last line.
#[derive(Default)]
struct Tally {
    parts: BTreeMap<&'static str, Tensor>,
    batches: u64,
    images: i64,
    since: Option<Instant>,
}

impl<'t> Fitting<'t> {
    fn begin(mut run: Run, per_epoch: u64, tell: &'t mut dyn FnMut(&Told)) -> Result<Self, FitError> {
        weights::sweep(&run.folder);
        let mut network = Network::new(&run.arch, run.classes)?;
        network.reset_parameters(run.fit.seed);
        if run.weights.is_none() && run.backbone.is_none() {
            initial::unfreeze_norms(&network);
        }
        if let Some(state) = run.backbone.take() {
            network
                .load_backbone(state)
                .map_err(|source| FitError::Begin { key: "backbone", source: Box::new(source) })?;
        }
        if let Some(state) = run.weights.take() {
            let taken = initial::take_whole(&mut network, state);
            taken.map_err(|source| FitError::Begin { key: "weights", source: Box::new(source) })?;
        }
        initial::freeze(&network, run.fit.freeze);
        let device = run.target.device();
        network.move_to(device);
        let criterion = Criterion::new(&run.arch, std::mem::take(&mut run.class_loss))?;
        let mut optimizer = Optimizer::new(&network, &run.optimizer, device);
        let mut average = run.fit.ema.map(|decay| Average::new(decay, &optimizer.wholes()));
        let place = checkpoint::resume(&run.folder, &run.recipe, &mut optimizer, average.as_mut())?;
        if let Some(place) = &place {
            tracing::info!(epoch = place.epoch, step = place.step, "resuming from the checkpoint");
        }
        let place = place.unwrap_or_else(|| Place { recipe: run.recipe.clone(), ..Place::default() });
        let metrics = run.folder.join("metrics.jsonl");
        let journal = Journal::open(&metrics, place.metrics_bytes)
            .map_err(|source| FitError::Write { path: metrics, source })?;
        let clock = Clock {
            begun: Instant::now(),
            before: Duration::from_millis(place.elapsed_ms),
            saved: Instant::now(),
            per_epoch,
            first_step: place.step,
        };
        let tally = Tally::default();
        Ok(Self { run, network, criterion, optimizer, average, place, journal, tell, clock, tally })
    }

    fn steps_per_epoch(&self) -> u64 {
        self.clock.per_epoch.div_ceil(self.run.fit.accumulate)
    }

    fn steps(&self) -> u64 {
        self.steps_per_epoch() * self.run.fit.epochs
    }

    fn is_over(&self) -> bool {
        self.run.fit.patience.is_some_and(|patience| self.place.since_best >= patience)
    }

    /// Processes the remaining batches of the epoch.
    fn epoch(&mut self, batches: &mut dyn Batches) -> Result<(), FitError> {
        let per_epoch = self.clock.per_epoch;
        let accumulate = self.run.fit.accumulate;
        for batch in batches.epoch(self.place.epoch, self.place.batch) {
            let batch = batch.map_err(FitError::Batch)?;
            // The last step of an epoch may consist of fewer batches.
            let first = self.place.batch / accumulate * accumulate;
            let of_step = accumulate.min(per_epoch - first);
            self.add(&batch, of_step)?;
            self.place.batch += 1;
            if self.place.batch - first == of_step {
                self.step()?;
                if self.clock.saved.elapsed() >= self.run.fit.checkpoint_every {
                    self.save()?;
                }
            }
        }
        Ok(())
    }

    /// Accumulates the gradient of a batch, as one of the `of_step` batches of a step.
    fn add(&mut self, batch: &Batch, of_step: u64) -> Result<(), FitError> {
        self.tally.since.get_or_insert_with(Instant::now);
        let target = self.run.target;
        let number = self.place.epoch * self.clock.per_epoch + self.place.batch;
        let (network, criterion, optimizer) = (&self.network, &self.criterion, &mut self.optimizer);
        let fit = &self.run.fit;
        let losses = caught(|| {
            let x = channels_last(&batch.x.to_device(target.device()).to_kind(target.precision().kind()));
            let truth = batch.truth.to_device(target.device());
            let losses = criterion.losses(network, &x, &truth, &mut Dice::new(fit.seed, number))?;
            optimizer.add(&(losses.total() / of_step as f64));
            Ok::<Losses, FitError>(losses)
        });
        let losses = losses.map_err(|reason| FitError::Torch { reason })??;
        self.tally.add(&losses, batch.x.size()[0]);
        Ok(())
    }

    fn step(&mut self) -> Result<(), FitError> {
        let factor =
            schedule::factor(&self.run.schedule, self.place.step, self.steps(), self.steps_per_epoch());
        let lr = self.run.optimizer.lr * factor;
        let norm = self.optimizer.step(lr, self.run.fit.clip_norm);
        if let Some(average) = &mut self.average {
            average.update(&self.optimizer.wholes());
        }
        self.place.step += 1;
        if self.place.step.is_multiple_of(self.run.fit.log_every) || self.place.batch == self.clock.per_epoch
        {
            self.log(lr, &norm)?;
        }
        Ok(())
    }

    fn log(&mut self, lr: f64, norm: &Tensor) -> Result<(), FitError> {
        let tally = std::mem::take(&mut self.tally);
        let count = tally.batches.max(1) as f64;
        // Reading the sums waits for the device, so it is done only here.
        let parts: BTreeMap<String, f64> = tally
            .parts
            .iter()
            .map(|(name, sum)| ((*name).to_owned(), sum.double_value(&[]) / count))
            .collect();
        let loss: f64 = parts.values().sum();
        let gradient_norm = norm.double_value(&[]);
        if !loss.is_finite() || !gradient_norm.is_finite() {
            return Err(FitError::NoNumber { step: self.place.step });
        }
        let seconds = tally.since.map_or(0.0, |since| since.elapsed().as_secs_f64()).max(1e-9);
        let done = (self.place.step - self.clock.first_step).max(1) as f64;
        let left = self.steps().saturating_sub(self.place.step) as f64;
        let told = Told::Step(StepTold {
            epoch: self.place.epoch + 1,
            step: self.place.step,
            steps: self.steps(),
            lr,
            loss,
            parts,
            gradient_norm,
            images_per_s: tally.images as f64 / seconds,
            elapsed_s: self.elapsed().as_secs_f64(),
            eta_s: self.clock.begun.elapsed().as_secs_f64() / done * left,
        });
        self.told(&told)
    }

    fn end_epoch(&mut self, judge: &mut dyn Judge) -> Result<(), FitError> {
        self.place.epoch += 1;
        self.place.batch = 0;
        let fit = &self.run.fit;
        if self.place.epoch.is_multiple_of(fit.evaluate_every) || self.place.epoch == fit.epochs {
            self.evaluate(judge)?;
        }
        self.write_weights("last.safetensors")?;
        self.save()
    }

    fn evaluate(&mut self, judge: &mut dyn Judge) -> Result<(), FitError> {
        let state = self.state();
        state.check().map_err(|source| FitError::NotFinite { step: self.place.step, source })?;
        let network = Network::from_state(&self.run.arch, state)?.prepare(self.run.target);
        let Judgment { score, metrics } = judge.judge(&network).map_err(FitError::Judge)?;
        let best = self.place.best.is_none_or(|best| score > f64::from_bits(best));
        if best {
            self.place.best = Some(score.to_bits());
            self.place.since_best = 0;
            self.write_weights("best.safetensors")?;
        } else {
            self.place.since_best += 1;
        }
        let told = Told::Evaluation(EvaluationTold {
            epoch: self.place.epoch,
            step: self.place.step,
            score,
            best,
            metrics,
            elapsed_s: self.elapsed().as_secs_f64(),
        });
        self.told(&told)
    }

    /// Returns the weights to evaluate and to save: their moving average if there is one.
    fn state(&self) -> StateDict {
        let wholes = match &self.average {
            Some(average) => average.wholes(),
            None => self.optimizer.wholes(),
        };
        let here =
            |(name, tensor): (String, Tensor)| (name, tensor.detach().to_device(Device::Cpu).contiguous());
        let tensors = self.optimizer.named(&wholes).into_iter().map(here).collect();
        StateDict { tensors, digest: self.run.name.clone() }
    }

    fn write_weights(&self, name: &str) -> Result<(), FitError> {
        let state = self.state();
        state.check().map_err(|source| FitError::NotFinite { step: self.place.step, source })?;
        Ok(state.write_safetensors(&self.run.folder.join(name))?)
    }

    fn save(&mut self) -> Result<(), FitError> {
        self.place.elapsed_ms = self.elapsed().as_millis() as u64;
        self.place.metrics_bytes = self.journal.bytes();
        checkpoint::write(
            &self.run.folder,
            &self.place,
            &self.optimizer,
            self.average.as_ref(),
            &self.run.name,
        )?;
        self.clock.saved = Instant::now();
        Ok(())
    }

    fn told(&mut self, told: &Told) -> Result<(), FitError> {
        (self.tell)(told);
        let path: &Path = &self.run.folder;
        self.journal
            .write(told)
            .map_err(|source| FitError::Write { path: path.join("metrics.jsonl"), source })
    }

    fn elapsed(&self) -> Duration {
        self.clock.before + self.clock.begun.elapsed()
    }

    fn end(self) -> Result<Outcome, FitError> {
        Ok(Outcome {
            steps: self.place.step,
            epochs: self.place.epoch,
            best: self.place.best.map(f64::from_bits),
            early: self.place.epoch < self.run.fit.epochs,
        })
    }
}

impl Tally {
    fn add(&mut self, losses: &Losses, images: i64) {
        self.batches += 1;
        self.images += images;
        for (name, part) in losses.parts() {
            let part = part.detach().to_kind(Kind::Double);
            match self.parts.get_mut(name) {
                Some(sum) => *sum += part,
                None => drop(self.parts.insert(name, part)),
            }
        }
    }
}

/// Returns the same values with channels-last memory layout.
fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}
