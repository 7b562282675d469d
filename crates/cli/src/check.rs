//! `lookout check`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use lookout_args::CheckArgs;
use lookout_config::read;

/// Wrong input; nothing was started.
pub(crate) const WRONG_INPUT: u8 = 2;

pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    let mut all_right = true;
    for file in &args.pipelines {
        match read(file) {
            Ok(settings) => {
                let cameras = match (&settings.fleet, settings.cameras.len()) {
                    (Some(_), _) => "the registry's cameras".into(),
                    (None, 1) => "1 camera".into(),
                    (None, cameras) => format!("{cameras} cameras"),
                };
                let _ = writeln!(io::stdout(), "{}: right, {cameras}", file.display());
            }
            Err(what) => {
                all_right = false;
                let _ = writeln!(io::stderr(), "{what}");
            }
        }
    }
    if all_right { ExitCode::SUCCESS } else { ExitCode::from(WRONG_INPUT) }
}
