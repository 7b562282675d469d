//! `lookout check`.

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use lookout_args::CheckArgs;
use lookout_config::{PipelineSettings, parse};

/// Wrong input; nothing was started.
pub(crate) const WRONG_INPUT: u8 = 2;

pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    let mut all_right = true;
    for file in &args.pipelines {
        match read(file) {
            Ok(settings) => {
                let cameras = settings.cameras.len();
                let plural = if cameras == 1 { "" } else { "s" };
                let _ = writeln!(io::stdout(), "{}: right, {cameras} camera{plural}", file.display());
            }
            Err(what) => {
                all_right = false;
                let _ = writeln!(io::stderr(), "{what}");
            }
        }
    }
    if all_right { ExitCode::SUCCESS } else { ExitCode::from(WRONG_INPUT) }
}

/// A pipeline file's settings, or all that is wrong with it.
pub(crate) fn read(file: &Path) -> Result<PipelineSettings, String> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("{}: the pipeline file cannot be read: {error}", file.display()))?;
    parse(file, &text, &|name| env::var(name).ok()).map_err(|error| error.to_string())
}
