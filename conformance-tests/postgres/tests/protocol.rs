//! The protocol model over this store: crashes between any two calls, faults, several requests at once.

mod place;

grantor_conformance::protocol_suite!(crate::place::Place, walks = 20);
