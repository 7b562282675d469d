//! `lookout check`.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use lookout_args::CheckArgs;
use lookout_config::{AdasSettings, FileKind, PipelineSettings, ReadError};

/// Wrong input; nothing was started.
pub(crate) const WRONG_INPUT: u8 = 2;

pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    let mut all_right = true;
    for file in &args.pipelines {
        match what_it_says(file) {
            Ok(says) => {
                let _ = writeln!(io::stdout(), "{}: right, {says}", file.display());
            }
            Err(what) => {
                all_right = false;
                let _ = writeln!(io::stderr(), "{what}");
            }
        }
    }
    if all_right { ExitCode::SUCCESS } else { ExitCode::from(WRONG_INPUT) }
}

fn what_it_says(file: &Path) -> Result<String, ReadError> {
    match lookout_config::kind(file)? {
        FileKind::Pipeline => lookout_config::read(file).map(|settings| of_pipeline(&settings)),
        FileKind::Adas => lookout_config::read_adas(file).map(|settings| of_adas(&settings)),
    }
}

fn of_pipeline(settings: &PipelineSettings) -> String {
    match &settings.fleet {
        Some(_) => "the registry's cameras".into(),
        None => cameras(settings.cameras.len()),
    }
}

fn of_adas(settings: &AdasSettings) -> String {
    match &settings.others {
        Some(_) => "for `lookout adas`, all cameras".into(),
        None => format!("for `lookout adas`, {}", cameras(settings.cameras.len())),
    }
}

fn cameras(count: usize) -> String {
    if count == 1 { "1 camera".into() } else { format!("{count} cameras") }
}
