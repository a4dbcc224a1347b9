//! Where the programs of PostgreSQL are, and as whom they run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::geteuid;

/// The program of this name: `initdb`, `postgres` or `psql`.
pub(super) fn program(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        // All three from one place: those of two versions do not go together.
        let whole = |directory: &PathBuf| {
            ["initdb", "postgres", "psql"].iter().all(|name| directory.join(name).is_file())
        };
        candidates().into_iter().find(whole).expect(
            "there is no initdb with a postgres and a psql beside it: these tests need PostgreSQL \
             (on Debian: apt-get install postgresql); GRANTOR_POSTGRES_BIN can name its directory",
        )
    });
    directory.join(name)
}

fn candidates() -> Vec<PathBuf> {
    if let Some(named) = std::env::var_os("GRANTOR_POSTGRES_BIN") {
        return vec![named.into()];
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(said) = Command::new("pg_config").arg("--bindir").output() {
        candidates.push(String::from_utf8_lossy(&said.stdout).trim().into());
    }
    candidates.extend(of_debian(Path::new("/usr/lib/postgresql")));
    candidates
}

/// `/usr/lib/postgresql/15/bin` and its like, the newest first.
fn of_debian(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut versions: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    versions.sort_unstable();
    versions.iter().rev().map(|version| root.join(version.to_string()).join("bin")).collect()
}

/// A user of the system.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// As whom PostgreSQL runs, if not as whoever runs the test.
pub(super) fn user() -> Option<User> {
    geteuid().is_root().then(|| {
        let named = |name| {
            let number = |of| {
                let said = Command::new("id").args([of, name]).output().ok()?;
                String::from_utf8_lossy(&said.stdout).trim().parse().ok()
            };
            Some(User { uid: number("-u")?, gid: number("-g")? })
        };
        ["postgres", "nobody"]
            .into_iter()
            .find_map(named)
            .expect("PostgreSQL does not run as root, and there is neither postgres nor nobody")
    })
}

/// The words before a command that is to run as [`user`].
pub(super) fn as_user() -> Vec<String> {
    let Some(User { uid, gid }) = user() else { return vec![] };
    let words = [format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()];
    std::iter::once("setpriv".into()).chain(words).chain(["--".into()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_taken_first_by_its_number() {
        let root = std::env::temp_dir().join(format!("grantor-versions-{}", std::process::id()));
        for name in ["9", "15", "16", "common"] {
            fs::create_dir_all(root.join(name)).expect("a directory");
        }
        let found = of_debian(&root);
        fs::remove_dir_all(&root).expect("it is ours");
        assert_eq!(found, ["16", "15", "9"].map(|version| root.join(version).join("bin")));
    }
}
