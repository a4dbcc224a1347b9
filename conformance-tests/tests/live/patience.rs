//! How long anything may take before it counts as stuck, and what is said about it then.

use std::future::Future;
use std::process::Command;
use std::time::Duration;

/// Nothing takes this long, however slow the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits, and fails with the state of every server of this test program if it takes for ever.
pub(crate) async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(done) => done,
        Err(_) => panic!("{what} took more than {PATIENCE:?}\n{}", servers()),
    }
}

/// What every server that this program started is doing: the stacks of its threads where a debugger
/// is at hand, the states of its threads otherwise.
pub(crate) fn servers() -> String {
    let own = std::process::id().to_string();
    let Ok(processes) = std::fs::read_dir("/proc") else { return String::new() };
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let children = ids.filter(|id| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|p| p.trim() == own))
    });
    children.map(|id| state(&id)).collect()
}

fn state(id: &str) -> String {
    let read = |name: &str| {
        let bytes = std::fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    let mut text = format!("\nprocess {id}: {}\n", read("cmdline"));
    let stacks = Command::new("timeout")
        .args(["60", "gdb", "-p", id, "-batch", "-ex", "thread apply all backtrace 30"])
        .output();
    match stacks {
        Ok(output) if output.status.success() => {
            text += &String::from_utf8_lossy(&output.stdout);
        }
        _ => {
            let threads = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten();
            for thread in threads.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
                let of = |name: &str| read(&format!("task/{thread}/{name}")).trim().to_owned();
                text += &format!(
                    "thread {thread} {}: {} {} {}\n",
                    of("comm"),
                    of("wchan"),
                    of("syscall"),
                    of("stack")
                );
            }
        }
    }
    text
}
