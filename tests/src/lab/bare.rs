//! A root file system with a static busybox and no C library at all.

use std::path::Path;

use anyhow::Result;

use super::{
    docker::{Output, docker, docker_output, label},
    image::bare_image,
};

/// Where a program under test stands in it.
const PROGRAM: &str = "/program";

/// A system no dynamically linked program starts on.
#[derive(Debug)]
pub struct BareSystem {
    image: String,
}

impl BareSystem {
    /// Builds it, unless the engine has it.
    ///
    /// # Errors
    /// When the image can't be built.
    pub async fn prepare() -> Result<Self> {
        Ok(Self { image: bare_image().await? })
    }

    /// Every C library and dynamic loader in it: none.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn c_libraries(&self) -> Result<String> {
        let find = ["/bin/busybox", "find", "/", "-xdev", "-name", "libc.*", "-o", "-xdev", "-name", "ld-*"];
        let label = label();
        let mut arguments = vec!["run", "--rm", "--label", &label, "--network", "none", &self.image];
        arguments.extend(find);
        docker(&arguments).await
    }

    /// Runs a program of this machine in it.
    ///
    /// # Errors
    /// When the engine fails; the program's own failure is in the output.
    pub async fn run(&self, program: &Path, arguments: &[&str]) -> Result<Output> {
        let (label, mount) = (label(), format!("{}:{PROGRAM}:ro", program.display()));
        let mut run = vec!["run", "--rm", "--label", &label, "--network", "none", "--volume", &mount, &self.image];
        run.push(PROGRAM);
        run.extend(arguments);
        docker_output(&run, None).await
    }
}
