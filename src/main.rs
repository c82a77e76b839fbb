//! The program. What it does begins in [`wecom_ledger::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    wecom_ledger::cli::main()
}
