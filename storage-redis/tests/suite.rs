//! The store keeps the contract, however the servers stand together.

mod place;

/// One server.
mod single {
    grantor_conformance::storage_suite!(crate::place::Single);
}

/// A primary behind Sentinels, waiting for its replica.
mod sentinel {
    grantor_conformance::storage_suite!(crate::place::Watched);
}

/// A Cluster, waiting for the replicas.
mod cluster {
    grantor_conformance::storage_suite!(crate::place::Spread);
}
