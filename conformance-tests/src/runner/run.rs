//! A run: find out about the server, get clients, sign in once, do the checks one after another.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use super::browser::Plan;
use super::catalogue::{Requirement, requirement};
use super::check::{Check, Kind};
use super::checks::SUBJECTS;
use super::config::{Config, Endpoint, Role};
use super::discovery::discover;
use super::evidence;
use super::probe::{Line, Probe, Target};
use super::registration;
use super::secrets::Secret;
use super::verdict::{CheckResult, Exchange, Stop, Verdict};
use super::waivers::Waivers;
use super::wire::{Manners, TlsError, Wire};

/// What a run does, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is known about the server.
    pub config: Config,
    /// Failures that are accepted.
    pub waivers: Waivers,
    /// Only requirements whose ids begin so; empty: all.
    pub only: Vec<String>,
    /// No requirements whose ids begin so.
    pub skip: Vec<String>,
    /// Also checks that guess secrets of the run's own client and user.
    pub intrusive: bool,
    /// How long a check may wait for something to expire; `None`: such checks are not done.
    pub patience: Option<Duration>,
    /// A command that signs in and consents in place of the form-filler.
    pub login_hook: Option<String>,
    /// For one answer.
    pub timeout: Duration,
    /// For the whole run.
    pub deadline: Duration,
    /// Requests a second; `None`: as fast as the server answers.
    pub rate: Option<f64>,
    /// A certificate authority to trust besides those of the system.
    pub authority: Option<PathBuf>,
    /// What could not be found out fails the run as well.
    pub strict: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            config: Config::default(),
            waivers: Waivers::default(),
            only: Vec::new(),
            skip: Vec::new(),
            intrusive: false,
            patience: None,
            login_hook: None,
            timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(30 * 60),
            rate: None,
            authority: None,
            strict: false,
        }
    }
}

/// Is told how a run goes on.
pub trait Observer {
    /// So many checks will be done.
    fn started(&mut self, checks: usize);
    /// A check begins.
    fn began(&mut self, subject: &str, ids: &[&str]);
    /// A check has ended: one result for each of its requirements.
    fn ended(&mut self, results: &[CheckResult]);
    /// Something that the user may want to know.
    fn note(&mut self, text: &str);
}

/// Nobody looks on.
impl Observer for () {
    fn started(&mut self, _: usize) {}
    fn began(&mut self, _: &str, _: &[&str]) {}
    fn ended(&mut self, _: &[CheckResult]) {}
    fn note(&mut self, _: &str) {}
}

/// Everything that a run has found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The issuer.
    pub issuer: String,
    /// Where its metadata was found.
    pub metadata: Vec<String>,
    /// The version of this runner.
    pub version: &'static str,
    /// When it began.
    #[serde(serialize_with = "rfc3339")]
    pub started: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// How many requests were sent.
    pub requests: u64,
    /// The clients of the run, by role: ids only.
    pub clients: BTreeMap<&'static str, String>,
    /// What the user may want to know.
    pub notes: Vec<String>,
    /// The results, in the order in which the checks were done.
    pub results: Vec<CheckResult>,
    /// Requirements that are checked only if asked for, and how to ask.
    pub not_selected: BTreeMap<&'static str, &'static str>,
    /// Waivers that were not needed.
    pub unused_waivers: Vec<String>,
    /// Whether what could not be found out counts as failed.
    pub strict: bool,
}

fn rfc3339<S: serde::Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

impl Report {
    /// How many results have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.results.iter().filter(|result| result.verdict == verdict).count()
    }

    /// The results that fail the run.
    pub fn fatal(&self) -> impl Iterator<Item = &CheckResult> {
        self.results.iter().filter(|result| result.is_fatal(self.strict))
    }

    /// Whether the run has failed.
    pub fn has_failed(&self) -> bool {
        self.fatal().next().is_some()
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nobody said whom to test.
    #[error("no issuer: set --issuer, or `issuer` in the configuration file")]
    NoIssuer,
    /// The issuer is no URL.
    #[error("the issuer {0:?} is no http or https URL")]
    Issuer(String),
    /// TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no metadata, and no options in its place.
    #[error(
        "there is no metadata, and no --authorization-endpoint and --token-endpoint in its place:\n  {}",
        tried.join("\n  ")
    )]
    NoMetadata {
        /// What was asked, and what came back.
        tried: Vec<String>,
    },
    /// No client can be had.
    #[error(
        "there is no client: give [clients.confidential] or [clients.public] in the configuration file{}",
        refused.iter().map(|one| format!("\n  {one}")).collect::<String>()
    )]
    NoClient {
        /// Why none could be registered.
        refused: Vec<String>,
    },
    /// The flow that every check builds on does not work.
    #[error("{reason}\n\nEvery check builds on this. The last exchange was:\n\n{exchange}")]
    Story {
        /// What happened.
        reason: String,
        /// The last exchange, without secrets.
        exchange: String,
    },
    /// No check was chosen.
    #[error("no check is left to do: --only and --skip exclude all of them")]
    NothingChosen,
}

/// No check needs longer, on a server that answers.
const CHECK_LIMIT: Duration = Duration::from_secs(180);
/// How long a server may ask to be left alone.
const PATIENCE_WITH_LIMITS: Duration = Duration::from_secs(65);

/// The ids of a check that were chosen.
fn chosen<'c>(check: &'c Check, options: &Options) -> Vec<&'c str> {
    let begins = |id: &str, prefixes: &[String]| {
        prefixes.iter().any(|prefix| id.to_lowercase().starts_with(&prefix.to_lowercase()))
    };
    let wanted = |id: &&&str| {
        (options.only.is_empty() || begins(id, &options.only)) && !begins(id, &options.skip)
    };
    check.ids.iter().filter(wanted).copied().collect()
}

/// Runs the checks.
///
/// # Errors
///
/// If nothing can be found out about the server: no metadata, no client, nobody who can sign in.
pub async fn run(options: &Options, observer: &mut dyn Observer) -> Result<Report, RunError> {
    let began = Instant::now();
    let started = Utc::now();
    let mut selected = Vec::new();
    let mut not_selected = BTreeMap::new();
    for subject in SUBJECTS {
        for check in subject.checks {
            let ids = chosen(check, options);
            let missing = match check.kind {
                Kind::Slow if options.patience.is_none() => Some("--patience 10m"),
                Kind::Intrusive if !options.intrusive => Some("--intrusive"),
                _ => None,
            };
            match missing {
                Some(option) => not_selected
                    .extend(ids.iter().filter_map(|id| Some((requirement(id)?.id, option)))),
                None if ids.is_empty() => {}
                None => selected.push((subject.name, check, ids)),
            }
        }
    }
    if selected.is_empty() {
        return Err(RunError::NothingChosen);
    }
    let mut notes = Vec::new();
    let (target, management) = prepare(options, observer, &mut notes).await?;
    observer.started(selected.len());
    let mut results = Vec::new();
    for (subject, check, ids) in selected {
        observer.began(subject, &ids);
        let done = if began.elapsed() >= options.deadline {
            let limit = humantime::format_duration(options.deadline);
            Done::not_done(format!("the run has taken longer than {limit}: --deadline"))
        } else {
            do_check(check, &target).await
        };
        let of_check: Vec<CheckResult> = ids
            .iter()
            .filter_map(|id| Some(done.result(requirement(id)?, subject, check, options)))
            .collect();
        observer.ended(&of_check);
        results.extend(of_check);
    }
    let line = Line::new(&target.wire);
    registration::remove(&line, &management).await;
    let needed =
        |id: &str| results.iter().any(|r| r.requirement.id == id && r.verdict == Verdict::Waived);
    let was_run = |id: &str| results.iter().any(|r| r.requirement.id == id);
    let unused_waivers: Vec<String> =
        options.waivers.ids().filter(|id| was_run(id) && !needed(id)).map(str::to_owned).collect();
    Ok(Report {
        issuer: target.issuer.clone(),
        metadata: target.discovered.documents.iter().map(|one| one.reply.url.clone()).collect(),
        version: env!("CARGO_PKG_VERSION"),
        started,
        milliseconds: millis(began.elapsed()),
        requests: target.wire.sent(),
        clients: target.clients.iter().map(|(role, c)| (role.name(), c.id.clone())).collect(),
        notes,
        results,
        not_selected,
        unused_waivers,
        strict: options.strict,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Everything that the checks share: metadata, clients, and a user who is signed in.
async fn prepare(
    options: &Options,
    observer: &mut dyn Observer,
    notes: &mut Vec<String>,
) -> Result<(Target, Vec<(String, Secret)>), RunError> {
    let config = options.config.clone();
    let issuer = config.issuer.clone().ok_or(RunError::NoIssuer)?;
    let is_web = |url: &url::Url| ["http", "https"].contains(&url.scheme()) && url.has_host();
    if !url::Url::parse(&issuer).is_ok_and(|url| is_web(&url)) {
        return Err(RunError::Issuer(issuer));
    }
    let wire = Wire::new(&Manners {
        timeout: options.timeout,
        patience: PATIENCE_WITH_LIMITS,
        rate: options.rate,
        authority: options.authority.clone(),
    })?;
    learn(&wire, &config);
    let line = Line::new(&wire);
    let discovered = discover(&line, &issuer, config.metadata_url.as_deref()).await;
    let configured = |endpoint| config.endpoints.contains_key(&endpoint);
    let has =
        |endpoint: Endpoint| configured(endpoint) || discovered.text(endpoint.member()).is_some();
    if !(has(Endpoint::Authorization) && has(Endpoint::Token)) {
        return Err(RunError::NoMetadata { tried: discovered.tried });
    }
    let mut clients = config.clients.clone();
    let mut refused = Vec::new();
    let mut management = Vec::new();
    let registration = config.endpoints.get(&Endpoint::Registration).cloned();
    let registration = registration.or_else(|| discovered.text("registration_endpoint"));
    if let Some(url) = registration.filter(|_| !config.registration.off) {
        let done = registration::register(&line, &url, &config, &discovered).await;
        refused = done.refused;
        management = done.management;
        for (role, client) in done.clients {
            clients.entry(role).or_insert(client);
        }
    }
    for one in &refused {
        let note = format!("a client could not be registered: {one}");
        observer.note(&note);
        notes.push(note);
    }
    if !clients.contains_key(&Role::Confidential) && !clients.contains_key(&Role::Public) {
        return Err(RunError::NoClient { refused });
    }
    drop(line);
    let mut target = Target {
        wire,
        issuer,
        config,
        discovered,
        clients,
        hook: options.login_hook.clone(),
        patience: options.patience.unwrap_or_default(),
        hook_timeout: Duration::from_secs(120),
        story: Vec::new(),
        session: tokio::sync::Mutex::default(),
    };
    target.story = story(&target).await?;
    Ok((target, management))
}

/// Whatever secret the run was given is known before the first request.
fn learn(wire: &Wire, config: &Config) {
    for client in config.clients.values() {
        if let Some(secret) = &client.secret {
            wire.secrets.learn("client_secret", secret.expose());
        }
    }
    if let Some(password) = &config.user.password {
        wire.secrets.learn("password", password.expose());
    }
    if let Some(token) = &config.registration.initial_access_token {
        wire.secrets.learn("initial access token", token.expose());
    }
}

/// The flow that every check builds on, once: sign-in, consent, code, tokens.
async fn story(target: &Target) -> Result<Vec<evidence::Recorded>, RunError> {
    let probe = Probe::new(target);
    let told = async {
        let client = probe.any_client()?;
        let ask = probe.ask(client)?;
        // Nobody is signed in yet, so whatever asks for a user is seen here.
        probe.walk(&ask, Plan::Allow).await?;
        probe.tokens(client).await
    };
    let outcome = told.await;
    let recorded = probe.line.take();
    match outcome {
        Ok(_) => Ok(recorded),
        Err(Stop::Fail(reason) | Stop::NotApplicable(reason) | Stop::Inconclusive(reason)) => {
            let secrets = &target.wire.secrets;
            let (shown, _) = evidence::show(&recorded, secrets);
            let exchange = shown.last().map_or_else(String::new, |last| {
                format!("> {}\n\n< {}", indent(&last.request), indent(&last.response))
            });
            Err(RunError::Story { reason: secrets.hide(&reason), exchange })
        }
    }
}

fn indent(text: &str) -> String {
    text.replace('\n', "\n  ")
}

/// What a check came to, before it is known for which requirement.
struct Done {
    outcome: Result<(), Stop>,
    evidence: Vec<Exchange>,
    omitted: usize,
    took: Duration,
}

impl Done {
    fn not_done(reason: String) -> Self {
        let outcome = Err(Stop::Inconclusive(reason));
        Self { outcome, evidence: Vec::new(), omitted: 0, took: Duration::ZERO }
    }

    fn result(
        &self,
        requirement: Requirement,
        subject: &'static str,
        check: &'static Check,
        options: &Options,
    ) -> CheckResult {
        let waiver = options.waivers.reason(requirement.id).map(str::to_owned);
        let (verdict, reason) = match &self.outcome {
            Ok(()) => (Verdict::Pass, None),
            Err(Stop::Fail(reason)) if waiver.is_some() => (Verdict::Waived, Some(reason)),
            Err(Stop::Fail(reason)) => (Verdict::Fail, Some(reason)),
            Err(Stop::NotApplicable(reason)) => (Verdict::NotApplicable, Some(reason)),
            Err(Stop::Inconclusive(reason)) => (Verdict::Inconclusive, Some(reason)),
        };
        CheckResult {
            requirement,
            subject,
            sends: check.sends,
            expects: check.expects,
            verdict,
            reason: reason.cloned(),
            waiver: waiver.filter(|_| verdict == Verdict::Waived),
            milliseconds: millis(self.took),
            evidence: self.evidence.clone(),
            omitted: self.omitted,
        }
    }
}

async fn do_check(check: &'static Check, target: &Target) -> Done {
    let probe = Probe::new(target);
    let began = Instant::now();
    let limit = CHECK_LIMIT + target.patience;
    let outcome = timeout(limit, (check.run)(&probe)).await.unwrap_or_else(|_| {
        let limit = humantime::format_duration(limit);
        Err(Stop::Inconclusive(format!("the check did not end within {limit}")))
    });
    let secrets = &target.wire.secrets;
    let outcome = outcome.map_err(|stop| match stop {
        Stop::Fail(reason) => Stop::Fail(secrets.hide(&reason)),
        Stop::Inconclusive(reason) => Stop::Inconclusive(secrets.hide(&reason)),
        Stop::NotApplicable(reason) => Stop::NotApplicable(secrets.hide(&reason)),
    });
    let shows = matches!(outcome, Err(Stop::Fail(_) | Stop::Inconclusive(_)));
    let recorded = probe.line.take();
    let (evidence, omitted) =
        if shows { evidence::show(&recorded, secrets) } else { (Vec::new(), 0) };
    Done { outcome, evidence, omitted, took: began.elapsed() }
}
