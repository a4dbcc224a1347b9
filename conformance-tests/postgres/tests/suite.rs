//! The store keeps the contract.

mod place;

grantor_conformance::storage_suite!(crate::place::Place);
