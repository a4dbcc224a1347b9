use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use grantor::storage::{Kind, MemoryStorage, Page, Promises, Stored, Swept};

use super::*;

/// A clock that stands until it is moved.
#[derive(Clone, Debug)]
struct Watch(Arc<AtomicI64>);

impl Watch {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_800_000_000_000)))
    }

    fn advance(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).expect("a short time");
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A store in memory that several directories have open as if they were processes.
#[derive(Debug, Default)]
struct Shared {
    inner: MemoryStorage,
    calls: AtomicUsize,
}

#[async_trait]
impl Storage for Shared {
    fn promises(&self) -> Promises {
        Promises { shared: true, ..self.inner.promises() }
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.load(keys).await
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StorageError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.commit(commit).await
    }

    async fn list(
        &self,
        listing: &Listing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.list(listing, after, limit).await
    }

    async fn sweep(
        &self,
        now: Timestamp,
        after: Option<&Cursor>,
        budget: usize,
    ) -> Result<Swept, StorageError> {
        self.inner.sweep(now, after, budget).await
    }

    async fn ready(&self) -> Result<(), StorageError> {
        self.inner.ready().await
    }
}

const PASSWORD: &str = "correct horse battery staple";

fn directory(sources: Sources) -> (Directory, Watch) {
    let watch = Watch::new();
    (on(Arc::new(MemoryStorage::new()), &watch, sources), watch)
}

fn on(storage: Arc<dyn Storage>, watch: &Watch, sources: Sources) -> Directory {
    Directory::assemble(storage, Arc::new(watch.clone()), sources).expect("assembled")
}

async fn with_user(name: &str) -> (Directory, Watch, User) {
    let (directory, watch) = directory(Sources::Direct);
    let password = SecretString::new(PASSWORD);
    let user = directory.add(name, &password).await.expect("added");
    (directory, watch, user)
}

fn guess(name: &str, password: &str, source: &str) -> Credentials {
    Credentials {
        username: name.to_owned(),
        password: SecretString::new(password),
        source: Some(source.parse().expect("an address")),
    }
}

async fn verdict(directory: &Directory, credentials: &Credentials) -> String {
    match directory.verify(credentials).await.expect("answered") {
        Verdict::Verified(account) => format!("verified {}", account.username),
        Verdict::Refused => "refused".to_owned(),
        Verdict::Throttled { retry_after } => format!("throttled {}", retry_after.as_secs()),
    }
}

#[tokio::test]
async fn a_name_is_compared_without_case_and_shown_as_it_was_registered() {
    let (directory, _, user) = with_user("Alice@Example.com").await;
    assert_eq!(user.username, "Alice@Example.com");
    for name in [
        "alice@example.com",
        " ALICE@EXAMPLE.COM ",
        // Full-width letters are the same letters.
        "\u{ff21}lice@example.com",
    ] {
        assert_eq!(
            verdict(&directory, &guess(name, PASSWORD, "192.0.2.1")).await,
            "verified Alice@Example.com"
        );
        assert_eq!(directory.find(name).await.expect("found"), Some(user.clone()));
    }
}

#[tokio::test]
async fn names_that_could_be_mistaken_and_passwords_that_could_be_guessed_are_refused() {
    let (directory, _) = directory(Sources::Direct);
    let password = SecretString::new(PASSWORD);
    for bad in ["", "a b", "a\u{200b}", "a/b", "a\nb", "<b>", &"a".repeat(65)] {
        let refused = directory.add(bad, &password).await;
        assert!(matches!(refused, Err(DirectoryError::BadName(_))), "{bad:?}");
    }
    for bad in ["", "1234567", &"x".repeat(1025)] {
        let refused = directory.add("alice", &SecretString::new(bad)).await;
        assert!(matches!(refused, Err(DirectoryError::BadPassword)));
    }
    assert_eq!(directory.list().await.expect("listed"), []);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_an_unknown_name_and_a_disabled_account_are_told_apart_by_nothing() {
    // ATTACKS G11.
    let (directory, _, _) = with_user("alice").await;
    let password = SecretString::new(PASSWORD);
    directory.add("bob", &password).await.expect("added");
    directory.add("carol", &password).await.expect("added");
    directory.set_disabled("bob", true).await.expect("disabled");
    directory.remove("carol").await.expect("removed");
    let guesses = [
        guess("alice", "wrong password", "192.0.2.1"),
        guess("nobody", PASSWORD, "192.0.2.1"),
        guess("bob", PASSWORD, "192.0.2.1"),
        guess("carol", PASSWORD, "192.0.2.1"),
        guess("", "", "192.0.2.1"),
    ];
    for guess in &guesses {
        assert_eq!(verdict(&directory, guess).await, "refused", "{guess:?}");
    }
    // Each of them does the work: without a turn to hash, none gets an answer.
    let _all = directory.inner.passwords.occupy().await;
    for guess in &guesses {
        assert_eq!(verdict(&directory, guess).await, "throttled 5", "{guess:?}");
    }
}

#[tokio::test]
async fn guesses_are_throttled_per_account_whether_there_is_one_or_not() {
    // Requirement 6749-080; ATTACKS G11, G12.
    let (directory, watch, _) = with_user("alice").await;
    for name in ["alice", "nobody"] {
        for n in 0..10 {
            // From everywhere, and under every spelling of the name.
            let source = format!("198.51.100.{n}");
            let spelling = if n % 2 == 0 { name.to_uppercase() } else { format!(" {name}") };
            let wrong = guess(&spelling, "wrong password", &source);
            assert_eq!(verdict(&directory, &wrong).await, "refused");
        }
        let next = guess(name, PASSWORD, "203.0.113.1");
        assert_eq!(verdict(&directory, &next).await, "throttled 6");
    }
    // Others are not affected, and whose name it is gets in again.
    let other = guess("bob", PASSWORD, "198.51.100.1");
    assert_eq!(verdict(&directory, &other).await, "refused");
    watch.advance(Duration::from_secs(6));
    let right = guess("alice", PASSWORD, "203.0.113.1");
    assert_eq!(verdict(&directory, &right).await, "verified alice");
    assert_eq!(verdict(&directory, &right).await, "throttled 6");
}

/// How many of these attempts are let through.
async fn let_through(throttle: &Throttle, attempts: impl Iterator<Item = (u32, String)>) -> usize {
    let mut passed = 0;
    for (n, source) in attempts {
        let mut account = [0; 32];
        account[..4].copy_from_slice(&n.to_be_bytes());
        let source = source.parse().expect("an address");
        passed += usize::from(throttle.count(&account, Some(source)).await.is_ok());
    }
    passed
}

#[tokio::test]
async fn guesses_are_throttled_per_source() {
    // Requirement 6749-080; ATTACKS G12.
    let watch = Watch::new();
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let clock: Arc<dyn Clock> = Arc::new(watch.clone());
    let direct = Throttle::new(&storage, &clock, true);
    let one = async |n: u32, source: &str| {
        let_through(&direct, std::iter::once((n, source.to_owned()))).await == 1
    };
    let office = (0..60).map(|n| (n, "192.0.2.1".to_owned()));
    assert_eq!(let_through(&direct, office).await, 60);
    assert!(!one(60, "192.0.2.1").await);
    assert!(!one(60, "::ffff:192.0.2.1").await, "the same host");
    assert!(one(61, "192.0.2.2").await, "another one");
    assert!(!one(62, "192.0.2.1").await);
    watch.advance(Duration::from_secs(1));
    assert!(one(62, "192.0.2.1").await);

    // A host picks its own address out of its network.
    let network = (0..60).map(|n| (100 + n, format!("2001:db8::{n:x}")));
    assert_eq!(let_through(&direct, network).await, 60);
    assert!(!one(200, "2001:db8::ffff:1").await);
    assert!(one(201, "2001:db8:0:1::1").await);

    // What a throttled source tries costs the account nothing.
    let throttled = (0..20).map(|_| (7777, "2001:db8::1".to_owned()));
    assert_eq!(let_through(&direct, throttled).await, 0);
    let others = (0..10).map(|n| (7777, format!("203.0.113.{n}")));
    assert_eq!(let_through(&direct, others).await, 10);

    // Behind a proxy all sources are one, and nobody can lock out everybody.
    let proxied = Throttle::new(&storage, &clock, false);
    let everybody = (0..1000).map(|n| (n, "127.0.0.1".to_owned()));
    assert_eq!(let_through(&proxied, everybody).await, 1000);
}

#[tokio::test]
async fn guesses_are_counted_in_all_processes_that_share_the_store() {
    // Requirement 6749-080; ATTACKS G12.
    let watch = Watch::new();
    let storage = Arc::new(Shared::default());
    let processes: Vec<_> = (0..3).map(|_| on(storage.clone(), &watch, Sources::Direct)).collect();
    let first = processes.first().expect("three");
    first.add("alice", &SecretString::new(PASSWORD)).await.expect("added");
    for n in 0..10 {
        let wrong = guess("alice", "wrong password", &format!("198.51.100.{n}"));
        let process = processes.get(n % 3).expect("three");
        assert_eq!(verdict(process, &wrong).await, "refused");
    }
    let right = guess("alice", PASSWORD, "203.0.113.1");
    for process in &processes {
        assert_eq!(verdict(process, &right).await, "throttled 6", "whichever it comes to");
    }
    watch.advance(Duration::from_secs(6));
    assert_eq!(verdict(first, &right).await, "verified alice");
    for process in &processes {
        assert_eq!(verdict(process, &right).await, "throttled 6");
    }
    // What a process knows to be full costs the store nothing but the count of the source.
    let before = storage.calls.load(Ordering::Relaxed);
    assert_eq!(verdict(first, &right).await, "throttled 6");
    assert_eq!(storage.calls.load(Ordering::Relaxed) - before, 2);
}

#[tokio::test]
async fn a_subject_is_never_given_to_somebody_else() {
    let (directory, _, first) = with_user("alice").await;
    assert!(directory.account(&first.subject).await.expect("asked").is_some());
    directory.remove("alice").await.expect("removed");
    assert!(directory.account(&first.subject).await.expect("asked").is_none());
    assert_eq!(directory.find("alice").await.expect("asked"), None);
    let gone = directory.set_disabled("alice", false).await;
    assert!(matches!(gone, Err(DirectoryError::Unknown(_))));

    let password = SecretString::new("another password");
    let second = directory.add("alice", &password).await.expect("free again");
    assert_ne!(second.subject, first.subject);
    assert!(directory.account(&first.subject).await.expect("asked").is_none());
    let account = directory.account(&second.subject).await.expect("asked");
    assert_eq!(account.expect("stands").username, "alice");
    assert_eq!(directory.list().await.expect("listed"), [second]);
}

#[tokio::test]
async fn an_account_that_was_looked_up_before_takes_one_call() {
    let storage = Arc::new(Shared::default());
    let watch = Watch::new();
    let [one, other] = [(); 2].map(|()| on(storage.clone(), &watch, Sources::Direct));
    let alice = one.add("alice", &SecretString::new(PASSWORD)).await.expect("added").subject;
    let asked = async || {
        let before = storage.calls.load(Ordering::Relaxed);
        let account = other.account(&alice).await.expect("asked");
        (account.is_some(), storage.calls.load(Ordering::Relaxed) - before)
    };
    assert_eq!(asked().await, (true, 2));
    assert_eq!(asked().await, (true, 1));
    // Only the place is remembered: what another process does is seen at once.
    one.set_disabled("alice", true).await.expect("disabled");
    assert_eq!(asked().await, (false, 1));
    one.set_disabled("alice", false).await.expect("enabled");
    assert_eq!(asked().await, (true, 1));
    one.remove("alice").await.expect("removed");
    one.add("alice", &SecretString::new(PASSWORD)).await.expect("somebody else");
    assert_eq!(asked().await, (false, 3));
}

#[tokio::test]
async fn places_are_not_remembered_without_bound() {
    let (directory, _) = directory(Sources::Direct);
    for n in 0..2 * MAX_PLACES {
        let subject = Subject::parse(format!("user-{n}")).expect("a subject");
        directory.remember(&subject, Key::new(Kind::User, *b"place").expect("short"));
    }
    assert!((MAX_PLACES / 4..=MAX_PLACES).contains(&directory.places().len()));
}

#[tokio::test]
async fn a_disabled_account_does_not_stand_and_can_come_back() {
    let (directory, _, user) = with_user("alice").await;
    let right = guess("alice", PASSWORD, "192.0.2.1");
    directory.set_disabled("alice", true).await.expect("disabled");
    assert!(directory.account(&user.subject).await.expect("asked").is_none());
    assert_eq!(verdict(&directory, &right).await, "refused");
    directory.set_disabled("alice", false).await.expect("enabled");
    assert!(directory.account(&user.subject).await.expect("asked").is_some());
    assert_eq!(verdict(&directory, &right).await, "verified alice");
    let password = SecretString::new("another password");
    let changed = directory.set_password("ALICE", &password).await.expect("changed");
    assert_eq!(changed.subject, user.subject);
    assert_eq!(verdict(&directory, &right).await, "refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_registrations_of_one_name_exactly_one_wins() {
    let (directory, _) = directory(Sources::Direct);
    let mut adding = tokio::task::JoinSet::new();
    for name in ["alice", "Alice", "ALICE", "alicE"] {
        let directory = directory.clone();
        let password = SecretString::new(PASSWORD);
        adding.spawn(async move { directory.add(name, &password).await });
    }
    let added = adding.join_all().await;
    let won = added.iter().filter(|added| added.is_ok()).count();
    let lost = added.iter().filter(|added| matches!(added, Err(DirectoryError::Exists(_)))).count();
    assert_eq!((won, lost), (1, 3));
    assert_eq!(directory.list().await.expect("listed").len(), 1);
}

#[tokio::test]
async fn a_record_of_a_newer_version_is_left_alone() {
    let (directory, _, user) = with_user("alice").await;
    let name = Name::typed("alice");
    let key = name.key().expect("a key");
    let (_, record) = directory.load(&key).await.expect("loaded").expect("there");
    let mut value = record.encode().expect("encoded");
    assert!(UserRecord::decode(&value).is_ok_and(|record| record.subject == user.subject));
    value[0] += 1;
    assert!(UserRecord::decode(&value).is_err());
    assert!(UserRecord::decode(&[]).is_err());
}
