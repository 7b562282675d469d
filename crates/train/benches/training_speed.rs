//! Training speed of a network in images per second, as one line of JSON; `scripts/peers/train.py` measures torchvision
//! on the same images.
//!
//!     cargo bench -p lookout-train --bench training_speed -- resnet50 8 224 12 fp32
#![expect(clippy::print_stdout, reason = "the measurement is the output")]

use std::{collections::BTreeMap, env, error::Error, time::Duration};

use lookout_config::{Device, FitSettings, OptimizerSettings, ScheduleSettings};
use lookout_model::{PreparedNetwork, Target, random_values};
use lookout_train::{
    Batch, BatchResult, Batches, ClassLoss, EvaluationResult, Evaluator, Identity, ObjectTensors, Trainer,
    TrainingEvent, Truth,
};
use tch::{Kind, Tensor};

/// Batches that all have the same content.
struct SameBatch {
    size: [i64; 4],
    steps: u64,
    classifier: bool,
}

impl Batches for SameBatch {
    fn per_epoch(&self) -> u64 {
        self.steps
    }

    fn epoch(&mut self, _: u64, first: u64) -> Box<dyn Iterator<Item = BatchResult> + '_> {
        let x = random_values("x", 0, &self.size, -2.0..2.0);
        let [images, _, height, width] = self.size;
        Box::new((first..self.steps).map(move |_| {
            let truth = if self.classifier {
                Truth::Classes(Tensor::arange(images, (Kind::Int64, tch::Device::Cpu)))
            } else {
                let part = |a: f32, b: f32| {
                    [a * width as f32, a * height as f32, b * width as f32, b * height as f32]
                };
                let boxes = [part(0.1, 0.4), part(0.3, 0.8), part(0.5, 0.6)];
                let objects = || ObjectTensors {
                    boxes: Tensor::from_slice(boxes.as_flattened()).view([-1, 4]),
                    labels: Tensor::from_slice(&[1_i64, 2, 3]),
                    ignored: Tensor::zeros([0, 4], (Kind::Float, tch::Device::Cpu)),
                };
                Truth::Objects((0..images).map(|_| objects()).collect())
            };
            Ok(Batch { x: x.shallow_clone(), truth })
        }))
    }
}

/// An evaluator that does not run the network.
struct NoEvaluation;

impl Evaluator for NoEvaluation {
    fn evaluate(&mut self, _: &PreparedNetwork) -> Result<EvaluationResult, Box<dyn Error + Send + Sync>> {
        Ok(EvaluationResult { score: 0.0, metrics: BTreeMap::new() })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // cargo bench adds --bench.
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [arch, batch, side, steps, precision] = args.as_slice() else {
        return Err("usage: training_speed ARCH BATCH SIDE STEPS PRECISION".into());
    };
    let (batch, side): (i64, i64) = (batch.parse()?, side.parse()?);
    let target = Target::choose(Device::Auto, precision.parse()?)?;
    let classifier = !arch.contains("fpn");
    let folder = env::temp_dir().join(format!("lookout-training-speed-{}", std::process::id()));
    let trainer = Trainer {
        arch: arch.clone(),
        classes: if classifier { 1000 } else { 91 },
        target,
        fit: FitSettings {
            epochs: 1,
            log_every: 1,
            checkpoint_every: Duration::MAX,
            ..FitSettings::default()
        },
        optimizer: OptimizerSettings { lr: 1e-4, ..OptimizerSettings::default() },
        schedule: ScheduleSettings::default(),
        class_loss: ClassLoss::default(),
        weights: None,
        backbone: None,
        folder: folder.clone(),
        name: "speed".into(),
        recipe: Identity::default(),
    };
    let mut rates = Vec::new();
    let mut batches = SameBatch { size: [batch, 3, side, side], steps: steps.parse()?, classifier };
    let done = trainer.fit(&mut batches, &mut NoEvaluation, &mut |event| {
        if let TrainingEvent::Step(step) = event {
            rates.push(step.images_per_s);
        }
    });
    let _ = std::fs::remove_dir_all(folder);
    done?;
    // The first steps find out how to compute.
    let mut rates = rates.split_off(2.min(rates.len()));
    rates.sort_by(f64::total_cmp);
    let median = rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN);
    println!(
        "{{\"arch\": \"{arch}\", \"engine\": \"lookout-{}\", \"device\": \"{target}\", \"batch\": {batch}, \
         \"side\": {side}, \"images_per_s\": {median:.3}}}",
        target.precision().as_str()
    );
    Ok(())
}
