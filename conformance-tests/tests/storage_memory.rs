//! The reference backend keeps the contract.

#[path = "backends/memory.rs"]
mod memory;

grantor_conformance::storage_suite!(crate::memory::Memory);
