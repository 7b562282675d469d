//! Hands a verb to the program that is linked with what it needs.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// How libtorch's threads wait for each other, which OpenMP reads before `main`. By default they spin for
/// some ten milliseconds, and where cameras are decoded on the same cores, one that has to wait for its core
/// holds up all: a busy machine then looks at a fifth of the pictures. Not to spin at all costs a tenth of an
/// idle machine's. See docs/performance.md.
const SPINS: &str = "10000";
/// Whoever has set one of these knows better.
const SPIN_SETTINGS: [&str; 2] = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"];

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
    if SPIN_SETTINGS.iter().all(|name| env::var_os(name).is_none()) {
        command.env("GOMP_SPINCOUNT", SPINS);
    }
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
