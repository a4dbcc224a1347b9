//! What the contenders and their driver have in common.

pub mod contender;
