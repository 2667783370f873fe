//! Generates the record types without a system `protoc`: protox compiles the .proto file in Rust.
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/log_record.proto");
    let descriptors = protox::compile(["proto/log_record.proto"], ["proto"])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
