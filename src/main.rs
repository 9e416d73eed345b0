//! The `mina-auth` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    mina_auth::cli::main()
}
