//! The training loop on a small problem: interrupted and resumed, with a moving average, in bf16, and stopped early.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use lookout_config::{
    Device as DeviceSetting, FitSettings, OptimizerSettings, Precision, Rule, ScheduleSettings,
};
use lookout_model::{PreparedNetwork, Target, random_values, weights};
use lookout_train::{
    Batch, BatchResult, Batches, ClassLoss, EvaluationMetrics, EvaluationResult, Evaluator, FitError,
    Identity, Outcome, StepMetrics, Trainer, TrainingEvent, Truth,
};
use tch::Tensor;

const PER_EPOCH: u64 = 3;
const IMAGES: i64 = 8;

/// Noise images of two brightnesses, which are the classes. Fails before the batch `killed_at`.
struct Noise {
    killed_at: Option<u64>,
}

impl Batches for Noise {
    fn per_epoch(&self) -> u64 {
        PER_EPOCH
    }

    fn epoch(&mut self, epoch: u64, first: u64) -> Box<dyn Iterator<Item = BatchResult> + '_> {
        Box::new((first..PER_EPOCH).map(move |batch| {
            let number = epoch * PER_EPOCH + batch;
            if self.killed_at == Some(number) {
                return Err("killed".into());
            }
            let classes: Vec<i64> = (0..IMAGES).map(|i| (i + number as i64) % 2).collect();
            let classes = Tensor::from_slice(&classes);
            let noise = random_values(&format!("batch {number}"), 1, &[IMAGES, 3, 32, 32], -1.0..1.0);
            let x = noise + classes.view([-1, 1, 1, 1]) * 2.0 - 1.0;
            Ok(Batch { x, truth: Truth::Classes(classes) })
        }))
    }
}

/// An evaluator that returns these scores one after the other, and then repeats the last one.
struct Scores(Vec<f64>);

impl Evaluator for Scores {
    fn evaluate(
        &mut self,
        network: &PreparedNetwork,
    ) -> Result<EvaluationResult, Box<dyn std::error::Error + Send + Sync>> {
        assert!(matches!(network, PreparedNetwork::Classifier(classifier) if classifier.classes() == 2));
        let score = if self.0.len() > 1 { self.0.remove(0) } else { self.0[0] };
        Ok(EvaluationResult { score, metrics: BTreeMap::from([("top1".to_owned(), score)]) })
    }
}

fn trainer(folder: &Path, fit: FitSettings, rule: Rule) -> Trainer {
    tch::set_num_threads(1);
    Trainer {
        arch: "resnet18".into(),
        classes: 2,
        target: Target::REFERENCE,
        fit: FitSettings { log_every: 1, ..fit },
        optimizer: OptimizerSettings { rule, lr: 0.001, ..OptimizerSettings::default() },
        schedule: ScheduleSettings { warm_up_steps: 2, ..ScheduleSettings::default() },
        class_loss: ClassLoss::default(),
        weights: None,
        backbone: None,
        folder: folder.to_owned(),
        name: "noise".into(),
        recipe: recipe(0.001),
    }
}

/// Returns the identity of a recipe with this learning rate.
fn recipe(lr: f64) -> Identity {
    let mut recipe = Identity::default();
    recipe.set("model.arch", "resnet18");
    recipe.set("optimizer.lr", lr);
    recipe
}

const SGD: Rule = Rule::Sgd { momentum: 0.9, nesterov: false };
const ADAMW: Rule = Rule::AdamW { betas: [0.9, 0.999], eps: 1e-8 };

fn fitted(
    trainer: Trainer,
    killed_at: Option<u64>,
    scores: &[f64],
) -> (Result<Outcome, FitError>, Vec<TrainingEvent>) {
    let mut events = Vec::new();
    let mut scores = Scores(scores.to_vec());
    let outcome = trainer.fit(&mut Noise { killed_at }, &mut scores, &mut |event| events.push(event.clone()));
    (outcome, events)
}

fn lines(folder: &Path) -> Vec<TrainingEvent> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns steps with their metrics, without the times.
fn steps(events: &[TrainingEvent]) -> Vec<(u64, String)> {
    let step = |event: &TrainingEvent| match event {
        TrainingEvent::Step(StepMetrics { step, loss, gradient_norm, lr, .. }) => {
            // Rounded to the digits that a round trip through JSON preserves.
            (*step, format!("{loss:.12e} {gradient_norm:.12e} {lr:.12e}"))
        }
        TrainingEvent::Evaluation(EvaluationMetrics { step, score, best, .. }) => {
            (*step, format!("{score} {best}"))
        }
    };
    events.iter().map(step).collect()
}

#[test]
fn resumed_run_equals_uninterrupted_run() {
    let fit = FitSettings { epochs: 3, accumulate: 2, ema: Some(0.9), seed: 5, ..FitSettings::default() };
    for (rule, every) in [(SGD, Duration::ZERO), (ADAMW, Duration::MAX)] {
        let fit = FitSettings { checkpoint_every: every, ..fit };
        let [whole, broken] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let (outcome, _) = fitted(trainer(whole.path(), fit, rule), None, &[0.5]);
        assert_eq!(outcome.unwrap(), Outcome { steps: 6, epochs: 3, best: Some(0.5), stopped_early: false });
        for killed_at in [1, 2, 5, 7] {
            let (outcome, _) = fitted(trainer(broken.path(), fit, rule), Some(killed_at), &[0.5]);
            assert!(matches!(outcome, Err(FitError::Batch(_))), "{outcome:?}");
        }
        let (outcome, _) = fitted(trainer(broken.path(), fit, rule), None, &[0.5]);
        assert_eq!(outcome.unwrap().steps, 6);
        for name in ["last.safetensors", "best.safetensors"] {
            let [a, b] = [&whole, &broken].map(|folder| weights::read(&folder.path().join(name)).unwrap());
            assert_eq!(a.tensors.len(), b.tensors.len());
            assert!(a.tensors.iter().all(|(key, tensor)| *tensor == b.tensors[key]), "{name}");
        }
        assert_eq!(steps(&lines(whole.path())), steps(&lines(broken.path())));
    }
}

#[test]
fn training_converges_and_stops_early() {
    let folder = tempfile::tempdir().unwrap();
    let fit = FitSettings {
        epochs: 40,
        patience: Some(2),
        clip_norm: Some(5.0),
        checkpoint_every: Duration::MAX,
        ..FitSettings::default()
    };
    let (outcome, events) = fitted(trainer(folder.path(), fit, ADAMW), None, &[0.1, 0.2, 0.15, 0.2, 0.3]);
    assert_eq!(outcome.unwrap(), Outcome { steps: 12, epochs: 4, best: Some(0.2), stopped_early: true });
    let losses: Vec<f64> = events
        .iter()
        .filter_map(|event| match event {
            TrainingEvent::Step(step) => Some(step.loss),
            TrainingEvent::Evaluation(_) => None,
        })
        .collect();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[8..]) < 0.6 * mean(&losses[..4]), "{losses:?}");
    assert_eq!(steps(&events), steps(&lines(folder.path())));
}

#[test]
fn bf16_training_converges() {
    let Ok(target) = Target::choose(DeviceSetting::Cpu, Precision::Bf16) else { return };
    let losses = |target| {
        let folder = tempfile::tempdir().unwrap();
        let fit = FitSettings { epochs: 2, checkpoint_every: Duration::MAX, ..FitSettings::default() };
        let (outcome, events) =
            fitted(Trainer { target, ..trainer(folder.path(), fit, ADAMW) }, None, &[0.5]);
        outcome.unwrap();
        let loss = |event: TrainingEvent| match event {
            TrainingEvent::Step(metrics) => Some(metrics.loss),
            TrainingEvent::Evaluation(_) => None,
        };
        events.into_iter().filter_map(loss).collect::<Vec<f64>>()
    };
    let [fp32, bf16] = [Target::REFERENCE, target].map(losses);
    assert!((fp32[0] - bf16[0]).abs() < 0.02 && fp32[0] != bf16[0], "{fp32:?} {bf16:?}");
    assert!(bf16[5] < 0.1, "{bf16:?}");
}

#[test]
fn checkpoint_of_another_recipe_is_an_error_with_the_changed_keys() {
    let folder = tempfile::tempdir().unwrap();
    let fit = FitSettings { epochs: 1, checkpoint_every: Duration::MAX, ..FitSettings::default() };
    fitted(trainer(folder.path(), fit, SGD), None, &[0.5]).0.unwrap();
    let other = Trainer { recipe: recipe(0.01), ..trainer(folder.path(), fit, SGD) };
    let error = fitted(other, None, &[0.5]).0.unwrap_err();
    assert!(error.is_wrong_input());
    let text = error.to_string();
    assert!(
        text.contains("`optimizer.lr` was 0.001 and is 0.01 now") && text.contains("--restart"),
        "{text}"
    );
    assert!(text.contains("checkpoint.safetensors") && !text.contains("model.arch"), "{text}");
}

#[test]
fn epochs_can_be_added_to_a_run() {
    let folder = tempfile::tempdir().unwrap();
    for (epochs, steps) in [(1, 3), (3, 9), (3, 9)] {
        let fit = FitSettings { epochs, checkpoint_every: Duration::MAX, ..FitSettings::default() };
        let outcome = fitted(trainer(folder.path(), fit, SGD), None, &[0.5]).0.unwrap();
        assert_eq!((outcome.epochs, outcome.steps), (epochs, steps));
    }
}

/// The batches of [`Noise`] with one image each, for which the last stage of the network has one value per channel.
struct Single(Noise);

impl Batches for Single {
    fn per_epoch(&self) -> u64 {
        self.0.per_epoch()
    }

    fn epoch(&mut self, epoch: u64, first: u64) -> Box<dyn Iterator<Item = BatchResult> + '_> {
        Box::new(self.0.epoch(epoch, first).map(|batch| {
            let Batch { x, truth: Truth::Classes(classes) } = batch? else {
                return Err("expected classes".into());
            };
            Ok(Batch { x: x.narrow(0, 0, 1), truth: Truth::Classes(classes.narrow(0, 0, 1)) })
        }))
    }
}

#[test]
fn one_value_per_channel_is_an_error_without_weights() {
    let folder = tempfile::tempdir().unwrap();
    let fit = FitSettings { epochs: 1, ..FitSettings::default() };
    let mut batches = Single(Noise { killed_at: None });
    let error =
        trainer(folder.path(), fit, SGD).fit(&mut batches, &mut Scores(vec![0.5]), &mut |_| {}).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("expected more than 1 value per channel when training"), "{text}");
    assert!(!folder.path().join("best.safetensors").exists());
    // With frozen batch norms, a batch of one image is valid.
    let frozen = FitSettings { freeze: 5, ..fit };
    let trainer = trainer(folder.path(), frozen, SGD);
    trainer.fit(&mut batches, &mut Scores(vec![0.5]), &mut |_| {}).unwrap();
}

#[test]
fn weights_that_become_nan_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let fit = FitSettings { epochs: 1, checkpoint_every: Duration::ZERO, ..FitSettings::default() };
    fitted(trainer(folder.path(), fit, SGD), None, &[0.5]).0.unwrap();
    let names = ["best.safetensors", "last.safetensors"];
    let before = names.map(|name| fs::read(folder.path().join(name)).unwrap());
    // The loss is checked only every `log_every` steps.
    let fit = FitSettings { epochs: 2, log_every: 1000, ..fit };
    let diverging = Trainer {
        optimizer: OptimizerSettings { rule: SGD, lr: 1e30, ..OptimizerSettings::default() },
        fit,
        ..trainer(folder.path(), fit, SGD)
    };
    let error = fitted(diverging, None, &[0.9]).0.unwrap_err();
    assert!(matches!(error, FitError::NonFiniteWeights { .. } | FitError::NonFiniteLoss { .. }), "{error:?}");
    let after = names.map(|name| fs::read(folder.path().join(name)).unwrap());
    assert!(before == after, "earlier files are kept");
    // The weights may be very large by now, but they are finite: otherwise reading them would be an error.
    weights::read(&folder.path().join("checkpoint.safetensors")).unwrap();
}

#[test]
fn unfinished_files_of_a_killed_run_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join(".checkpoint.safetensors.4242-7.part");
    fs::write(&left, "half").unwrap();
    let fit = FitSettings { epochs: 1, checkpoint_every: Duration::MAX, ..FitSettings::default() };
    // Interrupted before anything is written.
    fitted(trainer(folder.path(), fit, SGD), Some(0), &[0.5]).0.unwrap_err();
    assert!(!left.exists());
}
