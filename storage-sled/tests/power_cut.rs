//! The power fails while a process writes: everything acknowledged is there.
//!
//! The data directory is on an ext4 image. The process that writes is stopped after so many
//! acknowledgements, and the file behind the image is copied: it holds what the file system had given to the disk by then, and
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
use std::sync::Arc;
use std::time::{Duration, Instant};

use campaign::{Random, block_on, run, text};
use grantor_conformance::storage::crash::{Ledger, Victim, write};
use grantor_conformance::storage::serve_if_asked;
use grantor_sled::SledStorage;
use tempfile::TempDir;

const IMAGE_SIZE: u64 = 512 * 1024 * 1024;
const GENERATION: u64 = 10;
/// For what takes a second.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// Puts load on the store until so many more commits were acknowledged, and for so long at least; then
/// the process stands still, and the file behind its disk is copied.
async fn cut(
    data: &Path,
    ledger: &Arc<Ledger>,
    more: u64,
    at_least: Duration,
    copy: impl FnOnce(),
) {
    let victim = Victim::start(text(data)).await;
    let load = tokio::spawn(write(victim.store(), Arc::clone(ledger), u64::MAX));
    let (started, goal) = (Instant::now(), ledger.acknowledged() + more);
    while ledger.acknowledged() < goal || started.elapsed() < at_least {
        assert!(started.elapsed() < PATIENCE, "the store acknowledges nothing any more");
        assert!(!load.is_finished(), "the process that writes ended by itself");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop(victim.id());
    copy();
    victim.kill();
    load.await.expect("the writers end when their store is gone");
}

/// Stops a process, and waits until it stands still.
fn stop(id: u32) {
    run("kill", &["-STOP", &id.to_string()]).expect("the process runs");
    let stat = format!("/proc/{id}/stat");
    loop {
        let stat = std::fs::read_to_string(&stat).expect("the process is a child");
        if stat.contains(") T ") {
            return;
        }
        assert!(!stat.contains(") Z "), "the process ended before it was stopped");
        std::thread::yield_now();
    }
}

fn main() -> ExitCode {
    serve_if_asked::<campaign::Sled>();
    let here = TempDir::new().expect("a temporary directory");
    let image = here.path().join("image");
    let point = here.path().join("disk");
    let tried = fresh_image(&image).and_then(|()| Mounted::new(&image, &point));
    if let Err(why) = tried.map(drop) {
        return campaign::not_possible_here("THE POWER CUT CAMPAIGN", &why);
    }

    let rounds = campaign::rounds(4);
    let mut random = Random::new();
    let mut ledger = Arc::new(Ledger::default());
    let (mut acknowledged, mut lost, mut unopened) = (0, 0, 0);
    for round in 0..rounds {
        if round.is_multiple_of(GENERATION) {
            fresh_image(&image).expect("it worked before");
            ledger = Arc::default();
        }
        let before = ledger.acknowledged();
        let copy = here.path().join("copy");
        {
            let _disk = Mounted::new(&image, &point).expect("it worked before");
            // Now and then long enough for the kernel to write back by itself.
            let long = if round % 10 == 9 { 3_000 } else { 0 };
            let more = 1 + random.below(4_000);
            block_on(cut(&point.join("data"), &ledger, more, Duration::from_millis(long), || {
                run("cp", &["--sparse=always", text(&image), text(&copy)])
                    .map(drop)
                    .expect("room for a copy");
            }));
        }
        acknowledged += ledger.acknowledged() - before;
        std::fs::rename(&copy, &image).expect("the copy is the disk now");

        let disk = Mounted::new(&image, &point).expect("ext4 recovers");
        match SledStorage::open(point.join("data")) {
            Ok(store) => {
                let problems = block_on(ledger.check(&store));
                campaign::show(&problems);
                lost += problems.len();
            }
            Err(error) => {
                println!("round {round}: {error}: {:?}", std::error::Error::source(&error));
                unopened += 1;
                drop(disk);
                fresh_image(&image).expect("it worked before");
                ledger = Arc::default();
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
