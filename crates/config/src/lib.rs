//! Pipeline files: TOML to validated settings, every mistake at once.
