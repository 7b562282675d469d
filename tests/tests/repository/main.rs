//! Tests of the repository's files: crates and their dependencies, and the files of a deployment.

mod architecture;
mod deploy;
