//! The manifests in deploy/kubernetes.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::Value;

use super::{
    assert_is_valid_command, assert_pinned, checked,
    files::{root, strings, yaml},
    pipeline_of,
};

const BASE: &str = "deploy/kubernetes/base";

fn base(file: &str) -> Value {
    yaml(&format!("{BASE}/{file}"))
}

fn pod() -> Value {
    base("workers.yaml")["spec"]["template"]["spec"].clone()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// Returns the files or literals, by `kind`, of the generated ConfigMap `name`.
fn generated(name: &str, kind: &str) -> Vec<String> {
    let kustomization = base("kustomization.yaml");
    let maps = list(&kustomization["configMapGenerator"]);
    let map = maps.iter().find(|map| map["name"] == name).unwrap_or_else(|| panic!("no ConfigMap {name}"));
    strings(&map[kind])
}

#[test]
fn pipeline_file_is_valid_and_matches_the_pod() {
    let pod = pod();
    let container = &pod["containers"][0];
    let arguments = strings(&container["args"]);
    assert_is_valid_command(&arguments);
    let file = pipeline_of(&arguments).rsplit('/').next().unwrap().to_owned();

    let mount =
        list(&container["volumeMounts"]).into_iter().find(|mount| mount["mountPath"] == "/etc/lookout");
    let volume = mount.unwrap()["name"].clone();
    let volume = list(&pod["volumes"]).into_iter().find(|each| each["name"] == volume).unwrap();
    let map = volume["configMap"]["name"].as_str().unwrap();
    assert!(generated(map, "files").contains(&file), "{map} has no {file}");

    let mut environment: BTreeMap<String, String> = BTreeMap::new();
    for from in list(&container["envFrom"]) {
        for literal in generated(from["configMapRef"]["name"].as_str().unwrap(), "literals") {
            let (name, value) = literal.split_once('=').unwrap();
            environment.insert(name.into(), value.into());
        }
    }
    for variable in list(&container["env"]) {
        let from = &variable["valueFrom"]["secretKeyRef"];
        assert!(from["name"].is_string() && from["key"].is_string(), "{variable} does not refer to a Secret");
        environment.insert(variable["name"].as_str().unwrap().into(), "secret".into());
    }
    let settings = checked(&format!("{BASE}/{file}"), &environment);

    let port = settings.worker.http.unwrap().port();
    assert_eq!(container["ports"][0]["containerPort"], port);
    let annotations = &base("workers.yaml")["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], port.to_string());
    assert_eq!(annotations["prometheus.io/path"], "/metrics");
    let service = base("service.yaml");
    assert_eq!(service["spec"]["ports"][0]["port"], port);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], container["ports"][0]["name"]);
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace > settings.worker.drain.as_secs(), "it is killed while it drains");
}

#[test]
fn the_pod_is_unprivileged_and_has_probes() {
    let pod = pod();
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert!(pod["securityContext"]["runAsUser"].as_u64() > Some(0));
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    for wrong in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[wrong].is_null(), "{wrong}");
    }
    for volume in list(&pod["volumes"]) {
        assert!(volume["hostPath"].is_null(), "{volume}");
    }
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(strings(&security["capabilities"]["drop"]), ["ALL"]);
    for (probe, page) in
        [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(container[probe]["httpGet"]["path"], page, "{probe}");
        assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"], "{probe}");
    }
    for kind in ["requests", "limits"] {
        assert!(container["resources"][kind].is_object(), "{kind}");
    }
}

#[test]
fn images_are_pinned() {
    let image = pod()["containers"][0]["image"].as_str().unwrap().to_owned();
    assert_pinned(&image);
    for kustomization in ["base", "gpu"] {
        for set in list(&yaml(&format!("deploy/kubernetes/{kustomization}/kustomization.yaml"))["images"]) {
            assert!(
                image.starts_with(&format!("{}:", set["name"].as_str().unwrap())),
                "{set} replaces no image"
            );
            let name = set["newName"].as_str().or(set["name"].as_str()).unwrap();
            assert_pinned(&format!("{name}:{}", set["newTag"].as_str().unwrap()));
        }
    }
}

#[test]
fn resources_refer_to_the_same_workers() {
    let workers = base("workers.yaml");
    let labels = &workers["spec"]["template"]["metadata"]["labels"];
    assert_eq!(workers["spec"]["selector"]["matchLabels"], *labels);
    assert_eq!(base("service.yaml")["spec"]["selector"], *labels);
    assert_eq!(base("disruption.yaml")["spec"]["selector"]["matchLabels"], *labels);
    assert_eq!(workers["spec"]["serviceName"], base("service.yaml")["metadata"]["name"]);
    let scaling = base("scaling.yaml");
    let target = &scaling["spec"]["scaleTargetRef"];
    assert_eq!((&target["kind"], &target["name"]), (&workers["kind"], &workers["metadata"]["name"]));
    assert_eq!(target["apiVersion"], workers["apiVersion"]);
    let adapter = yaml("deploy/prometheus/adapter.yaml");
    let metric = &scaling["spec"]["metrics"][0]["pods"]["metric"]["name"];
    assert_eq!(*metric, adapter["rules"]["custom"][0]["name"]["as"]);
    let patch = yaml("deploy/kubernetes/gpu/workers.yaml");
    assert_eq!(patch["kind"], workers["kind"]);
    assert_eq!(patch["spec"]["template"]["spec"]["containers"][0]["name"], pod()["containers"][0]["name"]);
}

#[test]
fn partitions_suffice_for_the_maximum_of_workers() {
    let environment = BTreeMap::from([("LOOKOUT_BROKERS".into(), "kafka:1".into())]);
    let settings = checked(&format!("{BASE}/pipeline.toml"), &environment);
    let workers = base("scaling.yaml")["spec"]["maxReplicas"].as_u64().unwrap();
    assert!(u64::from(settings.kafka.partitions) >= workers);
    let fleet = settings.fleet.unwrap();
    assert!(u64::from(fleet.partitions) >= workers);
    // `secrets` names the folder where the Secret is mounted.
    let pod = pod();
    let secret = list(&pod["volumes"]).into_iter().find(|volume| volume["secret"].is_object()).unwrap();
    let mounts = list(&pod["containers"][0]["volumeMounts"]);
    let mount = mounts.iter().find(|mount| mount["name"] == secret["name"]).unwrap();
    assert_eq!(mount["mountPath"].as_str().map(Path::new), fleet.secrets.as_deref());
}

#[test]
fn every_file_is_a_resource_and_kubectl_builds_them() {
    let kustomization = base("kustomization.yaml");
    let mut known = strings(&kustomization["resources"]);
    known.extend(["kustomization.yaml".into(), "pipeline.toml".into()]);
    for file in super::files::all() {
        if let Some(name) = file.strip_prefix(&format!("{BASE}/")) {
            assert!(known.iter().any(|each| each == name), "{file} is not a resource");
        }
    }
    for folder in ["deploy/kubernetes", "deploy/kubernetes/gpu"] {
        match Command::new("kubectl").args(["kustomize", folder]).current_dir(root()).output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
            Err(_) => eprintln!("kubectl is not installed: {folder} was not built"),
        }
    }
}
