//! The store keeps the contract.

mod campaign;

grantor_conformance::storage_suite!(crate::campaign::Sled);
