//! Who takes part, and whose turn it is.

use std::collections::VecDeque;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use grantor_bench::contender::{CONFIDENTIAL, Fatal, PUBLIC, Ready};

use crate::results::{Failure, Results, Sample};
use grantor_bench::load::{Load, Measured, Server, run};
use grantor_bench::process::{self, Process, contender, redis};
use grantor_bench::requests::{Issued, Request, Requests};

pub(crate) const BARE: &str = "bare axum";
pub(crate) const MEMORY: &str = "Grantor, memory";
/// Beside the others to show what a framework costs.
pub(crate) const HYPER: &str = "Grantor, memory, hyper";
pub(crate) const SLED: &str = "Grantor, sled";
pub(crate) const REDIS: &str = "Grantor, Redis";
pub(crate) const NODE_REDIS: &str = "node-oidc-provider, Redis";
/// How many connections there are at once.
pub(crate) const CONNECTIONS: [usize; 2] = [1, MANY];
/// With which the targets are compared.
pub(crate) const MANY: usize = 32;
/// For requests that are not measured, of which there are so many and no more.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is shorter is told by the clock ticks of the system more than by the server.
const SHORTEST: Duration = Duration::from_millis(20);
/// How long requests are sent of which only the tokens are wanted.
const BRIEF: Duration = Duration::from_millis(250);
/// How many access tokens take turns.
const ACCESS_TOKENS: usize = 5_000;

/// What of a server needs a place of its own.
#[derive(Clone, Copy, Debug)]
enum Store {
    None,
    Directory,
    Redis,
}

/// Somebody who may take part.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    store: Store,
}

/// All of them. The programs lie beside this one.
pub(crate) fn entries(place: &Path, node: Option<&Path>) -> Result<Vec<Entry>, Fatal> {
    let here = std::env::current_exe()?;
    let entry = |name, program: &str, arguments: &[&str], store| Entry {
        name,
        program: here.with_file_name(program),
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        store,
    };
    let mut entries = vec![
        entry(BARE, "bare-axum", &[], Store::None),
        entry(MEMORY, "grantor", &["memory"], Store::None),
        entry(HYPER, "grantor-hyper", &["memory"], Store::None),
        entry("oxide-auth, memory", "oxide-auth", &[], Store::None),
        entry("oauth-as, memory", "oauth-as", &[], Store::None),
        entry(SLED, "grantor", &["sled"], Store::Directory),
        entry(REDIS, "grantor", &["redis"], Store::Redis),
    ];
    if let Some(node) = node {
        let script = node.join("server.mjs").display().to_string();
        for (name, kind, store) in [
            ("node-oidc-provider, memory", "memory", Store::None),
            (NODE_REDIS, "redis", Store::Redis),
        ] {
            let arguments = vec![script.clone(), kind.to_owned()];
            entries.push(Entry { name, program: "node".into(), arguments, store });
        }
    }
    let data = place.join("data");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    fs::create_dir_all(&data)?;
    Ok(entries)
}

/// One who takes part.
#[derive(Debug)]
pub(crate) struct Contender {
    name: &'static str,
    process: Process,
    ready: Ready,
    redis: Option<Process>,
    rotated: VecDeque<String>,
    issued: Issued,
}

impl Contender {
    pub(crate) fn start(mut entry: Entry, place: &Path) -> Result<Self, Fatal> {
        let directory = place.join("data").join(entry.name.replace(", ", "-"));
        let redis = match entry.store {
            Store::None => None,
            Store::Directory => {
                entry.arguments.push(directory.display().to_string());
                None
            }
            Store::Redis => {
                let (process, url) = redis(&directory, &[])?;
                entry.arguments.push(url);
                Some(process)
            }
        };
        let (process, ready) = contender(&entry.program, &entry.arguments, process::PATIENCE)?;
        writeln!(std::io::stderr(), "{}: process {}", entry.name, process.pid())?;
        let (rotated, issued) = Default::default();
        Ok(Self { name: entry.name, process, ready, redis, rotated, issued })
    }

    fn run(&self, load: Load, requests: &mut Requests) -> Result<Measured, Fatal> {
        let redis = self.redis.as_ref().map(Process::pid);
        run(Server { port: self.ready.port, pid: self.process.pid(), redis }, load, requests)
    }

    /// Codes of this client, asked for as browsers do.
    fn prepare_codes(&self, client: &str, duration: Duration) -> Result<VecDeque<String>, Fatal> {
        let mut requests = Requests::authorize(&self.ready, client);
        let load = Load { connections: MANY, warm: Duration::ZERO, duration };
        self.run(load, &mut requests)?;
        Ok(requests.issued.codes)
    }

    /// Refresh tokens that are two generations old, of new grants: the one before the current is taken for a retry,
    /// and gets the same answer again.
    fn prepare_retired(&self, duration: Duration) -> Result<VecDeque<String>, Fatal> {
        let load = Load { connections: MANY, warm: Duration::ZERO, duration: PATIENCE };
        let codes = self.prepare_codes(CONFIDENTIAL, duration)?;
        let mut requests = Requests::new(&self.ready, Request::CodeConfidential, codes);
        self.run(load, &mut requests)?;
        let mut retired = requests.issued.refresh;
        self.check_reuse(&mut retired)?;
        let mut newest = retired.clone();
        for _ in 0..2 {
            let mut requests = Requests::rotation(&self.ready, newest);
            self.run(load, &mut requests)?;
            newest = requests.issued.refresh;
        }
        Ok(retired)
    }

    /// Whether a retired token is found out, and its newest successor is worth nothing afterwards.
    fn check_reuse(&self, tokens: &mut VecDeque<String>) -> Result<(), Fatal> {
        let first = tokens.pop_front().ok_or("there is no refresh token")?;
        let load = Load { connections: 1, warm: Duration::ZERO, duration: PATIENCE };
        let mut newest = VecDeque::from([first.clone()]);
        for _ in 0..2 {
            let mut requests = Requests::rotation(&self.ready, newest);
            self.run(load, &mut requests)?;
            newest = requests.issued.refresh;
        }
        for refused in [VecDeque::from([first]), newest] {
            self.run(load, &mut Requests::new(&self.ready, Request::Reuse, refused))?;
        }
        Ok(())
    }

    /// Measures one request. What it issues is what the next ones are about.
    fn measure(&mut self, request: Request, load: Load) -> Result<Measured, Fatal> {
        // So that codes do not run out before the time is over: they are quicker redeemed than made.
        let ahead = (load.duration + load.warm).mul_f64(1.5);
        let tokens = match request {
            Request::ClientCredentials | Request::Authorize => VecDeque::new(),
            Request::CodeConfidential => {
                // What is left of the turn before has been revoked, or may have expired.
                (self.issued, self.rotated) = Default::default();
                self.prepare_codes(CONFIDENTIAL, ahead)?
            }
            Request::CodePublic => self.prepare_codes(PUBLIC, ahead)?,
            Request::Introspection | Request::Resource => self.issued.access.clone(),
            Request::Refresh => std::mem::take(&mut self.issued.refresh),
            Request::Reuse => self.prepare_retired(load.duration + load.warm)?,
            Request::Revocation => std::mem::take(&mut self.rotated),
        };
        let mut requests = Requests::new(&self.ready, request, tokens);
        let measured = self.run(load, &mut requests)?;
        if measured.requests == 0 || measured.elapsed < SHORTEST {
            return Err("there was too little to measure with".into());
        }
        match request {
            Request::CodeConfidential => {
                self.issued = std::mem::take(&mut requests.issued);
                self.issued.access.truncate(ACCESS_TOKENS);
            }
            // What is revoked is refresh tokens of the newest generation.
            Request::Refresh => self.rotated = requests.into_tokens(),
            _ => {}
        }
        Ok(measured)
    }
}

/// All contenders, by turns.
#[derive(Debug)]
pub(crate) struct Contest {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) duration: Duration,
    /// Which requests are measured; the others only so far as these need what they issue.
    pub(crate) wanted: Vec<Request>,
    pub(crate) results: Results,
}

impl Contest {
    /// Has everybody do everything once, so that what compiles while it runs has done so.
    pub(crate) fn warm(&mut self) -> Result<(), Fatal> {
        self.turns(0, MANY)?;
        self.results.samples.clear();
        Ok(())
    }

    pub(crate) fn round(&mut self, round: u32) -> Result<(), Fatal> {
        CONNECTIONS.into_iter().try_for_each(|connections| self.turns(round, connections))
    }

    fn turns(&mut self, round: u32, connections: usize) -> Result<(), Fatal> {
        let duration = if connections == 1 { self.duration / 2 } else { self.duration };
        let whole = Load { connections, warm: self.duration / 5, duration };
        let brief = Load { connections: MANY, warm: Duration::ZERO, duration: BRIEF };
        for request in Request::ALL {
            let (name, mut log) = (request.name(), std::io::stderr());
            let wanted = self.wanted.contains(&request);
            if !wanted && !request.issues_for(&self.wanted) {
                continue;
            }
            let load = if wanted { whole } else { brief };
            writeln!(log, "round {round}: {name}, connections: {connections}")?;
            for contender in &mut self.contenders {
                if !request.offered(&contender.ready) {
                    continue;
                }
                let who = contender.name;
                match contender.measure(request, load) {
                    Ok(_) if !wanted => {}
                    Ok(measured) => {
                        let sample = Sample::new(round, who, request, connections, &measured);
                        self.results.samples.push(sample);
                    }
                    Err(error) => {
                        let error = error.to_string();
                        writeln!(log, "{who}: {name}: {error}")?;
                        self.results.failures.push(Failure {
                            round,
                            contender: who,
                            request,
                            connections,
                            error,
                        });
                    }
                }
            }
        }
        Ok(())
    }
}
