//! `lookout check`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use lookout_args::CheckArgs;
use lookout_config::{AdasSettings, AnySettings, PipelineSettings, read_any};
use lookout_monitor::MonitorSettings;

/// Exit code for invalid input; nothing was started.
pub(crate) const WRONG_INPUT: u8 = 2;

pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    let mut all_right = true;
    for file in &args.pipelines {
        match read_any(file, &lookout_monitor::KINDS) {
            Ok(settings) => {
                let what = match settings {
                    AnySettings::Pipeline(settings) => pipeline(&settings),
                    AnySettings::Monitor(settings) => monitor(&settings),
                    AnySettings::Adas(settings) => adas(&settings),
                };
                let _ = writeln!(io::stdout(), "{}: valid {what}", file.display());
            }
            Err(what) => {
                all_right = false;
                let _ = writeln!(io::stderr(), "{what}");
            }
        }
    }
    if all_right { ExitCode::SUCCESS } else { ExitCode::from(WRONG_INPUT) }
}

fn pipeline(settings: &PipelineSettings) -> String {
    match (&settings.fleet, settings.cameras.len()) {
        (Some(_), _) => "pipeline file with the cameras of the registry".into(),
        (None, 1) => "pipeline file with 1 camera".into(),
        (None, cameras) => format!("pipeline file with {cameras} cameras"),
    }
}

fn monitor(settings: &MonitorSettings) -> String {
    match settings.rules.len() {
        1 => "monitor file with 1 rule".into(),
        rules => format!("monitor file with {rules} rules"),
    }
}

fn adas(settings: &AdasSettings) -> String {
    match (&settings.others, settings.cameras.len()) {
        (Some(_), _) => "adas file for all cameras".into(),
        (None, 1) => "adas file with 1 camera".into(),
        (None, cameras) => format!("adas file with {cameras} cameras"),
    }
}
