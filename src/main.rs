//! The front door: everything lives in the library.

fn main() -> std::process::ExitCode {
    candlewick::cli::main()
}
