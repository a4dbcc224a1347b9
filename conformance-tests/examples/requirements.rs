//! Writes `conformance-tests/REQUIREMENTS.md`: the catalogue of requirements, and the tests that show each.
//!
//! `cargo run -p grantor-conformance --example requirements`

use std::path::Path;
use std::{fs, io};

use grantor_conformance::requirements::{table, trace::Trace};

fn main() -> io::Result<()> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let trace = Trace::read(&package.join(".."))?;
    fs::write(package.join("REQUIREMENTS.md"), table(&trace))
}
