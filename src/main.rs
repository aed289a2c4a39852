//! Exit codes and nothing else.

/// Transient buffers of connections that leave for a shard are given back to the system; glibc's heap keeps them.
#[global_allocator]
static ALLOCATOR: perihelion::sys::Allocator = perihelion::sys::Allocator;

fn main() -> std::process::ExitCode {
    perihelion::cli::main()
}
