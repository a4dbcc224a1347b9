//! Where and when it was measured.

use std::fs;
use std::process::Command;

use crate::contender::Fatal;

/// The load averages.
pub fn load() -> Result<String, Fatal> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| format!("no {program}"))
}

/// A paragraph about it.
pub fn describe(before: &str) -> Result<String, Fatal> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let values = |name: &str| -> Vec<&str> {
        let lines = cpus.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.split_once(':')).map(|(_, value)| value.trim()).collect()
    };
    let model = values("model name").first().copied().unwrap_or("an unknown processor");
    let cores = values("processor").len();
    Ok(format!(
        "{}, {cores} cores of {model}, Linux {}, {}, Node {}, {}; load before: {before}, after: {}.",
        said("date", &["-u", "+%F %H:%M UTC"]),
        said("uname", &["-r"]),
        said("rustc", &["--version"]),
        said("node", &["--version"]),
        said("redis-server", &["--version"]).split(" sha").next().unwrap_or_default(),
        load()?,
    ))
}
