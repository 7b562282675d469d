//! The command `lookout weights`.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    path::Path,
    process::ExitCode,
};

use lookout_args::{WeightsArgs, WeightsVerb};
use lookout_model::{
    archs::{published, published_files},
    weights::{self, Accuracy, Fetch, Progress, Published, WeightsError},
};
use serde::Serialize;

/// Exit code for wrong input; nothing was started.
const WRONG_INPUT: u8 = 2;

/// Runs the command. Wrong input is reported here and returns exit code 2.
pub(crate) fn run(args: &WeightsArgs) -> anyhow::Result<ExitCode> {
    match done(&args.verb) {
        // The reader closed the pipe, as `head` does.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        result => result,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn done(verb: &WeightsVerb) -> anyhow::Result<ExitCode> {
    match verb {
        WeightsVerb::List { json } => list(*json, &weights::cache_dir()?),
        WeightsVerb::Pull { arch, version } => pull(arch, version.as_deref(), &weights::cache_dir()?),
        WeightsVerb::Import { file, output, prefix, int8 } => import(file, output, prefix.as_deref(), *int8),
    }
}

fn wrong_input(what: &dyn fmt::Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "lookout weights: {what}");
    ExitCode::from(WRONG_INPUT)
}

/// A line of `list --json`.
#[derive(Debug, Serialize)]
struct Listed {
    #[serde(flatten)]
    published: &'static Published,
    /// Whether `weights = "torchvision"` selects this version.
    default: bool,
    cache: InCache,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum InCache {
    Whole,
    /// Its SHA-256 differs from the published one; the next pull downloads it again.
    Damaged,
    Missing,
}

impl fmt::Display for InCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Whole => "yes",
            Self::Damaged => "damaged",
            Self::Missing => "no",
        })
    }
}

fn listed(file: &'static Published, cache_dir: &Path) -> Listed {
    let cache = match file.is_whole(&file.place(cache_dir)) {
        Ok(true) => InCache::Whole,
        Ok(false) => InCache::Damaged,
        Err(_) => InCache::Missing,
    };
    Listed { published: file, default: published(file.arch) == Some(file), cache }
}

fn list(json: bool, cache_dir: &Path) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    if !json {
        writeln!(
            out,
            "{:<26} {:<15} {:<44} {:>9} {:>12}  CACHED",
            "ARCH", "VERSION", "FILE", "MiB", "ACCURACY %"
        )?;
    }
    for published in published_files() {
        let listed = listed(published, cache_dir);
        if json {
            writeln!(out, "{}", serde_json::to_string(&listed)?)?;
            continue;
        }
        let accuracy = match published.accuracy {
            Accuracy::ImageNet { top1, .. } => format!("{top1:.2} top-1"),
            Accuracy::Coco { box_map } => format!("{box_map:.2} box AP"),
        };
        let star = if listed.default { "*" } else { "" };
        writeln!(
            out,
            "{:<26} {:<15} {:<44} {:>9.1} {:>12}  {}",
            published.arch,
            format!("{}{star}", published.version),
            published.file,
            published.size_mib,
            accuracy,
            listed.cache
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn pull(arch: &str, version: Option<&str>, cache_dir: &Path) -> anyhow::Result<ExitCode> {
    let published = match chosen(arch, version) {
        Ok(published) => published,
        Err(what) => return Ok(wrong_input(&what)),
    };
    let mut bar = Bar::new(published.file);
    let path = Fetch::default().published(published, cache_dir, &mut |progress| bar.show(progress));
    bar.clear();
    writeln!(io::stdout(), "{}", path?.display())?;
    Ok(ExitCode::SUCCESS)
}

fn chosen(arch: &str, version: Option<&str>) -> Result<&'static Published, String> {
    let Some(default) = published(arch) else {
        return Err(WeightsError::NotPublished { arch: arch.to_owned() }.to_string());
    };
    let Some(version) = version else {
        return Ok(default);
    };
    let versions = || published_files().filter(|file| file.arch == arch);
    versions().find(|published| published.version.eq_ignore_ascii_case(version)).ok_or_else(|| {
        let known: Vec<&str> = versions().map(|published| published.version).collect();
        format!("{arch} has no version {version}; it has {}", known.join(", "))
    })
}

/// A download's progress in one line, shown only on a terminal.
struct Bar {
    file: &'static str,
    terminal: bool,
    /// The last figure shown, in MiB.
    shown: Option<u64>,
}

impl Bar {
    fn new(file: &'static str) -> Self {
        Self { file, terminal: io::stderr().is_terminal(), shown: None }
    }

    fn show(&mut self, progress: Progress) {
        let received = progress.received >> 20;
        if !self.terminal || self.shown.replace(received) == Some(received) {
            return;
        }
        let total = progress.total.map(|total| format!(" of {}", total >> 20)).unwrap_or_default();
        let _ = write!(io::stderr(), "\r{}: {received}{total} MiB", self.file);
    }

    fn clear(&self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn import(file: &Path, output: &Path, prefix: Option<&str>, int8: bool) -> anyhow::Result<ExitCode> {
    if output.extension().is_none_or(|extension| extension != "safetensors") {
        return Ok(wrong_input(&format_args!(
            "--output {}: its name must end with .safetensors",
            output.display()
        )));
    }
    let read = weights::read(file).and_then(|state| match prefix {
        Some(prefix) => state.under(prefix),
        None => Ok(state),
    });
    let state = match read {
        Ok(state) => state,
        Err(error) => return Ok(wrong_input(&format_args!("{:#}", anyhow::Error::from(error)))),
    };
    let state = if int8 { state.in_eight_bits() } else { state };
    state.write_safetensors(output)?;
    writeln!(io::stdout(), "{}: {} tensors from {}", output.display(), state.tensors.len(), state.digest)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn version_is_selected_by_name_or_default() {
        assert_eq!(chosen("resnet50", None).unwrap().file, "resnet50-11ad3fa6.pth");
        assert_eq!(chosen("resnet50", Some("imagenet1k_v1")).unwrap().file, "resnet50-0676ba61.pth");
        let unknown = chosen("resnet50", Some("V9")).unwrap_err();
        assert!(unknown.ends_with("it has IMAGENET1K_V1, IMAGENET1K_V2"), "{unknown}");
        assert!(chosen("vgg16", None).is_err());
    }

    #[test]
    fn list_shows_the_cache_state() {
        let cache = tempfile::tempdir().unwrap();
        let published = published_files().next().unwrap();
        let state = || serde_json::to_value(listed(published, cache.path())).unwrap();
        assert_eq!(state()["cache"], "missing");
        let place = published.place(cache.path());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, "half of it").unwrap();
        let damaged = state();
        assert_eq!(damaged["cache"], "damaged");
        assert_eq!((&damaged["arch"], &damaged["default"]), (&"resnet18".into(), &true.into()));
        assert_eq!(
            damaged["accuracy"],
            serde_json::json!({"data": "imagenet-1k", "top1": 69.758, "top5": 89.078})
        );
    }

    #[test]
    fn import_errors_are_wrong_input() {
        let folder = tempfile::tempdir().unwrap();
        let (file, output) = (folder.path().join("in.pth"), folder.path().join("out.safetensors"));
        fs::write(&file, "no weights").unwrap();
        assert_eq!(import(&file, &output, None, false).unwrap(), ExitCode::from(WRONG_INPUT));
        assert_eq!(import(&file, Path::new("out.bin"), None, true).unwrap(), ExitCode::from(WRONG_INPUT));
        assert!(!output.exists());
    }
}
