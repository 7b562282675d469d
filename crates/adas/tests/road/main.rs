//! Collision warnings on a simulated road: objects in path raise a warning in time, and other objects do not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the test prints measurements")]

mod records;
mod world;

use lookout_config::ForwardSettings;
use lookout_schema::AlertLevel;

use world::{Other, Scene, calibrated, drawn};

const SEEDS: u64 = 200;

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The kinds of objects, each with a typical closing speed in m/s.
const KINDS: [(&str, f64); 6] =
    [("car", 6.0), ("car", 12.0), ("car", 20.0), ("truck", 12.0), ("person", 8.0), ("bicycle", 8.0)];

#[test]
fn time_to_collision_is_within_ten_percent() {
    let mut of_second: [Vec<f64>; 4] = Default::default();
    let (mut within, mut all) = (0, 0);
    let mut distances = Vec::new();
    let mut speeds = Vec::new();
    for (label, closing) in KINDS {
        for seed in 0..SEEDS / 4 {
            let scene = Scene::new(seed, vec![Other::coming(label, 8.0, closing, [0.2, 0.0])]);
            for moment in scene.watched(calibrated()) {
                let truth = 8.0 - moment.at_s;
                let Some(seen) = moment.seen.first().filter(|_| (2.0..6.0).contains(&truth)) else {
                    continue;
                };
                let Some(found) = seen.closing else { continue };
                let error = (found.ttc_s.unwrap_or(f64::INFINITY) - truth).abs() / truth;
                of_second[truth as usize - 2].push(error);
                let high = found.latest_s(1.96).unwrap_or(f64::INFINITY);
                within += usize::from(found.soonest_s(1.96).is_some_and(|low| low <= truth) && truth <= high);
                all += 1;
                if let (Some(meters), Some(m_s)) = (seen.distance_m, seen.closing_speed_m_s) {
                    distances.push((meters - closing * truth).abs() / (closing * truth));
                    speeds.push((m_s - closing).abs() / closing);
                }
            }
        }
    }
    for (i, errors) in of_second.iter().enumerate() {
        println!(
            "ttc {} to {} s: median error {:.1} % of {} estimates",
            i + 2,
            i + 3,
            100.0 * median(errors.clone()),
            errors.len()
        );
    }
    let covered = f64::from(within as u32) / f64::from(all);
    println!("within the reported 95 % interval: {:.1} %", 100.0 * covered);
    let (distance, speed) = (median(distances), median(speeds));
    println!(
        "calibrated: median error of distance {:.1} %, of closing speed {:.1} %",
        100.0 * distance,
        100.0 * speed
    );
    let together = median(of_second.concat());
    println!("ttc 2 to 6 s: median error {:.1} %", 100.0 * together);
    assert!(together < 0.1 && of_second[..2].iter().all(|errors| median(errors.clone()) < 0.1));
    assert!(covered > 0.85, "{covered}");
    assert!(distance < 0.05 && speed < 0.1, "{distance} {speed}");
}

/// Runs scenes that require a warning, and prints the number of warnings and the time left. Returns the
/// share.
fn warned(name: &str, settings: fn() -> ForwardSettings, other: impl Fn(u64) -> Other) -> f64 {
    let mut left = Vec::new();
    for seed in 0..SEEDS {
        let other = other(seed);
        let ttc = -other.at[1] / other.velocity[1];
        let raised = Scene::new(seed, vec![other]).raised(settings());
        left.extend(raised.iter().map(|(at, _)| ttc - at).find(|left| *left > 0.0));
    }
    let share = left.len() as f64 / SEEDS as f64;
    left.sort_by(f64::total_cmp);
    let first = left.first().copied().unwrap_or(f64::NAN);
    println!(
        "{name}: warned {:.0} %, {:.2} s before the collision (median), {first:.2} s (minimum)",
        100.0 * share,
        median(left.clone())
    );
    share
}

fn between(seed: u64, from: f64, to: f64) -> f64 {
    from + (to - from) * (seed % 10) as f64 / 9.0
}

#[test]
fn warns_of_objects_in_path() {
    for (how, settings) in [("drawn", drawn as fn() -> ForwardSettings), ("calibrated", calibrated)] {
        for (label, closing) in KINDS {
            let share = warned(&format!("{how}, {label} ahead at {closing} m/s"), settings, |seed| {
                Other::coming(label, 7.0, closing, [between(seed, -0.6, 0.6), 0.0])
            });
            assert!(share > 0.97);
        }
        let share = warned(&format!("{how}, person who walks into the path"), settings, |seed| {
            Other::coming("person", 6.0, 10.0, [between(seed, -0.5, 0.5), 1.4])
        });
        assert!(share > 0.9);
        let share = warned(&format!("{how}, bicycle that enters the path"), settings, |seed| {
            Other::coming("bicycle", 6.0, 10.0, [between(seed, -0.4, 0.4), -3.0])
        });
        assert!(share > 0.9);
    }
}

/// Runs scenes that require no warning, and returns the number of scenes with one.
fn false_warnings(name: &str, settings: fn() -> ForwardSettings, others: impl Fn(u64) -> Vec<Other>) -> u64 {
    let warned = |seed: &u64| {
        let raised = Scene::new(*seed, others(*seed)).raised(settings());
        for (at, alert) in &raised {
            println!("  seed {seed} at {at:.1} s: {}", alert.message);
        }
        !raised.is_empty()
    };
    let warned = (0..SEEDS).filter(warned).count() as u64;
    println!("{name}: {warned} of {SEEDS} scenes with a false warning");
    warned
}

#[test]
fn does_not_warn_of_receding_or_passing_objects() {
    let mut all = 0;
    for (how, settings) in [("drawn", drawn as fn() -> ForwardSettings), ("calibrated", calibrated)] {
        let mut run = |name: &str, others: &dyn Fn(u64) -> Vec<Other>| {
            all += false_warnings(&format!("{how}, {name}"), settings, others);
        };
        run("car ahead that keeps its distance", &|seed| {
            vec![Other {
                velocity: [0.0, 0.0],
                ..Other::coming("car", 1.0, between(seed, 8.0, 40.0), [0.0, 0.0])
            }]
        });
        run("car ahead that drives off", &|seed| {
            vec![Other {
                velocity: [0.0, between(seed, 0.5, 8.0)],
                ..Other::coming("car", 1.0, 10.0, [0.0, 0.0])
            }]
        });
        run("car that overtakes", &|seed| {
            let side = if seed % 2 == 0 { -3.5 } else { 3.5 };
            let speed = between(seed, 2.0, 10.0);
            vec![Other {
                at: [side, -5.0],
                velocity: [0.0, speed],
                ..Other::coming("car", 1.0, 1.0, [0.0, 0.0])
            }]
        });
        run("oncoming traffic in the next lane", &|seed| {
            let car =
                |i: u64| Other::coming("car", 3.0 + 2.5 * i as f64, between(seed, 14.0, 35.0), [-3.5, 0.0]);
            vec![car(0), car(1), Other::coming("truck", 7.0, between(seed, 14.0, 35.0), [-3.7, 0.0])]
        });
        run("parked cars beside the road", &|seed| {
            let car =
                |i: u64| Other::coming("car", 2.0 + 1.5 * i as f64, between(seed, 6.0, 16.0), [2.9, 0.0]);
            (0..4).map(car).collect()
        });
        run("people on the pavement", &|seed| {
            let person = |i: u64| {
                Other::coming(
                    "person",
                    2.0 + 1.5 * i as f64,
                    between(seed, 6.0, 16.0),
                    [3.0 + 0.3 * i as f64, 0.0],
                )
            };
            (0..4).map(person).collect()
        });
        run("person who has crossed before", &|seed| {
            vec![Other::coming("person", 6.0, between(seed, 6.0, 14.0), [4.0, 1.5])]
        });
        run("person who waits at the kerb", &|seed| {
            vec![Other::coming("person", 6.0, between(seed, 6.0, 14.0), [-2.5, 0.0])]
        });
        run("slower car in the next lane", &|seed| {
            vec![Other::coming("car", 6.0, between(seed, 3.0, 10.0), [3.5, 0.0])]
        });
    }
    assert_eq!(all, 0);
}

/// The cost of violated assumptions, which docs/adas.md also states.
#[test]
fn measures_the_cost_of_violated_assumptions() {
    // Both drive at the same speed, 30 m apart, and the car ahead brakes with 0.3 g from the start.
    let mut left = Vec::new();
    for seed in 0..SEEDS {
        let mut ahead = Other::coming("car", 1.0, 30.0, [0.0, 0.0]);
        (ahead.velocity, ahead.braking) = ([0.0, 0.0], 2.94);
        let raised = Scene::new(seed, vec![ahead]).raised(drawn());
        // The time to collision by its definition: at the closing speed of that moment.
        left.extend(raised.first().map(|(at, _)| (30.0 - 1.47 * at.powi(2)) / (2.94 * at)));
    }
    println!(
        "car ahead that brakes: warned {} of {SEEDS}, at {:.2} s to collision",
        left.len(),
        median(left)
    );
    for radius in [500.0, 250.0, 125.0] {
        let (mut warned, speed) = (0, 12.0);
        for seed in 0..SEEDS {
            let parked = |i: u64| {
                // On the outside of a left bend, where the vehicle's straight corridor leads.
                let (from_middle, angle) = (radius + 2.9, (20.0 + 12.0 * i as f64) / radius);
                let at = [from_middle * angle.cos() - radius, from_middle * angle.sin()];
                let car = Other::coming("car", 1.0, speed, [0.0, 0.0]);
                Other { at, turning: -speed / radius, ..car }
            };
            warned += usize::from(!Scene::new(seed, (0..6).map(parked).collect()).raised(drawn()).is_empty());
        }
        println!("parked cars in a bend of {radius} m: {warned} of {SEEDS} scenes with a false warning");
    }
}

#[test]
fn alerts_do_not_flap() {
    let mut most = 0;
    for seed in 0..SEEDS {
        // Its time to collision stays near the threshold for seconds, as with a braking car.
        let mut scene = Scene::new(seed, vec![Other::coming("car", 12.0, 5.0, [0.0, 0.0])]);
        scene.seconds = 11.8;
        let raised = scene.raised(drawn());
        most = most.max(raised.len());
    }
    println!("most alerts of one approach: {most}");
    assert!(most <= 1, "{most}");
}

#[test]
fn alert_escalates_to_critical_and_is_cleared() {
    let scene = Scene::new(5, vec![Other::coming("car", 5.0, 12.0, [0.0, 0.0])]);
    let alerts: Vec<_> =
        scene.watched(calibrated()).into_iter().flat_map(|moment| moment.assessment.alerts).collect();
    let states: Vec<_> =
        alerts.iter().map(|alert| (alert.version, alert.state.as_str(), alert.level)).collect();
    assert_eq!(
        states,
        [
            (1, "raised", AlertLevel::Warning),
            (2, "changed", AlertLevel::Critical),
            (3, "cleared", AlertLevel::Critical)
        ],
        "{alerts:#?}"
    );
    assert!(alerts.iter().all(|alert| alert.id == alerts[0].id && alert.check().is_ok()));
}
