//! Makes sure that the dashboard's folder is there to be embedded, be it empty: building the program needs no Node. What
//! `npm run build` puts there is noticed.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let built = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("dashboard/dist");
    fs::create_dir_all(&built)?;
    println!("cargo:rerun-if-changed={}", built.display());
    Ok(())
}
