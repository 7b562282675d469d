//! `[classify]`: the secondary classifier.

use std::path::Path;

use crate::{
    ModelSettings,
    archs::{Task, arch_names_of, is_arch_of},
    model::{input_size, weights},
    reader::{Section, not_one_of},
};

/// Settings of the secondary classifier, which runs on crops of the detections.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifySettings {
    /// The classifier. It uses the device and the precision of the detector.
    pub network: ModelSettings,
    /// Labels of the detector whose detections are classified. If empty, all are classified.
    pub classes: Vec<String>,
    /// Margin around the box on each side, as a fraction of the box's width and height.
    pub margin: f32,
    /// Minimum width and height of a box, in pixels of the detector's input. Smaller boxes are not
    /// classified.
    pub min_side: f32,
}

impl ClassifySettings {
    pub(crate) fn read(
        section: Section<'_, '_>,
        base: &Path,
        detector: Option<&ModelSettings>,
    ) -> Option<Self> {
        let arch = section.text("arch");
        if let Some(arch) = arch.as_deref().filter(|arch| !is_arch_of(arch, Task::Classification)) {
            section.note("arch", not_one_of(arch, arch_names_of(Task::Classification)));
        }
        if detector.is_some_and(ModelSettings::is_classifier) {
            let what = "[classify] classifies the detections of a detector, and [model] is a classifier, which \
                        finds no boxes; use a detector in [model], or remove [classify]";
            section.note("", what);
        }
        let weights = section.text("weights").map(|text| weights(&section, text, base));
        let input = section
            .text("input")
            .and_then(|text| input_size(&text).map_err(|what| section.note("input", what)).ok());
        let labels = section.text("labels").map(|path| base.join(path));
        let score_threshold = section.number("score_threshold", 0.0..=1.0).map(|n| n as f32);
        let top_k = section.integer("top_k", 1..=1000).unwrap_or(1) as usize;
        let classes = section.texts("classes").unwrap_or_default();
        let margin = section.number("margin", 0.0..=4.0).unwrap_or(0.0) as f32;
        let min_side = section.integer("min_side", 1..=4096).unwrap_or(16) as f32;
        section.need("arch", "`arch` is required in [classify]");
        section.need("weights", "`weights` is required in [classify]");
        section.finish();
        let named = ModelSettings::named(&arch?, &weights??);
        let network = ModelSettings {
            device: detector?.device,
            precision: detector?.precision,
            threads: detector?.threads,
            streams: detector?.streams,
            input,
            labels,
            score_threshold,
            top_k,
            ..named
        };
        Some(Self { network, classes, margin, min_side })
    }
}
