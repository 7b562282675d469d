//! Logging of the programs to standard error, with the filter from `LOOKOUT_LOG`.

use std::{
    env,
    io::{self, IsTerminal},
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Initializes the log of this process. `writer` must write to standard error.
///
/// The filter is `LOOKOUT_LOG`, or `default` if `LOOKOUT_LOG` is unset or not a valid filter. Colors are
/// written only if standard error is a terminal and `NO_COLOR` is not set (<https://no-color.org>), so that
/// log files are plain text.
pub fn start<W>(default: &str, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_from_env("LOOKOUT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let colors = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colors).with_writer(writer).init();
}
