//! grantor-conformance
