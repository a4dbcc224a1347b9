//! How long requests for tokens take while something else goes on: see the README.

mod client;
mod scenario;
mod table;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use grantor_bench::contender::Fatal;
use grantor_bench::machine;
use grantor_bench::program::{self, Output};
use grantor_bench::readme::Section;

use crate::scenario::{ALL, Extent, Scenario, run};

/// How long requests for tokens take while something else goes on.
#[derive(Debug, Parser)]
#[command(name = "tail", after_help = "`run tail` takes --into-readme as well.")]
struct Options {
    /// How many live grants there are for the sweep and the restart.
    #[arg(long, default_value_t = 30_000, default_value_if("full", "true", "1000000"))]
    grants: u64,
    /// How long each is measured.
    #[arg(long, default_value_t = 3, default_value_if("full", "true", "20"))]
    seconds: u64,
    /// A million grants, and twenty seconds each.
    #[arg(long)]
    full: bool,
    /// Only those whose name has this in it.
    #[arg(long, value_name = "NAME", default_value = "")]
    only: String,
    #[command(flatten)]
    output: Output,
}

fn measure(options: Options) -> Result<bool, Fatal> {
    let duration = Duration::from_secs(options.seconds);
    let extent = Extent { grants: options.grants, duration };
    let load = machine::load()?;
    let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
    let wanted = |scenario: &Scenario| table::name(*scenario).contains(&options.only);
    for scenario in ALL.into_iter().filter(wanted) {
        writeln!(std::io::stderr(), "{}", table::name(scenario))?;
        match run(scenario, extent, &options.output.place) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => {
                let failure = format!("{}: {error}", table::name(scenario));
                writeln!(std::io::stderr(), "{failure}")?;
                failures.push(failure);
            }
        }
    }
    let machine = machine::describe(&load)?;
    let report = table::report(&outcomes, &failures, extent, &machine);
    let json = serde_json::json!({"machine": machine, "outcomes": outcomes, "failures": failures});
    options.output.write(Section::Tail, &report, &json)?;
    Ok(failures.is_empty())
}

fn main() -> ExitCode {
    program::run(measure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_is_more_and_longer() -> Result<(), Fatal> {
        for (said, grants, seconds) in
            [("", 30_000, 3), ("--full", 1_000_000, 20), ("--full --grants 5000", 5_000, 20)]
        {
            let options =
                Options::try_parse_from(["tail"].into_iter().chain(said.split_whitespace()))?;
            assert_eq!((options.grants, options.seconds), (grants, seconds), "{said}");
        }
        Ok(())
    }
}
