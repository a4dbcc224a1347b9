//! What the process says about itself, on standard error.

use std::io::IsTerminal as _;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Starts logging: `RUST_LOG` says what, and the default if it is not set.
///
/// A program that logs already keeps its own: this then changes nothing.
pub fn start(format: LogFormat, default: &str) -> Result<(), BadFilter> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => {
            EnvFilter::try_new(&directives).map_err(|source| BadFilter { source })?
        }
        _ => EnvFilter::new(default),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// `RUST_LOG` cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("RUST_LOG cannot be understood; write for instance RUST_LOG=info,grantor::audit=off")]
pub struct BadFilter {
    source: tracing_subscriber::filter::ParseError,
}
