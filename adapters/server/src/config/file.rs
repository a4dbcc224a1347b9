//! The configuration file, and what is said about the mistakes in it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use grantor::engine::Builder;
use grantor::model::{
    InvalidPolicy, Issuer, Policy, RefreshPolicy, Rotation, ScopeDefinition, ScopeSet, ScopeToken,
};
use grantor::storage::{Durability, Promises};
use grantor_redis::Confirmation;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{ConfigError, StorageSpec};
use crate::logging::LogFormat;
use crate::traces::Which;

/// The configuration file as it was read. There may be a password in it.
#[derive(Default)]
pub(super) struct File {
    path: PathBuf,
    text: String,
    pub(super) content: Content,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A mistake in the configuration file: where, what, and what to write instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {what}", path.display(), line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct Mistake {
    path: PathBuf,
    line: Option<usize>,
    what: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Content {
    pub(super) issuer: Option<Issuer>,
    #[serde(deserialize_with = "listen")]
    pub(super) listen: Option<SocketAddr>,
    pub(super) tls_terminated: Option<bool>,
    #[serde(deserialize_with = "storage")]
    pub(super) storage: Option<StorageSpec>,
    #[serde(deserialize_with = "durability")]
    pub(super) durability: Option<Confirmation>,
    #[serde(deserialize_with = "lifetime")]
    client_cache: Option<Duration>,
    pub(super) admin_socket: Option<PathBuf>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) trace_file: Option<PathBuf>,
    pub(super) trace: Option<Which>,
    default_scope: Option<ScopeSet>,
    scopes: BTreeMap<String, Scope>,
    policy: PolicySection,
    refresh: RefreshSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PolicySection {
    #[serde(deserialize_with = "lifetime")]
    interaction_lifetime: Option<Duration>,
    #[serde(deserialize_with = "lifetime")]
    code_lifetime: Option<Duration>,
    #[serde(deserialize_with = "lifetime")]
    access_token_lifetime: Option<Duration>,
    #[serde(deserialize_with = "lifetime")]
    session_lifetime: Option<Duration>,
    #[serde(deserialize_with = "lifetime")]
    secret_overlap: Option<Duration>,
    remember_consent: Option<bool>,
    remember_public_https: Option<bool>,
    required_durability: Option<RequiredDurability>,
}

/// What an answered change has to survive.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RequiredDurability {
    None,
    Process,
    Power,
}

impl From<RequiredDurability> for Durability {
    fn from(required: RequiredDurability) -> Self {
        match required {
            RequiredDurability::None => Self::None,
            RequiredDurability::Process => Self::Process,
            RequiredDurability::Power => Self::Power,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RefreshSection {
    enabled: Option<bool>,
    rotation: Option<RotationSetting>,
    #[serde(deserialize_with = "lifetime")]
    idle_lifetime: Option<Duration>,
    #[serde(deserialize_with = "lifetime")]
    absolute_lifetime: Option<Duration>,
    #[serde(deserialize_with = "lifetime")]
    retry_window: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RotationSetting {
    Always,
    PublicClients,
}

/// `description` in the default language, and the same under the names of other languages.
#[derive(Debug)]
struct Scope(ScopeDefinition);

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut texts = BTreeMap::<String, String>::deserialize(deserializer)?;
        let Some(description) = texts.remove("description") else {
            return Err(D::Error::custom(
                "the scope has no description; write description = \"See your calendar\"",
            ));
        };
        let is_language = |name: &str| {
            (2..=3).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase())
        };
        if let Some(name) = texts.keys().find(|name| !is_language(name)) {
            if TOP_LEVEL.contains(&name.as_str()) {
                return Err(D::Error::custom(misplaced(name)));
            }
            return Err(D::Error::custom(format_args!(
                "a scope has no setting `{name}`; write `description`, and translations under their \
                 language, such as ko = \"캘린더 보기\""
            )));
        }
        Ok(Self(ScopeDefinition { description, translations: texts, ..ScopeDefinition::default() }))
    }
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|_| {
        D::Error::custom(format_args!(
            "`{text}` is not an address to listen on; write an IP address and a port, such as \
             \"127.0.0.1:8400\" or \"[::1]:8400\""
        ))
    })
}

fn storage<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<StorageSpec>, D::Error> {
    // Whatever is wrong with it, there may be a password in it.
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map(Some)
        .map_err(|error| D::Error::custom(format_args!("this is not a storage; {error}")))
}

fn durability<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Confirmation>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map(Some)
        .map_err(|error| D::Error::custom(format_args!("this is not a durability; {error}")))
}

fn lifetime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    struct Text;

    impl serde::de::Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(
                "a time with its unit in quotes, such as \"60s\", \"15m\", \"8h\" or \"14d\"",
            )
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Duration, E> {
            humantime::parse_duration(text)
                .map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_str(Text).map(Some)
}

impl File {
    /// Reads the file; without one, everything is left to flags, environment and defaults.
    pub(super) fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Ok(Self::parse(path, text)?)
    }

    fn parse(path: &Path, text: String) -> Result<Self, Mistake> {
        let mut file = Self { path: path.to_owned(), text, content: Content::default() };
        file.content = toml::from_str(&file.text).map_err(|error| Mistake {
            path: path.to_owned(),
            line: error.span().map(|span| file.line_at(span.start)),
            what: in_plain_words(error.message()),
        })?;
        Ok(file)
    }

    /// The policy, as far as the file changes it.
    pub(super) fn policy(&self) -> Result<Policy, Mistake> {
        let mut policy = Policy::default();
        let section = &self.content.policy;
        set(&mut policy.interaction_lifetime, section.interaction_lifetime);
        set(&mut policy.code_lifetime, section.code_lifetime);
        set(&mut policy.access_token_lifetime, section.access_token_lifetime);
        set(&mut policy.session_lifetime, section.session_lifetime);
        set(&mut policy.secret_overlap, section.secret_overlap);
        set(&mut policy.remember_consent, section.remember_consent);
        set(&mut policy.remember_public_https, section.remember_public_https);
        set(&mut policy.durability, section.required_durability.map(Into::into));
        let section = &self.content.refresh;
        let mut refresh = RefreshPolicy::default();
        let rotation = section.rotation.map(|rotation| match rotation {
            RotationSetting::Always => Rotation::Always,
            RotationSetting::PublicClients => Rotation::PublicClients,
        });
        set(&mut refresh.rotation, rotation);
        set(&mut refresh.idle_lifetime, section.idle_lifetime);
        set(&mut refresh.absolute_lifetime, section.absolute_lifetime);
        set(&mut refresh.retry_window, section.retry_window);
        policy.refresh = section.enabled.unwrap_or(true).then_some(refresh);
        policy.default_scope.clone_from(&self.content.default_scope);
        for (name, scope) in &self.content.scopes {
            let token = ScopeToken::parse(name).map_err(|_| {
                self.mistake(
                    name,
                    format!(
                        "`{name}` cannot be a scope: it is printable ASCII without space, quote and \
                         backslash"
                    ),
                )
            })?;
            policy.scopes.insert(token, scope.0.clone());
        }
        Ok(policy)
    }

    /// How old the record of a client may be. Where the store is shared, a call to it for each request
    /// is saved; where it is not, there is nothing to be saved.
    pub(super) fn client_cache(&self, promises: &Promises) -> Result<Duration, Mistake> {
        const SHARED: Duration = Duration::from_secs(2);
        let usual = if promises.shared { SHARED } else { Duration::ZERO };
        let chosen = self.content.client_cache.unwrap_or(usual);
        match chosen <= Builder::MAX_CLIENT_CACHE {
            true => Ok(chosen),
            false => {
                let what = "client_cache is at most one hour; write \"2s\"".to_owned();
                Err(self.mistake("client_cache", what))
            }
        }
    }

    /// Whether the policy makes sense, and can be kept by a store that promises this.
    pub(super) fn check(&self, policy: &Policy, promises: &Promises) -> Result<(), ConfigError> {
        policy.validate(promises).map_err(|error| self.explain(&error).into())
    }

    /// Where the policy that makes no sense is written.
    fn explain(&self, error: &InvalidPolicy) -> Mistake {
        let (key, advice) = match error {
            InvalidPolicy::Lifetime(name) => {
                (name.rsplit('.').next().unwrap_or(name), String::from(", such as \"1h\""))
            }
            InvalidPolicy::CodeLifetime => ("code_lifetime", String::from("; write \"60s\"")),
            InvalidPolicy::RetryWindow => ("retry_window", String::from("; write \"60s\"")),
            InvalidPolicy::DefaultScope => {
                let defined: Vec<&str> = self.content.scopes.keys().map(String::as_str).collect();
                let advice = match defined.as_slice() {
                    [] => "; define some under [scopes]".to_owned(),
                    defined => format!("; defined are {}", defined.join(" ")),
                };
                ("default_scope", advice)
            }
            InvalidPolicy::Durability { .. } => (
                "required_durability",
                String::from(
                    "; demand less, or choose a storage or a durability that promises more",
                ),
            ),
            _ => ("", String::new()),
        };
        self.mistake(key, format!("{error}{advice}"))
    }

    fn mistake(&self, key: &str, what: String) -> Mistake {
        Mistake { path: self.path.clone(), line: self.line_of(key), what }
    }

    /// The line that sets this key, or opens the table of this name.
    fn line_of(&self, key: &str) -> Option<usize> {
        let names = |line: &str| {
            let name = match line.trim().strip_prefix('[') {
                Some(table) => table.trim_end_matches(']'),
                None => line.split_once('=')?.0,
            };
            let name = name.trim().trim_end_matches('"');
            let rest = name.strip_suffix(key)?;
            (rest.is_empty() || rest.ends_with(['.', '"'])).then_some(())
        };
        if key.is_empty() {
            return None;
        }
        let at = self.text.lines().position(|line| names(line).is_some())?;
        Some(at + 1)
    }

    fn line_at(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or_default();
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    }
}

fn set<T>(value: &mut T, chosen: Option<T>) {
    if let Some(chosen) = chosen {
        *value = chosen;
    }
}

/// The messages of the parser, for somebody who has never seen one.
fn in_plain_words(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((given, known))
            if message.starts_with("unknown field")
                && TOP_LEVEL.contains(given)
                && !known.contains(given) =>
        {
            misplaced(given)
        }
        Some((given, known)) if message.starts_with("unknown field") => {
            let nearest = known
                .iter()
                .map(|name| (strsim::damerau_levenshtein(given, name), name))
                .min()
                .filter(|(distance, _)| *distance <= 3);
            match nearest {
                Some((_, name)) => {
                    format!("there is no setting `{given}` here; did you mean `{name}`?")
                }
                None => {
                    format!("there is no setting `{given}` here; there are {}", known.join(", "))
                }
            }
        }
        Some((given, known)) if message.starts_with("unknown variant") => {
            format!("`{given}` is none of the choices; write {}", quote(known))
        }
        _ => match message.strip_prefix("invalid ").and_then(|rest| {
            let (_, rest) = rest.split_once(": ")?;
            rest.split_once(", expected ")
        }) {
            Some((given, expected)) => format!("this is {given}; write {expected}"),
            None => message.to_owned(),
        },
    }
}

/// What stands above the first table.
const TOP_LEVEL: [&str; 11] = [
    "issuer",
    "listen",
    "tls_terminated",
    "storage",
    "durability",
    "client_cache",
    "admin_socket",
    "log_format",
    "trace_file",
    "trace",
    "default_scope",
];

/// TOML counts everything after `[table]` as part of it.
fn misplaced(name: &str) -> String {
    format!("`{name}` is no setting of this section; write it above the first [section]")
}

fn quote(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
    quoted.join(" or ")
}
