//! Measures all contenders by turns, and writes what came out: see the README.

mod contest;
mod plot;
mod results;
mod table;
mod targets;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use grantor_bench::contender::Fatal;
use grantor_bench::{machine, readme};

use crate::contest::{Contender, Contest};
use crate::results::Results;
use grantor_bench::requests::Request;

/// What was asked for.
#[derive(Debug)]
struct Options {
    rounds: u32,
    duration: Duration,
    /// Where results and data go.
    place: PathBuf,
    /// A README to be brought up to date, and how this was asked for.
    readme: Option<(PathBuf, String)>,
    /// Where node-oidc-provider is; `None`: it is left out.
    node: Option<PathBuf>,
    /// Only contenders whose name has this in it, and the bare handler.
    only: Option<String>,
    /// Only requests whose name has this in it.
    request: String,
}

fn options() -> Result<Options, Fatal> {
    let mut options = Options {
        rounds: 3,
        duration: Duration::from_millis(500),
        place: PathBuf::from("target/bench"),
        readme: None,
        node: None,
        only: None,
        request: String::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} what?"));
        match argument.as_str() {
            "--quick" => (options.rounds, options.duration) = (1, Duration::from_millis(250)),
            "--rounds" => options.rounds = value()?.parse()?,
            "--milliseconds" => options.duration = Duration::from_millis(value()?.parse()?),
            "--place" => options.place = value()?.into(),
            "--readme" => options.readme = Some((value()?.into(), value()?)),
            "--node" => options.node = Some(value()?.into()),
            "--only" => options.only = Some(value()?),
            "--request" => options.request = value()?,
            _ => return Err(format!("there is no {argument}").into()),
        }
    }
    Ok(options)
}

fn measure() -> Result<bool, Fatal> {
    let options = options()?;
    let before = machine::load()?;
    let mut contenders = Vec::new();
    for entry in contest::entries(&options.place, options.node.as_deref())? {
        let wanted = options.only.as_ref().is_none_or(|only| entry.name.contains(only.as_str()));
        if wanted || entry.name == contest::BARE {
            contenders.push(Contender::start(entry, &options.place)?);
        }
    }
    let wanted: Vec<Request> =
        Request::ALL.into_iter().filter(|one| one.name().contains(&options.request)).collect();
    if wanted.is_empty() {
        return Err(format!("there is no request with {:?} in its name", options.request).into());
    }
    let (duration, results) = (options.duration, Results::default());
    let mut contest = Contest { contenders, duration, wanted, results };
    contest.warm()?;
    for round in 1..=options.rounds {
        contest.round(round)?;
    }
    let results = contest.results;
    let disturbance = results.disturbance();
    let machine = format!(
        "{} Rounds: {} of {} ms a request. Other work had the server's core {:.0} % of the time.",
        machine::describe(&before)?,
        options.rounds,
        options.duration.as_millis(),
        disturbance * 100.0
    );
    let report = table::report(&results, &machine);
    fs::write(options.place.join("results.json"), results.to_json(&machine)?)?;
    fs::write(options.place.join("table.md"), &report)?;
    fs::write(options.place.join("plot.svg"), plot::draw(&results))?;
    writeln!(std::io::stdout(), "{report}")?;
    if let Some((readme, command)) = &options.readme {
        readme::replace(readme, "contest", &format!("`{command}`, {report}"))?;
    }
    let place = options.place.display();
    writeln!(std::io::stderr(), "{place}: table.md, plot.svg, results.json")?;
    Ok(results.failures.is_empty())
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
