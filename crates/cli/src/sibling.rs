//! Executes a subcommand in the program that is linked with the libraries that it needs.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Spin count of libtorch's OpenMP threads, which OpenMP reads before `main`. By default, threads that wait
/// for each other spin for about ten milliseconds. If cameras are decoded on the same cores, one thread that
/// waits for its core delays all others, and the throughput of a busy machine falls to a fifth. Without any
/// spinning, an idle machine loses a tenth of its throughput. See docs/performance.md.
const SPINS: &str = "10000";
/// If the user has set one of these variables, it is not changed.
const SPIN_SETTINGS: [&str; 2] = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"];

/// Replaces this process with `program`, with the same arguments. Returns only if that fails.
pub(crate) fn run(program: &str) -> ExitCode {
    let error = command(program).args(arguments()).exec();
    let place = match place(program) {
        Some(path) => format!("cannot start {}", path.display()),
        None => format!("cannot start {program}, which has to be in the folder of `lookout` or on the PATH"),
    };
    let _ = writeln!(io::stderr(), "lookout: {place}: {error}");
    ExitCode::FAILURE
}

/// Returns a command that starts `program`, preferably from the folder of this executable.
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
    // If the executable is a symbolic link, its own folder takes precedence over the folder of its target.
    let folders = [exe.parent().map(Path::to_owned), exe.canonicalize().ok()?.parent().map(Path::to_owned)];
    folders.into_iter().flatten().map(|folder| folder.join(program)).find(|path| path.is_file())
}
