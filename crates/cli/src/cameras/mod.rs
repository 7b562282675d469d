//! `lookout cameras`.

mod import;
mod list;
mod plan;

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use lookout_args::{AddArgs, CamerasArgs, CamerasVerb};
use lookout_broker::{EditError, Registry};
use lookout_config::{Secrets, registry_camera, variables_outside};
use lookout_schema::{CameraId, CameraSpec, Region};

use crate::{
    check::WRONG_INPUT,
    cluster::{Cluster, cluster},
};

use self::plan::{Expect, Wish};

/// The error of a `lookout cameras` command.
enum Failure {
    /// An argument or a file is invalid.
    Input(String),
    Run(String),
}

impl Failure {
    fn run(error: impl fmt::Display) -> Self {
        Self::Run(error.to_string())
    }
}

pub(crate) fn run(args: &CamerasArgs) -> ExitCode {
    let (what, code) = match obey(args) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Input(what)) => (what, ExitCode::from(WRONG_INPUT)),
        Err(Failure::Run(what)) => (what, ExitCode::FAILURE),
    };
    let _ = writeln!(io::stderr(), "lookout cameras: {what}");
    code
}

fn obey(args: &CamerasArgs) -> Result<(), Failure> {
    let cluster = cluster(&args.cluster).map_err(Failure::Input)?;
    // The input is validated before connecting to Kafka.
    let wishes = match &args.verb {
        CamerasVerb::List { .. } => Vec::new(),
        CamerasVerb::Add(add) => vec![wish_to_add(add).map_err(Failure::Input)?],
        CamerasVerb::Remove { ids, expect_version } => each(ids, |id| Wish::Remove(id, *expect_version))?,
        CamerasVerb::Enable { ids, expect_version } => {
            each(ids, |id| Wish::Enable(id, true, *expect_version))?
        }
        CamerasVerb::Disable { ids, expect_version } => {
            each(ids, |id| Wish::Enable(id, false, *expect_version))?
        }
        CamerasVerb::Import { file, prune } => {
            let specs = import::read(file).map_err(Failure::Input)?;
            let rest = prune.then(|| Wish::RemoveAllBut(specs.iter().map(|spec| spec.id.clone()).collect()));
            let put = specs.into_iter().map(|spec| Wish::Put(Box::new(spec), Expect::Anything));
            put.chain(rest).collect()
        }
    };
    for wish in &wishes {
        if let Wish::Put(spec, _) = wish {
            examine(spec, &cluster)?;
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::run)?;
    let partitions = args.partitions.unwrap_or(cluster.fleet.partitions);
    let registry = runtime.block_on(Registry::open(&cluster.kafka, partitions)).map_err(Failure::run)?;
    if let CamerasVerb::List { json } = &args.verb {
        return list::print(&registry.view().map_err(Failure::run)?, *json).map_err(Failure::run);
    }
    let made = registry.edit(|view| plan::edits(view, &wishes)).map_err(|error| match error {
        EditError::Refused(what) => Failure::Run(what),
        EditError::Broker(error) => Failure::run(error),
    })?;
    let plural = if made == 1 { "camera" } else { "cameras" };
    writeln!(io::stdout(), "{made} {plural} changed").map_err(Failure::run)
}

fn each(ids: &[String], wish: impl Fn(CameraId) -> Wish) -> Result<Vec<Wish>, Failure> {
    ids.iter().map(|id| id.parse().map(&wish).map_err(|error| Failure::Input(format!("{error}")))).collect()
}

/// Validates a camera, and warns about variables that workers do not resolve.
fn examine(spec: &CameraSpec, cluster: &Cluster) -> Result<(), Failure> {
    registry_camera(spec, &Secrets::Unknown)
        .map_err(|what| Failure::Input(format!("camera {}: {what}", spec.id)))?;
    let prefix = &cluster.fleet.env_prefix;
    for name in variables_outside(spec, prefix) {
        let _ = writeln!(
            io::stderr(),
            "lookout cameras: camera {}: workers do not resolve the variable {name}, because its name does not start \
             with `{prefix}`; rename it, or change `env_prefix` in [fleet] of the workers",
            spec.id
        );
    }
    Ok(())
}

fn wish_to_add(add: &AddArgs) -> Result<Wish, String> {
    let id = add.id.parse().map_err(|error| format!("{error}"))?;
    let pair = |flag: &str, text: &String| {
        let (key, value) = text.split_once('=').ok_or(format!("{flag} {text}: expected KEY=VALUE"))?;
        Ok::<_, String>((key.to_owned(), value.to_owned()))
    };
    let mut spec = CameraSpec::new(id, &add.uri);
    spec.fps = add.fps;
    spec.priority = add.priority.unwrap_or(CameraSpec::PRIORITY);
    spec.classes.clone_from(&add.classes);
    spec.regions = add.regions.iter().map(|text| region(text)).collect::<Result<_, _>>()?;
    spec.labels = add.labels.iter().map(|text| pair("--label", text)).collect::<Result<_, _>>()?;
    for text in &add.options {
        let (key, value) = pair("--option", text)?;
        // The value is JSON, such as a number or `true`, or otherwise a string without quotes.
        let value = serde_json::from_str(&value).unwrap_or_else(|_| value.into());
        spec.options.insert(key, value);
    }
    let expect = match (add.expect_version, add.replace) {
        (Some(version), _) => Expect::Version(version),
        (None, true) => Expect::Anything,
        (None, false) => Expect::Version(0),
    };
    Ok(Wish::Put(Box::new(spec), expect))
}

/// Parses a polygon, `x,y x,y x,y ...`.
fn region(text: &str) -> Result<Region, String> {
    let corner = |corner: &str| {
        let (x, y) = corner.split_once(',')?;
        Some([x.parse().ok()?, y.parse().ok()?])
    };
    let corners: Option<Vec<[f32; 2]>> = text.split_whitespace().map(corner).collect();
    let corners =
        corners.ok_or_else(|| format!("--region {text:?}: expected corners such as `0,0 0.5,0 0.5,1`"))?;
    Region::new(corners).map_err(|error| format!("--region {text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_parses_corners() {
        assert_eq!(region("0,0 0.5,0 0.5,1").unwrap().corners(), [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0]]);
        for bad in ["", "0,0", "0 0 1", "0,0 1,0 1,2", "a,b c,d e,f"] {
            assert!(region(bad).is_err(), "{bad}");
        }
    }
}
