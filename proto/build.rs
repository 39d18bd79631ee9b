//! Compiles the `.proto` files with a pure-Rust compiler, so that no `protoc` is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(
        ["hedgerow/v1/frame.proto", "hedgerow/v1/bundle.proto", "mvds/payload.proto"],
        ["proto"],
    )?;
    prost_build::Config::new().bytes(["."]).compile_fds(files)?;
    Ok(())
}
