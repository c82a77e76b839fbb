//! The program. What it does begins in [`wecom_ledger::cli`].

use std::process::ExitCode;

/// Calls are made on some threads, decided on another and written on a third: memory that is given back on another thread
/// than it was taken on is dear to the system's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wecom_ledger::cli::main()
}
