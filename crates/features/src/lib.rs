//! Has no code: its manifest unifies the features of the dependencies that the crates of the workspace share.
