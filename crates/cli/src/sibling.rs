//! Hands a verb to the program that is linked with what it needs.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Becomes `program`, with the arguments of this process; comes back only if it cannot.
pub(crate) fn run(program: &str) -> ExitCode {
    let beside = env::current_exe().ok().and_then(|exe| beside(&exe, program));
    let error = Command::new(beside.clone().unwrap_or_else(|| program.into())).args(arguments()).exec();
    let place = match beside {
        Some(path) => format!("{} could not be started", path.display()),
        None => format!("this needs the program {program}, which is neither beside this one nor on the PATH"),
    };
    let _ = writeln!(io::stderr(), "lookout: {place}: {error}");
    ExitCode::FAILURE
}

fn arguments() -> impl Iterator<Item = OsString> {
    env::args_os().skip(1)
}

fn beside(exe: &Path, program: &str) -> Option<PathBuf> {
    // The link's own folder comes first, and what it leads to second: both are usual ways to install.
    let folders = [exe.parent().map(Path::to_owned), exe.canonicalize().ok()?.parent().map(Path::to_owned)];
    folders.into_iter().flatten().map(|folder| folder.join(program)).find(|path| path.is_file())
}
