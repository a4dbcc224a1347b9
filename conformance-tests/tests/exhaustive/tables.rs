//! Numbers for things, so that a state of the world is small and quick to compare.
//!
//! The same thing has the same number as long as the tables live, so two states are equal exactly if
//! their numbers are.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use grantor::model::{Grant, GrantState, Handle, HandleKind, Timestamp};
use grantor::storage::{Commit, CommitId, Index, Key, Record, Stored};

use crate::cast::App;

/// The number of a thing in its table.
pub(crate) type Id = u32;

/// Things, each kept once.
pub(crate) struct Table<T>(Mutex<Kept<T>>);

struct Kept<T> {
    ids: HashMap<Arc<T>, Id>,
    things: Vec<Arc<T>>,
}

impl<T: Eq + Hash> Table<T> {
    fn new() -> Self {
        Self(Mutex::new(Kept { ids: HashMap::new(), things: Vec::new() }))
    }

    /// The number of this thing.
    pub(crate) fn id(&self, thing: T) -> Id {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = kept.ids.get(&thing) {
            return *id;
        }
        let id = Id::try_from(kept.things.len()).expect("fewer than 2^32 things");
        let thing = Arc::new(thing);
        kept.things.push(Arc::clone(&thing));
        kept.ids.insert(thing, id);
        id
    }

    /// The thing with this number.
    pub(crate) fn at(&self, id: Id) -> Arc<T> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner).things[id as usize])
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Table(..)")
    }
}

/// A record as the store keeps it.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) commit: CommitId,
    pub(crate) value: Vec<u8>,
    pub(crate) purge_at: Timestamp,
    /// What stands in it, read once.
    read: OnceLock<Read>,
}

#[derive(Clone)]
struct Read {
    record: Arc<Record>,
    standing: Option<Standing>,
}

/// Where an authorization stands, as far as the rules ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) state: Stand,
    /// Whose it is.
    pub(crate) app: App,
    pub(crate) client_epoch: u32,
    pub(crate) consent_epoch: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    Pending,
    CodeIssued,
    Active,
    Revoked,
}

impl Row {
    pub(crate) fn of(commit: &Commit) -> Self {
        Self {
            commit: commit.id,
            value: commit.record.value.clone(),
            purge_at: commit.record.purge_at,
            read: OnceLock::new(),
        }
    }

    fn identity(&self) -> (CommitId, &[u8], Timestamp) {
        (self.commit, &self.value, self.purge_at)
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Row {}

impl Hash for Row {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.identity().hash(hasher);
    }
}

impl From<&Row> for Stored {
    fn from(row: &Row) -> Self {
        Self { commit: row.commit, value: row.value.clone(), purge_at: row.purge_at }
    }
}

/// A secret text that left the server: what it is and which authorization it names.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// `None`: it names no authorization (a ticket of a consent page).
    pub(crate) names: Option<(HandleKind, Id)>,
}

/// All that has a number.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) keys: Table<Key>,
    pub(crate) indexes: Table<Index>,
    pub(crate) rows: Table<Row>,
    pub(crate) texts: Table<Text>,
    /// Which rows know which access tokens, as far as anybody asked.
    known: Mutex<HashMap<(Id, Id), bool>>,
}

impl Tables {
    pub(crate) fn new() -> Self {
        Self {
            keys: Table::new(),
            indexes: Table::new(),
            rows: Table::new(),
            texts: Table::new(),
            known: Mutex::default(),
        }
    }

    /// The record in a row of this key.
    pub(crate) fn record(&self, key: Id, row: Id) -> Arc<Record> {
        Arc::clone(&self.read(key, &self.rows.at(row)).record)
    }

    /// Where the authorization in a row of this key stands, if it is one.
    pub(crate) fn standing(&self, key: Id, row: Id) -> Option<Standing> {
        self.read(key, &self.rows.at(row)).standing
    }

    fn read<'a>(&self, key: Id, row: &'a Row) -> &'a Read {
        row.read.get_or_init(|| {
            let record = Record::decode(&self.keys.at(key), &row.value);
            let record = record.expect("a record that the server wrote");
            let standing = grant(&record).map(|grant| Standing {
                state: match grant.state {
                    GrantState::Pending(_) => Stand::Pending,
                    GrantState::CodeIssued(_) => Stand::CodeIssued,
                    GrantState::Active(_) => Stand::Active,
                    GrantState::Revoked(_) => Stand::Revoked,
                },
                app: App::ALL.into_iter().find(|app| app.id() == grant.client_id).expect("known"),
                client_epoch: grant.client_epoch,
                consent_epoch: grant.consent_epoch(),
            });
            Read { record: Arc::new(record), standing }
        })
    }

    /// Whether the record in a row knows an access token.
    pub(crate) fn knows(&self, key: Id, row: Id, access: Id) -> bool {
        let known =
            self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&(row, access)).copied();
        known.unwrap_or_else(|| {
            let knows = match grant(&self.record(key, row)).map(|grant| &grant.state) {
                Some(GrantState::Active(active)) => {
                    let secret = self.handle(access).secret;
                    active.access_tokens.iter().any(|token| token.hash.matches(&secret))
                }
                _ => false,
            };
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert((row, access), knows);
            knows
        })
    }

    /// The number of a secret text.
    pub(crate) fn text(&self, text: &str) -> Id {
        const KINDS: [HandleKind; 4] = [
            HandleKind::Code,
            HandleKind::AccessToken,
            HandleKind::RefreshToken,
            HandleKind::Interaction,
        ];
        let names = KINDS.into_iter().find_map(|kind| {
            let handle = Handle::parse(kind, text)?;
            Some((kind, self.keys.id(Key::grant(handle.id))))
        });
        self.texts.id(Text { text: text.to_owned(), names })
    }

    /// The handle that a secret text is.
    pub(crate) fn handle(&self, text: Id) -> Handle {
        let text = self.texts.at(text);
        let (kind, _) = text.names.expect("a text that names an authorization");
        Handle::parse(kind, &text.text).expect("it was read before")
    }

    /// The authorization that a secret text names.
    pub(crate) fn grant_of(&self, text: Id) -> Id {
        self.texts.at(text).names.expect("a text that names an authorization").1
    }
}

/// The authorization in a record, if that is what it is.
pub(crate) fn grant(record: &Record) -> Option<&Grant> {
    match record {
        Record::Grant(grant) => Some(grant),
        _ => None,
    }
}
