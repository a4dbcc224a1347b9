//! The configuration file of the server.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use grantor_server::cli::{ServeArgs, StoreArgs};
use grantor_server::config::Settings;

static FILES: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// A file of this thread's own.
    static FILE: PathBuf = {
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("grantor-fuzz-{}-{number}.toml", std::process::id()))
    };
}

/// A file in TOML.
///
/// Requirements 6749-013, 8414-001; ATTACKS J09, J10, K14.
pub(crate) fn file(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').count();
    let loaded = FILE.with(|path| {
        fs::write(path, data).expect("a temporary file");
        let store = StoreArgs {
            config: Some(path.clone()),
            storage: None,
            durability: None,
            admin_socket: None,
        };
        let loaded = Settings::load(&ServeArgs {
            issuer: None,
            listen: None,
            tls_terminated: None,
            log_format: None,
            trace_file: None,
            trace: None,
            store,
        });
        fs::remove_file(path).expect("a temporary file");
        loaded
    });
    match loaded {
        Ok(settings) => {
            let policy = &settings.policy;
            assert!(!policy.code_lifetime.is_zero() && !policy.access_token_lifetime.is_zero());
            assert!(policy.code_lifetime.as_secs() <= 600, "6749-041");
            let issuer = settings.issuer.as_str();
            assert!(settings.issuer.is_secure() || issuer.starts_with("http://"), "{issuer}");
            let _ = settings.admin_socket();
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && !text.contains("panicked"), "{text}");
            if let Some((_, at)) = text.split_once(".toml, line ") {
                let line: usize =
                    at.split(':').next().expect("a number").parse().expect("a number");
                assert!((1..=lines).contains(&line), "line {line} of {lines}: {text}");
            }
        }
    }
}
