//! Hands a verb to the program that is linked with what it needs.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use lookout_args::process::set_spinning;

/// Becomes `program`, with the arguments of this process; comes back only if it cannot.
pub(crate) fn run(program: &str) -> ExitCode {
    let error = command(program).args(arguments()).exec();
    let place = match place(program) {
        Some(path) => format!("cannot start {}", path.display()),
        None => format!("cannot start {program}, which has to be in the folder of `lookout` or on the PATH"),
    };
    let _ = writeln!(io::stderr(), "lookout: {place}: {error}");
    ExitCode::FAILURE
}

/// What starts `program`, from beside this one where it is there.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(place(program).unwrap_or_else(|| program.into()));
    // The program would otherwise restart itself to set it.
    set_spinning(&mut command);
    command
}

fn place(program: &str) -> Option<PathBuf> {
    env::current_exe().ok().and_then(|exe| beside(&exe, program))
}

fn arguments() -> impl Iterator<Item = OsString> {
    env::args_os().skip(1)
}

fn beside(exe: &Path, program: &str) -> Option<PathBuf> {
    // The link's own folder comes first, and what it leads to second: both are usual ways to install.
    let folders = [exe.parent().map(Path::to_owned), exe.canonicalize().ok()?.parent().map(Path::to_owned)];
    folders.into_iter().flatten().map(|folder| folder.join(program)).find(|path| path.is_file())
}
