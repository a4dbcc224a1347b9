//! The protocol model over this store, on one server: crashes between any two calls, faults, several
//! requests at once.

mod place;

grantor_conformance::protocol_suite!(crate::place::Single, walks = 40);
