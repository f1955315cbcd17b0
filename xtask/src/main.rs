//! One entry point for every task.
fn main() {}
