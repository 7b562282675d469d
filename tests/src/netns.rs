//! Simulates machines with network namespaces, each connected to this machine by a virtual cable.

use std::{
    env,
    fs::File,
    net::Ipv4Addr,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// A network namespace, in which 127.0.0.1 is not that of this machine. It is removed when it is dropped.
#[derive(Debug)]
pub struct Machine {
    name: String,
    /// This machine's end of the cable, a `veth` interface.
    cable: String,
    /// Locked while a test uses the machine, so that remains of a killed test can be removed.
    _taken: File,
}

/// The address of this machine on the first machine's cable, through which all machines reach it.
pub const HERE: Ipv4Addr = Ipv4Addr::new(10, 213, 1, 1);

impl Machine {
    /// Creates the machine `number`, 1 to 250.
    ///
    /// # Errors
    /// Fails if this process may not create namespaces, or if another test uses this machine.
    pub fn start(number: u8) -> Result<Self> {
        let name = format!("lookout-{number}");
        let (cable, far) = (format!("lookout-h{number}"), format!("lookout-f{number}"));
        let taken = File::create(env::temp_dir().join(format!("{name}.lock")))?;
        taken.try_lock().context("another test has this machine")?;
        let machine = Self { name: name.clone(), cable: cable.clone(), _taken: taken };
        machine.clear_away();
        ip(&["netns", "add", &name])?;
        let (near, there) = (format!("10.213.{number}.1"), format!("10.213.{number}.2/24"));
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", &far, "netns", &name])?;
        ip(&["address", "add", &format!("{near}/24"), "dev", &cable])?;
        ip(&["link", "set", &cable, "up"])?;
        ip(&["-n", &name, "address", "add", &there, "dev", &far])?;
        ip(&["-n", &name, "link", "set", &far, "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        ip(&["-n", &name, "route", "add", "default", "via", &near])?;
        Ok(machine)
    }

    /// Returns a command prefix for running a program on the machine; it executes the program in the same
    /// process.
    pub fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Disconnects the cable.
    pub fn unplug(&self) -> Result<()> {
        ip(&["link", "set", &self.cable, "down"])
    }

    /// Connects the cable again.
    pub fn plug_in(&self) -> Result<()> {
        ip(&["link", "set", &self.cable, "up"])
    }

    fn clear_away(&self) {
        // Deleting the near end deletes the far end.
        let _ = ip(&["link", "delete", &self.cable]);
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.clear_away();
    }
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output().context("ip")?;
    ensure!(output.status.success(), "ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(())
}
