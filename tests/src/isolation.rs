//! Which tests of one program run at the same time, and which get a process of their own.

use std::{
    collections::BTreeSet,
    env,
    process::Command,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, ensure};

/// The modules whose tests run.
static RUNNING: Mutex<Running> = Mutex::new(Running { modules: Vec::new(), exclusive: "", waiting: 0 });
static FINISHED: Condvar = Condvar::new();

/// Number of modules whose tests run at the same time. Most tests wait for cameras and brokers most of the time.
const MODULES: usize = 2;

struct Running {
    /// The modules with running tests, one entry per test.
    modules: Vec<&'static str>,
    /// The module that runs without others, or an empty string.
    exclusive: &'static str,
    /// Number of tests that wait to run without other modules. While there are some, no further module starts.
    waiting: usize,
}

impl Running {
    fn admits(&self, module: &str) -> bool {
        if self.modules.contains(&module) {
            return true;
        }
        let others: BTreeSet<&str> = self.modules.iter().copied().collect();
        self.exclusive.is_empty() && self.waiting == 0 && others.len() < MODULES
    }
}

/// Lets the tests of other modules of this program run once it and those of its module are dropped.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct ModuleGuard(&'static str);

/// Waits until the tests of at most one other module run. Tests of one module run in parallel. More modules would take
/// the cores from each other, since they start servers and brokers. Each test of a program with several modules calls
/// this or [`lock_program`] first, with `module_path!()`.
pub fn lock_module(module: &'static str) -> ModuleGuard {
    let mut running = running();
    while !running.admits(module) {
        running = FINISHED.wait(running).unwrap_or_else(PoisonError::into_inner);
    }
    running.modules.push(module);
    ModuleGuard(module)
}

/// Waits until no test of another module runs, and keeps other modules from starting. For tests that need all cores.
pub fn lock_program(module: &'static str) -> ModuleGuard {
    let mut running = running();
    running.waiting += 1;
    while running.modules.iter().any(|other| *other != module) {
        running = FINISHED.wait(running).unwrap_or_else(PoisonError::into_inner);
    }
    running.waiting -= 1;
    running.exclusive = module;
    running.modules.push(module);
    ModuleGuard(module)
}

fn running() -> MutexGuard<'static, Running> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for ModuleGuard {
    fn drop(&mut self) {
        let mut running = running();
        if let Some(at) = running.modules.iter().position(|module| *module == self.0) {
            running.modules.swap_remove(at);
        }
        if running.modules.is_empty() {
            running.exclusive = "";
        }
        drop(running);
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
