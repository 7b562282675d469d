//! Device threads: a batch goes in, results rejoined with their headers come out.
