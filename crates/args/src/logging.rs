//! The log of the programs: what `LOOKOUT_LOG` selects, on standard error.

use std::{
    env,
    io::{self, IsTerminal},
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Starts the log of this process, which `writer` prints on standard error.
///
/// `LOOKOUT_LOG` selects what is logged, and `default` where it is unset or not a valid filter. Colors are written to a
/// terminal only, and not where `NO_COLOR` is set (<https://no-color.org>), so that a log file is plain text.
pub fn start<W>(default: &str, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_from_env("LOOKOUT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let colors = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colors).with_writer(writer).init();
}
