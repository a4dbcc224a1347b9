//! How much room a process and a store take.

use std::fs;
use std::path::Path;
use std::process::Command;

use grantor_bench::contender::Fatal;

/// What is taken, in bytes. What a store does not have is zero.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Space {
    /// The resident memory of this process.
    pub(crate) memory: u64,
    /// The blocks of the files of the store.
    pub(crate) disk: u64,
    /// `used_memory` of Redis, but for buffers.
    pub(crate) redis: u64,
    /// `DBSIZE` of Redis.
    pub(crate) redis_keys: u64,
}

fn resident() -> Result<u64, Fatal> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("statm is cut")?.parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}

fn blocks(path: &Path) -> Result<u64, Fatal> {
    use std::os::unix::fs::MetadataExt as _;

    let metadata = fs::symlink_metadata(path)?;
    let mut sum = metadata.blocks() * 512;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            sum += blocks(&entry?.path())?;
        }
    }
    Ok(sum)
}

fn redis_says(url: &str, command: &[&str]) -> Result<String, Fatal> {
    let output = Command::new("redis-cli").args(["-u", url]).args(command).output()?;
    if !output.status.success() {
        return Err(format!("redis-cli {command:?}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

impl Space {
    /// Now. `directory` is that of sled, `redis` the address of Redis.
    pub(crate) fn now(directory: Option<&Path>, redis: Option<&str>) -> Result<Self, Fatal> {
        let mut space = Self { memory: resident()?, ..Self::default() };
        if let Some(directory) = directory {
            space.disk = blocks(directory)?;
        }
        if let Some(url) = redis {
            let info = redis_says(url, &["INFO", "memory"])?;
            let says = |name: &str| -> Result<u64, Fatal> {
                let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                Ok(line.ok_or_else(|| format!("no {name}"))?.trim().parse()?)
            };
            // What is on its way to the file, or to a client, is gone in a moment.
            let passing = says("mem_aof_buffer")? + says("mem_clients_normal")?;
            space.redis = says("used_memory")?.saturating_sub(passing);
            space.redis_keys = redis_says(url, &["DBSIZE"])?.trim().parse()?;
        }
        Ok(space)
    }
}
