//! What comes between Grantor and Redis: a reply that is lost after the execution, a connection that is
//! cut at any byte, a command that arrives twice, or when nobody waits for it any more.
//!
//! Every call of the store, and every step of a client, is made once for each command that it sends and
//! for each thing that can happen to that command. It must be answered as if nothing had happened, or as
//! unavailable, in time; nothing may be applied twice, no honest client be taken for a thief, and
//! afterwards all must work.
//!
//! By default connections are cut at some of the bytes, with `GRANTOR_FULL=1` at every one.
//!
//! ATTACKS A09, B02.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a campaign reports by printing and panicking"
)]

mod campaign;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use campaign::clients::Load;
use campaign::witness::Books;
use campaign::{Random, runtime};
use grantor::model::{Subject, Timestamp};
use grantor::storage::{
    Commit, CommitId, CommitOutcome, Index, Key, Kind, Listing, NewRecord, Storage, StorageError,
};
use grantor_conformance::redis::{Command, Fault, FaultProxy, Fsync, Injected, Server};
use grantor_redis::{RedisConfig, RedisStorage};

/// No call takes longer than its deadline, which is two seconds, and what a busy machine adds.
const IN_TIME: Duration = Duration::from_secs(20);
const FOREVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// What a link does by itself, at times of its own.
const OF_LINKS: [&str; 9] =
    ["ROLE", "TIME", "INFO", "CONFIG", "CLIENT", "HELLO", "AUTH", "SELECT", "CLUSTER"];

fn is_of_a_call(command: &Command) -> bool {
    !OF_LINKS.contains(&command.name().as_str())
}

/// A server, its replica, and the two ways to it: one that is harmed and one that is not.
struct Place {
    proxy: FaultProxy,
    harmed: Arc<RedisStorage>,
    straight: Arc<RedisStorage>,
    _servers: Vec<Server>,
}

impl Place {
    async fn new(durability: &str, deadline: Duration) -> Self {
        let options = || Server::options().append_only(Fsync::EverySecond);
        let primary = options().start();
        let replica = options().replica_of(&primary).start();
        primary.wait_for_replicas(1);
        let proxy = FaultProxy::to(&primary);
        let open = |url: String, deadline| {
            let url = format!("{url}?durability={durability}");
            RedisConfig::new(&url).expect("an address").deadline(deadline).open()
        };
        let harmed = open(proxy.url(), deadline).await.expect("fit");
        let straight = open(primary.url(), IN_TIME).await.expect("fit");
        let servers = vec![primary, replica];
        Self { proxy, harmed: Arc::new(harmed), straight: Arc::new(straight), _servers: servers }
    }
}

impl Place {
    fn straight(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.straight) as Arc<dyn Storage>
    }

    fn harmed(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.harmed) as Arc<dyn Storage>
    }

    /// The nth command of a call from now on.
    fn harm(&self, nth: u64, fault: Fault) -> Injected {
        self.proxy.clear();
        self.proxy.inject_where(is_of_a_call, nth, fault)
    }
}

fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn fresh_key() -> Key {
    Key::new(Kind::Grant, number().to_be_bytes()).expect("short")
}

fn commit(key: &Key, expect: Option<CommitId>) -> Commit {
    let number = number();
    let record = NewRecord {
        value: number.to_be_bytes().to_vec(),
        purge_at: FOREVER,
        indexes: vec![index(key), all()],
    };
    Commit {
        key: key.clone(),
        expect,
        id: CommitId::from_bytes(u128::from(number).to_be_bytes()),
        record,
    }
}

fn index(key: &Key) -> Index {
    let id = key.id().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Index::new(&format!("of:{id}")).expect("a name")
}

fn all() -> Index {
    Index::new("all").expect("a name")
}

async fn stored(store: &RedisStorage, key: &Key) -> Result<Option<CommitId>, StorageError> {
    let found = store.load(std::slice::from_ref(key)).await?;
    Ok(found.into_iter().next().flatten().map(|found| found.commit))
}

async fn listed(store: &RedisStorage, listing: &Listing) -> Result<Vec<Key>, StorageError> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(listing, after.as_ref(), 100).await?;
        keys.extend(page.keys);
        after = match page.next {
            Some(next) => Some(next),
            None => return Ok(keys),
        };
    }
}

/// The answer to a commit that is sent again until there is one.
async fn settle(store: &RedisStorage, commit: &Commit) -> CommitOutcome {
    for _ in 0..20 {
        if let Ok(outcome) = store.commit(commit.clone()).await {
            return outcome;
        }
    }
    panic!("a way that is not harmed does not work");
}

async fn look(store: &RedisStorage, key: &Key) -> Option<CommitId> {
    for _ in 0..10 {
        if let Ok(found) = stored(store, key).await {
            return found;
        }
    }
    panic!("a way that is not harmed does not work");
}

/// A call of the store.
#[derive(Clone, Copy, Debug)]
enum Call {
    Load,
    LoadSeveral,
    Create,
    Replace,
    Lose,
    ListIndex,
    ListKind,
    Sweep,
    Ready,
}

impl Call {
    const ALL: [Self; 9] = [
        Self::Load,
        Self::LoadSeveral,
        Self::Create,
        Self::Replace,
        Self::Lose,
        Self::ListIndex,
        Self::ListKind,
        Self::Sweep,
        Self::Ready,
    ];

    /// Makes it on the way that is harmed, and looks at what is there afterwards. Whether it was answered.
    async fn make(self, place: &Place, nth: u64, fault: Fault) -> (bool, Injected) {
        let Place { harmed, straight, .. } = place;
        let key = fresh_key();
        let first = commit(&key, None);
        if !matches!(self, Self::Create) {
            assert_eq!(settle(straight, &first).await, CommitOutcome::Applied);
        }
        let injected = place.harm(nth, fault);
        let began = Instant::now();
        let answered = match self {
            Self::Load => match stored(harmed, &key).await {
                Ok(found) => {
                    assert_eq!(found, Some(first.id));
                    true
                }
                Err(_) => false,
            },
            Self::LoadSeveral => {
                let keys = [fresh_key(), key.clone(), fresh_key()];
                match harmed.load(&keys).await {
                    Ok(found) => {
                        let there: Vec<_> = found.iter().map(Option::is_some).collect();
                        assert_eq!(there, [false, true, false]);
                        true
                    }
                    Err(_) => false,
                }
            }
            Self::Create | Self::Replace | Self::Lose => {
                return (self.commit(place, &key, &first).await, injected);
            }
            Self::ListIndex => match listed(harmed, &Listing::Index(index(&key))).await {
                Ok(keys) => {
                    assert_eq!(keys, std::slice::from_ref(&key));
                    true
                }
                Err(_) => false,
            },
            Self::ListKind => match listed(harmed, &Listing::Kind(Kind::Session)).await {
                Ok(keys) => {
                    assert!(keys.is_empty());
                    true
                }
                Err(_) => false,
            },
            Self::Sweep => {
                let swept = harmed.sweep(Timestamp::from_millis(0), None, 3).await;
                assert_eq!(look(straight, &key).await, Some(first.id));
                swept.is_ok()
            }
            Self::Ready => harmed.ready().await.is_ok(),
        };
        assert!(began.elapsed() < IN_TIME, "{self:?} took {:?}", began.elapsed());
        (answered, injected)
    }

    async fn commit(self, place: &Place, key: &Key, first: &Commit) -> bool {
        let Place { harmed, straight, .. } = place;
        let wanted = match self {
            Self::Create => first.clone(),
            Self::Lose => commit(key, Some(CommitId::from_bytes([0xff; 16]))),
            _ => commit(key, Some(first.id)),
        };
        let began = Instant::now();
        let answer = harmed.commit(wanted.clone()).await;
        assert!(began.elapsed() < IN_TIME, "{self:?} took {:?}", began.elapsed());
        if let Self::Lose = self {
            assert!(matches!(answer, Ok(CommitOutcome::Conflict) | Err(_)), "{answer:?}");
            assert_eq!(look(straight, key).await, Some(first.id));
            return answer.is_ok();
        }
        match &answer {
            Ok(outcome) => {
                assert_eq!(*outcome, CommitOutcome::Applied, "{self:?}: a retry of our own");
                assert_eq!(
                    look(straight, key).await,
                    Some(wanted.id),
                    "{self:?}: answered, and gone"
                );
            }
            Err(StorageError::Unavailable { .. }) => {}
            Err(error) => panic!("{self:?}: {error}"),
        }
        // Whatever became of it: the same again is the same.
        assert_eq!(settle(straight, &wanted).await, CommitOutcome::Applied);
        let next = commit(key, Some(wanted.id));
        assert_eq!(settle(straight, &next).await, CommitOutcome::Applied);
        assert_eq!(settle(straight, &wanted).await, CommitOutcome::Conflict);
        assert_eq!(look(straight, key).await, Some(next.id));
        for index in [index(key), all()] {
            let keys = listed(straight, &Listing::Index(index)).await.expect("an answer");
            assert!(keys.contains(key), "{self:?}: there, and not listed");
        }
        answer.is_ok()
    }
}

/// At which bytes a connection is cut: at so many of the first and of the last, and between them at every
/// so many.
#[derive(Clone, Copy, Debug)]
struct Bytes {
    edge: usize,
    step: usize,
}

impl Bytes {
    fn chosen(edge: usize, step: usize) -> Self {
        match std::env::var_os("GRANTOR_FULL") {
            Some(_) => Self { edge, step: 1 },
            None => Self { edge, step },
        }
    }

    fn next(self, at: usize, length: usize) -> usize {
        if at + 1 < self.edge || at + self.edge >= length {
            return at + 1;
        }
        (at + self.step).min(length - self.edge).max(at + 1)
    }
}

/// How often what was done.
#[derive(Debug, Default)]
struct Tally {
    cases: BTreeMap<&'static str, u64>,
    unanswered: u64,
}

impl Tally {
    fn count(&mut self, fault: Fault, answered: bool) {
        let name = match fault {
            Fault::CutBefore => "cut before the command",
            Fault::CutRequest(_) => "cut within the command",
            Fault::DropReply => "reply lost",
            Fault::CutReply(_) => "cut within the reply",
            Fault::Twice => "delivered twice",
        };
        *self.cases.entry(name).or_default() += 1;
        self.unanswered += u64::from(!answered);
    }

    fn tell(&self, title: &str) {
        let cases: Vec<_> = self.cases.iter().map(|(name, n)| format!("{n} {name}")).collect();
        let all: u64 = self.cases.values().sum();
        println!(
            "{title}: {all} faults ({}), {} calls answered as unavailable",
            cases.join(", "),
            self.unanswered
        );
    }
}

/// A step of a client, and of a user.
#[derive(Clone, Copy, Debug)]
enum Step {
    Authorize,
    Redeem,
    Refresh,
    Introspect,
    Revoke,
    Reuse,
    Withdraw,
}

impl Step {
    const ALL: [Self; 7] = [
        Self::Authorize,
        Self::Redeem,
        Self::Refresh,
        Self::Introspect,
        Self::Revoke,
        Self::Reuse,
        Self::Withdraw,
    ];

    /// Takes it over the way that is harmed. The client repeats what is not answered, and holds the server
    /// to all that it was told.
    async fn take(self, place: &Place, load: &Load, nth: u64, fault: Fault) -> (bool, Injected) {
        let user = Subject::parse(format!("user{}", number())).expect("a subject");
        load.replace(0, place.straight());
        let mut life = load.begin(&user).await.expect("a code");
        if !matches!(self, Self::Authorize | Self::Redeem) {
            assert!(load.exchange(&mut life).await, "tokens");
        }
        if let Self::Reuse = self {
            assert!(load.renew(&mut life).await && load.renew(&mut life).await, "more tokens");
        }
        load.replace(0, place.harmed());
        let unanswered = || load.tally.unavailable.load(Ordering::Relaxed);
        let before = unanswered();
        let injected = place.harm(nth, fault);
        let mut over = false;
        match self {
            Self::Authorize => life = load.begin(&user).await.expect("a code"),
            Self::Redeem => {
                assert!(load.exchange(&mut life).await, "the client has to begin again")
            }
            Self::Refresh => assert!(load.renew(&mut life).await, "the client is refused"),
            Self::Introspect => assert!(load.must_be_active(&life).await),
            Self::Revoke => {
                load.revoke(life.clone()).await;
                over = true;
            }
            Self::Reuse => {
                load.reuse(life.clone()).await;
                over = true;
            }
            Self::Withdraw => {
                load.withdraw(&user).await;
                over = true;
            }
        }
        let answered = unanswered() == before;
        place.proxy.clear();
        load.replace(0, place.straight());
        if over {
            load.must_be_over(&life, true).await;
        } else {
            if !life.has_tokens() {
                assert!(load.exchange(&mut life).await, "tokens");
            }
            assert!(load.renew(&mut life).await && load.must_be_active(&life).await);
        }
        (answered, injected)
    }
}

#[derive(Clone, Copy, Debug)]
enum Case {
    Call(Call),
    Step(Step),
}

/// A place, who is there, and what was done.
struct Campaign {
    place: Place,
    load: Load,
    books: Arc<Books>,
    bytes: Bytes,
    tally: Tally,
    title: String,
}

impl Campaign {
    async fn new(durability: &str, bytes: Bytes, random: Arc<Random>) -> Self {
        let place = Place::new(durability, Duration::from_secs(2)).await;
        let books = Arc::new(Books::default());
        let load = Load::new(vec![place.straight()], Arc::clone(&books), random).await;
        let title = format!("durability={durability}");
        Self { place, load, books, bytes, tally: Tally::default(), title }
    }

    async fn one(&mut self, case: Case, nth: u64, fault: Fault) -> Injected {
        let what = format!("{case:?}, command {nth}, {fault:?}");
        let (answered, injected) = match case {
            Case::Call(call) => call.make(&self.place, nth, fault).await,
            Case::Step(step) => step.take(&self.place, &self.load, nth, fault).await,
        };
        self.place.proxy.clear();
        if injected.has_struck() {
            self.tally.count(fault, answered);
        }
        let wrong: Vec<String> = (self.books.take_losses().iter().map(ToString::to_string))
            .chain(self.books.take_wrong())
            .chain(self.load.take_violations().into_iter().map(|violation| violation.what))
            .collect();
        assert!(wrong.is_empty(), "{}: {what}: {wrong:#?}", self.title);
        injected
    }

    /// All that can happen to each of its commands.
    async fn all(&mut self, case: Case) {
        for nth in 1.. {
            if !self.one(case, nth, Fault::Twice).await.has_struck() {
                return;
            }
            for fault in [Fault::CutBefore, Fault::DropReply] {
                self.one(case, nth, fault).await;
            }
            for fault in [Fault::CutRequest, Fault::CutReply] {
                let mut at = 0;
                loop {
                    let injected = self.one(case, nth, fault(at)).await;
                    // A call has fewer commands now and then: a script is known by now.
                    let Some(length) = injected.length() else { break };
                    if at >= length {
                        break;
                    }
                    at = self.bytes.next(at, length);
                }
            }
        }
    }

    async fn run(mut self) {
        let cases =
            Call::ALL.into_iter().map(Case::Call).chain(Step::ALL.into_iter().map(Case::Step));
        for case in cases {
            let began = Instant::now();
            self.all(case).await;
            let unanswered = self.tally.unanswered;
            println!(
                "{}: {case:?} took {:.1?}, {unanswered} unanswered so far",
                self.title,
                began.elapsed()
            );
        }
        assert_eq!(self.load.tally.begun_again.load(Ordering::Relaxed), 0, "clients began again");
        self.tally.tell(&self.title);
    }
}

/// What arrives when nobody waits for it any more, and something else has happened.
async fn late(durability: &str) {
    let place = Place::new(durability, Duration::from_millis(400)).await;
    let Place { proxy, harmed, straight, .. } = &place;
    let without_entries = |key: &Key, expect| {
        let mut commit = commit(key, expect);
        commit.record.indexes.clear();
        commit
    };
    for what in ["a replacement", "an entry"] {
        let key = fresh_key();
        let first = without_entries(&key, None);
        assert_eq!(settle(straight, &first).await, CommitOutcome::Applied);
        let wanted = match what {
            "an entry" => commit(&key, Some(first.id)),
            _ => without_entries(&key, Some(first.id)),
        };
        let held = proxy.hold_request("EVALSHA", 1);
        let answer = within(harmed.commit(wanted)).await;
        assert!(held.has_struck());
        assert!(!matches!(answer, Ok(CommitOutcome::Conflict)), "{what}: {answer:?}");
        // Somebody else takes it from there: a revocation.
        let there = look(straight, &key).await;
        let revoked = without_entries(&key, there);
        assert_eq!(settle(straight, &revoked).await, CommitOutcome::Applied);
        held.release();
        held.answered().await;
        assert_eq!(look(straight, &key).await, Some(revoked.id), "{what} came late and won");
        works_again(harmed).await;
    }

    // The reply to one question is not taken for that to another.
    let (one, other) = (fresh_key(), fresh_key());
    let (at_one, at_other) = (commit(&one, None), commit(&other, None));
    for commit in [&at_one, &at_other] {
        assert_eq!(settle(straight, commit).await, CommitOutcome::Applied);
    }
    for name in ["GET", "WAIT"] {
        if name == "WAIT" && durability == "local" {
            continue;
        }
        let held = proxy.hold_reply(name, 1);
        let shown = within(stored(harmed, &one)).await;
        assert!(matches!(shown, Err(_) | Ok(Some(_))), "a record that is there was not shown");
        let others: Vec<_> = (0..6).map(|_| within(stored(harmed, &other))).collect();
        held.release();
        for shown in futures_util::future::join_all(others).await {
            assert!(shown.is_err() || shown.is_ok_and(|shown| shown == Some(at_other.id)));
        }
        works_again(harmed).await;
    }

    // Nothing passes any more; then all of it does.
    proxy.stall();
    let (key, entry) = (fresh_key(), commit(&other, Some(at_other.id)));
    let created = commit(&key, None);
    let calls = (within(harmed.commit(created.clone())), within(harmed.commit(entry.clone())));
    let (created_answer, replaced) = futures_util::future::join(calls.0, calls.1).await;
    for answer in [created_answer, replaced] {
        assert!(matches!(answer, Err(StorageError::Unavailable { .. })), "{answer:?}");
    }
    assert!(within(harmed.ready()).await.is_err());
    let revoked = commit(&other, Some(at_other.id));
    assert_eq!(settle(straight, &revoked).await, CommitOutcome::Applied);
    proxy.resume();
    works_again(harmed).await;
    assert_eq!(settle(harmed, &created).await, CommitOutcome::Applied);
    assert_eq!(settle(harmed, &entry).await, CommitOutcome::Conflict);
    assert_eq!(look(straight, &other).await, Some(revoked.id));
    println!("durability={durability}: what came late changed nothing");
}

async fn within<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(IN_TIME, call).await.expect("a call ends when its time is over")
}

/// The store is back by itself.
async fn works_again(store: &RedisStorage) {
    let until = Instant::now() + 3 * IN_TIME;
    let key = fresh_key();
    let first = commit(&key, None);
    loop {
        match store.commit(first.clone()).await {
            Ok(outcome) => return assert_eq!(outcome, CommitOutcome::Applied),
            Err(error) => assert!(Instant::now() < until, "it does not come back: {error}"),
        }
    }
}

fn main() {
    let random = Arc::new(Random::new());
    std::thread::scope(|scope| {
        let bytes = [("local", Bytes::chosen(1, 120)), ("replicas(1)", Bytes::chosen(1, 10_000))];
        for (durability, bytes) in bytes {
            let random = Arc::clone(&random);
            scope.spawn(move || {
                runtime().block_on(async {
                    late(durability).await;
                    Campaign::new(durability, bytes, random).await.run().await;
                });
            });
        }
    });
}
