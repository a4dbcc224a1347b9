#![doc = include_str!("../README.md")]
//!
//! # The rest of Grantor
//!
//! Storage is a chapter of [the book](grantor::guide::storage); what a store must do is in [`grantor::storage`].

mod calls;
mod check;
mod config;
mod connect;
mod driver;
mod error;
mod layout;
mod link;
mod node;
mod router;
mod scripts;
mod sentinel;
mod store;
mod sweep;
mod url;
mod walk;

#[doc = include_str!("../docs/production.md")]
pub mod production {}

pub use self::check::Report;
pub use self::config::{Confirmation, InvalidConfirmation, RedisConfig};
pub use self::error::{InvalidUrl, OpenError};
pub use self::store::RedisStorage;
pub use self::url::Topology;
