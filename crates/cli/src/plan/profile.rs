//! Benchmark profiles, and scaling to networks that were not measured.

use std::{fs, path::Path};

use lookout_config::{Arch, Task};
use lookout_measure::{BatchLatencyMs, BenchProfile, Measurement};
use lookout_schema::Size;

use super::Assumption;

/// The networks of docs/performance.md, from which the others are scaled.
const CLASSIFIER: &str = "resnet50";
const DETECTOR: &str = "retinanet_resnet50_fpn";

/// Measurements, and their source.
#[derive(Debug)]
pub(super) struct Profile {
    bench: BenchProfile,
    /// Path of the profile; `None` for the reference machine.
    file: Option<String>,
}

impl Profile {
    /// Returns the measurements of the machine in docs/performance.md.
    pub(super) fn reference() -> Result<Self, String> {
        let bench =
            serde_json::from_str(include_str!("reference.json")).map_err(|error| error.to_string())?;
        Ok(Self { bench, file: None })
    }

    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let name = file.display().to_string();
        let text = fs::read_to_string(file).map_err(|error| format!("--profile: {name}: {error}"))?;
        Self::parse(name, &text)
    }

    fn parse(file: String, text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("--profile: {file}: {what}");
        let bench: BenchProfile = serde_json::from_str(text)
            .map_err(|error| wrong(&format!("not a file that `lookout bench --profile` wrote: {error}")))?;
        if bench.schema != BenchProfile::SCHEMA {
            return Err(wrong(&format!("its schema is {}, expected {}", bench.schema, BenchProfile::SCHEMA)));
        }
        let plausible = |m: &Measurement| {
            let numbers = [m.images_per_s, m.latency_ms.p50, m.latency_ms.p95];
            m.batch > 0 && numbers.iter().all(|number| number.is_finite() && *number > 0.0)
        };
        if bench.cores == 0 || !bench.results.iter().all(plausible) {
            return Err(wrong("a throughput, latency, batch size or number of cores in it is not above 0"));
        }
        Ok(Self { bench, file: Some(file) })
    }

    pub(super) fn cores(&self) -> usize {
        self.bench.cores
    }

    /// Returns the measurements of a network at one input size. There is at least one.
    pub(super) fn measurements(
        &self,
        arch: &str,
        precision: Option<&str>,
        input: Option<Size>,
        assumptions: &mut Vec<Assumption>,
    ) -> Result<Vec<Measurement>, String> {
        match &self.file {
            Some(file) => {
                assumptions.push(Assumption::new(
                    format!(
                        "`{arch}` has the throughput of the measured machine, which has {} cores",
                        self.cores()
                    ),
                    format!("{file}, measured {}", self.bench.measured_at),
                ));
                self.measured(arch, precision, input)
            }
            None => self.scaled(arch, precision, input, assumptions),
        }
    }

    fn measured(
        &self,
        arch: &str,
        precision: Option<&str>,
        input: Option<Size>,
    ) -> Result<Vec<Measurement>, String> {
        let of_arch: Vec<_> = self.bench.results.iter().filter(|m| m.arch == arch).collect();
        let input = input.or_else(|| of_arch.first().map(|m| m.input));
        let fits = |m: &&Measurement| {
            Some(m.input) == input && precision.is_none_or(|precision| m.precision == precision)
        };
        let found: Vec<Measurement> = of_arch.into_iter().filter(fits).cloned().collect();
        if found.is_empty() {
            return Err(format!(
                "--profile: it has no measurement of `{arch}` with this precision and input size; run `lookout bench \
                 --arch {arch} --profile ...` on such a machine"
            ));
        }
        Ok(found)
    }

    fn scaled(
        &self,
        arch: &str,
        precision: Option<&str>,
        input: Option<Size>,
        assumptions: &mut Vec<Assumption>,
    ) -> Result<Vec<Measurement>, String> {
        let unknown = || format!("--arch: there are no figures for `{arch}`; pass --profile");
        let Arch { task, gflops, .. } = *Arch::from_name(arch).ok_or_else(unknown)?;
        let base = match task {
            Task::Classification => CLASSIFIER,
            Task::Detection => DETECTOR,
        };
        let base_gflops = Arch::from_name(base).map_or(gflops, |base| base.gflops);
        let found = self.measured(base, precision, None).map_err(|_| {
            format!(
                "--precision: {} was not measured in docs/performance.md; pass --profile",
                precision.unwrap_or("")
            )
        })?;
        // docs/performance.md measures detectors at another size than their default.
        let usual = (task == Task::Detection).then_some(task.default_input());
        let scale = |m: Measurement| {
            let input = input.or(usual).unwrap_or(m.input);
            let times = gflops / base_gflops * pixels(input) / pixels(m.input);
            let ms = |ms: f64| ms * times;
            let latency = m.latency_ms;
            Measurement {
                arch: arch.into(),
                input,
                cameras: None,
                images_per_s: m.images_per_s / times,
                latency_ms: BatchLatencyMs {
                    p50: ms(latency.p50),
                    p95: ms(latency.p95),
                    p99: ms(latency.p99),
                },
                forward_ms: ms(m.forward_ms),
                post_ms: ms(m.post_ms),
                ..m
            }
        };
        assumptions.push(Assumption::new(
            format!(
                "the measured machine has {} cores with AMX and no GPU; {base} was measured in bf16, and the mean \
                 is used as the time of a batch",
                self.cores()
            ),
            "docs/performance.md; pass --profile for your own machine",
        ));
        assumptions.push(Assumption::new(
            format!("`{arch}` needs {:.2} times the operations of {base} per pixel", gflops / base_gflops),
            "GFLOPs in torchvision's table of models",
        ));
        Ok(found.into_iter().map(scale).collect())
    }
}

fn pixels(size: Size) -> f64 {
    f64::from(size.width) * f64::from(size.height)
}

#[cfg(test)]
mod tests {
    use lookout_config::arch_names;

    use super::*;

    #[test]
    fn reference_has_figures_for_every_network() {
        let reference = Profile::reference().unwrap();
        for arch in arch_names() {
            let found = reference.measurements(arch, None, None, &mut Vec::new()).unwrap();
            assert!(found[0].arch == arch && found[0].images_per_s > 0.0, "{found:?}");
        }
    }

    #[test]
    fn scales_the_reference_by_operations_and_pixels() {
        let reference = Profile::reference().unwrap();
        let rate =
            |arch, input| reference.measurements(arch, None, input, &mut Vec::new()).unwrap()[0].images_per_s;
        assert!((rate("resnet50", None) - 202.5).abs() < 1e-9);
        let double = Some(Size { width: 448, height: 224 });
        assert!((rate("resnet50", double) - 101.25).abs() < 1e-9);
        assert!((rate("resnet152", None) - 202.5 * 4.09 / 11.51).abs() < 1e-9);
        assert!((rate(DETECTOR, None) - 11.1 * 640.0 / 384.0).abs() < 1e-9);
    }

    #[test]
    fn profile_has_only_the_measured_network() {
        let text = include_str!("reference.json");
        let profile = Profile::parse("p.json".into(), text).unwrap();
        assert!(
            profile.measurements("resnet18", None, None, &mut Vec::new()).unwrap_err().contains("resnet18")
        );
        assert!(profile.measurements("resnet50", Some("fp32"), None, &mut Vec::new()).is_err());
        let bf16 = profile.measurements("resnet50", Some("bf16"), None, &mut Vec::new()).unwrap();
        assert_eq!(bf16.len(), 1);
    }

    #[test]
    fn refuses_invalid_profiles() {
        let text = include_str!("reference.json");
        for wrong in [
            "{}".to_owned(),
            text.replace("profile/1", "profile/2"),
            text.replace("202.5", "0"),
            text.replace("\"cores\": 2", "\"cores\": 0"),
        ] {
            let error = Profile::parse("p.json".into(), &wrong).unwrap_err();
            assert!(error.starts_with("--profile: p.json: "), "{error}");
        }
    }
}
