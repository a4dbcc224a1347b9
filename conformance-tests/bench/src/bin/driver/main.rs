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

use clap::Parser;
use grantor_bench::contender::Fatal;
use grantor_bench::machine;
use grantor_bench::program::{self, Output};
use grantor_bench::readme::Section;
use grantor_bench::requests::Request;

use crate::contest::{Contender, Contest};
use crate::results::Results;

/// Grantor and its peers by turns.
#[derive(Debug, Parser)]
#[command(
    name = "driver",
    after_help = "`run` takes --without-node and --into-readme as well, and `scale` and `tail` instead."
)]
struct Options {
    /// How often everybody's turn comes.
    #[arg(long, default_value_t = 3, default_value_if("quick", "true", "1"))]
    rounds: u32,
    /// How long each request is measured.
    #[arg(long, default_value_t = 500, default_value_if("quick", "true", "250"))]
    milliseconds: u64,
    /// One short round.
    #[arg(long)]
    quick: bool,
    /// Only contenders whose name has this in it, and the bare handler.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Only requests whose name has this in it.
    #[arg(long, value_name = "NAME", default_value = "")]
    request: String,
    /// Where node-oidc-provider is; otherwise it is left out.
    #[arg(long, value_name = "DIRECTORY", hide = true)]
    node: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

fn measure(options: Options) -> Result<bool, Fatal> {
    let place = &options.output.place;
    let before = machine::load()?;
    let mut contenders = Vec::new();
    for entry in contest::entries(place, options.node.as_deref())? {
        let wanted = options.only.as_ref().is_none_or(|only| entry.name.contains(only.as_str()));
        if wanted || entry.name == contest::BARE {
            contenders.push(Contender::start(entry, place)?);
        }
    }
    let wanted: Vec<Request> =
        Request::ALL.into_iter().filter(|one| one.name().contains(&options.request)).collect();
    if wanted.is_empty() {
        return Err(format!("there is no request with {:?} in its name", options.request).into());
    }
    let duration = Duration::from_millis(options.milliseconds);
    let results = Results::default();
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
        options.milliseconds,
        disturbance * 100.0
    );
    let report = table::report(&results, &machine);
    fs::write(place.join("plot.svg"), plot::draw(&results))?;
    options.output.write(Section::Contest, &report, &results.to_json(&machine))?;
    writeln!(std::io::stderr(), "{}: table.md, plot.svg, results.json", place.display())?;
    Ok(results.failures.is_empty())
}

fn main() -> ExitCode {
    program::run(measure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_counts_more_than_what_quick_means() -> Result<(), Fatal> {
        for (said, rounds, milliseconds) in [
            ("", 3, 500),
            ("--quick", 1, 250),
            ("--quick --rounds 7", 7, 250),
            ("--milliseconds 2000 --rounds 0 --quick", 0, 2000),
        ] {
            let options =
                Options::try_parse_from(["driver"].into_iter().chain(said.split_whitespace()))?;
            assert_eq!((options.rounds, options.milliseconds), (rounds, milliseconds), "{said}");
        }
        Ok(())
    }
}
