//! What each request costs, and how much room each grant takes, while grants pile up: see the README.

mod cost;
mod one;
mod space;
mod sweeping;
mod table;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use grantor_bench::contender::Fatal;
use grantor_bench::{machine, readme};

use crate::one::{Made, Outcome, Store};

/// Where stores lie while they are measured.
const DATA: &str = "scale-data";
/// How long one measurement may take, and how much longer for each grant.
const PATIENCE: Duration = Duration::from_secs(300);
const GRANT_PATIENCE: Duration = Duration::from_micros(300);

/// What was asked for.
#[derive(Debug)]
struct Options {
    grants: Vec<u64>,
    stores: Vec<Store>,
    place: PathBuf,
    /// A README to be brought up to date, and how this was asked for.
    readme: Option<(PathBuf, String)>,
    /// Of sled, in bytes, if it is not to be the default.
    sled_cache: Option<u64>,
    /// One measurement, in this very process.
    one: Option<(Store, u64, Made)>,
}

fn options() -> Result<Options, Fatal> {
    let mut options = Options {
        grants: vec![10_000, 100_000],
        stores: Store::ALL.to_vec(),
        place: PathBuf::from("target/bench"),
        readme: None,
        sled_cache: None,
        one: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} what?"));
        match argument.as_str() {
            "--full" => options.grants = vec![10_000, 1_000_000, 10_000_000],
            "--grants" => {
                let sizes = value()?;
                options.grants = sizes.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--stores" => {
                options.stores = value()?.split(',').map(Store::named).collect::<Result<_, _>>()?;
            }
            "--place" => options.place = value()?.into(),
            "--readme" => options.readme = Some((value()?.into(), value()?)),
            "--sled-cache" => options.sled_cache = Some(value()?.parse::<u64>()? << 20),
            "--one" => {
                let (store, grants) = (Store::named(&value()?)?, value()?.parse()?);
                options.one = Some((store, grants, Made::named(&value()?)?));
            }
            _ => return Err(format!("there is no {argument}").into()),
        }
    }
    if options.grants.iter().any(|&grants| grants < 1000) {
        return Err("less than a thousand grants say nothing".into());
    }
    Ok(options)
}

/// One measurement in a process of its own: nothing that was there before is in its memory.
fn apart(options: &Options, store: Store, grants: u64, made: Made) -> Result<Outcome, Fatal> {
    let mut child = Command::new("taskset")
        .args(["-c", "0"])
        .arg(std::env::current_exe()?)
        .args(["--one", store.name(), &grants.to_string(), made.name(), "--place"])
        .arg(&options.place)
        .args(
            options
                .sled_cache
                .iter()
                .flat_map(|bytes| ["--sled-cache".to_owned(), (bytes >> 20).to_string()]),
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
                let left = options.place.join(DATA);
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
    fs::write(options.place.join("scale.json"), serde_json::to_string_pretty(&json)? + "\n")?;
    fs::write(options.place.join("scale.md"), &report)?;
    writeln!(std::io::stdout(), "{report}")?;
    if let Some((readme, command)) = &options.readme {
        readme::replace(readme, "scale", &format!("`{command}`, {report}"))?;
    }
    Ok(failures.is_empty())
}

fn measure() -> Result<bool, Fatal> {
    let options = options()?;
    let place = options.place.join(DATA);
    fs::create_dir_all(&place)?;
    let Some((store, grants, made)) = options.one else { return measure_all(&options) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(one::run(store, grants, made, &place, options.sled_cache))?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&outcome)?)?;
    Ok(true)
}

fn main() -> ExitCode {
    match measure() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}
