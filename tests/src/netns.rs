//! Machines of their own for a test: network namespaces, each on a cable to this machine.

use std::{
    env,
    fs::File,
    net::Ipv4Addr,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// A network namespace, in which 127.0.0.1 is another machine's. Gone with this guard.
#[derive(Debug)]
pub struct Machine {
    name: String,
    /// This machine's end of the cable.
    cable: String,
    /// Locked while a test has the machine, so that what one left that was killed may be cleared away.
    _taken: File,
}

/// The address of this machine at the first machine's cable, by which all of them reach it.
pub const HERE: Ipv4Addr = Ipv4Addr::new(10, 213, 1, 1);

impl Machine {
    /// The machine `number`, 1 to 250.
    ///
    /// # Errors
    /// This process may not make namespaces, or another test has this one.
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

    /// What comes before a command that is to run there; it becomes the command, with the same process id.
    pub fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Pulls the cable out.
    pub fn unplug(&self) -> Result<()> {
        ip(&["link", "set", &self.cable, "down"])
    }

    /// Plugs it in again.
    pub fn plug_in(&self) -> Result<()> {
        ip(&["link", "set", &self.cable, "up"])
    }

    fn clear_away(&self) {
        // The far end goes with the near one.
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
