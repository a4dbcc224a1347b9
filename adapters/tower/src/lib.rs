//! grantor-tower
