//! How long requests for tokens take while something else goes on: see the README.

mod client;
mod scenario;
mod table;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use grantor_bench::contender::Fatal;
use grantor_bench::{machine, readme};

use crate::scenario::{ALL, Extent, Scenario, run};

/// What was asked for.
#[derive(Debug)]
struct Options {
    extent: Extent,
    place: PathBuf,
    /// A README to be brought up to date, and how this was asked for.
    readme: Option<(PathBuf, String)>,
    /// Only those whose name has this in it.
    only: String,
}

fn options() -> Result<Options, Fatal> {
    let small = Extent { grants: 30_000, duration: Duration::from_secs(3) };
    let mut options = Options {
        extent: small,
        place: PathBuf::from("target/bench"),
        readme: None,
        only: String::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} what?"));
        match argument.as_str() {
            "--full" => {
                options.extent = Extent { grants: 1_000_000, duration: Duration::from_secs(20) };
            }
            "--grants" => options.extent.grants = value()?.parse()?,
            "--seconds" => options.extent.duration = Duration::from_secs(value()?.parse()?),
            "--place" => options.place = value()?.into(),
            "--readme" => options.readme = Some((value()?.into(), value()?)),
            "--only" => options.only = value()?,
            _ => return Err(format!("there is no {argument}").into()),
        }
    }
    Ok(options)
}

fn measure() -> Result<bool, Fatal> {
    let options = options()?;
    let load = machine::load()?;
    let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
    let wanted = |scenario: &Scenario| table::name(*scenario).contains(&options.only);
    for scenario in ALL.into_iter().filter(wanted) {
        writeln!(std::io::stderr(), "{}", table::name(scenario))?;
        match run(scenario, options.extent, &options.place) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => {
                let failure = format!("{}: {error}", table::name(scenario));
                writeln!(std::io::stderr(), "{failure}")?;
                failures.push(failure);
            }
        }
    }
    let machine = machine::describe(&load)?;
    let report = table::report(&outcomes, &failures, options.extent, &machine);
    let json = serde_json::json!({"machine": machine, "outcomes": outcomes, "failures": failures});
    fs::write(options.place.join("tail.json"), serde_json::to_string_pretty(&json)? + "\n")?;
    fs::write(options.place.join("tail.md"), &report)?;
    writeln!(std::io::stdout(), "{report}")?;
    if let Some((readme, command)) = &options.readme {
        readme::replace(readme, "tail", &format!("`{command}`, {report}"))?;
    }
    Ok(failures.is_empty())
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
