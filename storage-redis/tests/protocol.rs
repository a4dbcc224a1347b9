//! The protocol model over this store, however the servers stand together: crashes between any two
//! calls, faults, several requests at once.

mod place;

/// One server.
mod single {
    grantor_conformance::protocol_suite!(crate::place::Single, walks = 20);
}

/// A primary behind Sentinels, waiting for its replica.
mod sentinel {
    grantor_conformance::protocol_suite!(crate::place::Watched, walks = 40);
}

/// A Cluster, waiting for the replicas.
mod cluster {
    grantor_conformance::protocol_suite!(crate::place::Spread, walks = 40);
}
