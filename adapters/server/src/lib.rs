//! grantor-server
