//! Parses the command line, runs the command, says what went wrong.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use wecom_ledger::cli::{Cli, Failure, run};

fn main() -> ExitCode {
    // What this program writes is for its owner alone, whatever directory it is told to use.
    // SAFETY: only sets a number of the process; no other thread is there yet.
    unsafe { libc::umask(0o077) };
    // A write beyond the limit of a file's size (`ulimit -f`) is an error like a full disk, and no reason to die.
    // SAFETY: only says how a signal is treated; no other thread is there yet.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(Failure::Failed(error.into())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
