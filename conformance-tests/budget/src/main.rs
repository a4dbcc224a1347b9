//! Measures what requests cost, and holds that against the budget. See the README.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Mutex, PoisonError};
use std::thread;

use grantor_budget::cases;
use grantor_budget::profile::Profile;
use grantor_budget::report::{
    Budget, Comparable, Cost, Surroundings, accepted, compare, table, written,
};

type Fatal = Box<dyn Error + Send + Sync>;
/// Instructions and those of hashes, by the names of cases.
type Counts = BTreeMap<String, (u64, u64)>;

/// How many requests of a case are counted.
const REQUESTS: u64 = 200;
const BUDGET: &str = "conformance-tests/budget/budget.tsv";
const DOCUMENT: &str = "core/docs/performance.md";
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
const ACCEPT: &str = "conformance-tests/budget/run --accept";

#[derive(Default)]
struct Arguments {
    accept: bool,
    annotate: bool,
    only: Vec<String>,
}

fn arguments() -> Result<Arguments, Fatal> {
    let mut given = std::env::args().skip(1);
    let mut arguments = Arguments::default();
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--accept" => arguments.accept = true,
            "--annotate" => arguments.annotate = true,
            "--only" => arguments.only.push(given.next().ok_or("--only what?")?),
            other => return Err(format!("{other}? --accept, --annotate, --only CASE").into()),
        }
    }
    Ok(arguments)
}

/// What a program prints.
fn output(command: &mut Command) -> Result<String, Fatal> {
    let told = format!("{command:?}");
    let output = command.output().map_err(|error| format!("{told}: {error}"))?;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("{told}: {}\n{out}{err}", output.status).into());
    }
    Ok(out.into_owned())
}

/// One of the programs that were built with this one.
fn program(name: &str) -> Result<PathBuf, Fatal> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

/// Valgrind counts each byte of a copy by `rep movsb` as an instruction; the C library takes that for large ones,
/// unless it is told otherwise. With vectors, they count for what they are. And what is given back to the allocator
/// stays as it is: when it merges that depends on what else lies in the heap.
const TUNABLES: &str = "glibc.cpu.x86_rep_movsb_threshold=1000000000:\
                        glibc.cpu.x86_rep_stosb_threshold=1000000000:\
                        glibc.malloc.tcache_count=1000";

/// Valgrind, with nothing in its environment that could move the stack.
fn callgrind(profile: &Path, more: &[&str]) -> Result<Command, Fatal> {
    let mut command = Command::new("valgrind");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("GLIBC_TUNABLES", TUNABLES);
    command.args(["--quiet", "--tool=callgrind"]).args(more);
    command.arg(format!("--callgrind-out-file={}", profile.display())).arg(program("counted")?);
    Ok(command)
}

fn surroundings() -> Result<Surroundings, Fatal> {
    let rustc = output(Command::new("rustc").arg("-vV"))?;
    let line = |prefix: &str| rustc.lines().find_map(|line| line.strip_prefix(prefix));
    let compiler =
        format!("rustc {}, {}", line("rustc ").unwrap_or(""), line("host: ").unwrap_or(""));
    let valgrind = output(Command::new("valgrind").arg("--version"))?;
    let library = output(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    let processor = output(callgrind(Path::new("/dev/null"), &[])?.arg("machine"))?;
    let machine = [valgrind.trim(), library.trim(), processor.trim()].join(", ");
    Ok(Surroundings { compiler, machine })
}

fn read(case: &str, profile: &Path) -> Result<Profile, Fatal> {
    let missing = || format!("{case}: valgrind has not met the function `count_this`");
    Ok(Profile::read(&fs::read_to_string(profile)?).ok_or_else(missing)?)
}

/// Instructions of one request, and those of its hashes; the profile stays.
fn count(case: &str, profile: &Path) -> Result<(u64, u64), Fatal> {
    let only_this = ["--collect-atstart=no", "--toggle-collect=*count_this*"];
    output(callgrind(profile, &only_this)?.args([case, &REQUESTS.to_string()]))?;
    let profile = read(case, profile)?;
    let hashing = profile.within("sha256_block_data_order_");
    Ok(((profile.total - hashing) / REQUESTS, hashing / REQUESTS))
}

fn profile_of(case: &str) -> Result<PathBuf, Fatal> {
    let place = program("budget")?;
    fs::create_dir_all(&place)?;
    Ok(place.join(format!("callgrind.{}", case.replace('/', "."))))
}

/// One process for each case, so that no case depends on which others there are; one at a time per core.
fn count_all(names: &[&str]) -> Result<Counts, Fatal> {
    let waiting: Mutex<VecDeque<&str>> = Mutex::new(names.iter().copied().collect());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || -> Result<Counts, Fatal> {
        let mut done = Counts::new();
        while let Some(case) = next() {
            done.insert(case.to_owned(), count(case, &profile_of(case)?)?);
        }
        Ok(done)
    };
    thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut all = Counts::new();
        for worker in workers {
            all.extend(worker.join().map_err(|_| "a thread panicked")??);
        }
        Ok(all)
    })
}

fn measure(names: &[&str]) -> Result<Budget, Fatal> {
    let mut budget = Budget { surroundings: surroundings()?, ..Budget::default() };
    let allocations = output(&mut Command::new(program("allocations")?))?;
    let counted = count_all(names)?;
    for line in allocations.lines() {
        let mut columns = line.split('\t');
        let case = columns.next().unwrap_or_default();
        let mut figure = || columns.next().unwrap_or_default().parse::<u64>();
        let (allocations, bytes) = (figure()?, figure()?);
        if let Some((instructions, hashing)) = counted.get(case).copied() {
            let cost = Cost { instructions, hashing, allocations, bytes };
            budget.costs.insert(case.to_owned(), cost);
        }
    }
    Ok(budget)
}

/// Which functions take most of it.
fn annotate(case: &str) -> Result<String, Fatal> {
    let file = profile_of(case)?;
    let profile = read(case, &file)?;
    let own = profile.most(REQUESTS, |taken| taken.own, 50);
    let inclusive = profile.most(REQUESTS, |taken| taken.inclusive, 80);
    Ok(format!(
        "\n{case}: instructions of a request in each function itself\n\n{own}\n\
         {case}: with all that it calls\n\n{inclusive}\n\
         Line by line: callgrind_annotate --auto=yes {}\n",
        file.display()
    ))
}

/// What is to be told, and whether all is well.
fn run() -> Result<(String, bool), Fatal> {
    let Arguments { accept, annotate: annotated, only } = arguments()?;
    let (file, document) = (Path::new(ROOT).join(BUDGET), Path::new(ROOT).join(DOCUMENT));
    let whole = only.is_empty();
    let mut budget =
        match fs::read_to_string(&file).map_err(Fatal::from).and_then(|text| Ok(text.parse()?)) {
            Ok(budget) => budget,
            // It is about to be written, all of it.
            Err(_) if accept && whole => Budget::default(),
            Err(error) => return Err(format!("{BUDGET}: {error}").into()),
        };
    let names: Vec<&str> = cases()
        .map(|case| case.name)
        .filter(|name| whole || only.iter().any(|part| name.contains(part)))
        .collect();
    if names.is_empty() {
        return Err("there is no such case".into());
    }
    let found = measure(&names)?;
    let mut told = table(&budget, &found);
    if annotated {
        for case in &names {
            told.push_str(&annotate(case)?);
        }
    }
    told.push('\n');
    let comparable = Comparable::of(&budget.surroundings, &found.surroundings);
    if accept {
        if whole {
            budget = accepted(&budget, found);
        } else if comparable.instructions {
            let new = accepted(&budget, found).costs;
            budget.costs.extend(new);
        } else {
            return Err(
                "the budget was measured elsewhere: accept all of it, without --only".into()
            );
        }
        fs::write(&file, budget.to_string())?;
        let page = fs::read_to_string(&document)?;
        let page = written(&page, &budget).ok_or("the page has no place for the table")?;
        fs::write(&document, page)?;
        told.push_str(&format!("Accepted: {BUDGET}, {DOCUMENT}\n"));
        return Ok((told, true));
    }
    let differences = compare(&budget, &found, whole);
    for difference in &differences {
        told.push_str(&format!("{difference}\n"));
    }
    if !differences.is_empty() {
        told.push_str(&format!(
            "\nThe budget does not fit any more. Where it is worse: mend it, or say in the commit what it buys.\n\
             Then, or where it is better: {ACCEPT}\n"
        ));
    }
    for (compared, what, budget, found) in [
        (
            comparable.allocations,
            "ALLOCATIONS AND INSTRUCTIONS",
            &budget.surroundings.compiler,
            &found.surroundings.compiler,
        ),
        (
            comparable.instructions || !comparable.allocations,
            "INSTRUCTIONS",
            &budget.surroundings.machine,
            &found.surroundings.machine,
        ),
    ] {
        if !compared {
            told.push_str(&format!(
                "{what} NOT COMPARED: the budget is of {budget}; here is {found}\n"
            ));
        }
    }
    Ok((told, differences.is_empty()))
}

fn main() -> ExitCode {
    let (told, code) = match run() {
        Ok((told, true)) => (told, ExitCode::SUCCESS),
        Ok((told, false)) => (told, ExitCode::FAILURE),
        Err(error) => (format!("{error}\n"), ExitCode::from(2)),
    };
    // Whoever reads may have read enough.
    let _ = std::io::stdout().write_all(told.as_bytes());
    code
}
