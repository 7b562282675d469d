//! Learning-rate schedules.

use lookout_config::{ScheduleSettings, Shape};

/// Returns the factor of the learning rate at `step`, counted from 0. `steps` is the total number of steps, `per_epoch`
/// the number of steps in an epoch.
pub(super) fn factor(settings: &ScheduleSettings, step: u64, steps: u64, per_epoch: u64) -> f64 {
    let warm_up = settings.warm_up_steps.min(steps);
    if step < warm_up {
        let part = (step + 1) as f64 / warm_up as f64;
        return settings.warm_up_from + (1.0 - settings.warm_up_from) * part;
    }
    match &settings.shape {
        Shape::Constant => 1.0,
        Shape::Cosine { to } => {
            let part = (step - warm_up) as f64 / (steps - warm_up).max(1) as f64;
            to + (1.0 - to) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos())
        }
        Shape::Steps { epochs, gamma } => {
            let epoch = step / per_epoch.max(1);
            let passed = epochs.iter().filter(|end| epoch >= **end).count();
            gamma.powi(i32::try_from(passed).unwrap_or(i32::MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learning_rate_warms_up_and_decays() {
        let cosine = ScheduleSettings { warm_up_steps: 10, ..ScheduleSettings::default() };
        let at = |step| factor(&cosine, step, 110, 50);
        assert!((at(0) - 0.1009).abs() < 1e-9, "{}", at(0));
        assert_eq!(at(9), 1.0);
        assert_eq!(at(10), 1.0);
        assert!((at(60) - 0.5).abs() < 1e-9);
        assert!(at(109) < 0.001);
    }

    #[test]
    fn learning_rate_drops_at_the_configured_epochs() {
        let shape = Shape::Steps { epochs: vec![2, 3], gamma: 0.1 };
        let settings = ScheduleSettings { shape, ..ScheduleSettings::default() };
        let at = |step| factor(&settings, step, 40, 10);
        assert_eq!((at(19), at(20)), (1.0, 0.1));
        assert!((at(30) - 0.01).abs() < 1e-12);
    }
}
