//! Settings of the whole process, made first thing in `main` of the programs that run networks: how libtorch's threads
//! wait, and what the allocator does with freed memory.

use std::{env, io, os::unix::process::CommandExt, process::Command};

/// How many iterations the threads of libtorch's OpenMP pool (libgomp) spin while they wait for each other. By default
/// they spin for some ten milliseconds. On cores that also decode video, one thread that waits for its core then holds
/// up all others, and a network becomes five times slower. Threads that do not spin at all cost a tenth of an idle
/// machine's throughput; see docs/performance.md.
const SPIN_COUNT: &str = "10000";
const SPIN_VARIABLE: &str = "GOMP_SPINCOUNT";
/// Users who set one of these have their own setting.
const SPIN_SETTINGS: [&str; 2] = ["OMP_WAIT_POLICY", SPIN_VARIABLE];

/// What the allocator does with freed memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreedMemory {
    /// glibc returns it to the system, its default.
    Return,
    /// The process keeps it. A network allocates the same tens of megabytes for each batch. If they were returned in
    /// between, every page would have to be mapped again for each batch, which takes a fifth of a batch's time on
    /// threads other than the main thread.
    Keep,
}

/// Sets the variable for OpenMP in the environment of `command`, unless the user has set it.
pub fn set_spinning(command: &mut Command) {
    if !is_spinning_set() {
        command.env(SPIN_VARIABLE, SPIN_COUNT);
    }
}

/// Restarts this program with the variable for OpenMP, unless it is set: libgomp reads it before `main`. Must be called
/// first in `main`, since nothing before it is kept. The process id stays the same.
///
/// # Errors
/// Returns an error if the program cannot be restarted; it then runs with OpenMP's default.
pub fn restart_with_spinning() -> io::Result<()> {
    if is_spinning_set() {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    set_spinning(&mut command);
    Err(command.args(arguments).exec())
}

/// Applies `freed` to this process. Must be called before the first thread is started.
pub fn set_freed_memory(freed: FreedMemory) {
    if freed == FreedMemory::Keep {
        keep_freed_memory();
    }
}

/// Logs the settings that are in force in one line. `restarted` is the result of [`restart_with_spinning`].
pub fn log(freed: FreedMemory, restarted: io::Result<()>) {
    if let Err(error) = restarted {
        tracing::warn!(%error, "cannot restart with {SPIN_VARIABLE}={SPIN_COUNT}, inference is slow on a busy machine");
    }
    let [wait_policy, spin_count] = SPIN_SETTINGS.map(|name| env::var(name).ok());
    tracing::info!(freed_memory = ?freed, spin_count, wait_policy, "process settings");
}

fn is_spinning_set() -> bool {
    SPIN_SETTINGS.iter().any(|name| env::var_os(name).is_some())
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "mallopt is a function of C")]
fn keep_freed_memory() {
    /// The largest value that glibc accepts.
    const MMAP_THRESHOLD: libc::c_int = 32 << 20;
    // SAFETY: mallopt sets parameters of the allocator, which is allowed at any time.
    unsafe {
        // The memory of other arenas is returned in units of 64 MB, whatever the threshold is.
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    }
}

#[cfg(not(target_env = "gnu"))]
fn keep_freed_memory() {}
