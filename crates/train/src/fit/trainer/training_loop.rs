//! The training loop: steps, and the evaluations and checkpoints between them.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use lookout_model::{
    Network, caught,
    weights::{self, StateDict},
};
use tch::{Device, Kind, Tensor};

use super::{Batch, Batches, EvaluationResult, Evaluator, Outcome, Trainer};
use crate::{
    Criterion, EvaluationMetrics, FitError, Losses, RandomSubsetSampler, StepMetrics, TrainingEvent,
    fit::{
        checkpoint::{self, TrainerState},
        ema::Ema,
        metrics::MetricsLog,
        optimizer::Optimizer,
        pretrained, schedule,
    },
};

/// A run in progress.
pub(super) struct TrainingLoop<'t> {
    trainer: Trainer,
    network: Network,
    criterion: Criterion,
    optimizer: Optimizer,
    ema: Option<Ema>,
    state: TrainerState,
    metrics_log: MetricsLog,
    on_event: &'t mut dyn FnMut(&TrainingEvent),
    clock: Clock,
    loss_meter: LossMeter,
}

/// The times of a run, which may have been stopped and resumed.
struct Clock {
    started: Instant,
    /// How long the run had trained before it was resumed.
    elapsed_before: Duration,
    /// The time at which the last checkpoint was written.
    last_checkpoint: Instant,
    per_epoch: u64,
    /// The step at which this process started or resumed the run.
    first_step: u64,
}

/// Sums for the metrics of the steps since the last line.
#[derive(Default)]
struct LossMeter {
    parts: BTreeMap<&'static str, Tensor>,
    batches: u64,
    images: i64,
    since: Option<Instant>,
}

impl<'t> TrainingLoop<'t> {
    /// Creates the network with its initial weights and the optimizer, and loads the checkpoint if there is one.
    pub(super) fn start(
        mut trainer: Trainer,
        per_epoch: u64,
        on_event: &'t mut dyn FnMut(&TrainingEvent),
    ) -> Result<Self, FitError> {
        weights::sweep(&trainer.folder);
        let mut network = Network::new(&trainer.arch, trainer.classes)?;
        network.reset_parameters(trainer.fit.seed);
        if trainer.weights.is_none() && trainer.backbone.is_none() {
            pretrained::unfreeze_norms(&network);
        }
        if let Some(state_dict) = trainer.backbone.take() {
            network
                .load_backbone(state_dict)
                .map_err(|source| FitError::InitialWeights { key: "backbone", source: Box::new(source) })?;
        }
        if let Some(state_dict) = trainer.weights.take() {
            let taken = pretrained::load_pretrained(&mut network, state_dict);
            taken.map_err(|source| FitError::InitialWeights { key: "weights", source: Box::new(source) })?;
        }
        pretrained::freeze(&network, trainer.fit.freeze);
        let device = trainer.target.device();
        network.move_to(device);
        let criterion = Criterion::new(&trainer.arch, std::mem::take(&mut trainer.class_loss))?;
        let mut optimizer = Optimizer::new(&network, &trainer.optimizer, device);
        let mut ema = trainer.fit.ema.map(|decay| Ema::new(decay, &optimizer.flat_tensors()));
        let state = checkpoint::resume(&trainer.folder, &trainer.recipe, &mut optimizer, ema.as_mut())?;
        if let Some(state) = &state {
            tracing::info!(epoch = state.epoch, step = state.step, "resuming from the checkpoint");
        }
        let state = state
            .unwrap_or_else(|| TrainerState { recipe: trainer.recipe.clone(), ..TrainerState::default() });
        let metrics = trainer.folder.join("metrics.jsonl");
        let metrics_log = MetricsLog::open(&metrics, state.metrics_bytes)
            .map_err(|source| FitError::Write { path: metrics, source })?;
        let clock = Clock {
            started: Instant::now(),
            elapsed_before: Duration::from_millis(state.elapsed_ms),
            last_checkpoint: Instant::now(),
            per_epoch,
            first_step: state.step,
        };
        let loss_meter = LossMeter::default();
        Ok(Self {
            trainer,
            network,
            criterion,
            optimizer,
            ema,
            state,
            metrics_log,
            on_event,
            clock,
            loss_meter,
        })
    }

    /// Runs all remaining epochs.
    pub(super) fn run(
        mut self,
        batches: &mut dyn Batches,
        evaluator: &mut dyn Evaluator,
    ) -> Result<Outcome, FitError> {
        while self.state.epoch < self.trainer.fit.epochs && !self.is_out_of_patience() {
            self.epoch(batches)?;
            self.end_epoch(evaluator)?;
        }
        Ok(self.outcome())
    }

    fn steps_per_epoch(&self) -> u64 {
        self.clock.per_epoch.div_ceil(self.trainer.fit.accumulate)
    }

    fn steps(&self) -> u64 {
        self.steps_per_epoch() * self.trainer.fit.epochs
    }

    fn is_out_of_patience(&self) -> bool {
        self.trainer.fit.patience.is_some_and(|patience| self.state.since_best >= patience)
    }

    /// Processes the remaining batches of the epoch.
    fn epoch(&mut self, batches: &mut dyn Batches) -> Result<(), FitError> {
        let per_epoch = self.clock.per_epoch;
        let accumulate = self.trainer.fit.accumulate;
        for batch in batches.epoch(self.state.epoch, self.state.batch) {
            let batch = batch.map_err(FitError::Batch)?;
            // The last step of an epoch may consist of fewer batches.
            let first = self.state.batch / accumulate * accumulate;
            let of_step = accumulate.min(per_epoch - first);
            self.accumulate_gradient(&batch, of_step)?;
            self.state.batch += 1;
            if self.state.batch - first == of_step {
                self.step()?;
                if self.clock.last_checkpoint.elapsed() >= self.trainer.fit.checkpoint_every {
                    self.save_checkpoint()?;
                }
            }
        }
        Ok(())
    }

    /// Accumulates the gradient of a batch, as one of the `of_step` batches of a step.
    fn accumulate_gradient(&mut self, batch: &Batch, of_step: u64) -> Result<(), FitError> {
        self.loss_meter.since.get_or_insert_with(Instant::now);
        let target = self.trainer.target;
        let number = self.state.epoch * self.clock.per_epoch + self.state.batch;
        let (network, criterion, optimizer) = (&self.network, &self.criterion, &mut self.optimizer);
        let fit = &self.trainer.fit;
        let losses = caught(|| {
            let x = channels_last(&batch.x.to_device(target.device()).to_kind(target.precision().kind()));
            let truth = batch.truth.to_device(target.device());
            let losses =
                criterion.losses(network, &x, &truth, &mut RandomSubsetSampler::new(fit.seed, number))?;
            optimizer.backward(&(losses.total() / of_step as f64));
            Ok::<Losses, FitError>(losses)
        });
        let losses = losses.map_err(|reason| FitError::Torch { reason })??;
        self.loss_meter.add(&losses, batch.x.size()[0]);
        Ok(())
    }

    fn step(&mut self) -> Result<(), FitError> {
        let factor =
            schedule::factor(&self.trainer.schedule, self.state.step, self.steps(), self.steps_per_epoch());
        let lr = self.trainer.optimizer.lr * factor;
        let norm = self.optimizer.step(lr, self.trainer.fit.clip_norm);
        if let Some(ema) = &mut self.ema {
            ema.update(&self.optimizer.flat_tensors());
        }
        self.state.step += 1;
        if self.state.step.is_multiple_of(self.trainer.fit.log_every)
            || self.state.batch == self.clock.per_epoch
        {
            self.log(lr, &norm)?;
        }
        Ok(())
    }

    fn log(&mut self, lr: f64, norm: &Tensor) -> Result<(), FitError> {
        let loss_meter = std::mem::take(&mut self.loss_meter);
        let count = loss_meter.batches.max(1) as f64;
        // Reading the sums waits for the device, so it is done only here.
        let parts: BTreeMap<String, f64> = loss_meter
            .parts
            .iter()
            .map(|(name, sum)| ((*name).to_owned(), sum.double_value(&[]) / count))
            .collect();
        let loss: f64 = parts.values().sum();
        let gradient_norm = norm.double_value(&[]);
        if !loss.is_finite() || !gradient_norm.is_finite() {
            return Err(FitError::NonFiniteLoss { step: self.state.step });
        }
        let seconds = loss_meter.since.map_or(0.0, |since| since.elapsed().as_secs_f64()).max(1e-9);
        let done = (self.state.step - self.clock.first_step).max(1) as f64;
        let left = self.steps().saturating_sub(self.state.step) as f64;
        let event = TrainingEvent::Step(StepMetrics {
            epoch: self.state.epoch + 1,
            step: self.state.step,
            steps: self.steps(),
            lr,
            loss,
            parts,
            gradient_norm,
            images_per_s: loss_meter.images as f64 / seconds,
            elapsed_s: self.elapsed().as_secs_f64(),
            eta_s: self.clock.started.elapsed().as_secs_f64() / done * left,
        });
        self.publish(&event)
    }

    fn end_epoch(&mut self, evaluator: &mut dyn Evaluator) -> Result<(), FitError> {
        self.state.epoch += 1;
        self.state.batch = 0;
        let fit = &self.trainer.fit;
        if self.state.epoch.is_multiple_of(fit.evaluate_every) || self.state.epoch == fit.epochs {
            self.evaluate(evaluator)?;
        }
        self.write_weights("last.safetensors")?;
        self.save_checkpoint()
    }

    fn evaluate(&mut self, evaluator: &mut dyn Evaluator) -> Result<(), FitError> {
        let state_dict = self.state_dict();
        state_dict.check().map_err(|source| FitError::NonFiniteWeights { step: self.state.step, source })?;
        let network = Network::from_state(&self.trainer.arch, state_dict)?.prepare(self.trainer.target);
        let EvaluationResult { score, metrics } =
            evaluator.evaluate(&network).map_err(FitError::Evaluation)?;
        let best = self.state.best.is_none_or(|best| score > f64::from_bits(best));
        if best {
            self.state.best = Some(score.to_bits());
            self.state.since_best = 0;
            self.write_weights("best.safetensors")?;
        } else {
            self.state.since_best += 1;
        }
        let event = TrainingEvent::Evaluation(EvaluationMetrics {
            epoch: self.state.epoch,
            step: self.state.step,
            score,
            best,
            metrics,
            elapsed_s: self.elapsed().as_secs_f64(),
        });
        self.publish(&event)
    }

    /// Returns the weights to evaluate and to save: their moving average if there is one.
    fn state_dict(&self) -> StateDict {
        let flat_tensors = match &self.ema {
            Some(ema) => ema.flat_tensors(),
            None => self.optimizer.flat_tensors(),
        };
        let here =
            |(name, tensor): (String, Tensor)| (name, tensor.detach().to_device(Device::Cpu).contiguous());
        let tensors = self.optimizer.named(&flat_tensors).into_iter().map(here).collect();
        StateDict { tensors, digest: self.trainer.name.clone() }
    }

    fn write_weights(&self, name: &str) -> Result<(), FitError> {
        let state_dict = self.state_dict();
        state_dict.check().map_err(|source| FitError::NonFiniteWeights { step: self.state.step, source })?;
        Ok(state_dict.write_safetensors(&self.trainer.folder.join(name))?)
    }

    fn save_checkpoint(&mut self) -> Result<(), FitError> {
        self.state.elapsed_ms = self.elapsed().as_millis() as u64;
        self.state.metrics_bytes = self.metrics_log.bytes();
        checkpoint::write(
            &self.trainer.folder,
            &self.state,
            &self.optimizer,
            self.ema.as_ref(),
            &self.trainer.name,
        )?;
        self.clock.last_checkpoint = Instant::now();
        Ok(())
    }

    /// Passes an event to the caller and writes it to the metrics file.
    fn publish(&mut self, event: &TrainingEvent) -> Result<(), FitError> {
        (self.on_event)(event);
        let path: &Path = &self.trainer.folder;
        self.metrics_log
            .write(event)
            .map_err(|source| FitError::Write { path: path.join("metrics.jsonl"), source })
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed_before + self.clock.started.elapsed()
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            steps: self.state.step,
            epochs: self.state.epoch,
            best: self.state.best.map(f64::from_bits),
            stopped_early: self.state.epoch < self.trainer.fit.epochs,
        }
    }
}

impl LossMeter {
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
