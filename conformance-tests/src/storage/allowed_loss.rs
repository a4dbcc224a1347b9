//! *A commit that was not answered may be there or not, whole in either case. Nothing else is lost.*

use grantor::storage::{Durability, Storage as _};

use super::crash::{Loss, survives_kills};
use super::{Backend, Clause, Opened, Processes};

/// The clause, and why it matters.
pub const CLAUSE: Clause = Clause {
    heading: "Allowed loss",
    why: "a client that got no answer asks again, and the engine decides by what it finds; half a \
          grant, or one that was refused, is nothing that it could decide by.",
};

/// A process is killed while it writes: whatever is there afterwards was written by a commit that was
/// not refused, and all of it is there.
pub async fn after_a_kill_an_unanswered_commit_is_whole_or_not_there<B: Backend>() {
    survives_kills::<B>(Loss::Whole).await;
}

/// The promise is what the kills hold a store to, so it must not be less than what is plain to see.
pub async fn a_store_says_what_it_promises<B: Backend>() {
    let promised = Opened::<B>::create().await.store().promises();
    let (durability, processes) = (promised.durability, B::PROCESSES);
    let fits = match processes {
        Processes::Private => durability == Durability::None,
        Processes::Exclusive => durability > Durability::None,
        // Other processes may hold it in their memory, or on their disks.
        Processes::Shared => true,
    };
    assert!(
        fits,
        "the store promises durability {durability:?}, and the processes that can open it are \
         {processes:?}: one that lives in the memory of its process promises nothing, and one that \
         another process can open later outlives its process"
    );
    assert_eq!(
        promised.shared,
        processes == Processes::Shared,
        "whether the store is shared decides where rate limits count, and the processes that can \
         open it are {processes:?}"
    );
}
