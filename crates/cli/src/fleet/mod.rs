//! `lookout fleet`.

mod view;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use lookout_args::FleetArgs;
use lookout_broker::{ReadFrom, ReadRecord, ReaderOptions, RecordReader};
use lookout_schema::{RecordKind, Timestamp};
use tokio::time::{Instant, timeout_at};

use crate::{
    check::WRONG_INPUT,
    cluster::{Cluster, cluster},
};

use self::view::FleetView;

/// Refresh interval.
const REFRESH: Duration = Duration::from_secs(1);
/// ANSI escape codes that move the cursor to the upper left corner and clear the terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(crate) fn run(args: &FleetArgs) -> ExitCode {
    let cluster = match cluster(&args.cluster) {
        Ok(cluster) => cluster,
        Err(what) => {
            let _ = writeln!(io::stderr(), "lookout fleet: {what}");
            return ExitCode::from(WRONG_INPUT);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let shown =
        runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(show(args, &cluster)));
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the pipe has closed it, which is not an error.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(is_broken_pipe) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "lookout fleet: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

async fn show(args: &FleetArgs, cluster: &Cluster) -> anyhow::Result<()> {
    let window = Duration::from_secs(args.max_age);
    let options = ReaderOptions {
        from: ReadFrom::Ago(window),
        kinds: vec![RecordKind::Status],
        until_end: args.once,
        ..ReaderOptions::default()
    };
    let mut reader = RecordReader::open(&cluster.kafka, &options).await?;
    let mut view = FleetView::new(window);
    let mut due = Instant::now() + REFRESH;
    loop {
        let at_end = if args.once {
            match reader.next().await? {
                Some(record) => {
                    update_view(&mut view, record);
                    continue;
                }
                None => true,
            }
        } else {
            if let Ok(record) = timeout_at(due, reader.next()).await {
                record?.into_iter().for_each(|record| update_view(&mut view, record));
                if Instant::now() < due {
                    continue;
                }
            }
            false
        };
        print(&mut view, args)?;
        if at_end {
            return Ok(());
        }
        due = Instant::now() + REFRESH;
    }
}

fn update_view(view: &mut FleetView, record: ReadRecord) {
    if let ReadRecord::Status(status) = record {
        view.update(*status);
    }
}

fn print(view: &mut FleetView, args: &FleetArgs) -> anyhow::Result<()> {
    let snapshot = view.snapshot(Timestamp::now());
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&snapshot)?)?;
    } else {
        let clear = if !args.once && io::stdout().is_terminal() { CLEAR } else { "" };
        writeln!(out, "{clear}{snapshot}")?;
    }
    out.flush()?;
    Ok(())
}
