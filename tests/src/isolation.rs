//! Which tests of one program run at the same time, and which get a process of their own.

use std::{
    env,
    process::Command,
    sync::{Condvar, Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};

/// The module whose tests run, and their number.
static RUNNING: Mutex<(&str, usize)> = Mutex::new(("", 0));
static FINISHED: Condvar = Condvar::new();

/// Lets the tests of other modules of this program run once it and those of its module are dropped.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct ModuleGuard(());

/// Waits until no test of another module runs. Tests of one module run in parallel; those of different modules do not,
/// since they start servers and measure times, and would take the cores from each other. Each test of a program with
/// several modules calls it first, with `module_path!()`.
pub fn lock_module(module: &'static str) -> ModuleGuard {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    while running.1 > 0 && running.0 != module {
        running = FINISHED.wait(running).unwrap_or_else(PoisonError::into_inner);
    }
    *running = (module, running.1 + 1);
    ModuleGuard(())
}

impl Drop for ModuleGuard {
    fn drop(&mut self) {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).1 -= 1;
        FINISHED.notify_all();
    }
}

/// If this is set, the process has been started for one test, by [`own_process`] or by hand.
const OWN_PROCESS: &str = "LOOKOUT_OWN_PROCESS";

/// Returns true in a process that has been started for one test, and otherwise runs `test` of `module` in one and returns
/// false. For tests that measure the threads or the memory of their process.
///
/// # Errors
/// The test failed there; the error contains its output.
pub fn own_process(module: &str, test: &str) -> Result<bool> {
    if env::var_os(OWN_PROCESS).is_some() {
        return Ok(true);
    }
    let (_, module) = module.split_once("::").context("the test is not in a module")?;
    let mut command = Command::new(env::current_exe()?);
    command.arg(format!("{module}::{test}")).args(["--exact", "--nocapture"]).env(OWN_PROCESS, "1");
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && text.contains("1 passed"),
        "{command:?}: {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(false)
}
