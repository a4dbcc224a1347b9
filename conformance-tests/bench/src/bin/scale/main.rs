//! What each request costs, and how much room each grant takes, while grants pile up: see the README.

mod cost;
mod one;
mod space;
mod sweeping;
mod table;

use std::fs;
use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use grantor_bench::contender::Fatal;
use grantor_bench::machine;
use grantor_bench::program::{self, Output};
use grantor_bench::readme::Section;

use crate::one::{Made, Outcome, Store};

/// Where stores lie while they are measured.
const DATA: &str = "scale-data";
/// How long one measurement may take, and how much longer for each grant.
const PATIENCE: Duration = Duration::from_secs(300);
const GRANT_PATIENCE: Duration = Duration::from_micros(300);

/// What each request costs, and how much room each grant takes, while grants pile up.
#[derive(Debug, Parser)]
#[command(name = "scale", after_help = "`run scale` takes --into-readme as well.")]
struct Options {
    /// How many grants there are.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000")]
    #[arg(default_value_if("full", "true", "10000,1000000,10000000"))]
    // Less than a thousand say nothing.
    #[arg(value_parser = clap::value_parser!(u64).range(1000..))]
    grants: Vec<u64>,
    /// 10 thousand grants, one and ten million.
    #[arg(long)]
    full: bool,
    /// Where they are.
    #[arg(long, value_delimiter = ',', default_value = "memory,sled,redis")]
    stores: Vec<Store>,
    /// Of sled, in MiB, if it is not to be the default.
    #[arg(long, value_name = "MIB")]
    sled_cache: Option<u64>,
    /// Of the first store and number, made in this way, in this very process: what it says is read by another.
    #[arg(long, hide = true)]
    one: Option<Made>,
    #[command(flatten)]
    output: Output,
}

/// One measurement in a process of its own: nothing that was there before is in its memory.
fn apart(options: &Options, store: Store, grants: u64, made: Made) -> Result<Outcome, Fatal> {
    let mut child = Command::new("taskset")
        .args(["-c", "0"])
        .arg(std::env::current_exe()?)
        .args(["--stores", store.name(), "--grants", &grants.to_string()])
        .args(["--one", made.name(), "--place"])
        .arg(&options.output.place)
        .args(
            options.sled_cache.iter().flat_map(|mib| ["--sled-cache".to_owned(), mib.to_string()]),
        )
        .stdout(Stdio::piped())
        .spawn()?;
    let (began, patience) = (Instant::now(), PATIENCE + GRANT_PATIENCE * u32::try_from(grants)?);
    // What it says at its end fits into a pipe.
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > patience {
            child.kill()?;
            break child.wait()?;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    if !status.success() {
        let took = began.elapsed().as_secs();
        let what = format!("{} {grants} {}", store.name(), made.name());
        return Err(format!("{what}: {status} after {took} of {} s", patience.as_secs()).into());
    }
    Ok(serde_json::from_reader(child.stdout.ok_or("no output")?)?)
}

fn measure_all(options: &Options) -> Result<bool, Fatal> {
    let load = machine::load()?;
    let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
    let (least, most) = (options.grants.iter().min(), options.grants.iter().max());
    for &store in &options.stores {
        for &grants in &options.grants {
            let mut ways = vec![Made::Own];
            if Some(&grants) == least {
                ways.push(Made::Flow);
            }
            // The largest would take long to say the same as the one below it.
            if Some(&grants) != least && (Some(&grants) != most || options.grants.len() == 2) {
                ways.push(Made::Few);
            }
            for made in ways {
                let measured = apart(options, store, grants, made);
                // Gigabytes, where it failed.
                let left = options.output.place.join(DATA);
                if left.exists() {
                    fs::remove_dir_all(left)?;
                }
                match measured {
                    Ok(outcome) => outcomes.push(outcome),
                    Err(error) => {
                        writeln!(std::io::stderr(), "{error}")?;
                        failures.push(error.to_string());
                    }
                }
            }
        }
    }
    let machine = machine::describe(&load)?;
    let report = table::report(&outcomes, &failures, &machine);
    let json = serde_json::json!({"machine": machine, "outcomes": outcomes, "failures": failures});
    options.output.write(Section::Scale, &report, &json)?;
    Ok(failures.is_empty())
}

fn measure(options: Options) -> Result<bool, Fatal> {
    let place = options.output.place.join(DATA);
    fs::create_dir_all(&place)?;
    let Some(made) = options.one else { return measure_all(&options) };
    let (Some(&store), Some(&grants)) = (options.stores.first(), options.grants.first()) else {
        return Err("of which store, and how many grants?".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sled_cache = options.sled_cache.map(|mib| mib << 20);
    let outcome = runtime.block_on(one::run(store, grants, made, &place, sled_cache))?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&outcome)?)?;
    Ok(true)
}

fn main() -> ExitCode {
    program::run(measure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_stores_are_lists() -> Result<(), Fatal> {
        let asked = |said: &str| {
            Options::try_parse_from(["scale"].into_iter().chain(said.split_whitespace()))
        };
        let usual = asked("")?;
        assert_eq!((usual.grants, usual.stores), (vec![10_000, 100_000], Store::ALL.to_vec()));
        assert_eq!(asked("--full")?.grants, [10_000, 1_000_000, 10_000_000]);
        let some = asked("--grants 50000,500000 --stores redis,sled --sled-cache 4096")?;
        assert_eq!(
            (some.grants, some.stores),
            (vec![50_000, 500_000], vec![Store::Redis, Store::Sled])
        );
        assert_eq!(some.sled_cache, Some(4096));
        assert!(asked("--grants 999").is_err());
        assert!(asked("--stores disk").is_err());
        Ok(())
    }
}
