use governor::clock::FakeRelativeClock;
use grantor::storage::MemoryStorage;

use super::*;

const PASSWORD: &str = "correct horse battery staple";

fn directory(sources: Sources) -> (Directory<FakeRelativeClock>, FakeRelativeClock) {
    let stopwatch = FakeRelativeClock::default();
    let directory = Directory::assemble(
        Arc::new(MemoryStorage::new()),
        Arc::new(SystemClock),
        stopwatch.clone(),
        sources,
    );
    (directory.expect("assembled"), stopwatch)
}

async fn with_user(name: &str) -> (Directory<FakeRelativeClock>, FakeRelativeClock, User) {
    let (directory, stopwatch) = directory(Sources::Direct);
    let password = SecretString::new(PASSWORD);
    let user = directory.add(name, &password).await.expect("added");
    (directory, stopwatch, user)
}

fn guess(name: &str, password: &str, source: &str) -> Credentials {
    Credentials {
        username: name.to_owned(),
        password: SecretString::new(password),
        source: Some(source.parse().expect("an address")),
    }
}

async fn verdict<C>(directory: &Directory<C>, credentials: &Credentials) -> String
where
    C: Stopwatch + Clone + Send + Sync + 'static,
    C::Instant: Send + Sync,
{
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
    let (directory, stopwatch, _) = with_user("alice").await;
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
    stopwatch.advance(Duration::from_secs(6));
    let right = guess("alice", PASSWORD, "203.0.113.1");
    assert_eq!(verdict(&directory, &right).await, "verified alice");
    assert_eq!(verdict(&directory, &right).await, "throttled 6");
}

#[test]
fn guesses_are_throttled_per_source() {
    // Requirement 6749-080; ATTACKS G12.
    let stopwatch = FakeRelativeClock::default();
    let count = |throttle: &Throttle<_>, n: u32, source: &str| {
        let mut account = [0; 32];
        account[..4].copy_from_slice(&n.to_be_bytes());
        let source = source.parse().expect("an address");
        throttle.count(&account, Some(source)).is_ok()
    };
    let direct = Throttle::new(stopwatch.clone(), true);
    assert!((0..60).all(|n| count(&direct, n, "192.0.2.1")));
    assert!(!count(&direct, 60, "192.0.2.1"));
    assert!(!count(&direct, 60, "::ffff:192.0.2.1"), "the same host");
    assert!(count(&direct, 61, "192.0.2.2"), "another one");
    assert!(!count(&direct, 62, "192.0.2.1"));
    stopwatch.advance(Duration::from_secs(1));
    assert!(count(&direct, 62, "192.0.2.1"));

    // A host picks its own address out of its network.
    assert!((0..60).all(|n| count(&direct, 100 + n, &format!("2001:db8::{n:x}"))));
    assert!(!count(&direct, 200, "2001:db8::ffff:1"));
    assert!(count(&direct, 201, "2001:db8:0:1::1"));

    // What a throttled source tries costs the account nothing.
    assert!((0..20).all(|_| !count(&direct, 7777, "2001:db8::1")));
    assert!((0..10).all(|n| count(&direct, 7777, &format!("203.0.113.{n}"))));

    // Behind a proxy all sources are one, and nobody can lock out everybody.
    let proxied = Throttle::new(stopwatch, false);
    assert!((0..1000).all(|n| count(&proxied, n, "127.0.0.1")));
}

#[test]
fn who_has_calmed_down_is_forgotten() {
    let stopwatch = FakeRelativeClock::default();
    let throttle = Throttle::new(stopwatch.clone(), true);
    for n in 0..10_000_u32 {
        let mut account = [0; 32];
        account[..4].copy_from_slice(&n.to_be_bytes());
        let source = std::net::Ipv4Addr::from_bits(n).into();
        let _ = throttle.count(&account, Some(source));
        stopwatch.advance(Duration::from_millis(100));
    }
    assert!(throttle.len() < 3000, "{}", throttle.len());
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
