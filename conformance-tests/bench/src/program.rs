//! What the programs that measure have in common: their arguments, where they write what came out, and how they end.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};
use serde_json::Value;

use crate::contender::Fatal;
use crate::readme::{self, Section};

/// Where results go.
#[derive(Args, Clone, Debug)]
pub struct Output {
    /// Where results and data go.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/bench")]
    pub place: PathBuf,
    /// A README to be brought up to date, and how this was asked for.
    #[arg(long, num_args = 2, value_names = ["FILE", "COMMAND"], hide = true)]
    readme: Vec<String>,
}

impl Output {
    /// Writes a report and what it is made of, to the place of results, standard output and, if it is to, the README.
    pub fn write(&self, section: Section, report: &str, all: &Value) -> Result<(), Fatal> {
        let (markdown, json) = section.files();
        fs::write(self.place.join(json), serde_json::to_string_pretty(all)? + "\n")?;
        fs::write(self.place.join(markdown), report)?;
        writeln!(std::io::stdout(), "{report}")?;
        if let [readme, command] = self.readme.as_slice() {
            readme::replace(readme.as_ref(), section, &format!("`{command}`, {report}"))?;
        }
        Ok(())
    }
}

/// Measures what the arguments ask for. `false` is a measurement that has failed, beside others that have not.
pub fn run<T: Parser>(measure: impl FnOnce(T) -> Result<bool, Fatal>) -> ExitCode {
    let asked = match T::try_parse() {
        Ok(asked) => asked,
        Err(error) => {
            let _ = error.print();
            if !error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            let _ = writeln!(std::io::stderr(), "\n{}", T::command().render_help());
            return ExitCode::FAILURE;
        }
    };
    match measure(asked) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Options {
        #[command(flatten)]
        output: Output,
    }

    #[test]
    fn a_report_goes_to_its_files_and_an_unknown_argument_is_an_error() -> Result<(), Fatal> {
        let place = std::env::temp_dir().join(format!("grantor-bench-{}", std::process::id()));
        fs::create_dir_all(&place)?;
        let readme = place.join("README.md");
        fs::write(&readme, "a\n<!-- tail begins -->\n<!-- tail ends -->\nb\n")?;
        let (place, file) = (place.as_path(), readme.as_path());
        let arguments = ["program".as_ref(), "--place".as_ref(), place.as_os_str()];
        let more = ["--readme".as_ref(), file.as_os_str(), "run tail --full".as_ref()];
        let options = Options::try_parse_from(arguments.into_iter().chain(more))?;
        options.output.write(Section::Tail, "slow", &Value::from(7))?;
        assert_eq!(fs::read_to_string(place.join("tail.md"))?, "slow");
        assert_eq!(fs::read_to_string(place.join("tail.json"))?, "7\n");
        let expected = "a\n<!-- tail begins -->\n`run tail --full`, slow\n<!-- tail ends -->\nb\n";
        assert_eq!(fs::read_to_string(file)?, expected);
        fs::remove_dir_all(place)?;
        assert!(Options::try_parse_from(["program", "--plaec", "x"]).is_err());
        Ok(())
    }
}
