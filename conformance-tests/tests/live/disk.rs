//! A disk that is full: 503, nothing corrupt, and service back when there is room.

use std::path::{Path, PathBuf};
use std::process::Command;

use http::{Method, StatusCode};

use crate::process::Home;
use crate::walk::Browser;

/// A small file system of its own, gone with the test.
struct SmallDisk {
    _guard: tempfile::TempDir,
    path: PathBuf,
}

impl SmallDisk {
    /// `None` where this process may not mount: the reason was printed.
    fn mount() -> Option<Self> {
        let guard = tempfile::TempDir::new().expect("a directory");
        let path = guard.path().join("disk");
        std::fs::create_dir(&path).expect("a mount point");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "grantor-test"])
            .arg(&path)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { _guard: guard, path }),
            other => {
                println!("NOT POSSIBLE HERE: mounting a tmpfs needs root: {other:?}");
                None
            }
        }
    }

    fn fill(&self) -> PathBuf {
        let filler = self.path.join("filler");
        let _ = Command::new("dd")
            .args(["if=/dev/zero", "bs=64k", &format!("of={}", filler.display())])
            .output()
            .expect("dd");
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).output();
    }
}

/// A file system in a file, mounted.
pub(crate) struct Image {
    device: String,
    point: PathBuf,
}

impl Image {
    /// A new one of 256 MiB; `None` where this process may not mount: the reason was printed.
    pub(crate) fn create(image: &Path, point: &Path) -> Option<Self> {
        let file = std::fs::File::create(image).expect("a file");
        file.set_len(256 * 1024 * 1024).expect("a sparse file");
        command("mkfs.ext4", &["-q", "-F", text(image)]).expect("mkfs.ext4");
        std::fs::create_dir(point).expect("a mount point");
        Self::mount(image, point)
            .inspect_err(|error| {
                println!(
                    "NOT POSSIBLE HERE: mounting an image needs root and loop devices: {error}"
                );
                assert!(!is_root(), "root can mount: {error}");
            })
            .ok()
    }

    pub(crate) fn mount(image: &Path, point: &Path) -> Result<Self, String> {
        let device = command("losetup", &["--find", "--show", text(image)])?;
        let mounted = Self { device, point: point.to_owned() };
        command("mount", &["-t", "ext4", &mounted.device, text(point)])?;
        Ok(mounted)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = command("umount", &[text(&self.point)]);
        let _ = command("losetup", &["--detach", &self.device]);
    }
}

fn command(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| e.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn is_root() -> bool {
    Path::new("/proc/self").metadata().is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_503_and_room_brings_the_service_back() {
    // ATTACKS F05, K04; requirements 7009-010, HTTP-009.
    let Some(disk) = SmallDisk::mount() else {
        assert!(!is_root(), "root can mount");
        return;
    };
    let home = Home::at(disk.path.clone());
    let mut server = home.start().await;
    let client = server.client();
    let browser = Browser::connect(&server, &client).await;
    let mut connection = server.connect().await;
    let code = browser.code(&mut connection, &client).await.expect("a code");
    let tokens = client.redeem(&mut connection, &code).await.expect("an answer");
    let mut refresh = tokens.text("refresh_token");

    let filler = disk.fill();
    // The store has room left in the segments it has allocated; go on until that is used up too.
    let mut answers = 0;
    let full = loop {
        let answer = client.refresh(&mut connection, &refresh).await.expect("an answer");
        if answer.status != StatusCode::OK {
            break answer;
        }
        refresh = answer.text("refresh_token");
        answers += 1;
        assert!(answers < 200_000, "the disk never filled up");
    };
    assert_eq!(full.status, StatusCode::SERVICE_UNAVAILABLE, "{full:?}");
    assert_eq!(full.text("error"), "temporarily_unavailable");
    assert!(full.headers.contains_key("retry-after"), "{full:?}");
    let revoked = client.revoke(&mut connection, &refresh).await.expect("an answer");
    assert_eq!(
        revoked.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "a revocation is never only pretended"
    );
    let ready = connection.send(Method::GET, "/readyz", &[], &[]).await.expect("an answer");
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);

    std::fs::remove_file(filler).expect("room again");
    let mut back = None;
    for _ in 0..100 {
        let answer = client.refresh(&mut connection, &refresh).await.expect("an answer");
        if answer.status == StatusCode::OK {
            back = Some(answer);
            break;
        }
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let back = back.expect("the service comes back by itself");
    assert!(server.is_running(), "without a restart");
    let active = client.is_active(&mut connection, &back.text("access_token")).await;
    assert_eq!(active, Some(true));
    server.kill();
    let server = home.start().await;
    let mut connection = server.connect().await;
    let again =
        client.refresh(&mut connection, &back.text("refresh_token")).await.expect("an answer");
    assert_eq!(again.status, StatusCode::OK, "and all of it is on disk");
    println!("full after {answers} more answers; back, and whole after a restart");
}
