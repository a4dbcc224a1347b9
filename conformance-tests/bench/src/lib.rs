//! What the contenders, their driver, and the measurements of scale and tail have in common.

pub mod contender;
pub mod embedded;
pub mod fill;
pub mod flow;
pub mod load;
pub mod machine;
pub mod process;
pub mod program;
pub mod readme;
pub mod requests;
