//! The power fails while a process writes: everything acknowledged is there.
//!
//! The data directory is on an ext4 image. The writer is stopped at a random moment, and the file
//! behind the image is copied: it holds what the file system had given to the disk by then, and
//! nothing of what was still in memory. The copy is mounted, opened, checked, and written to in the
//! next round. Needs root and loop devices.
//!
//! `GRANTOR_ROUNDS=200 cargo test -p grantor-sled --release --test power_cut`

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a campaign reports by printing and panicking"
)]

mod campaign;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use campaign::{Ledger, Random, Writer, run, text};
use grantor_sled::{SledConfig, SledStorage};
use tempfile::TempDir;

const IMAGE_SIZE: u64 = 512 * 1024 * 1024;
const GENERATION: u64 = 10;

/// A mounted image; taken apart when it is dropped.
struct Mounted {
    device: String,
    point: PathBuf,
}

impl Mounted {
    fn new(image: &Path, point: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(point).map_err(|error| error.to_string())?;
        let device = run("losetup", &["--find", "--show", text(image)])?;
        let mounted = run("mount", &["-t", "ext4", &device, text(point)]);
        if let Err(error) = mounted {
            let _ = run("losetup", &["--detach", &device]);
            return Err(error);
        }
        Ok(Self { device, point: point.to_owned() })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for (program, arguments) in
            [("umount", [text(&self.point)].as_slice()), ("losetup", &["--detach", &self.device])]
        {
            if let Err(error) = run(program, arguments) {
                println!("{error}");
            }
        }
    }
}

fn fresh_image(path: &Path) -> Result<(), String> {
    let file = std::fs::File::create(path).map_err(|error| error.to_string())?;
    file.set_len(IMAGE_SIZE).map_err(|error| error.to_string())?;
    run("mkfs.ext4", &["-q", "-F", text(path)]).map(drop)
}

fn main() -> ExitCode {
    if let Some((_, directory)) = campaign::role() {
        return campaign::write_role(&directory, SledConfig::new(), campaign::UNTIL_KILLED);
    }
    let here = TempDir::new().expect("a temporary directory");
    let image = here.path().join("image");
    let point = here.path().join("disk");
    let tried = fresh_image(&image).and_then(|()| Mounted::new(&image, &point));
    if let Err(why) = tried.map(drop) {
        return campaign::not_possible_here("THE POWER CUT CAMPAIGN", &why);
    }

    let rounds = campaign::rounds(4);
    let mut random = Random::new();
    let mut ledger = Ledger::default();
    let (mut acknowledged, mut lost, mut unopened) = (0, 0, 0);
    for round in 0..rounds {
        if round.is_multiple_of(GENERATION) {
            fresh_image(&image).expect("it worked before");
            ledger = Ledger::default();
        }
        let before = ledger.count;
        let copy = here.path().join("copy");
        {
            let _disk = Mounted::new(&image, &point).expect("it worked before");
            let mut writer = Writer::start("write", &point.join("data"));
            // Now and then long enough for the kernel to write back by itself.
            let long = round % 10 == 9;
            let limit = if long { 3_000 } else { 400 };
            std::thread::sleep(Duration::from_millis(20 + random.below(limit)));
            writer.stop();
            run("cp", &["--sparse=always", text(&image), text(&copy)]).expect("room for a copy");
            writer.kill(&mut ledger);
        }
        acknowledged += ledger.count - before;
        std::fs::rename(&copy, &image).expect("the copy is the disk now");

        let _disk = Mounted::new(&image, &point).expect("ext4 recovers");
        match SledStorage::open(point.join("data")) {
            Ok(store) => {
                let problems = ledger.missing_from(&store);
                campaign::show(&problems);
                lost += problems.len();
            }
            Err(error) => {
                println!("round {round}: {error}: {:?}", std::error::Error::source(&error));
                unopened += 1;
                fresh_image_after(&image, _disk);
                ledger = Ledger::default();
            }
        }
    }
    println!(
        "power cut: {rounds} rounds, {acknowledged} acknowledged, {lost} lost, {unopened} not \
         opened"
    );
    assert!(acknowledged > 0, "the writers never got to write");
    if lost == 0 && unopened == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fresh_image_after(image: &Path, disk: Mounted) {
    drop(disk);
    fresh_image(image).expect("it worked before");
}
