//! Generates the types of `schemas/lookout.proto`. It is compiled with protox, so that the build does not
//! need protoc.

use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let schemas = Path::new("../../schemas");
    println!("cargo::rerun-if-changed={}", schemas.join("lookout.proto").display());
    println!("cargo::rerun-if-changed=build.rs");
    let files = protox::compile(["lookout.proto"], [schemas])?;
    prost_build::Config::new().btree_map(["."]).compile_fds(files)?;
    Ok(())
}
