//! The store keeps the contract, on one server.

mod place;

grantor_conformance::storage_suite!(crate::place::Single);
