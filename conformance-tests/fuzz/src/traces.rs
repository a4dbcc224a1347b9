//! Recorded decisions, as `grantor explain` is given them: a file that anybody may have edited, whose records and request
//! go to the decisions themselves.

use grantor::trace::Trace;

/// A trace in JSON.
///
/// ATTACKS J05, J09, J10.
pub(crate) fn trace(data: &[u8]) {
    let Some(trace) = std::str::from_utf8(data).ok().and_then(|text| Trace::parse(text).ok())
    else {
        return;
    };
    let written = trace.to_json();
    let again = Trace::parse(&written).expect("its own text");
    assert_eq!(again.to_json(), written);
    let _ = (trace.step(), trace.client_id(), trace.audit());
    if let Ok(replay) = trace.replay() {
        let twice = again.replay().expect("it was made once");
        assert_eq!(twice, replay, "the same question has the same answer");
        // To explain it, what was decided then is read too.
        if let Ok(explained) = trace.explain() {
            assert_eq!(explained.identical, replay.identical);
            assert!(!explained.to_string().is_empty());
        }
    }
}
