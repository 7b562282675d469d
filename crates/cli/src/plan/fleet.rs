//! Number of machines: how many cameras each machine can process, and which resource limits that.

use lookout_schema::Size;
use serde::Serialize;

use super::{Assumption, batch::Batch};

/// Time of software decoding of H.264, without the part that depends on the frame size. A linear fit through
/// two measurements on one core of AMD's Zen 4: 570 frames/s at 768x576 and 180 frames/s at 1920x1080.
const DECODE_MS_A_FRAME: f64 = 0.72;
/// The part that is proportional to the number of pixels.
const DECODE_MS_A_MEGAPIXEL: f64 = 2.34;
pub(super) const DECODE_SOURCE: &str =
    "software decoding of H.264 on Zen 4, measured at 768x576 and 1920x1080 (570 and 180 frames/s per core)";
/// CPU time per processed frame for scaling, conversion, JSON and the Kafka client: the measured 2.8 ms per
/// frame at 768x576 minus the time of decoding.
const FRAME_MS: f64 = 1.05;

/// Returns the CPU time of decoding one frame, in milliseconds.
pub(super) fn decode_ms(size: Size) -> f64 {
    DECODE_MS_A_FRAME + DECODE_MS_A_MEGAPIXEL * f64::from(size.width) * f64::from(size.height) / 1e6
}

/// The load, and the resources of one machine.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) cameras: u32,
    pub(super) fps: f64,
    pub(super) stream_fps: f64,
    pub(super) decode_ms: f64,
    pub(super) utilization: f64,
    pub(super) spare: u32,
    pub(super) cores: f64,
    /// Cores of the machine that was measured.
    pub(super) measured_cores: f64,
    pub(super) gpus: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Limit {
    Gpu,
    /// The cores, which decode while the network runs on a GPU.
    Decoding,
    /// The cores, which decode and run the network.
    Cpu,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Fleet {
    /// Machines for the load.
    pub(super) machines: u32,
    /// Spare machines.
    pub(super) spare: u32,
    /// GPUs of all machines, including the spare ones.
    pub(super) gpus: u32,
    pub(super) cores_per_machine: f64,
    pub(super) cameras_per_machine: u32,
    pub(super) limited_by: Limit,
    /// Cores for decoding, over all cameras.
    pub(super) decode_cores: f64,
    /// Cores for scaling and records, and for the network if it runs on the CPU, over all cameras.
    pub(super) other_cores: f64,
}

impl Fleet {
    /// Calculates the number of machines.
    ///
    /// # Errors
    /// Fails if a machine cannot process a single camera.
    pub(super) fn plan(
        wanted: &Wanted,
        batch: &Batch,
        assumptions: &mut Vec<Assumption>,
    ) -> Result<Self, String> {
        let decode = wanted.stream_fps * wanted.decode_ms / 1e3;
        let mut other = wanted.fps * FRAME_MS / 1e3;
        if !batch.is_on_gpu() {
            other += wanted.fps * wanted.measured_cores / batch.images_per_s;
        }
        let by_cpu = wanted.cores * wanted.utilization / (decode + other);
        let (carried, limited_by) = if batch.is_on_gpu() {
            let by_gpu = f64::from(wanted.gpus) * batch.images_per_s * wanted.utilization / wanted.fps;
            if by_cpu < by_gpu { (by_cpu, Limit::Decoding) } else { (by_gpu, Limit::Gpu) }
        } else {
            (by_cpu, Limit::Cpu)
        };
        // Tolerates rounding errors just below a whole number.
        let cameras_per_machine = (carried + 1e-9).floor() as u32;
        if cameras_per_machine == 0 {
            let what = match limited_by {
                Limit::Gpu => "GPUs",
                Limit::Decoding | Limit::Cpu => "cores",
            };
            return Err(format!(
                "the {what} of a machine can process {carried:.2} cameras, less than one: raise --cores or --gpus, or \
                 lower --fps"
            ));
        }
        assumptions.push(Assumption::new(
            format!(
                "each processed frame takes another {FRAME_MS} ms of CPU time, for scaling, its record and Kafka"
            ),
            "docs/performance.md",
        ));
        assumptions.push(Assumption::new(
            format!(
                "machines are at most {:.0} % busy; spare machines: {}",
                wanted.utilization * 100.0,
                wanted.spare
            ),
            "--utilization, --spare",
        ));
        if !batch.is_on_gpu() && (wanted.cores - wanted.measured_cores).abs() > f64::EPSILON {
            assumptions.push(Assumption::new(
                "the network's throughput is proportional to the number of cores; memory bandwidth limits that, so \
                 measure the target machine",
                "not measured: linear scaling",
            ));
        }
        let machines = wanted.cameras.div_ceil(cameras_per_machine);
        let all = f64::from(wanted.cameras);
        Ok(Self {
            machines,
            spare: wanted.spare,
            gpus: if batch.is_on_gpu() {
                machines.saturating_add(wanted.spare).saturating_mul(wanted.gpus)
            } else {
                0
            },
            cores_per_machine: wanted.cores,
            cameras_per_machine,
            limited_by,
            decode_cores: decode * all,
            other_cores: other * all,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::batch::tests::measured;

    fn wanted() -> Wanted {
        Wanted {
            cameras: 400,
            fps: 10.0,
            stream_fps: 25.0,
            decode_ms: 4.0,
            utilization: 0.5,
            spare: 1,
            cores: 32.0,
            measured_cores: 16.0,
            gpus: 1,
        }
    }

    fn plan(wanted: &Wanted, device: &str, images_per_s: f64) -> Result<Fleet, String> {
        let batch = Batch::choose(&[measured(8, images_per_s, 10.0)], 100.0, &mut Vec::new()).unwrap();
        Fleet::plan(wanted, &Batch { device: device.into(), ..batch }, &mut Vec::new())
    }

    #[test]
    fn decode_time_matches_the_measurements() {
        let at = |width, height| decode_ms(Size { width, height });
        assert!((at(768, 576) - 1e3 / 570.0).abs() < 0.02, "{}", at(768, 576));
        assert!((at(1920, 1080) - 1e3 / 180.0).abs() < 0.04, "{}", at(1920, 1080));
    }

    #[test]
    fn slow_gpu_limits_and_fast_gpu_is_limited_by_decoding() {
        // 1,000 images/s at 50 % utilization are enough for 50 cameras with 10 frames/s.
        let slow = plan(&wanted(), "cuda:0", 1_000.0).unwrap();
        assert_eq!((slow.cameras_per_machine, slow.machines, slow.gpus), (50, 8, 9));
        assert_eq!(slow.limited_by, Limit::Gpu);
        // 16 cores at 0.1105 cores per camera.
        let fast = plan(&wanted(), "cuda:0", 100_000.0).unwrap();
        assert_eq!((fast.cameras_per_machine, fast.limited_by), (144, Limit::Decoding));
        assert!((fast.decode_cores - 40.0).abs() < 1e-9);
    }

    #[test]
    fn decoding_and_network_share_the_cores_of_a_cpu() {
        // 16 cores process 160 images/s: 0.1 core-seconds per image, so 1 core per camera in addition to
        // 0.1105.
        let fleet = plan(&wanted(), "cpu", 160.0).unwrap();
        assert_eq!((fleet.cameras_per_machine, fleet.limited_by, fleet.gpus), (14, Limit::Cpu, 0));
        assert_eq!(fleet.machines, 29);
    }

    #[test]
    fn fails_if_a_machine_cannot_process_one_camera() {
        let small = Wanted { cores: 1.0, ..wanted() };
        assert!(plan(&small, "cpu", 1.0).unwrap_err().contains("less than one"));
    }

    #[test]
    fn higher_load_never_needs_fewer_machines() {
        let base = plan(&wanted(), "cpu", 160.0).unwrap().machines;
        for more in [
            Wanted { cameras: 401, ..wanted() },
            Wanted { fps: 11.0, ..wanted() },
            Wanted { stream_fps: 30.0, ..wanted() },
            Wanted { decode_ms: 9.0, ..wanted() },
            Wanted { utilization: 0.4, ..wanted() },
        ] {
            assert!(plan(&more, "cpu", 160.0).unwrap().machines >= base, "{more:?}");
        }
    }
}
