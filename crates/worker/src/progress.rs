//! The progress display on a terminal.

use std::io::{self, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{metrics::Metrics, roster::Roster};

/// One line per camera, which is updated below the log. Nothing is shown if standard error is not a terminal; the log
/// is enough there.
#[derive(Debug, Clone)]
pub struct Progress {
    lines: MultiProgress,
    shown: bool,
}

impl Progress {
    /// Creates a display that is shown if standard error is a terminal.
    pub fn on_terminal() -> Self {
        let shown = io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr_with_hz(4) } else { ProgressDrawTarget::hidden() };
        Self { lines: MultiProgress::with_draw_target(target), shown }
    }

    /// Returns the writer for the log, whose output appears above the lines.
    pub fn log_writer(&self) -> impl Write + use<> {
        AboveLines(self.lines.clone())
    }

    pub(crate) fn is_shown(&self) -> bool {
        self.shown
    }

    pub(crate) fn start(&self) -> CameraLines {
        CameraLines { on: self.shown.then(|| self.lines.clone()), waiting: None, lines: Vec::new() }
    }
}

/// The cameras' lines, in the roster's order.
#[derive(Debug)]
pub(crate) struct CameraLines {
    /// `None` if the lines are not shown.
    on: Option<MultiProgress>,
    /// The line above the cameras' lines, with what the worker waits for.
    waiting: Option<ProgressBar>,
    lines: Vec<ProgressBar>,
}

/// Maximum number of cameras that are shown.
const MAX_LINES: usize = 100;

impl CameraLines {
    /// Updates the lines with the cameras' states, and with what the worker is `waiting` for before frames flow.
    pub(crate) fn update(&mut self, roster: &Roster, metrics: &Metrics, waiting: Option<&str>) {
        self.show_waiting(waiting);
        self.resize(roster.iter().len().min(MAX_LINES));
        let width = roster.iter().map(|camera| camera.settings.id.as_str().len()).max().unwrap_or(0);
        for (line, camera) in self.lines.iter().zip(roster.iter()) {
            let counts = camera.ledger.counts();
            let age = metrics.last_age(&camera.settings.id);
            let age = age.map_or_else(|| "-".into(), |age| format!("{} ms", age.as_millis()));
            line.set_message(format!(
                "{:width$}  {:10}  {:6.1} fps  age {age:>8}  delivered {:>8}  dropped {:>6}{}",
                camera.settings.id.as_str(),
                camera.status.as_str(),
                camera.fps,
                counts.delivered,
                counts.dropped.values().sum::<u64>(),
                camera.detail.as_deref().map(|detail| format!("  {detail}")).unwrap_or_default(),
            ));
        }
    }
}

impl CameraLines {
    fn show_waiting(&mut self, waiting: Option<&str>) {
        let Some(on) = &self.on else { return };
        match waiting {
            Some(what) => {
                let line = self.waiting.get_or_insert_with(|| on.insert(0, line()));
                line.set_message(format!("waiting for {what}"));
            }
            None => {
                if let Some(line) = self.waiting.take() {
                    line.finish_and_clear();
                    on.remove(&line);
                }
            }
        }
    }

    fn resize(&mut self, wanted: usize) {
        let Some(on) = &self.on else { return };
        while self.lines.len() > wanted
            && let Some(line) = self.lines.pop()
        {
            line.finish_and_clear();
            on.remove(&line);
        }
        while self.lines.len() < wanted {
            self.lines.push(on.add(line()));
        }
    }
}

fn line() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new_spinner().with_style(style)
}

impl Drop for CameraLines {
    fn drop(&mut self) {
        self.waiting.iter().chain(&self.lines).for_each(ProgressBar::finish_and_clear);
    }
}

struct AboveLines(MultiProgress);

impl Write for AboveLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
