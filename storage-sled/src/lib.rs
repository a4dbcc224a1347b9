//! grantor-sled
