//! A second process is refused, and a third is not once the first is gone.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a campaign reports by printing and panicking"
)]

mod campaign;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use grantor_sled::{OpenError, SledStorage};
use tempfile::TempDir;

const OPENED: i32 = 0;
const IN_USE: i32 = 10;

fn open_in_another_process(directory: &Path) -> Option<i32> {
    let mut child =
        campaign::command("open", directory).spawn().expect("this program starts again");
    campaign::wait(&mut child, Duration::from_secs(30)).and_then(|status| status.code())
}

fn main() -> ExitCode {
    if let Some((_, directory)) = campaign::role() {
        return match SledStorage::open(&directory) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error @ OpenError::InUse { .. }) => {
                println!("{error}");
                ExitCode::from(u8::try_from(IN_USE).expect("small"))
            }
            Err(error) => panic!("{error}"),
        };
    }
    let parent = TempDir::new().expect("a temporary directory");
    let directory = parent.path().join("a/b/data");
    let store = SledStorage::open(&directory).expect("opens");

    // ATTACKS K03; and a mode that somebody loosened is tightened again.
    let mode = || {
        let meta = std::fs::metadata(&directory).expect("it is there");
        meta.permissions().mode() & 0o777
    };
    assert_eq!(mode(), 0o700, "a fresh directory is its owner's");
    for item in std::fs::read_dir(&directory).expect("it is there") {
        let item = item.expect("it is there");
        let meta = item.metadata().expect("it is there");
        if meta.is_file() {
            assert_eq!(
                meta.permissions().mode() & 0o077,
                0,
                "{:?} is its owner's",
                item.file_name()
            );
        }
    }

    assert_eq!(
        open_in_another_process(&directory),
        Some(IN_USE),
        "two processes on one directory destroy it"
    );
    drop(store);
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755))
        .expect("it is ours");
    assert_eq!(open_in_another_process(&directory), Some(OPENED));
    assert_eq!(mode(), 0o700, "an opening tightens the mode");
    println!("two processes: the second was refused");
    ExitCode::SUCCESS
}
