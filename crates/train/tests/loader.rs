//! The whole of training in one test: a recipe, images in folders, and a network trained on them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use image::RgbImage;
use lookout_config::{ExifOrientation, parse_recipe};
use lookout_model::{PreparedNetwork, read_image, weights};
use lookout_train::{
    Batches, DataLoader, EvaluationResult, Evaluator, LoadSample, LoaderSettings, Trainer, Truth,
    data::DataSource, write_curves,
};

const RECIPE: &str = r#"
name = "colors"
output = "run"

[model]
arch = "resnet18"
classes = ["blue", "red"]
input = "32x32"
device = "cpu"

[data]
train = "folder:images"
val = "folder:images"

[train]
epochs = 2
batch = 4

[optimizer]
kind = "adamw"
lr = 0.001
"#;

/// Writes twelve images of each of two colors.
fn write_images(folder: &Path) {
    for (class, color) in [("blue", [20, 30, 200]), ("red", [200, 40, 20])] {
        let folder = folder.join("images").join(class);
        fs::create_dir_all(&folder).unwrap();
        for number in 0..12_u8 {
            let shade =
                |x: u32, y: u32| image::Rgb(color.map(|c: u8| c.wrapping_add(number + (x * y % 9) as u8)));
            RgbImage::from_fn(32, 32, shade).save(folder.join(format!("{number}.png"))).unwrap();
        }
    }
}

fn loader(folder: &Path, threads: usize) -> DataLoader {
    let source: DataSource = format!("folder:{}", folder.join("images").display()).parse().unwrap();
    let set = source.open(None, ExifOrientation::Apply).unwrap();
    assert_eq!(set.classes().names(), ["blue", "red"]);
    let prepare: LoadSample = Arc::new(|set, index, _| set.read(index));
    DataLoader::new(
        Arc::new(set),
        prepare,
        LoaderSettings { batch_size: 4, seed: 3, balanced: false, threads },
    )
}

fn classes(truth: &Truth) -> Vec<i64> {
    match truth {
        Truth::Classes(classes) => Vec::try_from(classes).unwrap(),
        Truth::Objects(_) => panic!("expected classes"),
    }
}

#[test]
fn epoch_is_independent_of_threads_and_resumable() {
    let folder = tempfile::tempdir().unwrap();
    write_images(folder.path());
    let all = |threads, first| {
        let mut loader = loader(folder.path(), threads);
        assert_eq!(loader.per_epoch(), 6);
        let batches: Vec<_> = loader.epoch(1, first).map(Result::unwrap).collect();
        batches
    };
    let one = all(1, 0);
    assert_eq!(one.len(), 6);
    for (threads, first) in [(3, 0), (2, 4), (8, 5)] {
        let other = all(threads, first);
        assert_eq!(other.len(), 6 - first as usize);
        for (a, b) in one[first as usize..].iter().zip(&other) {
            assert_eq!(a.x, b.x);
            assert_eq!(classes(&a.truth), classes(&b.truth));
        }
    }
    // Dropping the iterator early must not wait for a reader.
    let mut loader = loader(folder.path(), 2);
    assert!(loader.epoch(0, 0).next().unwrap().is_ok());
}

/// An evaluator that computes the fraction of correctly classified images.
struct Accuracy(Vec<(RgbImage, i64)>);

impl Evaluator for Accuracy {
    fn evaluate(
        &mut self,
        network: &PreparedNetwork,
    ) -> Result<EvaluationResult, Box<dyn std::error::Error + Send + Sync>> {
        let PreparedNetwork::Classifier(network) = network else {
            return Err("expected a classifier".into());
        };
        let right = self.0.iter().filter(|(image, class)| {
            let size = lookout_schema::Size { width: image.width(), height: image.height() };
            let pixels = lookout_stage::Pixels::new(size, image.as_raw().clone()).unwrap();
            let x = lookout_model::stack_images(&[&pixels]).unwrap();
            network.forward(&x).argmax(-1, false).int64_value(&[0]) == *class
        });
        let score = right.count() as f64 / self.0.len() as f64;
        Ok(EvaluationResult { score, metrics: BTreeMap::from([("top1".into(), score)]) })
    }
}

#[test]
fn recipe_trains_a_network() {
    let folder = tempfile::tempdir().unwrap();
    write_images(folder.path());
    let recipe = parse_recipe(&folder.path().join("colors.toml"), RECIPE, &|_| None).unwrap();
    let trainer = Trainer::from_recipe(&recipe, &[12, 12]).unwrap();
    trainer.write_labels(&recipe.model.classes).unwrap();
    let images = |class: &str| {
        let path = folder.path().join("images").join(class).join("3.png");
        read_image(&path, ExifOrientation::Apply).unwrap()
    };
    let mut evaluator = Accuracy(vec![(images("blue"), 0), (images("red"), 1)]);
    let outcome = trainer.fit(&mut loader(folder.path(), 2), &mut evaluator, &mut |_| {}).unwrap();
    assert_eq!((outcome.steps, outcome.epochs), (12, 2));
    write_curves(&recipe.output).unwrap();
    assert_eq!(fs::read_to_string(recipe.output.join("labels.txt")).unwrap(), "blue\nred\n");
    for name in ["best.safetensors", "last.safetensors"] {
        let state = weights::read(&recipe.output.join(name)).unwrap();
        let loaded = lookout_model::Network::from_state("resnet18", state).unwrap();
        assert_eq!(loaded.tensors()["fc.bias"].size(), [2]);
    }
    assert!(recipe.output.join("curves.png").is_file() && recipe.output.join("metrics.jsonl").is_file());
}
