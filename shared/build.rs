//! The only code generation: `protox` compiles the protos, so no `protoc` is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let protos = [
        "muster/v1/change.proto",
        "muster/v1/command.proto",
        "muster/v1/enroll.proto",
        "muster/v1/link.proto",
        "muster/v1/executor.proto",
        "muster/v1/fleet.proto",
    ];
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(protos, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .build_server(env::var_os("CARGO_FEATURE_SERVER").is_some())
        .bytes(".muster.v1.Frame.payload")
        .compile_fds(descriptors)?;
    Ok(())
}
