//! What becomes of an answer for which nobody waits.

use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use super::*;

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_done_all_the_same() {
    let (go, gone) = oneshot::channel::<()>();
    let (tell, told) = oneshot::channel();
    let mut work = ToTheEnd::new(async move {
        gone.await.expect("a signal");
        tell.send(()).expect("somebody listens");
    });
    // Begun, and not at its end.
    assert!(tokio::select! { biased; _ = &mut work => false, () = ready(()) => true });
    drop(work);
    go.send(()).expect("it waits");
    told.await.expect("it went on");
}

#[tokio::test]
async fn it_goes_on_even_where_it_was_never_asked() {
    let (tell, told) = oneshot::channel();
    drop(ToTheEnd::new(async move { tell.send(()).expect("somebody listens") }));
    told.await.expect("it ran");
}

#[tokio::test]
async fn a_panic_is_an_end() {
    let dropped = Arc::new(AtomicBool::new(false));
    struct Tell(Arc<AtomicBool>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let tell = Tell(dropped.clone());
    let work = ToTheEnd::new(async move {
        let _tell = tell;
        panic!("inside");
    });
    assert!(work.await.is_none());
    assert!(dropped.load(Ordering::Relaxed), "what it held is given back");
}

#[test]
fn a_runtime_that_ends_takes_it_along() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let entered = runtime.enter();
    let work = ToTheEnd::new(pending::<()>());
    drop(entered);
    drop(runtime);
    drop(work);
}
