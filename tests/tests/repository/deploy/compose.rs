//! docker-compose.yml.

use std::{collections::BTreeMap, process::Command};

use lookout_config::Brokers;
use lookout_schema::Topics;
use serde_json::Value;

use super::{
    assert_is_valid_command, assert_pinned, cameras_of, checked,
    dockerfile::{last, origin, stages},
    file_of,
    files::{root, seconds, strings, text, words, yaml},
    pipeline_of,
};

const WORKERS: [&str; 2] = ["worker", "worker-gpu"];
const INNER: &str = "kafka:19092";

fn services() -> BTreeMap<String, Value> {
    serde_json::from_value(yaml("docker-compose.yml")["services"].clone()).unwrap()
}

/// Returns a service's environment with the default values of its variables.
fn environment(service: &Value) -> BTreeMap<String, String> {
    let set: BTreeMap<String, String> =
        serde_json::from_value(service["environment"].clone()).unwrap_or_default();
    let default = |value: String| match value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        Some(inner) => inner.split_once(":-").map(|(_, default)| default.to_owned()).unwrap_or_default(),
        None => value,
    };
    set.into_iter().map(|(name, value)| (name, default(value))).collect()
}

#[test]
fn services_are_pinned_and_limited_and_run_unprivileged() {
    let stages = stages();
    for (name, service) in services() {
        assert_pinned(service["image"].as_str().unwrap());
        match service["build"]["target"].as_str() {
            Some(target) => {
                let user = last(&stages, target, "USER").unwrap();
                assert!(service["user"].is_null() || service["user"] == user.as_str(), "{name}: {user}");
            }
            None => {
                let user = service["user"].as_str().unwrap_or_else(|| panic!("{name} runs as root"));
                assert!(!user.starts_with('0') && !user.starts_with("root"), "{name}");
            }
        }
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");
        assert!(
            strings(&service["security_opt"]).iter().any(|word| word == "no-new-privileges:true"),
            "{name}"
        );
        assert!(service["restart"].is_string(), "{name}");
        for limit in ["cpus", "mem_limit", "pids_limit"] {
            assert!(!service[limit].is_null(), "{name} has no {limit}");
        }
        for wrong in ["privileged", "network_mode", "pid", "ipc", "devices", "container_name", "env_file"] {
            assert!(service[wrong].is_null(), "{name} has {wrong}");
        }
    }
}

#[test]
fn services_mount_only_volumes_and_publish_ports_locally() {
    let compose = yaml("docker-compose.yml");
    for (name, service) in services() {
        for mount in strings(&service["volumes"]) {
            let volume = mount.split(':').next().unwrap();
            assert!(compose["volumes"].get(volume).is_some(), "{name} mounts {mount}");
        }
        for port in strings(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} is open to the network: {port}");
        }
    }
}

#[test]
fn dependencies_of_services_exist_and_can_become_ready() {
    let services = services();
    let stages = stages();
    for (name, service) in &services {
        let waited: BTreeMap<String, Value> =
            serde_json::from_value(service["depends_on"].clone()).unwrap_or_default();
        for (other, how) in waited {
            let other_service = services.get(&other).unwrap_or_else(|| panic!("{name} waits for {other}"));
            match how["condition"].as_str().unwrap() {
                "service_healthy" => {
                    let target = other_service["build"]["target"].as_str().unwrap_or_default();
                    let in_image = last(&stages, target, "HEALTHCHECK").is_some_and(|check| check != "NONE");
                    assert!(
                        in_image || other_service["healthcheck"].is_object(),
                        "{other} has no health check"
                    );
                }
                "service_completed_successfully" => {
                    let restart = other_service["restart"].as_str().unwrap();
                    assert!(["no", "on-failure"].contains(&restart), "{other} never completes");
                }
                other => panic!("{name}: {other}"),
            }
        }
    }
}

#[test]
fn commands_of_services_are_valid() {
    let mut seen = 0;
    for (name, service) in services() {
        let target = service["build"]["target"].as_str();
        if matches!(target, Some("worker" | "worker-cuda" | "lookout" | "monitor")) {
            let arguments = strings(&service["command"]);
            assert!(!arguments.is_empty(), "{name}");
            assert_is_valid_command(&arguments);
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen}");
}

#[test]
fn pipeline_files_of_workers_are_valid_and_match_their_services() {
    let services = services();
    let stages = stages();
    for name in WORKERS {
        let service = &services[name];
        let target = service["build"]["target"].as_str().unwrap();
        let arguments = strings(&service["command"]);
        let file = origin(&stages, target, pipeline_of(&arguments)).unwrap();
        let settings = checked(&file, &environment(service));
        let port = settings.worker.http.unwrap().port().to_string();
        assert_eq!(strings(&service["expose"]), std::slice::from_ref(&port), "{name}");
        assert_eq!(last(&stages, target, "EXPOSE").as_ref(), Some(&port), "{name}");
        let health = strings(&service["healthcheck"]["test"]).join(" ");
        assert!(health.ends_with(&format!("http://127.0.0.1:{port}/healthz")), "{health}");
        // The service has several replicas, so it must not publish a port.
        assert!(service["ports"].is_null(), "{name}");
        let grace = seconds(service["stop_grace_period"].as_str().unwrap());
        assert!(grace > settings.worker.drain.as_secs(), "{name} is killed while it drains");
        assert_eq!(settings.kafka.brokers, Brokers::servers(INNER).unwrap(), "{name}");
        assert_eq!(settings.fleet.unwrap().partitions, settings.kafka.partitions, "{name}");
    }
    let devices = &services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"];
    assert_eq!(devices[0]["capabilities"][0], "gpu");
}

#[test]
fn monitor_file_is_valid_and_requires_a_token() {
    let (services, stages) = (services(), stages());
    let service = &services["monitor"];
    let arguments = strings(&service["command"]);
    let file = root().join(origin(&stages, "monitor", file_of("monitor", &arguments)).unwrap());
    let mut environment = environment(service);
    let parsed = |environment: &BTreeMap<String, String>| {
        lookout_monitor::parse(&file, &std::fs::read_to_string(&file).unwrap(), &|name| {
            environment.get(name).cloned()
        })
    };
    let message = parsed(&environment).unwrap_err().to_string();
    assert!(message.contains("openssl rand"), "{message}");
    environment.insert("LOOKOUT_MONITOR_TOKEN".into(), "0123456789abcdef".into());
    let settings = parsed(&environment).unwrap_or_else(|error| panic!("{error}"));

    let port = settings.http.port();
    assert!(settings.http.ip().is_unspecified(), "{}", settings.http);
    assert_eq!(strings(&service["ports"]), [format!("127.0.0.1:{port}:{port}")]);
    assert_eq!(last(&stages, "monitor", "EXPOSE").unwrap(), port.to_string());
    let health = last(&stages, "monitor", "HEALTHCHECK").unwrap();
    assert!(health.contains(&format!("http://127.0.0.1:{port}/healthz")), "{health}");
    assert_eq!(settings.kafka.brokers, Brokers::servers(INNER).unwrap());
    let kept = strings(&service["volumes"]);
    let (_, kept) = kept[0].split_once(':').unwrap();
    assert!(settings.data.starts_with(kept), "{} is not on a volume", settings.data.display());
}

/// A service that is restarted whenever it exits would be restarted indefinitely with wrong input.
#[test]
fn files_of_services_are_checked_before_the_services_start() {
    let services = services();
    for (name, verb) in [("worker", "run"), ("worker-gpu", "run"), ("monitor", "monitor")] {
        let (service, check) = (&services[name], &services[&format!("check-{name}")]);
        let [arguments, run] = [check, service].map(|each| strings(&each["command"]));
        assert_eq!(file_of("check", &arguments), file_of(verb, &run), "{name}");
        for key in ["image", "environment", "profiles"] {
            assert_eq!(check[key], service[key], "{name}: {key}");
        }
        let dependency = &service["depends_on"][format!("check-{name}")];
        assert_eq!(dependency["condition"], "service_completed_successfully", "{name}");
        assert_eq!(check["restart"], "no", "{name}");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
    }
}

/// `down` removes neither anonymous volumes nor the data in them.
#[test]
fn volumes_of_the_kafka_image_are_mounted() {
    let declared = ["/etc/kafka/secrets", "/mnt/shared/config", "/var/lib/kafka/data"];
    let kafka_image = services()["kafka"]["image"].clone();
    for (name, service) in services().into_iter().filter(|(_, service)| service["image"] == kafka_image) {
        let volumes = strings(&service["volumes"]);
        let mut mounted: Vec<&str> =
            volumes.iter().filter_map(|mount| Some(mount.split_once(':')?.1)).collect();
        let tmpfs = strings(&service["tmpfs"]);
        mounted.extend(tmpfs.iter().map(String::as_str));
        for volume in declared {
            assert!(mounted.contains(&volume), "{name} has an anonymous volume at {volume}");
        }
    }
}

#[test]
fn registry_cameras_are_served() {
    let services = services();
    let arguments = strings(&services["registry"]["command"]);
    let file = origin(&stages(), "lookout", &arguments[2]).unwrap();
    let served = text("deploy/compose/mediamtx.yml");
    let health = last(&stages(), "cameras", "HEALTHCHECK").unwrap();
    let cameras = cameras_of(&file);
    for camera in &cameras {
        let id = camera.id.as_str();
        assert!(camera.uri.to_string().ends_with(&format!("://cameras:8554/{id}")), "{id}");
        assert!(served.contains(&format!("\n  {id}:\n")), "{id}");
        assert!(health.contains(&format!("\"rtsp://127.0.0.1:8554/{id}\"")), "{id}: {health}");
    }
    assert_eq!(cameras.len(), 2);
    assert_eq!(services["worker"]["depends_on"]["registry"]["condition"], "service_completed_successfully");
}

#[test]
fn kafka_advertises_reachable_listeners() {
    let kafka = &services()["kafka"];
    let set = environment(kafka);
    let listeners = |key: &str| -> BTreeMap<String, String> {
        let each = set[key].split(',').map(|listener| listener.split_once("://").unwrap());
        each.map(|(name, address)| (name.to_owned(), address.to_owned())).collect()
    };
    let [listening, advertised] = ["KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS"].map(listeners);
    assert_eq!(advertised["INNER"], INNER);
    for (name, address) in &advertised {
        let port = |address: &str| address.rsplit(':').next().unwrap().to_owned();
        assert_eq!(port(&listening[name]), port(address), "{name}");
        assert!(set["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].contains(&format!("{name}:")), "{name}");
    }
    let outer = &advertised["OUTER"];
    let port = outer.strip_prefix("localhost:").unwrap();
    assert_eq!(strings(&kafka["ports"]), [format!("127.0.0.1:{port}:{port}")]);
    assert!(!advertised.contains_key(&set["KAFKA_CONTROLLER_LISTENER_NAMES"]));
    let version = kafka["image"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    let tested = text("scripts/kafka/pom.xml");
    assert!(
        tested.contains(&format!("<version>{version}</version>")),
        "the tests run another version of Kafka"
    );
    // Kafka's own tools and our consumer use the inner listener.
    let compose = text("docker-compose.yml");
    let lines = compose.lines().filter(|line| !line.contains("apache/kafka:"));
    for word in lines.flat_map(|line| words(line, ":-")) {
        assert!(!word.starts_with("kafka:") || [INNER, "kafka:9093", "kafka:"].contains(&word), "{word}");
    }
}

#[test]
fn created_topics_match_the_program() {
    let created = strings(&services()["topics"]["command"]).join("\n");
    let created: BTreeMap<&str, &str> = created
        .lines()
        .filter_map(|line| line.trim().strip_prefix("create lookout.")?.split_once(' '))
        .collect();
    let Topics { frames, status, cameras, claims, snapshots, tracks, alerts } =
        Topics::new("lookout").unwrap();
    let options = |topic: &str| created[topic.strip_prefix("lookout.").unwrap()];
    let services = services();
    let settings = checked("deploy/compose/pipeline.toml", &environment(&services["worker"]));
    let partitions = format!("--partitions {}", settings.kafka.partitions);
    for topic in [&frames, &status, &tracks, &alerts] {
        assert_eq!(options(topic), partitions, "{topic}");
    }
    let short = "--config retention.ms=3600000 --config segment.ms=600000";
    assert_eq!(options(&snapshots), format!("{partitions} {short}"));
    assert_eq!(options(&cameras), format!("{partitions} --config cleanup.policy=compact"));
    assert_eq!(options(&claims), "--partitions 1 --config cleanup.policy=compact");
    assert_eq!(created.len(), 7);
    assert_eq!(settings.kafka.topics, Topics::new("lookout").unwrap());
}

#[test]
fn every_topic_in_deployment_files_exists_in_the_program() {
    let Topics { frames, status, cameras, claims, snapshots, tracks, alerts } =
        Topics::new("lookout").unwrap();
    let all = [frames, status, cameras, claims, snapshots, tracks, alerts];
    for file in super::files::all() {
        let text = text(&file);
        for word in words(&text, "._").filter(|word| word.starts_with("lookout.") && word.ends_with(".v1")) {
            assert!(all.iter().any(|topic| topic == word), "{file}: {word}");
        }
    }
}

#[test]
fn docker_compose_accepts_the_file() {
    let ways: [&[&str]; 2] = [&["docker-compose"], &["docker", "compose"]];
    let works = |way: &&[&str]| {
        Command::new(way[0])
            .args(&way[1..])
            .arg("version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let Some(way) = ways.into_iter().find(works) else {
        eprintln!(
            "neither docker-compose nor docker compose is installed: docker-compose.yml was not checked with it"
        );
        return;
    };
    let sets: [&[&str]; 5] = [&[], &["gpu"], &["observe"], &["monitor"], &["gpu", "observe", "monitor"]];
    for profiles in sets {
        let mut command = Command::new(way[0]);
        command.args(&way[1..]).current_dir(root());
        for profile in profiles {
            command.args(["--profile", profile]);
        }
        let output = command.args(["config", "--quiet"]).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && message.trim().is_empty(), "{profiles:?}: {message}");
    }
}
